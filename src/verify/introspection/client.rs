//! How we prove to the authorization server who asks (RFC 7662 §2.1, RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2).

use std::{fmt, sync::Arc, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;
use serde_json::json;

use crate::{claims::NumericDate, config_error::MistakeCollector, fetch::FetchError, jws::random, keys::PrivateKey};

/// How this API authenticates itself at the introspection endpoint (RFC 7662 §2.1). Its `Debug` hides the secret.
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
    PrivateKeyJwt { id: String, key: Arc<PrivateKey> },
    Bearer { token: Arc<dyn Fn() -> String + Send + Sync> },
    Tls { id: String },
}

/// How long an assertion is good.
const ASSERTION_SECONDS: i64 = 60;

impl ClientAuthentication {
    /// `client_secret_basic`: id and secret in the `Authorization` header, form-encoded first (RFC 6749 §2.3.1).
    pub fn secret_basic(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { method: AuthenticationMethod::SecretBasic { id: id.into(), secret: secret.into() } }
    }

    /// `client_secret_post`: id and secret in the body, for servers that don't read the header.
    pub fn secret_post(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { method: AuthenticationMethod::SecretPost { id: id.into(), secret: secret.into() } }
    }

    /// `private_key_jwt`: an assertion signed with our own key, for one minute and one use, with the issuer as its only
    /// audience (RFC 7523 §3, RFC 7523bis).
    #[must_use]
    pub fn private_key_jwt(id: impl Into<String>, key: PrivateKey) -> Self {
        Self { method: AuthenticationMethod::PrivateKeyJwt { id: id.into(), key: Arc::new(key) } }
    }

    /// An access token of our own (RFC 7662 §2.1). It is asked for at each question, so it may be renewed meanwhile.
    pub fn bearer(token: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { method: AuthenticationMethod::Bearer { token: Arc::new(token) } }
    }

    /// `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2): the certificate is presented by the
    /// [`Fetch`](crate::fetch::Fetch) that the verifier is given; the body names the client.
    pub fn tls(id: impl Into<String>) -> Self {
        Self { method: AuthenticationMethod::Tls { id: id.into() } }
    }

    /// Our `client_id`, where the method has one.
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
            mistakes.add("client", "the id is empty", "give the client id that the server knows this API by");
        }
        if let AuthenticationMethod::SecretBasic { secret, .. } | AuthenticationMethod::SecretPost { secret, .. } =
            &self.method
            && secret.is_empty()
        {
            mistakes.add("client", "the secret is empty", "give the secret of this client");
        }
    }

    /// Adds to the form what belongs there, and gives the `Authorization` header, if there is to be one.
    pub(super) fn authenticate(
        &self,
        form: &mut Serializer<'_, String>,
        issuer: &str,
        now: SystemTime,
    ) -> Result<Option<HeaderValue>, FetchError> {
        match &self.method {
            AuthenticationMethod::SecretBasic { id, secret } => {
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
                return secret_header("Basic", &pair).map(Some);
            }
            AuthenticationMethod::Bearer { token } => return secret_header("Bearer", &token()).map(Some),
            AuthenticationMethod::SecretPost { id, secret } => {
                form.append_pair("client_id", id).append_pair("client_secret", secret);
            }
            AuthenticationMethod::PrivateKeyJwt { id, key } => {
                form.append_pair("client_id", id)
                    .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .append_pair("client_assertion", &assertion(id, key, issuer, now)?);
            }
            AuthenticationMethod::Tls { id } => {
                form.append_pair("client_id", id);
            }
        }
        Ok(None)
    }
}

fn secret_header(scheme: &str, credentials: &str) -> Result<HeaderValue, FetchError> {
    let value = HeaderValue::try_from(format!("{scheme} {credentials}"));
    let mut value = value.map_err(|_| FetchError::new("our own credentials are not text that a header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 7523 §3. A `jti` of 128 random bits, so that it may be used once.
fn assertion(id: &str, key: &PrivateKey, issuer: &str, now: SystemTime) -> Result<String, FetchError> {
    let failed = |what: &str| FetchError::new(format!("our own assertion could not be signed: {what}"));
    let jti = STANDARD.encode(random::<16>().map_err(|_| failed("there is no randomness"))?);
    let NumericDate(now) = NumericDate::of(now);
    #[expect(clippy::cast_possible_truncation, reason = "a date of our own clock")]
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
