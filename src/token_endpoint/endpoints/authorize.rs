//! Requests for a code (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, RFC 9207).
//!
//! *In*: the URI that a browser was sent to. *Out*: [`AuthorizationRequest`], checked; the host asks its user, and answers with
//! [`approve`](AuthorizationRequest::approve) or [`deny`](AuthorizationRequest::deny).
//!
//! Who the user is, how that is found out, and what the user is shown is the host's business, and so is that the page can't
//! be framed (RFC 6749 §10.13) and its form can't be sent by another page (§10.12).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Response, StatusCode, Uri, header};

use crate::{
    clock::unix_seconds,
    log,
    token_endpoint::{
        ServerState, TokenEndpoint,
        client::{
            Client,
            secret::{TokenHash, draw},
            subset,
        },
        grant::pkce::is_challenge,
        http::{
            error::TokenError,
            redirect::{choose, redirect},
            request::Parameters,
            response::{ResponseBody, empty},
        },
        store::{CodeRecord, Family},
    },
};

/// A request for a code, from a client that is registered for it, to be sent to a redirect URI that it registered.
///
/// An axum handler takes it as an argument, if its state has a [`TokenEndpoint`] (`FromRef`). The request stands in the
/// query: a form that is posted to the same URI, query and all, carries it on.
///
/// ```
/// # #[cfg(feature = "axum")] mod example {
/// use axum::response::{Html, IntoResponse, Response};
/// use tower_oauth::token_endpoint::AuthorizationRequest;
///
/// async fn page(request: AuthorizationRequest) -> Html<String> {
///     // Escape what you show; protect the form; forbid frames.
///     let scopes: Vec<&str> = request.scopes().collect();
///     Html(format!("<form method=post>{} asks for {scopes:?} <button>Allow</button></form>", request.client_id()))
/// }
///
/// async fn answer(request: AuthorizationRequest) -> Response {
///     let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
///     request.approve("ada", scopes).await.into_response() // after a login, and a look at the form
/// }
/// # }
/// ```
pub struct AuthorizationRequest {
    inner: Arc<ServerState>,
    client: Arc<Client>,
    reply: Reply,
    /// As the request had it: then the token request must have it too (RFC 6749 §4.1.3).
    redirect_uri: Option<String>,
    scope: String,
    audiences: Vec<String>,
    challenge: String,
    authenticated_at: Option<SystemTime>,
}

/// Where the answer goes.
struct Reply {
    issuer: String,
    redirect_uri: String,
    state: Option<String>,
}

impl TokenEndpoint {
    /// Checks a request for a code; `uri` is the request's own, of which the query is read.
    ///
    /// # Errors
    /// See [`AuthorizationError`]: what is to be answered.
    pub async fn authorize(&self, uri: &Uri) -> Result<AuthorizationRequest, AuthorizationError> {
        let unclear = |_| AuthorizationError::for_the_user("The request is malformed");
        let parameters = Parameters::from_form(uri.query().unwrap_or_default().as_bytes()).map_err(unclear)?;
        // Before client and redirect URI are known to be good, nobody is sent anywhere (RFC 6749 §4.1.2.1).
        let client_id = parameters.get("client_id").map_err(unclear)?;
        let client_id = client_id.ok_or_else(|| AuthorizationError::for_the_user("The request names no client"))?;
        let client = self.inner.authenticator.find(client_id).await.map_err(AuthorizationError::later)?;
        let client = client.ok_or_else(|| AuthorizationError::for_the_user("The client is not known here"))?;
        let requested = parameters.get("redirect_uri").map_err(unclear)?;
        let chosen = choose(&client.redirect_uris, requested);
        let chosen =
            chosen.ok_or_else(|| AuthorizationError::for_the_user("The redirect URI is not one of the client's"))?;
        let mut reply = Reply { issuer: self.inner.issuer.clone(), redirect_uri: chosen.to_owned(), state: None };
        match RequestedAccess::from_parameters(&self.inner, &client, &parameters, &mut reply.state) {
            Ok(RequestedAccess { scope, audiences, challenge }) => Ok(AuthorizationRequest {
                inner: Arc::clone(&self.inner),
                reply,
                redirect_uri: requested.map(str::to_owned),
                client,
                scope,
                audiences,
                challenge,
                authenticated_at: None,
            }),
            Err(Refusal { code, description }) => Err(AuthorizationError { code, description, reply: Some(reply) }),
        }
    }
}

/// What the client wants, within what it may have.
struct RequestedAccess {
    scope: String,
    audiences: Vec<String>,
    challenge: String,
}

/// An error that the client is told.
struct Refusal {
    code: &'static str,
    description: &'static str,
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self { code: error.kind().name(), description: error.description() }
    }
}

impl RequestedAccess {
    fn from_parameters(
        inner: &ServerState,
        client: &Client,
        parameters: &Parameters,
        state: &mut Option<String>,
    ) -> Result<Self, Refusal> {
        let refuse = |code, description| Err(Refusal { code, description });
        *state = parameters.get("state")?.map(str::to_owned);
        parameters.refuse_repeated()?;
        // RFC 9101 §6: not read here, and never half.
        for (name, code) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
            if parameters.get(name)?.is_some() {
                return refuse(code, "Request objects are not read here");
            }
        }
        match parameters.get("response_type")? {
            Some("code") if inner.authorization_endpoint.is_some() => {}
            None => return refuse("invalid_request", "The response_type is missing"),
            Some(_) => return refuse("unsupported_response_type", "The response_type is not offered here"),
        }
        if parameters.get("response_mode")?.is_some_and(|mode| mode != "query") {
            return refuse("invalid_request", "The response_mode is not offered here");
        }
        if !client.may_use("authorization_code") {
            return refuse("unauthorized_client", "The client is not registered for this response_type");
        }
        // RFC 7636 §4.3: no method means plain. RFC 9700 §2.1.1: every client, confidential ones too.
        let method = parameters.get("code_challenge_method")?;
        let challenge = parameters.get("code_challenge")?.filter(|challenge| is_challenge(challenge));
        let (Some(challenge), Some("S256")) = (challenge, method) else {
            return refuse("invalid_request", "A code_challenge of the method S256 is needed");
        };
        let scope = client.scopes(parameters.get("scope")?)?;
        let mut audiences: Vec<String> = Vec::new();
        for wanted in parameters.all("resource").chain(parameters.all("audience")) {
            let audience = client.audience(&[wanted])?;
            if !audiences.iter().any(|known| known == audience) {
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
    /// Who asks.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client.id()
    }

    /// The scopes it asks for, or gets by default; all of them are registered for it.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|name| !name.is_empty())
    }

    /// The APIs that it wants to use them at.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.audiences.iter().map(String::as_str)
    }

    /// Where the answer will go. Show the host of it where anybody can register clients.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.reply.redirect_uri
    }

    /// When the user proved who it is; told to APIs as `auth_time` (RFC 9068 §2.2.1).
    #[must_use]
    pub fn authenticated_at(self, time: SystemTime) -> Self {
        Self { authenticated_at: Some(time), ..self }
    }

    /// The user `subject` allows these scopes, of those that were [asked for](Self::scopes): sends the browser back with a code.
    ///
    /// What the client is told as `server_error`: a scope that was not asked for; a subject that is empty or the id of a
    /// client, as which its tokens would be taken for that client's own (RFC 9700 §4.15.1); trouble with the store.
    pub async fn approve<N: AsRef<str>>(
        self,
        subject: impl Into<String>,
        scopes: impl IntoIterator<Item = N>,
    ) -> Response<ResponseBody> {
        let names: Vec<N> = scopes.into_iter().collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let asked = |name: &str| self.scopes().any(|own| own == name);
        let scope = if names.is_empty() { Ok(String::new()) } else { subset(&names.join(" "), asked) };
        let issued = match scope {
            Ok(scope) => self.make_code(subject.into(), scope).await,
            Err(error) => Err(error),
        };
        match issued {
            Ok(code) => self.reply.send(&[("code", &code)]),
            Err(error) => {
                log::token_endpoint_failed(&error);
                let mut response = self.reply.error("server_error", "The server cannot answer this request");
                response.extensions_mut().insert(error);
                response
            }
        }
    }

    /// The user does not allow it: sends the browser back with `access_denied`.
    #[must_use]
    pub fn deny(self) -> Response<ResponseBody> {
        self.reply.error("access_denied", "The user did not allow it")
    }

    async fn make_code(&self, subject: String, scope: String) -> Result<String, TokenError> {
        let ServerState { authenticator, .. } = &*self.inner;
        if subject.is_empty() || authenticator.find(&subject).await?.is_some() {
            return Err(TokenError::unavailable(NoUser));
        }
        let now = unix_seconds(&*authenticator.clock);
        let code = draw().map_err(TokenError::unavailable)?;
        let (epoch, expires_at) = (SystemTime::UNIX_EPOCH, now + CODE_LIFETIME.as_secs());
        let record = CodeRecord {
            binding: binding(self.client.id(), self.redirect_uri.as_deref(), &self.challenge),
            family: Family {
                id: draw().map_err(TokenError::unavailable)?,
                client_id: self.client.id().to_owned(),
                credential: self.client.credential(),
                subject,
                scope,
                audiences: self.audiences.clone(),
                auth_time: self.authenticated_at.map(|at| at.duration_since(epoch).map_or(0, |since| since.as_secs())),
                expires_at: expires_at.saturating_add(self.inner.family_lifetime(&self.client).as_secs()),
            },
            expires_at,
        };
        authenticator.store.add_code(&TokenHash::of(&code), &record, now).await?;
        Ok(code)
    }
}

impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AuthorizationRequest");
        shown.field("client", &self.client.id()).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A request for a code that is no good, and what is to be answered.
///
/// If the client or the redirect URI is wrong, it is a page for the user with status 400, and nobody is sent anywhere
/// (RFC 6749 §4.1.2.1). Everything else is told to the client: the browser is sent back with `error`, `state` and `iss`.
pub struct AuthorizationError {
    code: &'static str,
    description: &'static str,
    reply: Option<Reply>,
}

impl AuthorizationError {
    fn for_the_user(description: &'static str) -> Self {
        Self { code: "invalid_request", description, reply: None }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    fn later(error: TokenError) -> Self {
        log::token_endpoint_failed(&error);
        Self { code: error.kind().name(), description: error.description(), reply: None }
    }

    /// The error's registered name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Where the browser is sent; nowhere if the user is to be told, for which a host may have a page of its own.
    #[must_use]
    pub fn redirect_uri(&self) -> Option<&str> {
        self.reply.as_ref().map(|reply| reply.redirect_uri.as_str())
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self) -> Response<ResponseBody> {
        if let Some(reply) = &self.reply {
            return reply.error(self.code, self.description);
        }
        let unavailable = self.code == "temporarily_unavailable";
        let status = if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST };
        let mut response = empty(status);
        *response.body_mut() = ResponseBody::from(bytes::Bytes::from_static(self.description.as_bytes()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl fmt::Display for AuthorizationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

impl fmt::Debug for AuthorizationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationError").field("code", &self.code).finish_non_exhaustive()
    }
}

impl std::error::Error for AuthorizationError {}

impl Reply {
    fn error(&self, code: &str, description: &str) -> Response<ResponseBody> {
        self.send(&[("error", code), ("error_description", description)])
    }

    /// With `state` as it came (RFC 6749 §4.1.2) and `iss` (RFC 9207 §2), in every answer.
    fn send(&self, parameters: &[(&str, &str)]) -> Response<ResponseBody> {
        let state = self.state.as_deref().map(|state| ("state", state));
        let parameters: Vec<_> = parameters.iter().copied().chain(state).chain([("iss", &*self.issuer)]).collect();
        redirect(&self.redirect_uri, &parameters)
    }
}

#[derive(Debug)]
struct NoUser;

impl fmt::Display for NoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the subject of an approval is empty or the id of a client")
    }
}

impl std::error::Error for NoUser {}

/// What a code is bound to (RFC 6749 §4.1.2, RFC 7636 §4.4).
pub(crate) fn binding(client_id: &str, redirect_uri: Option<&str>, challenge: &str) -> TokenHash {
    TokenHash::of_all(&["code", client_id, redirect_uri.unwrap_or_default(), challenge])
}

/// RFC 6749 §4.1.2 has ten minutes as the most; a browser needs a second.
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
