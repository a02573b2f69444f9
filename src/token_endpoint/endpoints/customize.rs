//! Calls the application's hook for the content of a token.
//!
//! *In*: what a token will say. *Out*: what the application adds, or its refusal. A hook that hangs or panics gets the request
//! 503, and nothing is written.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use http::HeaderMap;

use super::{ServerState, issue::TokenDemand};
use crate::token_endpoint::{
    client::Client,
    grant::Granted,
    http::error::TokenError,
    store::{SessionId, Timestamp},
    token_content::{ContentMistake, TokenContent},
};

/// A token that is about to be issued, for [`customize_tokens`](crate::token_endpoint::TokenEndpointBuilder::customize_tokens).
/// Cheap to clone.
#[derive(Clone)]
pub struct Issuance {
    inner: Arc<IssuanceFacts>,
}

struct IssuanceFacts {
    client: Arc<Client>,
    grant_type: String,
    subject: String,
    /// The scopes, separated by spaces; may be empty.
    scope: String,
    audience: String,
    issued_at: Timestamp,
    session: Option<SessionId>,
    headers: HeaderMap,
}

impl Issuance {
    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Returns `client_id`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.inner.client.id()
    }

    /// Returns the `grant_type` of the request.
    #[must_use]
    pub fn grant_type(&self) -> &str {
        &self.inner.grant_type
    }

    /// Returns `sub`: the client itself, or a user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.inner.subject
    }

    /// Returns `scope`: names separated by spaces; may be empty.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.inner.scope
    }

    /// Returns the names in [`scope`](Self::scope).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope().split(' ').filter(|name| !name.is_empty())
    }

    /// Returns `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.inner.audience
    }

    /// Returns `iat`.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        self.inner.issued_at.into()
    }

    /// Returns the session, if the token belongs to one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.inner.session
    }

    /// Returns the headers of the request. They may contain the client's secret.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.inner.headers
    }
}

impl fmt::Debug for Issuance {
    /// Shows neither the user nor the headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuance")
            .field("client", &self.client_id())
            .field("grant_type", &self.grant_type())
            .finish_non_exhaustive()
    }
}

pub(crate) type ContentFuture = Pin<Box<dyn Future<Output = Result<TokenContent, TokenError>> + Send>>;

/// The application's hook.
pub(crate) type Customize = Box<dyn Fn(Issuance) -> ContentFuture + Send + Sync>;

impl ServerState {
    /// Returns the decision with what the hook adds.
    pub(super) async fn customized(
        &self,
        hook: &Customize,
        demand: &TokenDemand<'_>,
        granted: Granted,
        issued_at: Timestamp,
    ) -> Result<Granted, TokenError> {
        let issuance = Issuance {
            inner: Arc::new(IssuanceFacts {
                client: Arc::clone(demand.client),
                grant_type: demand.grant_type.to_owned(),
                subject: granted.subject.clone(),
                scope: granted.scope.clone(),
                audience: granted.audience.clone(),
                issued_at,
                session: granted.write.session_id(),
                headers: demand.headers.clone(),
            }),
        };
        let mut added = self.in_time(hook, issuance).await?;
        added.check()?;
        let scope = added.narrowed(&granted.scope)?.unwrap_or(granted.scope);
        let content = Box::new(match granted.content {
            Some(content) => content.overlaid(added),
            None => added,
        });
        Ok(Granted { scope, content: Some(content), ..granted })
    }

    async fn in_time(&self, hook: &Customize, issuance: Issuance) -> Result<TokenContent, TokenError> {
        tokio::select! {
            biased;
            content = without_panic(hook, issuance) => content,
            () = async { self.services.clock.sleep(TIMEOUT).await } => {
                Err(TokenError::unavailable(ContentMistake::NoAnswer))
            }
        }
    }
}

/// Calls the hook. A panic is an error.
async fn without_panic(hook: &Customize, issuance: Issuance) -> Result<TokenContent, TokenError> {
    let panicked = || TokenError::unavailable(ContentMistake::Panicked);
    // The hook's own state may be broken by the panic, which the hook must expect; nothing here is.
    let mut running = catch_unwind(AssertUnwindSafe(|| hook(issuance))).map_err(|_| panicked())?;
    poll_fn(move |cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
    })
    .await
}

/// Time for the hook.
const TIMEOUT: Duration = Duration::from_secs(2);
