//! Authenticates this API to the authorization server (RFC 7662 §2.1, RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2).
//!
//! *In*: the client's credentials. *Out*: a header or members of the form, for one request.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::byte_serialize;
use http::HeaderValue;
use serde_json::json;

use crate::{
    claims::NumericDate, clock::Moment, config_error::MistakeCollector, fetch::FetchError, jws::random,
    keys::PrivateKey, sync::lock,
};

/// Method and credentials for the introspection endpoint (RFC 7662 §2.1), where this API is a client. `Debug` hides the
/// secret.
///
/// ```
/// use tower_oauth::verify::ClientAuthentication;
///
/// let client = ClientAuthentication::secret_basic("orders-api", "correct horse battery staple");
/// assert!(!format!("{client:?}").contains("horse"));
/// ```
#[derive(Clone)]
pub struct ClientAuthentication {
    method: AuthenticationMethod,
}

#[derive(Clone)]
enum AuthenticationMethod {
    SecretBasic { id: String, secret: String },
    SecretPost { id: String, secret: String },
    PrivateKeyJwt { id: String, key: Arc<PrivateKey>, reused: Option<Arc<ReusedAssertion>> },
    Bearer { source: Arc<dyn TokenSource> },
    Tls { id: String },
}

impl ClientAuthentication {
    /// `client_secret_basic`: sends id and secret in the `Authorization` header, form-encoded first (RFC 6749 §2.3.1).
    pub fn secret_basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { method: AuthenticationMethod::SecretBasic { id: id.into(), secret: secret.into() } }
    }

    /// `client_secret_post`: sends id and secret in the body, for servers that don't read the header.
    pub fn secret_post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { method: AuthenticationMethod::SecretPost { id: id.into(), secret: secret.into() } }
    }

    /// `private_key_jwt`: sends an assertion that is signed with this API's own key. Each assertion is valid for 60 s and one
    /// use, and its only audience is the issuer (RFC 7523 §3, RFC 7523bis). It is signed only for a request that is sent, after
    /// the limit of concurrent calls. `HttpClient` never repeats such a request, so a token gets 503 if the
    /// server closes an idle connection at the moment at which the request is sent. See also
    /// [`with_reused_assertions`](Self::with_reused_assertions).
    #[must_use]
    pub fn private_key_jwt(id: impl Into<String>, key: PrivateKey) -> Self {
        Self { method: AuthenticationMethod::PrivateKeyJwt { id: id.into(), key: Arc::new(key), reused: None } }
    }

    /// Sends each assertion of [`private_key_jwt`](Self::private_key_jwt) for 30 s, instead of signing one for each request.
    /// Changes nothing for the other methods.
    ///
    /// A client can cause introspection requests with made-up tokens, and an RSA signature takes about a millisecond. Use this only if the
    /// server accepts an assertion more than once: OpenID Connect Core §9 requires that both sides agreed on it. A server
    /// that accepts each `jti` once, such as npm's oidc-provider, rejects every request but the first.
    #[must_use]
    pub fn with_reused_assertions(mut self) -> Self {
        if let AuthenticationMethod::PrivateKeyJwt { reused, .. } = &mut self.method {
            *reused = Some(Arc::default());
        }
        self
    }

    /// Sends an access token of this API's own (RFC 7662 §2.1).
    ///
    /// `source` is called for each introspection request, so it should cache its token. Its duration counts towards the
    /// deadline of the introspection, 5 s. If it fails, this API responds with 503, as after a failed introspection.
    ///
    /// ```
    /// use tower_oauth::verify::ClientAuthentication;
    ///
    /// let client = ClientAuthentication::bearer(|| async { Ok("an access token for the introspection endpoint".to_owned()) });
    /// # let _ = client;
    /// ```
    pub fn bearer<F>(source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, FetchError>> + Send + 'static,
    {
        Self { method: AuthenticationMethod::Bearer { source: Arc::new(source) } }
    }

    /// `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2): sends the client's id in the body. The
    /// [`Fetch`](crate::fetch::Fetch) of the verifier must present the certificate.
    pub fn tls(id: impl Into<String>) -> Self {
        Self { method: AuthenticationMethod::Tls { id: id.into() } }
    }

    /// Returns our `client_id`, if the method has one.
    pub(super) fn client_id(&self) -> Option<&str> {
        match &self.method {
            AuthenticationMethod::SecretBasic { id, .. }
            | AuthenticationMethod::SecretPost { id, .. }
            | AuthenticationMethod::PrivateKeyJwt { id, .. }
            | AuthenticationMethod::Tls { id } => Some(id),
            AuthenticationMethod::Bearer { .. } => None,
        }
    }

    pub(super) fn check(&self, mistakes: &mut MistakeCollector) {
        if self.client_id().is_some_and(str::is_empty) {
            mistakes.add("client", "the id is empty", "give the client id of this API at the server");
        }
        if let AuthenticationMethod::SecretBasic { secret, .. } | AuthenticationMethod::SecretPost { secret, .. } =
            &self.method
            && secret.is_empty()
        {
            mistakes.add("client", "the secret is empty", "give the secret of this client");
        }
    }

    /// Returns what proves to the server that a request comes from us.
    pub(super) async fn authenticate(&self, issuer: &str, now: Moment) -> Result<ClientProof, FetchError> {
        let mut proof = ClientProof::default();
        match &self.method {
            AuthenticationMethod::SecretBasic { id, secret } => {
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
                proof.authorization = Some(secret_header("Basic", &pair)?);
            }
            AuthenticationMethod::SecretPost { id, secret } => {
                proof.add("client_id", id);
                proof.add("client_secret", secret);
            }
            AuthenticationMethod::PrivateKeyJwt { id, key, reused } => {
                proof.add("client_id", id);
                proof.single_use = reused.is_none();
                proof.add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                let sign = || assertion(id, key, issuer, now.time_of_day());
                proof.add(
                    "client_assertion",
                    reused.as_ref().map_or_else(sign, |reused| reused.get(issuer, now, sign))?,
                );
            }
            AuthenticationMethod::Bearer { source } => {
                proof.authorization = Some(secret_header("Bearer", &source.fetch_token().await?)?);
            }
            AuthenticationMethod::Tls { id } => proof.add("client_id", id),
        }
        Ok(proof)
    }
}

/// An assertion that is sent more than once, and its issuer. Clones of the credentials may be used for several issuers.
#[derive(Default)]
struct ReusedAssertion(Mutex<HashMap<Box<str>, (String, Moment)>>);

impl ReusedAssertion {
    fn get(
        &self,
        issuer: &str,
        now: Moment,
        sign: impl FnOnce() -> Result<String, FetchError>,
    ) -> Result<String, FetchError> {
        let mut signed = lock(&self.0);
        if let Some((assertion, _)) = signed.get(issuer).filter(|(_, signed)| signed.age(&now) < REUSED_FOR) {
            return Ok(assertion.clone());
        }
        let assertion = sign()?;
        signed.insert(issuer.into(), (assertion.clone(), now));
        Ok(assertion)
    }
}

/// The parts of a request that authenticate the client.
#[derive(Default)]
pub(super) struct ClientProof {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) form: Vec<(&'static str, String)>,
    /// True if the server may accept it only once.
    pub(super) single_use: bool,
}

impl ClientProof {
    fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.form.push((name, value.into()));
    }
}

/// The closure of [`ClientAuthentication::bearer`].
trait TokenSource: Send + Sync {
    fn fetch_token(&self) -> Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send>>;
}

impl<S, F> TokenSource for S
where
    S: Fn() -> F + Send + Sync,
    F: Future<Output = Result<String, FetchError>> + Send + 'static,
{
    fn fetch_token(&self) -> Pin<Box<dyn Future<Output = Result<String, FetchError>> + Send>> {
        Box::pin(self())
    }
}

fn secret_header(scheme: &str, credentials: &str) -> Result<HeaderValue, FetchError> {
    let value = HeaderValue::try_from(format!("{scheme} {credentials}"));
    let mut value = value
        .map_err(|_| FetchError::new("this API's client credentials have characters that a header can't carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Signs a client assertion (RFC 7523 §3). The `jti` has 128 random bits, so that the server can accept each assertion only
/// once.
fn assertion(id: &str, key: &PrivateKey, issuer: &str, now: SystemTime) -> Result<String, FetchError> {
    let failed = |what: &str| FetchError::new(format!("the client assertion could not be signed: {what}"));
    let jti = STANDARD.encode(random::<16>().map_err(|_| failed("no random bytes"))?);
    let NumericDate(now) = NumericDate::of(now);
    #[expect(clippy::cast_possible_truncation, reason = "a date of our clock")]
    let now = now as i64;
    let claims = json!({"iss": id, "sub": id, "aud": issuer, "jti": jti, "iat": now, "exp": now.saturating_add(ASSERTION_SECONDS)});
    key.sign_jws("client-authentication+jwt", &claims).map_err(|error| failed(&error.to_string()))
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match &self.method {
            AuthenticationMethod::SecretBasic { .. } => "client_secret_basic",
            AuthenticationMethod::SecretPost { .. } => "client_secret_post",
            AuthenticationMethod::PrivateKeyJwt { .. } => "private_key_jwt",
            AuthenticationMethod::Bearer { .. } => "bearer",
            AuthenticationMethod::Tls { .. } => "tls_client_auth",
        };
        f.debug_struct("ClientAuthentication")
            .field("method", &method)
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}

/// How long a reused assertion is sent: half of its validity, so that the difference of the clocks doesn't matter.
const REUSED_FOR: Duration = Duration::from_secs(30);
/// Validity of an assertion, in seconds.
const ASSERTION_SECONDS: i64 = 60;
