//! A request with credentials, for tests of a [`Verify`] implementation.
//!
//! *In*: a token and a request head. *Out*: the [`PresentedToken`] that a verifier gets, and its verdict.

use std::fmt;

use http::{HeaderName, HeaderValue, Request, Uri, request::Parts};

use crate::{
    credentials::{AcceptedMethods, Credentials},
    error::AuthError,
    token::Token,
    verify::{BearerMethod, PresentedToken, Verify},
};

/// A request with credentials, for unit tests of a [`Verify`] implementation.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_oauth::{
///     AuthError,
///     testing::TestRequest,
///     verify::{PresentedToken, Verdict, Verify},
/// };
///
/// /// Accepts a fixed token for each tenant.
/// struct Tenants;
///
/// impl Verify for Tenants {
///     fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
///         let tenant = presented.parts().headers.get("x-tenant");
///         Verdict::Now(match tenant {
///             Some(tenant) if presented.token() == "acme-token" && tenant == "acme" => {
///                 presented.permit().token(&serde_json::json!({"sub": "acme"}))
///             }
///             _ => Err(AuthError::invalid_token()),
///         })
///     }
/// }
///
/// let request = TestRequest::new("acme-token").header("x-tenant", "acme");
/// assert_eq!(request.verify(&Tenants).await.unwrap().subject(), Some("acme"));
/// let request = TestRequest::new("acme-token").header("x-tenant", "other");
/// assert_eq!(request.verify(&Tenants).await.unwrap_err().reason(), "refused_by_verifier");
/// # }
/// ```
#[must_use]
pub struct TestRequest {
    token: String,
    method: BearerMethod,
    parts: Parts,
}

impl TestRequest {
    /// Returns a `GET /` request whose `Authorization` header has this token.
    pub fn new(token: impl Into<String>) -> Self {
        let (parts, ()) = Request::new(()).into_parts();
        Self { token: token.into(), method: BearerMethod::Authorization, parts }
    }

    /// Sets the bearer method that the verifier sees.
    pub fn bearer_method(self, method: BearerMethod) -> Self {
        Self { method, ..self }
    }

    /// Adds a header.
    ///
    /// # Panics
    /// The name or the value is not valid in a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.parts.headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// Sets the URI.
    ///
    /// # Panics
    /// The text is not a URI.
    pub fn uri(mut self, uri: &str) -> Self {
        self.parts.uri = uri.parse::<Uri>().expect("a URI");
        self
    }

    /// Calls `check` with the [`PresentedToken`] that a verifier gets, for tests of [`Verify::verify_if_responsible`] or [`Verify::cache_key`].
    ///
    /// # Panics
    /// The token is empty or has characters that no request can carry (RFC 6750 §2.1).
    pub fn with_presented<T>(&self, check: impl FnOnce(&PresentedToken<'_>) -> T) -> T {
        let accepted = AcceptedMethods { max_token_bytes: usize::MAX, ..AcceptedMethods::default() };
        let credentials =
            Credentials::sent_by(BearerMethod::Direct, &self.token, &accepted).expect("a b64token (RFC 6750 §2.1)");
        check(&PresentedToken::new(credentials.with_bearer_method(self.method), &self.parts))
    }

    /// Returns the verdict of a verifier.
    ///
    /// # Errors
    /// Those of the verifier.
    ///
    /// # Panics
    /// Like [`with_presented`](Self::with_presented).
    pub async fn verify(&self, verifier: &(impl Verify + ?Sized)) -> Result<Token, AuthError> {
        let verdict = self.with_presented(|presented| verifier.verify(presented));
        verdict.resolve().await
    }
}

impl fmt::Debug for TestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest").field("method", &self.method).finish_non_exhaustive()
    }
}
