//! Streams and sockets that end with their token.
//!
//! *In*: an accepted request behind [`OAuthLayer::token_lifetimes`](crate::OAuthLayer::token_lifetimes). *Out*: a future that
//! is ready when the token ends.
//!
//! The layer checks a token once, when the request begins. A response that lasts longer than the token (server-sent events, a
//! WebSocket, a gRPC stream) has to end by itself: at `exp` (RFC 9068 §2.2), or when the issuer has revoked the token.
//! [`TokenLifetime`] reports both, and lets a client renew the token of a stream that goes on.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use tower_oauth::testing::MockIssuer;
//! # let verifier = MockIssuer::new("https://auth.test").verifier("https://api.test");
//! use std::{convert::Infallible, time::Duration};
//!
//! use axum::{
//!     Router,
//!     extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
//!     response::{IntoResponse, Response, Sse, sse::Event},
//!     routing::{any, get},
//! };
//! use futures_util::{StreamExt as _, stream};
//! use tokio::time::timeout;
//! use tower_oauth::{OAuthLayer, ResourceServer, lifetime::TokenLifetime};
//!
//! /// Server-sent events until the token ends. Its issuer is asked again each minute.
//! async fn events(lifetime: TokenLifetime) -> impl IntoResponse {
//!     let events = stream::repeat_with(|| Ok::<_, Infallible>(Event::default().data("tick")));
//!     Sse::new(events.take_until(lifetime.recheck_every(Duration::from_secs(60)).ended()))
//! }
//!
//! /// A WebSocket until the token ends. Each message is a new token.
//! async fn socket(upgrade: WebSocketUpgrade, lifetime: TokenLifetime) -> Response {
//!     upgrade.on_upgrade(async move |mut socket: WebSocket| {
//!         let end = tokio::select! {
//!             end = lifetime.ended() => end,
//!             () = talk(&mut socket, &lifetime) => return,
//!         };
//!         let close = CloseFrame { code: close_code::POLICY, reason: end.description().into() };
//!         // A client that doesn't read must not hold the socket.
//!         drop(timeout(Duration::from_secs(1), socket.send(Message::Close(Some(close)))).await);
//!     })
//! }
//!
//! async fn talk(socket: &mut WebSocket, lifetime: &TokenLifetime) {
//!     while let Some(Ok(Message::Text(token))) = socket.recv().await {
//!         let answer = lifetime.renew(&token).await.map_or_else(|error| error.description(), |()| "renewed");
//!         drop(socket.send(answer.into()).await);
//!     }
//! }
//!
//! let server = ResourceServer::builder(verifier).accept_websocket_protocol("bearer").build()?;
//! let streams: Router = Router::new()
//!     .route("/events", get(events))
//!     .route("/socket", any(socket)) // over HTTP/2 the method is CONNECT
//!     .layer(OAuthLayer::from_server(server).token_lifetimes());
//! # Ok(()) }
//! ```
//!
//! Let the future [`ended`](TokenLifetime::ended) compete with the whole conversation, as above, not with each message: a
//! client that doesn't read its messages can't delay the end then. Limit the time for the close frame too, as above: without a
//! limit such a client holds the socket.
//!
//! What is *not* done: a stream that nothing compares with its lifetime doesn't end.

mod current;

use std::{
    fmt,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, Request, request::Parts};

use self::current::{LifetimeState, NextStep};
use crate::{
    credentials::{BearerMethod, FormTokens},
    error::{AuthError, Reason},
    log::{self, MissingAt},
    server::{Anonymous, ResourceServer},
    token::Token,
};

/// The lifetime of the token that a request was accepted with. All clones have the same token. See the
/// [module docs](crate::lifetime) for an example.
///
/// It is an extractor for axum. [`of`](Self::of) returns it without axum, such as from the extensions of a tonic request.
///
/// It contains the token, which `Debug` doesn't show and which is overwritten with zeros when the last clone is dropped; and
/// the head of the request, for verifiers that read it, without the headers that the server reads credentials from and without
/// tokens in subprotocols and in the query. The extensions of the request are copied as they are, so a URL that the application has
/// put there, such as axum's `OriginalUri`, still has the token of a query.
#[doc(alias("WebSocket", "SSE"))]
#[derive(Clone)]
pub struct TokenLifetime {
    state: Arc<LifetimeState>,
    recheck: Option<Duration>,
}

/// Why a [`TokenLifetime`] ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Ended {
    /// The time in `exp` has passed.
    Expired,
    /// The verifier was asked again and refused the token, because it was revoked, for example.
    Refused(AuthError),
}

impl TokenLifetime {
    /// Returns the lifetime of a request's token, from the request's extensions.
    ///
    /// # Errors
    /// [`MissingCredentials`](crate::error::AuthErrorKind::MissingCredentials) if the layer let the request pass without
    /// credentials, [`MissingLayer`](crate::error::AuthErrorKind::MissingLayer) if the request did not pass a layer with
    /// [`token_lifetimes`](crate::OAuthLayer::token_lifetimes). The log then says what to change, with the place of this call.
    #[track_caller]
    pub fn of(extensions: &Extensions) -> Result<Self, AuthError> {
        Self::find(extensions, MissingAt::Caller(Location::caller()))
    }

    /// Verifies a token that did not come in an HTTP request, and returns its lifetime: for a WebSocket whose first message is
    /// the token.
    ///
    /// # Errors
    /// Those of [`ResourceServer::authenticate_token`](crate::ResourceServer::authenticate_token).
    pub async fn authenticate(server: &ResourceServer, token: &str) -> Result<Self, AuthError> {
        let verified = server.authenticate_token(token).await?;
        let (head, ()) = Request::new(()).into_parts();
        let state = LifetimeState::new(server.clone(), head, BearerMethod::Direct, token, verified);
        Ok(Self { state: Arc::new(state), recheck: None })
    }

    /// Also asks the verifier again, at this interval while [`ended`](Self::ended) is awaited. An interval below one second is
    /// one second. Default: the verifier is not asked again, so a revoked token ends at `exp`.
    ///
    /// The verifier is that of the server, so behind [`Cached`](crate::Cached) a revoked token ends only when its cached
    /// verdict is too old as well. A token that could not be checked
    /// ([`Unavailable`](crate::error::AuthErrorKind::Unavailable)) doesn't end, and is checked again after the next interval. A
    /// token that lacks a scope which it had is refused.
    #[must_use]
    pub fn recheck_every(self, interval: Duration) -> Self {
        Self { recheck: Some(interval.max(MIN_RECHECK)), ..self }
    }

    /// Returns a future that is ready when the token has ended: exactly at its `exp`, by the clock of the server, or when the
    /// verifier refuses it. The verifier's leeway doesn't count: a request is accepted for that much longer, but a token that
    /// was accepted within the leeway has ended already: a browser's `EventSource` that reconnects with its old token gets streams
    /// that end at once, and 401 after the leeway. A token without `exp` doesn't end by time.
    ///
    /// The time of a suspended machine counts. Its end is then noticed within 30 s.
    ///
    /// The future can be dropped at any time, and made again: checks and times go on. With [`SystemClock`](crate::clock::SystemClock) it
    /// needs tokio's timer (`enable_time`).
    pub fn ended(&self) -> EndedFuture {
        let (state, recheck) = (Arc::clone(&self.state), self.recheck);
        EndedFuture(Box::pin(async move {
            let mut changes = state.subscribe();
            loop {
                match state.next_step(recheck) {
                    NextStep::End(ended) => return ended,
                    NextStep::Check => LifetimeState::check_again(&state).await,
                    NextStep::Wait(None) => drop(changes.changed().await),
                    NextStep::Wait(Some(time)) => tokio::select! {
                        _ = changes.changed() => {}
                        () = state.sleep(time) => {}
                    },
                }
            }
        }))
    }

    /// Replaces the token by a new one of the same issuer, subject and client, with at least the same scopes. Its `exp` is the
    /// new end, for all clones.
    ///
    /// So evidence of a scope or of a user remains true. Roles and other claims are not compared; [`token`](Self::token)
    /// returns the new ones. The token can be renewed also after its end, as long as the application keeps the stream. If the
    /// future is dropped before it is ready, nothing changes.
    ///
    /// # Errors
    /// The new token is refused by the verifier, could not be checked, has another `iss`, `sub` or `client_id` (reason
    /// `other_identity`), or lacks a scope. If the verifier finds no client in the token, `azp`, `appid`, `cid` and `clientId` are compared
    /// instead. Then nothing changes.
    pub async fn renew(&self, token: &str) -> Result<(), AuthError> {
        let renewed = self.state.renew(token).await;
        renewed.inspect_err(|error| log::lifetime_refused("renewal", error))
    }

    /// Returns the current token: the one that the request was accepted with, or its renewal.
    #[must_use]
    pub fn token(&self) -> Token {
        self.state.token()
    }

    /// Returns the lifetime of a token that `server` has just accepted. `None` if the request has no credentials.
    pub(crate) fn of_request(
        server: &ResourceServer,
        parts: &Parts,
        form: Option<&FormTokens>,
        token: &Token,
    ) -> Option<Self> {
        let credentials = server.read_credentials(parts, form).ok()?;
        let mut head = server.head_without_credentials(parts);
        head.extensions.remove::<FormTokens>();
        // That of a layer further out.
        head.extensions.remove::<Self>();
        let (method, text) = (credentials.bearer_method(), credentials.token());
        let state = LifetimeState::new(server.clone(), head, method, text, token.clone());
        Some(Self { state: Arc::new(state), recheck: None })
    }

    /// Like [`of`](Self::of), with this place for the log.
    pub(crate) fn find(extensions: &Extensions, place: MissingAt<'_>) -> Result<Self, AuthError> {
        match (extensions.get::<Token>(), extensions.get::<Self>()) {
            // If they differ, a layer further in accepted another token.
            (Some(token), Some(lifetime)) if lifetime.state.began_with(token) => Ok(lifetime.clone()),
            (None, _) if extensions.get::<Anonymous>().is_some() => Err(Reason::NoCredentials.into()),
            (None, _) => {
                let error = Reason::MissingLayer.into();
                log::layer_missing(&error, place);
                Err(error)
            }
            (Some(_), _) => {
                let found = "an OAuthLayer without token_lifetimes";
                let change = "call token_lifetimes() on the OAuthLayer of this route";
                let error = Reason::MissingLayer.because(found, "one with token_lifetimes", change);
                log::lifetimes_missing(&error, place);
                Err(error)
            }
        }
    }
}

impl Ended {
    /// Returns a fixed text for the client, for a close frame or a gRPC status.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match self {
            Self::Expired => AuthError::from(Reason::Expired).description(),
            Self::Refused(error) => error.description(),
        }
    }
}

impl From<Ended> for AuthError {
    /// Returns the error of a request with this token: its description, its reason and its gRPC code are those of the end.
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Expired => Reason::Expired.into(),
            Ended::Refused(error) => error,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl fmt::Debug for TokenLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLifetime").field("recheck", &self.recheck).finish_non_exhaustive()
    }
}

/// The future of [`TokenLifetime::ended`].
#[must_use = "futures do nothing unless polled"]
pub struct EndedFuture(Pin<Box<dyn Future<Output = Ended> + Send>>);

impl Future for EndedFuture {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for EndedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedFuture").finish_non_exhaustive()
    }
}

const MIN_RECHECK: Duration = Duration::from_secs(1);
