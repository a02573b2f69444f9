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

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Response, Uri};

use super::{
    ServerState,
    authorization_error::{AuthorizationError, ClientRedirect},
};
use crate::{
    log,
    token_endpoint::{
        TokenEndpoint,
        client::{
            Client, ExcessScopes,
            secret::{RANDOM_TEXT_LENGTH, TokenHash, random_text},
            subset,
        },
        grant::pkce::is_challenge,
        http::{error::TokenError, request::Parameters, response::ResponseBody},
        store::{CodeRecord, Family},
    },
};

/// A request for an authorization code. Client, redirect URI and scopes are registered, and PKCE is used.
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
    challenge: String,
    authenticated_at: Option<SystemTime>,
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
        let client = self.inner.services.find_client(client_id).await.map_err(AuthorizationError::unavailable)?;
        let client = client.ok_or_else(|| AuthorizationError::for_the_user("The client is unknown"))?;
        let requested = parameters.get("redirect_uri").map_err(malformed)?;
        let chosen = client.redirect_uri(requested).map_err(AuthorizationError::for_the_user)?;
        let mut redirect =
            ClientRedirect { issuer: self.inner.issuer.clone(), redirect_uri: chosen.to_owned(), state: None };
        match RequestedAccess::from_parameters(&self.inner, &client, &parameters, &mut redirect.state) {
            Ok(RequestedAccess { scope, audiences, challenge }) => Ok(AuthorizationRequest {
                inner: Arc::clone(&self.inner),
                redirect,
                redirect_uri: requested.map(str::to_owned),
                client,
                scope,
                audiences,
                challenge,
                authenticated_at: None,
            }),
            Err(AuthorizationRefusal { code, description }) => {
                Err(AuthorizationError { code, description, redirect: Some(redirect) })
            }
        }
    }
}

/// The requested access. The client is registered for all of it.
struct RequestedAccess {
    scope: String,
    audiences: Vec<String>,
    challenge: String,
}

/// An error that is sent to the client.
struct AuthorizationRefusal {
    code: &'static str,
    description: &'static str,
}

impl From<TokenError> for AuthorizationRefusal {
    fn from(error: TokenError) -> Self {
        Self { code: error.kind().as_str(), description: error.description() }
    }
}

impl RequestedAccess {
    /// Checks the parameters of a request whose client and redirect URI are valid. Sets `state` first, because an error
    /// response contains it too.
    fn from_parameters(
        inner: &ServerState,
        client: &Client,
        parameters: &Parameters,
        state: &mut Option<String>,
    ) -> Result<Self, AuthorizationRefusal> {
        let refuse = |code, description| Err(AuthorizationRefusal { code, description });
        *state = parameters.get("state")?.map(str::to_owned);
        parameters.refuse_repeated()?;
        // RFC 9101 §6: not supported, and never ignored.
        for (name, code) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
            if parameters.get(name)?.is_some() {
                return refuse(code, "Request objects are not supported");
            }
        }
        match parameters.get("response_type")? {
            Some("code") if inner.authorization_endpoint.is_some() => {}
            None => return refuse("invalid_request", "The response_type is missing"),
            Some(_) => return refuse("unsupported_response_type", "The response_type is not supported"),
        }
        if parameters.get("response_mode")?.is_some_and(|mode| mode != "query") {
            return refuse("invalid_request", "The response_mode is not supported");
        }
        if !client.may_use("authorization_code") {
            return refuse("unauthorized_client", "The client is not registered for this response type");
        }
        // RFC 7636 §4.3: a missing method means plain. RFC 9700 §2.1.1: required of every client, confidential ones included.
        let method = parameters.get("code_challenge_method")?;
        let challenge = parameters.get("code_challenge")?.filter(|challenge| is_challenge(challenge));
        let (Some(challenge), Some("S256")) = (challenge, method) else {
            return refuse("invalid_request", "A code_challenge with method S256 is required");
        };
        let scope = client.scopes(parameters.get("scope")?)?;
        let mut audiences: Vec<String> = Vec::new();
        for wanted in parameters.all("resource").chain(parameters.all("audience")) {
            let audience = client.audience(&[wanted])?;
            if !audiences.iter().any(|other| other == audience) {
                audiences.push(audience.to_owned());
            }
        }
        if audiences.is_empty() {
            audiences.push(client.audience(&[])?.to_owned());
        }
        Ok(Self { scope, audiences, challenge: challenge.to_owned() })
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

    /// Returns the URI that the response is sent to. If clients can register without a check, show its host to the user.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect.redirect_uri
    }

    /// Sets the time at which the user authenticated: `auth_time` of the tokens (RFC 9068 §2.2.1). Default: the tokens have no
    /// `auth_time`.
    #[must_use]
    pub fn with_authentication_time(self, time: SystemTime) -> Self {
        Self { authenticated_at: Some(time), ..self }
    }

    /// Approves these of the requested [`scopes`](Self::scopes) for the user `subject`, and sends the browser back with a code.
    ///
    /// Sends the browser back with `server_error` if a scope was not requested, if the store fails, or if the subject is empty
    /// or the id of a client: its tokens would look like the client's own (RFC 9700 §4.15.1).
    pub async fn approve<N: AsRef<str>>(
        self,
        subject: impl Into<String>,
        scopes: impl IntoIterator<Item = N>,
    ) -> Response<ResponseBody> {
        let names: Vec<N> = scopes.into_iter().collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
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

    /// Denies the request, and sends the browser back with `access_denied`.
    #[must_use]
    pub fn deny(self) -> Response<ResponseBody> {
        self.redirect.error_response("access_denied", "The user denied the request")
    }

    async fn make_code(&self, subject: String, scope: String) -> Result<String, TokenError> {
        let services = &self.inner.services;
        if subject.is_empty() || services.find_client(&subject).await?.is_some() {
            return Err(TokenError::unavailable(InvalidSubject));
        }
        let now = services.unix_seconds();
        let code = bind_code(random_text().map_err(TokenError::unavailable)?, self.redirect_uri.as_deref());
        let (epoch, expires_at) = (SystemTime::UNIX_EPOCH, now + CODE_LIFETIME.as_secs());
        let record = CodeRecord {
            binding: binding(self.client.id(), &self.challenge),
            family: Family {
                id: random_text().map_err(TokenError::unavailable)?,
                client_id: self.client.id().to_owned(),
                credential: self.client.credential_generation().to_string(),
                subject,
                scope,
                audiences: self.audiences.clone(),
                auth_time: self.authenticated_at.map(|at| at.duration_since(epoch).map_or(0, |since| since.as_secs())),
                expires_at: expires_at.saturating_add(self.inner.family_lifetime(&self.client).as_secs()),
            },
            expires_at,
        };
        services.store.add_code(&TokenHash::of(&code), &record, now).await?;
        Ok(code)
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

/// Returns the hash of what every token request with a code must prove (RFC 6749 §4.1.2, RFC 7636 §4.4).
pub(crate) fn binding(client_id: &str, challenge: &str) -> TokenHash {
    TokenHash::of_all(&["code", client_id, challenge])
}

/// Returns the code: a random text, and a hash of it with the redirect URI. So a token request can leave the redirect URI out,
/// and one that is sent is checked without a store. The store finds only whole codes, so the hash can't be replaced.
fn bind_code(random: String, redirect_uri: Option<&str>) -> String {
    let hash = TokenHash::of_all(&["redirect_uri", &random, redirect_uri.unwrap_or_default()]);
    random + &URL_SAFE_NO_PAD.encode(hash.as_bytes())
}

/// True if the code was issued for this redirect URI.
pub(crate) fn is_code_for(code: &str, redirect_uri: &str) -> bool {
    let random = code.get(..RANDOM_TEXT_LENGTH).unwrap_or_default();
    bind_code(random.to_owned(), Some(redirect_uri)) == code
}

/// Lifetime of a code. RFC 6749 §4.1.2 allows ten minutes; a browser needs about a second.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

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
