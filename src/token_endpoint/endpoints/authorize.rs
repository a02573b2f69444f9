//! Authorization requests (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, RFC 9207).
//!
//! *In*: the URI that a browser was sent to. *Out*: a checked [`AuthorizationRequest`]. The application shows it to its user,
//! and responds with [`approve`](AuthorizationRequest::approve) or [`deny`](AuthorizationRequest::deny).
//!
//! Not checked here: who the user is. The application authenticates the user, and protects its page against framing
//! (RFC 6749 §10.13) and against cross-site request forgery (§10.12).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::url::{Host, Url};
use http::{Response, Uri};

use super::{
    ServerState,
    authorization_error::{AuthorizationError, ClientRedirect, DenialReason},
    requested_access::{AuthorizationRefusal, LoginWishes, RequestedAccess},
};
use crate::{
    log,
    token_endpoint::{
        TokenEndpoint,
        client::{Client, ExcessScopes, registry::LookupPurpose, subset},
        events::EventKind,
        http::{error::TokenError, request::Parameters, response::ResponseBody},
        record::{self, OwnerRecord, SessionRecord},
        store::{AddCode, Timestamp, Written},
        texts::Handle,
    },
};

/// A request for an authorization code. Client, redirect URI and scopes are registered, and PKCE is used, unless
/// the client may do [without](crate::token_endpoint::ClientBuilder::accept_without_pkce).
///
/// It is an extractor for axum handlers whose state contains a [`TokenEndpoint`] (`FromRef`). The request is in the query of
/// the URI. A form without `action` is posted to this URI with its query, so the handler of the form can extract it again.
///
/// ```
/// # #[cfg(feature = "axum")] mod example {
/// use axum::response::{Html, IntoResponse, Response};
/// use tower_oauth::token_endpoint::AuthorizationRequest;
///
/// async fn page(request: AuthorizationRequest) -> Html<String> {
///     // Escape the values; protect the form; forbid framing.
///     let scopes: Vec<&str> = request.scopes().collect();
///     Html(format!("<form method=post>{} requests {scopes:?} <button>Allow</button></form>", request.client_id()))
/// }
///
/// async fn submit(request: AuthorizationRequest) -> Response {
///     let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
///     request.approve("ada", scopes).await.into_response() // after a login, and after checking the form
/// }
/// # }
/// ```
pub struct AuthorizationRequest {
    inner: Arc<ServerState>,
    client: Arc<Client>,
    redirect: ClientRedirect,
    /// The parameter. If the token request has it, it must be equal (RFC 6749 §4.1.3).
    redirect_uri: Option<String>,
    scope: String,
    audiences: Vec<String>,
    challenge: Option<String>,
    wishes: LoginWishes,
    authenticated_at: Option<SystemTime>,
    acr: Option<String>,
}

impl TokenEndpoint {
    /// Checks an authorization request. Only the query of `uri` is read.
    ///
    /// # Errors
    /// The request is invalid; [`AuthorizationError`] is the response.
    pub async fn authorize(&self, uri: &Uri) -> Result<AuthorizationRequest, AuthorizationError> {
        let malformed = |_| AuthorizationError::for_the_user("The request is malformed");
        let parameters = Parameters::from_form(uri.query().unwrap_or_default().as_bytes()).map_err(malformed)?;
        // Never redirect before client and redirect URI are checked (RFC 6749 §4.1.2.1).
        let client_id = parameters.get("client_id").map_err(malformed)?;
        let client_id = client_id.ok_or_else(|| AuthorizationError::for_the_user("The client_id is missing"))?;
        let found = self.inner.services.find_client(client_id, LookupPurpose::Authorization).await;
        let client = found.map_err(AuthorizationError::unavailable)?;
        let client = client.ok_or_else(|| AuthorizationError::for_the_user("The client is unknown"))?;
        let requested = parameters.get("redirect_uri").map_err(malformed)?;
        let chosen = client.redirect_uri(requested).map_err(AuthorizationError::for_the_user)?;
        let mut redirect =
            ClientRedirect { issuer: self.inner.issuer.clone(), redirect_uri: chosen.to_owned(), state: None };
        match RequestedAccess::from_parameters(&self.inner, &client, &parameters, &mut redirect.state) {
            Ok(RequestedAccess { scope, audiences, challenge, wishes }) => Ok(AuthorizationRequest {
                inner: Arc::clone(&self.inner),
                redirect,
                redirect_uri: requested.map(str::to_owned),
                client,
                scope,
                audiences,
                challenge,
                wishes,
                authenticated_at: None,
                acr: None,
            }),
            Err(AuthorizationRefusal { code, description }) => {
                Err(AuthorizationError { code, description, redirect: Some(redirect) })
            }
        }
    }
}

impl AuthorizationRequest {
    /// Returns the id of the requesting client.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client.id()
    }

    /// Returns the requested scopes, or the client's default scopes. All of them are registered for the client; others were
    /// refused, or dropped if [`grant_less_than_asked`](crate::token_endpoint::ClientBuilder::grant_less_than_asked) is set.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|name| !name.is_empty())
    }

    /// Returns the APIs at which the client wants to use the scopes.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.audiences.iter().map(String::as_str)
    }

    /// Returns `client_name` of the client's metadata document. `None` for a registered client. The client chose the name itself,
    /// so also show the [host](Self::client_host) to the user. Escape it, and isolate it by `<bdi>`: it may be written from right
    /// to left. It has no control, bidirectional or zero-width characters.
    #[must_use]
    pub fn client_name(&self) -> Option<&str> {
        self.client.name.as_deref()
    }

    /// Returns the host of the client's id, if that is the URL of a metadata document (`ClientDocuments`). `None` for a registered
    /// client. Show it to the user: it is all that is known about who the client is.
    #[must_use]
    pub fn client_host(&self) -> Option<&str> {
        self.client.host.as_deref()
    }

    /// Returns the URI that the response is sent to. If clients can register without a check, show its
    /// [host](Self::redirect_host) to the user.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect.redirect_uri
    }

    /// Returns the host of the URI that the response is sent to, without port. `None` if its scheme belongs to one app.
    #[must_use]
    pub fn redirect_host(&self) -> Option<String> {
        web_host(self.redirect_uri()).map(|host| host.to_string())
    }

    /// Returns whether the response is sent to a program on the user's machine. Any program there can listen on the port, so the
    /// redirect URI proves nothing about the client (RFC 8252 §8.6). Warn the user if the client has a
    /// [metadata document](Self::client_host).
    #[must_use]
    pub fn redirect_is_loopback(&self) -> bool {
        match web_host(self.redirect_uri()) {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }

    /// Returns the values of `prompt` (OpenID Connect Core §3.1.2.1): whether the client wants the user to log in again, to
    /// consent again, or to see no page (`none`, alone). If the application can't do so, it [denies](Self::deny) the request.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        self.wishes.prompt.iter().map(String::as_str)
    }

    /// Returns `max_age` (OpenID Connect Core §3.1.2.1): the time after which the user must log in again.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.wishes.max_age
    }

    /// Returns `acr_values`: the ways to log in that the client wants, the preferred one first (RFC 9470 §4).
    pub fn acr_values(&self) -> impl Iterator<Item = &str> {
        self.wishes.acr_values.iter().map(String::as_str)
    }

    /// Returns `login_hint` (OpenID Connect Core §3.1.2.1): the user, as the client knows it. It proves nothing.
    #[must_use]
    pub fn login_hint(&self) -> Option<&str> {
        self.wishes.login_hint.as_deref()
    }

    /// Sets the time at which the user authenticated: `auth_time` of the tokens (RFC 9068 §2.2.1). Default: the tokens have no
    /// `auth_time`.
    #[must_use]
    pub fn with_authentication_time(self, time: SystemTime) -> Self {
        Self { authenticated_at: Some(time), ..self }
    }

    /// Sets the way in which the user authenticated: `acr` of the tokens (RFC 9068 §2.2.1), which
    /// [`StepUp`](crate::step_up::StepUp) requires. Default: the tokens have no `acr`.
    #[must_use]
    pub fn with_authentication_context(self, acr: impl Into<String>) -> Self {
        Self { acr: Some(acr.into()), ..self }
    }

    /// Approves these of the requested [`scopes`](Self::scopes) for the user `subject`, and sends the browser back with a code.
    ///
    /// If it approves none of the scopes, it [denies](Self::deny) the request. Sends the browser back with `server_error` if a scope was not requested, if the store fails, or if the subject is empty
    /// or the id of a client: its tokens would look like the client's own (RFC 9700 §4.15.1). A subject that is the URL of a
    /// [metadata document](Self::client_host) is refused only for the client with this id, because such clients get no tokens of
    /// their own; it is never fetched.
    pub async fn approve<N: AsRef<str>>(
        self,
        subject: impl Into<String>,
        scopes: impl IntoIterator<Item = N>,
    ) -> Response<ResponseBody> {
        let names: Vec<N> = scopes.into_iter().collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        // A response without `scope` means all requested scopes (RFC 6749 §5.1), so no token with none can be issued.
        if names.is_empty() && !self.scope.is_empty() {
            return self.deny(DenialReason::AccessDenied);
        }
        let requested = |name: &str| self.scopes().any(|scope| scope == name);
        let scope = if names.is_empty() {
            Ok(String::new())
        } else {
            subset(&names.join(" "), ExcessScopes::Refuse, requested)
        };
        let issued = match scope {
            Ok(scope) => self.make_code(subject.into(), scope).await,
            Err(error) => Err(error),
        };
        match issued {
            Ok(code) => self.redirect.response(&[("code", &code)]),
            Err(error) => {
                log::token_endpoint_failed(&error);
                let mut response =
                    self.redirect.error_response("server_error", "The server cannot process this request");
                response.extensions_mut().insert(error);
                response
            }
        }
    }

    /// Denies the request, and sends the browser back with the reason.
    #[must_use]
    pub fn deny(self, reason: DenialReason) -> Response<ResponseBody> {
        self.redirect.error_response(reason.as_str(), reason.description())
    }

    async fn make_code(&self, subject: String, scope: String) -> Result<String, TokenError> {
        let services = &self.inner.services;
        let is_own_id = subject == self.client.id();
        if subject.is_empty() || is_own_id || services.find_client(&subject, LookupPurpose::Subject).await?.is_some() {
            return Err(TokenError::unavailable(InvalidSubject));
        }
        let (now, deadline) = (services.timestamp(), services.deadline());
        let handle = Handle::generate().map_err(TokenError::unavailable)?;
        let code = services.texts.new_code(handle).map_err(TokenError::unavailable)?;
        let record = SessionRecord {
            owner: OwnerRecord::new(&self.client, subject.clone()),
            scope,
            audiences: self.audiences.clone(),
            since: now.as_secs(),
            auth_time: self.authenticated_at.map(|at| Timestamp::from(at).as_secs()),
            acr: self.acr.clone(),
            challenge: self.challenge.clone(),
            redirect_uri: self.redirect_uri.clone(),
            handle: Some(handle.to_text()),
            content: None,
        };
        let add = AddCode {
            session: code.id,
            code: code.hash,
            record: record::write(&record)?,
            client: services.texts.client(self.client.id()),
            subject: services.texts.subject(&subject),
            expires_at: now.saturating_add(CODE_LIFETIME),
            now,
            deadline,
        };
        match services.store.add_code(&add).await? {
            Written::Done => {
                self.inner.report(EventKind::Approved, &record.owner, code.id);
                Ok(code.text)
            }
            Written::Late => Err(TokenError::late()),
        }
    }
}

impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AuthorizationRequest");
        shown.field("client", &self.client.id()).field("scope", &self.scope).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct InvalidSubject;

impl fmt::Display for InvalidSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the subject of an approval is empty, or is the id of a client")
    }
}

impl std::error::Error for InvalidSubject {}

/// Returns the host of an `https` or `http` URL, as browsers read it.
fn web_host(uri: &str) -> Option<Host> {
    let url = Url::parse(uri).ok().filter(|url| ["https", "http"].contains(&url.scheme()))?;
    Some(url.host()?.to_owned())
}

/// Lifetime of a code. RFC 6749 §4.1.2 allows ten minutes; a browser needs about a second.
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(60);

#[cfg(feature = "axum")]
mod extract {
    use axum_core::{
        extract::{FromRef, FromRequestParts},
        response::{IntoResponse, Response},
    };
    use http::request::Parts;

    use super::{AuthorizationError, AuthorizationRequest};
    use crate::token_endpoint::TokenEndpoint;

    impl<S: Send + Sync> FromRequestParts<S> for AuthorizationRequest
    where
        TokenEndpoint: FromRef<S>,
    {
        type Rejection = AuthorizationError;

        async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthorizationError> {
            TokenEndpoint::from_ref(state).authorize(&parts.uri).await
        }
    }

    impl IntoResponse for AuthorizationError {
        fn into_response(self) -> Response {
            Self::into_response(self).into_response()
        }
    }
}
