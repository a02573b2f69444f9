//! Authenticates clients (RFC 6749 §2.3, RFC 7523 §3, draft-ietf-oauth-rfc7523bis).
//!
//! *In*: a request's headers and parameters. *Out*: the client, or a refusal that doesn't reveal its cause.
//!
//! A response doesn't reveal whether a `client_id` exists: an unknown one is refused with the same text, after the same work
//! and the same number of attempts as a wrong secret. Whether the client may use a grant is not checked here.

use std::{borrow::Cow, sync::Arc};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, header};

use super::{
    Client, ClientCredential,
    peer::Peer,
    registry::LookupPurpose,
    secret::{ClientSecret, SecretHash},
    throttle::Throttle,
};
use crate::{
    claims::{ClaimNames, Facts, TokenOrigin},
    config_error::ConfigError,
    jws::{Compact, HeaderBuffer, JoseHeader, SignatureAlgorithm},
    keys::KeySet,
    token_endpoint::{
        events::{Event, EventKind},
        http::{
            error::{TokenError, TokenErrorKind},
            request::{Parameters, decode},
        },
        services::Services,
        store::{Seen, Timestamp},
    },
};

/// Authenticates the clients of one token endpoint.
pub(crate) struct Authenticator {
    pub(crate) throttle: Throttle,
    /// The accepted values of `aud` in assertions.
    pub(crate) audiences: Vec<String>,
    pub(crate) decoy: Decoy,
}

/// Credentials for the check of an unknown client, so that the check takes as long as that of a registered one.
pub(crate) struct Decoy {
    secret: ClientSecret,
    keys: KeySet,
}

impl Decoy {
    pub(crate) fn new() -> Result<Self, ConfigError> {
        Ok(Self { secret: ClientSecret::generate()?.0, keys: KeySet::from_json(DECOY_KEYS)? })
    }
}

/// A client that has authenticated.
pub(crate) struct Authenticated {
    pub(crate) client: Arc<Client>,
    /// The `jti` of its assertion, which must be new. The request uses it up together with what it does, so that a client can
    /// repeat a request that failed with 503.
    pub(crate) assertion: Option<Seen>,
}

/// The credential of a request: exactly one (RFC 6749 §2.3).
enum PresentedCredential<'r> {
    Secret { client_id: String, secret: PresentedSecret },
    Assertion { client_id: Option<&'r str>, assertion: &'r str },
    ClientIdOnly { client_id: Cow<'r, str> },
}

/// A secret as it may be meant.
struct PresentedSecret {
    text: String,
    /// In a `Basic` header, if decoding changes the text: some clients don't encode it (RFC 6749 §2.3.1 requires it).
    undecoded: Option<String>,
}

impl Authenticator {
    pub(crate) async fn authenticate(
        &self,
        services: &Services,
        headers: &HeaderMap,
        peer: Option<&Peer>,
        parameters: &Parameters,
    ) -> Result<Authenticated, TokenError> {
        let client = match PresentedCredential::from_request(headers, parameters)? {
            PresentedCredential::Secret { client_id, secret } => {
                self.by_secret(services, &client_id, peer, &secret).await?
            }
            PresentedCredential::Assertion { client_id, assertion } => {
                // In a box, so that the future of each request stays small.
                let (client, mut seen) = Box::pin(self.by_assertion(services, client_id, assertion)).await?;
                seen.attempt = services.texts.attempt(parameters.iter());
                return Ok(Authenticated { client, assertion: Some(seen) });
            }
            PresentedCredential::ClientIdOnly { client_id } => {
                let client = services.find_client(&client_id, LookupPurpose::Use).await?;
                client.filter(|client| client.is_public()).ok_or_else(not_authenticated)?
            }
        };
        Ok(Authenticated { client, assertion: None })
    }

    async fn by_secret(
        &self,
        services: &Services,
        client_id: &str,
        peer: Option<&Peer>,
        secret: &PresentedSecret,
    ) -> Result<Arc<Client>, TokenError> {
        let client = services.find_client(client_id, LookupPurpose::Use).await?;
        let right = self.matching_secret(client.as_deref(), secret);
        let attempt = self.throttle.record_attempt(client_id, peer, right, services.clock.elapsed());
        if let Err(wait) = attempt {
            if let Some(client) = &client {
                services.emit(&Event { client_id: Some(client.id()), ..Event::new(EventKind::HeldOff) });
            }
            self.throttle.delay(&*services.clock, wait).await;
            return Err(TokenError::too_many_attempts(wait));
        }
        let is_right = right.is_some();
        match (client, is_right) {
            (Some(client), true) => Ok(client),
            (Some(client), false) => Err(not_authenticated().because("the client secret is wrong").of_client(client)),
            (None, _) => Err(not_authenticated().because("the client is unknown")),
        }
    }

    /// Returns the secret of the client that equals the presented one, in any of its readings.
    fn matching_secret<'c>(&self, client: Option<&'c Client>, presented: &PresentedSecret) -> Option<&'c ClientSecret> {
        let text = SecretHash::of(&presented.text);
        let undecoded = presented.undecoded.as_deref().map(SecretHash::of);
        let secrets = [client.and_then(Client::secret), client.and_then(Client::previous_secret)];
        // The same comparisons for every id, also for that of no client.
        let matches = secrets.map(|secret| {
            let secret = secret.unwrap_or(&self.decoy.secret);
            secret.matches(&text) | undecoded.as_ref().is_some_and(|undecoded| secret.matches(undecoded))
        });
        secrets.into_iter().zip(matches).find_map(|(secret, matches)| secret.filter(|_| matches))
    }

    /// Checks a client assertion (RFC 7523 §3).
    async fn by_assertion(
        &self,
        services: &Services,
        client_id: Option<&str>,
        assertion: &str,
    ) -> Result<(Arc<Client>, Seen), TokenError> {
        let compact = Compact::split(assertion.as_bytes()).ok_or_else(not_authenticated)?;
        let mut buffer = HeaderBuffer::new();
        let header = compact.header_bytes(&mut buffer).and_then(JoseHeader::parse).ok_or_else(not_authenticated)?;
        let claims =
            compact.payload().and_then(|payload| String::from_utf8(payload).ok()).ok_or_else(not_authenticated)?;
        let claims =
            Facts::parse(TokenOrigin::default(), claims, &ClaimNames::default()).map_err(|_| not_authenticated())?;
        // The subject only selects the keys. It is trusted after the signature was verified with them.
        let subject =
            claims.text(claims.subject.as_ref()).filter(|subject| !subject.is_empty()).ok_or_else(not_authenticated)?;
        let client = services.find_client(subject, LookupPurpose::Use).await?;
        let keys = match client.as_deref().map(|client| &client.credential) {
            Some(ClientCredential::Keys(keys)) => Some(keys),
            _ => None,
        };
        let signed = self.is_signed(&compact, &header, keys);
        let has_type = !header.critical && is_assertion_type(header.typ.as_deref());
        let same_client = client_id.is_none_or(|client_id| client_id == subject);
        let issued_by_client = claims.text(claims.issuer.as_ref()) == Some(subject);
        if !(signed && has_type && same_client && issued_by_client) {
            return Err(not_authenticated());
        }
        let seen = self.check_claims(services, &claims, subject)?;
        Ok((client.ok_or_else(not_authenticated)?, seen))
    }

    /// True if one of the client's keys signed the assertion.
    fn is_signed(&self, compact: &Compact<'_>, header: &JoseHeader<'_>, keys: Option<&KeySet>) -> bool {
        let Some(algorithm @ SignatureAlgorithm::Asymmetric(_)) = header.algorithm else { return false };
        let key_id = header.key_id.as_deref();
        let mut candidates = keys.into_iter().flat_map(|keys| keys.candidates(key_id, algorithm)).peekable();
        if candidates.peek().is_some() {
            return compact.is_signed_by(candidates);
        }
        // Only for its duration. The result is not used, because a signature by a decoy proves nothing.
        let _ = compact.is_signed_by(self.decoy.keys.candidates(None, algorithm));
        false
    }

    /// Checks audience and times. Returns the value that must be new.
    fn check_claims(&self, services: &Services, claims: &Facts, client_id: &str) -> Result<Seen, TokenError> {
        // rfc7523bis: exactly one audience, so that an assertion for another server is refused here.
        let mut audience = claims.audience.iter().map(|text| claims.text(Some(text)));
        let (Some(Some(audience)), None) = (audience.next(), audience.next()) else { return Err(not_authenticated()) };
        let now = services.timestamp().as_secs();
        let jwt_id = claims.text(claims.jwt_id.as_ref()).filter(|id| !id.is_empty()).ok_or_else(not_authenticated)?;
        let expires = claims.expires_at.ok_or_else(not_authenticated)?.0;
        #[expect(clippy::cast_precision_loss, reason = "seconds of our own clock")]
        let (earliest, latest) = (now.saturating_sub(LEEWAY) as f64, (now + MAX_ASSERTION_LIFETIME + LEEWAY) as f64);
        #[expect(clippy::cast_precision_loss, reason = "seconds of our own clock")]
        let soon = (now + LEEWAY) as f64;
        let is_begun = [claims.not_before, claims.issued_at].iter().flatten().all(|begin| begin.0 <= soon);
        let is_for_us = self.audiences.iter().any(|accepted| accepted == audience);
        // `NaN` fails both comparisons.
        let is_in_time = expires > earliest && expires <= latest;
        if !(is_for_us && is_in_time && is_begun) {
            return Err(not_authenticated());
        }
        // Later than the last moment at which the assertion is accepted, also by an instance whose clock is behind.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is at most an hour after our clock"
        )]
        let expires_at = Timestamp::from_secs(expires.ceil() as u64 + 2 * LEEWAY);
        let key = services.texts.seen(client_id, jwt_id);
        let client = services.texts.client(client_id);
        Ok(Seen { key, client, shard: client, attempt: key, expires_at })
    }
}

impl<'r> PresentedCredential<'r> {
    fn from_request(headers: &HeaderMap, parameters: &'r Parameters) -> Result<Self, TokenError> {
        let client_id = parameters.get("client_id")?;
        let secret = parameters.get("client_secret")?;
        let assertion = parameters.get("client_assertion")?;
        let assertion_type = parameters.get("client_assertion_type")?;
        let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
        let header = authorization.next();
        let asserts = assertion.is_some() || assertion_type.is_some();
        // §2.3: at most one method.
        let methods = usize::from(header.is_some()) + usize::from(secret.is_some()) + usize::from(asserts);
        if methods > 1 || authorization.next().is_some() {
            return Err(invalid("Use only one client authentication method"));
        }
        if let Some(value) = header {
            let (basic_id, secret) = parse_basic(value).ok_or_else(not_authenticated)?;
            if client_id.is_some_and(|client_id| client_id != basic_id) {
                return Err(invalid("The client_id differs from that of the authenticated client"));
            }
            // §2.3.1: an empty secret is the same as none, so only a public client can send it. No client has one, so this is no
            // guess, and isn't counted as one.
            if secret.text.is_empty() {
                return Ok(Self::ClientIdOnly { client_id: basic_id.into() });
            }
            return Ok(Self::Secret { client_id: basic_id, secret });
        }
        if asserts {
            let assertion = assertion.filter(|_| assertion_type == Some(JWT_BEARER)).ok_or_else(not_authenticated)?;
            return Ok(Self::Assertion { client_id, assertion });
        }
        match (client_id, secret) {
            (Some(client_id), Some(secret)) => {
                let secret = PresentedSecret { text: secret.to_owned(), undecoded: None };
                Ok(Self::Secret { client_id: client_id.to_owned(), secret })
            }
            (Some(client_id), None) => Ok(Self::ClientIdOnly { client_id: client_id.into() }),
            (None, Some(_)) => Err(invalid("The client_id is missing")),
            (None, None) => Err(not_authenticated()),
        }
    }
}

/// Reads id and secret from a `Basic` header (RFC 7617 §2). Both are form-encoded before they are joined (RFC 6749 §2.3.1).
/// A secret may also be meant as it stands. An id has one reading, so that it never names another client.
fn parse_basic(value: &HeaderValue) -> Option<(String, PresentedSecret)> {
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(credentials.trim_start_matches(' ')).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (id, secret) = decoded.split_at(colon);
    // Each alone: a parser of whole forms would split a text that the client did not encode at its `&` and `=`.
    let (id, secret) = (decode(id)?, PresentedSecret::from_basic(secret.get(1..)?)?);
    (!id.is_empty()).then_some((id, secret))
}

impl PresentedSecret {
    /// Returns the readings of a secret in a `Basic` header, if it has one that is UTF-8.
    fn from_basic(secret: &[u8]) -> Option<Self> {
        let undecoded = str::from_utf8(secret).ok();
        match decode(secret) {
            Some(text) => {
                let undecoded = undecoded.filter(|undecoded| *undecoded != text).map(str::to_owned);
                Some(Self { text, undecoded })
            }
            None => undecoded.map(|text| Self { text: text.to_owned(), undecoded: None }),
        }
    }
}

/// True for the type of an assertion. A JWT for another purpose, such as an access token or a proof of possession, has another
/// type.
fn is_assertion_type(typ: Option<&str>) -> bool {
    typ.is_none_or(|typ| {
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        ["JWT", "client-authentication+jwt"].iter().any(|known| known.eq_ignore_ascii_case(typ))
    })
}

/// Returns the refusal (RFC 6749 §5.2). Its text is equal for every cause.
fn not_authenticated() -> TokenError {
    TokenError::new(TokenErrorKind::InvalidClient, "Client authentication failed")
}

/// Returns the refusal of an assertion that was used before.
pub(crate) fn used_assertion() -> TokenError {
    not_authenticated().because("the client assertion was used before")
}

fn invalid(description: &'static str) -> TokenError {
    TokenError::new(TokenErrorKind::InvalidRequest, description)
}

/// Accepts base64 with and without padding, because clients send both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Tolerance for the difference of two clocks, in seconds.
const LEEWAY: u64 = 30;
/// Maximum time until `exp`, in seconds (RFC 7523 §3: not unreasonably far). Some libraries write an hour.
const MAX_ASSERTION_LIFETIME: u64 = 3600;
/// Public keys whose private keys were deleted.
const DECOY_KEYS: &str = r#"{"keys": [
    {"kty": "RSA", "n": "wlIZXQajh7QXsliAmp1Z8CMFcF-Hvtj7ORkK9IoTnW-jqQGeusVrwbW_EPq2EtETQXgE4SOPcdg8R75Du6CmTq36D-4nLlntvEj3lXw_d5oT0umG7Q_nr12PaDf2bKX1v2qjT8Vfoe85zKl5OHVdTFZXrbxlLA5UZ5XsIRBkqwLTQUkQQwzOXQbfwSACHVz4PTa3bzhqoLZlNEYrdGr0sjuqdh1_8jXgbtzvet8H6AEKly4fLseCcAv29H_cKZOIXkac1wCGLF5YFdl0j1WIV4Ek4l8tMT_9m5ues-zE_Bwy2_oYi19cusS3g1cUz8USKQybVJxtZ-6s9CMOet8eCQ", "e": "AQAB"},
    {"kty": "EC", "crv": "P-256", "x": "O2hkK64KzxAT3rr3OE25fPgy21t5QZswwqt9obL8pM4", "y": "pjjpNJJ2dHvxnPDZ18KWt10qm7sqXLW_mMWr-7axyU8"},
    {"kty": "EC", "crv": "P-384", "x": "cRun5-ue0RCufKpZBsUO0lo9NjwpR33E6lFFvXwovkGIIqxFojjysA3pDZUhRonC", "y": "q86AF5nyRMg2W13FDyhwndLjKElNmxDA7L72Q2JvrQPw1tPhMCGKqna2oG7rTes2"},
    {"kty": "OKP", "crv": "Ed25519", "x": "-MtUnGgSzQ8L9wOSq062eOGjeQtPZQuuVSsrrrYnEXU"}
]}"#;
