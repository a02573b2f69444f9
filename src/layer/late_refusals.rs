//! [`LateRefusals`]: refusals that a handler finds deep inside of a protocol of its own, such as MCP, JSON-RPC or GraphQL.
//!
//! *In*: the request's token, and a requirement that only the handler knows. *Out*: the evidence, or a refusal that replaces
//! the handler's response.
//!
//! An MCP tool or a GraphQL resolver can't choose the status of the HTTP response: its error becomes a part of a response with
//! status 200. Clients that would ask for more scopes look for 403 with a challenge (RFC 6750 §3.1). So the tool records its
//! refusal here, and when the head of the response comes back, [`OAuthLayer`](crate::OAuthLayer) puts the refusal in its place,
//! rendered like every other one.
//!
//! Nothing is parsed twice and no header is trusted: the check is made where the operation is, by the types that extractors use
//! too.
//!
//! *Not checked*: a tool that requires nothing is open to every accepted token. What a handler did before it recorded a refusal
//! is not undone, so let it check first. One refusal replaces the whole response, also the results of other operations in it.
//!
//! ```
//! # tower_oauth::scopes! { pub Admin = "admin"; }
//! # fn example(verifier: tower_oauth::JwtVerifier) {
//! use axum::{Router, routing::post};
//! use http::Extensions;
//! use tower_oauth::{AuthError, OAuthLayer, Scoped, layer::late_refusals::LateRefusals};
//!
//! fn wipe(_proof: &Scoped<Admin>) -> String {
//!     r#"{"result": "wiped"}"#.to_owned()
//! }
//!
//! // Answers each call with status 200, as JSON-RPC does.
//! async fn call(extensions: Extensions) -> String {
//!     match LateRefusals::of(&extensions).require::<Admin>() {
//!         Ok(admin) => wipe(&admin),
//!         Err(error) => format!(r#"{{"error": "{}"}}"#, error.description()), // the client gets 403 instead
//!     }
//! }
//!
//! let app: Router = Router::new().route("/rpc", post(call)).layer(OAuthLayer::new(verifier).late_refusals());
//! # }
//! ```
//!
//! # Requirements around a requirement
//!
//! A challenge names the scopes of its own requirement only, and a client may ask for exactly these. So a handler that is behind a
//! [`RequireScopesLayer`](super::require::RequireScopesLayer) or an extractor repeats their scopes: behind `orders:read` it requires
//! `(OrdersRead, OrdersWrite)`. With `OrdersWrite` alone, the layer would refuse the client's next token.
//!
//! # When the head has left
//!
//! A server that sends the head of its response before the operation runs can't change it any more. The operation is refused all the
//! same, and one log event and a metric say that the client didn't get the challenge (see
//! [`guide::operations`](crate::guide::operations)). A refusal that was recorded in time, but not sent because the service failed or the
//! client left, is logged and counted like every other one.

use std::{
    fmt, mem,
    panic::Location,
    sync::{Arc, Mutex},
};

use http::{Extensions, HeaderMap};

use super::verified_token::find_token;
use crate::{
    error::{AuthError, Reason},
    log::{self, MissingAt},
    role::{Role, in_role::InRole},
    scope::RequiredScopes,
    sync::lock,
    token::{Scoped, Token},
};

/// Checks the token of a request inside of a handler, and records the first refusal, which replaces the handler's response.
///
/// Cheap to clone. It can be moved into another task, and all clones record into the same request. It is an extractor for axum.
/// [`of`](Self::of) returns it without axum, such as from the extensions of a tonic request.
#[doc(alias("MCP", "GraphQL"))]
#[derive(Clone)]
pub struct LateRefusals {
    recorder: Option<RefusalRecorder>,
    token: Result<Token, AuthError>,
}

impl LateRefusals {
    /// Returns the refusals of the request with these extensions.
    ///
    /// Without [`late_refusals`](crate::OAuthLayer::late_refusals) on the route, every check refuses as
    /// [`MissingLayer`](crate::error::AuthErrorKind::MissingLayer), and the mistake is logged with the place of this call.
    #[must_use]
    #[track_caller]
    pub fn of(extensions: &Extensions) -> Self {
        Self::find(extensions, MissingAt::Caller(Location::caller()))
    }

    /// Returns the refusals of the request. Reports a missing layer with this place.
    pub(crate) fn find(extensions: &Extensions, place: MissingAt<'_>) -> Self {
        let recorder = extensions.get::<RefusalRecorder>().cloned();
        let token = match &recorder {
            Some(_) => find_token(extensions).cloned(),
            None => Err(Reason::MissingLayer.into()),
        };
        if let Err(error) = &token
            && !error.is_missing_credentials()
        {
            log::late_refusals_missing(error, place);
        }
        Self { recorder, token }
    }

    /// Returns the refusal of every check, if the route lacks the layer.
    #[cfg(feature = "axum")]
    pub(crate) fn missing_layer(&self) -> Option<AuthError> {
        let error = self.token.as_ref().err()?;
        (!error.is_missing_credentials()).then(|| error.clone())
    }

    /// Returns evidence that the token grants `S`, as [`Token::require`](crate::Token::require) does.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`InsufficientScope`](crate::error::AuthErrorKind::InsufficientScope), which is
    /// 403. The error is recorded.
    pub fn require<S: RequiredScopes>(&self) -> Result<Scoped<S>, AuthError> {
        self.check(Token::require)
    }

    /// Returns evidence that the token's subject has the role `R`, as [`Token::require_role`](crate::Token::require_role) does.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`InsufficientScope`](crate::error::AuthErrorKind::InsufficientScope), which is
    /// 403. The error is recorded.
    pub fn require_role<R: Role>(&self) -> Result<InRole<R>, AuthError> {
        self.check(Token::require_role)
    }

    /// Returns what `check` returns for the token, and records its error.
    ///
    /// ```
    /// # use tower_oauth::{layer::late_refusals::LateRefusals, step_up::StepUp};
    /// use tower_oauth::{AuthError, UserToken};
    ///
    /// fn transfer(refusals: &LateRefusals, recent: &StepUp) -> Result<(), AuthError> {
    ///     let user = refusals.check(|token| UserToken::try_from(token.clone()))?;
    ///     refusals.check(|token| recent.check(token))?;
    ///     refusals.check(|token| {
    ///         let member = token.groups().iter().any(|group| group == "traders");
    ///         if member { Ok(()) } else { Err(AuthError::forbidden("Only traders transfer money")) }
    ///     })?;
    ///     println!("{:?} transfers", user.subject());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// That of `check`, or why there is no token: [`MissingCredentials`](crate::error::AuthErrorKind::MissingCredentials) for a
    /// request that [`allow_anonymous`](crate::OAuthLayer::allow_anonymous) let pass, and
    /// [`MissingLayer`](crate::error::AuthErrorKind::MissingLayer). The first error of a request is recorded.
    pub fn check<T>(&self, check: impl FnOnce(&Token) -> Result<T, AuthError>) -> Result<T, AuthError> {
        let checked = self.token.as_ref().map_err(AuthError::clone).and_then(check);
        if let (Err(error), Some(recorder)) = (&checked, &self.recorder) {
            recorder.record(error);
        }
        checked
    }
}

impl fmt::Debug for LateRefusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateRefusals").finish_non_exhaustive()
    }
}

/// In a request's extensions: where a refusal is recorded until the head of the response comes back.
#[derive(Clone, Default)]
struct RefusalRecorder(Arc<Mutex<RecorderState>>);

#[derive(Default)]
enum RecorderState {
    #[default]
    Open,
    Refused(AuthError),
    /// The head of another response was returned.
    HeadSent,
    /// The refusal was returned, or one that came too late was logged.
    Settled,
}

impl RefusalRecorder {
    /// Records a refusal, if it is the first of its request.
    fn record(&self, error: &AuthError) {
        let mut state = lock(&self.0);
        match *state {
            RecorderState::Open => *state = RecorderState::Refused(error.clone()),
            RecorderState::HeadSent => {
                *state = RecorderState::Settled;
                drop(state);
                log::refused_too_late(error);
            }
            RecorderState::Refused(_) | RecorderState::Settled => {}
        }
    }

    /// Returns the recorded refusal. A later one comes too late.
    fn close(&self) -> Option<AuthError> {
        let mut state = lock(&self.0);
        let (next, refused) = match mem::take(&mut *state) {
            RecorderState::Refused(error) => (RecorderState::Settled, Some(error)),
            RecorderState::Settled => (RecorderState::Settled, None),
            RecorderState::Open | RecorderState::HeadSent => (RecorderState::HeadSent, None),
        };
        *state = next;
        refused
    }
}

/// The recorder of a request whose response was not returned yet. If that never happens, because the service failed or the client
/// left, a recorded refusal is logged and counted when this is dropped.
pub(crate) struct PendingRecorder(RefusalRecorder);

impl PendingRecorder {
    /// Puts a recorder into a request's extensions.
    pub(super) fn insert_into(extensions: &mut Extensions) -> Self {
        let recorder = RefusalRecorder::default();
        extensions.insert(recorder.clone());
        Self(recorder)
    }

    /// Returns the recorded refusal. A later one comes too late.
    pub(super) fn close(&self) -> Option<AuthError> {
        self.0.close()
    }
}

impl Drop for PendingRecorder {
    fn drop(&mut self) {
        if let Some(error) = self.close() {
            log::request_refused(&error);
        }
    }
}

/// Removes the headers that are about the content of a response that a refusal replaces.
pub(super) fn remove_content_headers(headers: &mut HeaderMap) {
    for name in ABOUT_THE_CONTENT {
        headers.remove(name);
    }
}

/// The headers that describe the replaced content, say how long a cache may store it, name another URL, or open another protocol.
const ABOUT_THE_CONTENT: [&str; 27] = [
    "accept-ranges",
    "age",
    "cache-control",
    "connection",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "last-modified",
    "location",
    "repr-digest",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
