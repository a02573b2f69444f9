//! A fixture for tests about the senders of requests: the program with DPoP, clients with keys, and requests with any bytes over
//! sockets.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_oauth::{
    keys::Algorithm,
    testing::{ProofBuilder, ProofKey, TokenBuilder},
};

use super::Api;
use crate::{
    fake_issuer::FakeIssuer,
    support::{API, write_raw},
};

/// The base URL that the program has, unless a test gives another one.
pub(crate) const BASE: &str = "https://api.example.test/v1";
/// A value of `OAUTH_DPOP_NONCE_SECRET`, for [`nonce`].
pub(crate) const NONCE_SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The running program, the issuer of its tokens, and what its challenges offer.
pub(crate) struct SenderApi {
    pub(crate) issuer: Arc<FakeIssuer>,
    pub(crate) api: Api,
    offer: Offer,
}

/// What the challenges of a server offer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offer {
    /// `algs` of the challenge for DPoP. `None` if DPoP is off.
    algorithms: Option<String>,
    /// True if the server accepts no token under the scheme `Bearer`.
    only_proofs: bool,
}

/// The responses to requests, by the names that the table of RFC 9449's answers uses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply<'r> {
    /// 200 without `DPoP-Nonce`.
    Ok,
    /// 200 with one `DPoP-Nonce`, which no cache stores.
    OkWithNonce,
    /// 401 `invalid_dpop_proof`.
    Proof,
    /// 401 `invalid_token`, under DPoP.
    DpopToken,
    /// 401 `use_dpop_nonce`.
    Nonce,
    /// 401 `invalid_token`, under Bearer.
    BearerToken,
    /// 401 without an error.
    Bare,
    /// 401 without an error and with DPoP only: the resource accepts no unbound tokens.
    OnlyDpop,
    /// 400 `invalid_request` under both schemes.
    BothRequest,
    /// 400 `invalid_request` under DPoP.
    DpopRequest,
    /// 403 under DPoP, with these scopes.
    DpopScope(&'r str),
    /// 403 under Bearer, with these scopes.
    BearerScope(&'r str),
    /// 503.
    Unavailable,
}

/// A response, as it came over the socket.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    /// Names in lower case, and values, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    offer: Offer,
}

impl SenderApi {
    /// Starts the program with DPoP at [`BASE`] and with these variables. An empty value unsets a variable. Returns `None` and
    /// reports it if the program was not built.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Option<Self> {
        Self::trusting(Arc::new(FakeIssuer::start().await), settings).await
    }

    /// Starts the program for the tokens of this issuer, for a second instance.
    pub(crate) async fn trusting(issuer: Arc<FakeIssuer>, settings: &[(&str, &str)]) -> Option<Self> {
        let usual = [("OAUTH_ISSUER", &*issuer.identifier), ("OAUTH_AUDIENCE", API), ("OAUTH_DPOP_BASE", BASE)];
        let usual = usual.iter().filter(|(name, _)| settings.iter().all(|(given, _)| given != name));
        let given = settings.iter().filter(|(_, value)| !value.is_empty());
        let settings: Vec<_> = usual.chain(given).copied().collect();
        let value =
            |name: &str| settings.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        let algorithms = value("OAUTH_DPOP_BASE").map(|_| value("OAUTH_DPOP_ALGS").unwrap_or_else(all_algorithms));
        let required = value("OAUTH_SENDER_CONSTRAINT").is_some_and(|value| value == "require");
        let offer = Offer { algorithms, only_proofs: required && value("OAUTH_CLIENT_CERT").is_none() };
        Some(Self { api: Api::start(&settings).await?, issuer, offer })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.api.address().parse().unwrap()
    }

    /// What the challenges of the program offer.
    pub(crate) fn offer(&self) -> Offer {
        self.offer.clone()
    }

    /// A valid, still unsigned token of the user `ada` that is bound to nothing.
    pub(crate) fn token(&self) -> TokenBuilder {
        let token = self.issuer.signer(Algorithm::ES256).token("ada").audience(API);
        token.client_id("app").scope("orders:read orders:write")
    }

    /// A valid token that is bound to the key.
    pub(crate) fn bound_to(&self, key: &ProofKey) -> String {
        self.token().bound_to(key).sign()
    }

    /// Sends a request with the token and a valid proof without a nonce.
    pub(crate) async fn prove(&self, key: &ProofKey, method: &str, path: &str, token: &str) -> RawResponse {
        self.present(method, path, token, &proof(key, method, path, token).sign()).await
    }

    /// Sends a request with the token under DPoP, and this proof.
    pub(crate) async fn present(&self, method: &str, path: &str, token: &str, proof: &str) -> RawResponse {
        self.send(method, path, &[("Authorization", &format!("DPoP {token}")), ("DPoP", proof)]).await
    }

    /// Sends a request with these headers, in this order. A name can be there twice. `Host` is added if it is missing.
    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> RawResponse {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.send_bytes(method, target, &headers).await
    }

    /// Like [`SenderApi::send`], with any bytes in the headers.
    pub(crate) async fn send_bytes(&self, method: &str, target: &str, headers: &[(&str, &[u8])]) -> RawResponse {
        let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n").into_bytes();
        let with_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = [("Host", &b"inside.test"[..])];
        for (name, value) in host.iter().filter(|_| !with_host).chain(headers) {
            request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        self.write(&request).await
    }

    /// Sends these bytes, which must make the program close the connection after its response.
    pub(crate) async fn write(&self, request: &[u8]) -> RawResponse {
        RawResponse::parse(&write_raw(self.address(), request).await, self.offer())
    }
}

/// A valid, still unsigned proof for a request to this path of the program at [`BASE`].
pub(crate) fn proof(key: &ProofKey, method: &str, path: &str, token: &str) -> ProofBuilder {
    key.proof(method, &format!("{BASE}{path}")).token(token)
}

/// Returns the nonce of a step of 60 s since 1970, under [`NONCE_SECRET`].
pub(crate) fn nonce(step: u64) -> String {
    let secret: Vec<u8> = (0..32).collect();
    let message = [b"tower-oauth nonce rs", &step.to_be_bytes()[..]].concat();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &message);
    URL_SAFE_NO_PAD.encode(mac)[..22].to_owned()
}

/// Returns the current step of the nonces.
pub(crate) fn step() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60
}

/// Returns the responses that `requests` returns, and the step in which all of them were made: `requests` runs again if another
/// step has begun meanwhile.
pub(crate) async fn in_one_step<T>(requests: impl AsyncFn(u64) -> T) -> (u64, T) {
    loop {
        let now = step();
        let responses = requests(now).await;
        if step() == now {
            return (now, responses);
        }
    }
}

impl RawResponse {
    /// Reads the text of a response of a server with this offer.
    pub(crate) fn parse(response: &str, offer: Offer) -> Self {
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
        let (status, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap();
        let headers = lines.split("\r\n").filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned(), offer }
    }

    /// Returns the values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(named, _)| named == name).map(|(_, value)| &**value).collect()
    }

    /// Returns the value of a header. Panics if the response has the header twice.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is there twice: {self:?}");
        values.first().copied()
    }

    /// Returns `error_description` of the only challenge that has one, or an empty text.
    pub(crate) fn description(&self) -> &str {
        let challenges = self.all("www-authenticate");
        let description = challenges.iter().find_map(|line| line.split_once("error_description=\""));
        description.and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
    }

    /// Panics unless this is the reply, with these headers to the byte. The description may be any text that a challenge can
    /// carry.
    #[track_caller]
    pub(crate) fn must_be(&self, reply: Reply<'_>, what: &str) -> &Self {
        let (status, lines) = self.offer.expected(reply);
        assert_eq!(self.status, status, "{what}: {reply:?}: {self:#?}");
        let found: Vec<_> = self.all("www-authenticate").into_iter().map(without_description).collect();
        assert_eq!(found, lines, "{what}: {reply:?}");
        let nonces = self.all("dpop-nonce");
        match reply {
            Reply::Nonce | Reply::OkWithNonce => assert_eq!(nonces.len(), 1, "{what}: {reply:?}: {self:#?}"),
            // With nonces on, a bad proof gets one for the next proof, and so does a good proof with an old nonce.
            Reply::Proof | Reply::DpopScope(_) => assert!(nonces.len() < 2, "{what}: {self:#?}"),
            _ => assert_eq!(nonces, [""; 0], "{what}: {reply:?}"),
        }
        for nonce in nonces {
            let is_nqchar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(!nonce.is_empty() && nonce.bytes().all(is_nqchar), "{what}: {nonce:?}");
        }
        if !matches!(reply, Reply::Ok) {
            assert_eq!(self.one("cache-control"), Some("no-store"), "{what}: {self:#?}");
        }
        assert_eq!(self.one("retry-after").is_some(), status == 503, "{what}: {self:#?}");
        assert!(status == 200 || self.body.is_empty(), "{what}: a refusal has no body: {self:#?}");
        self
    }
}

/// Returns a challenge with `…` as the text of its description.
fn without_description(line: &str) -> String {
    let Some((before, rest)) = line.split_once("error_description=\"") else { return line.to_owned() };
    let (description, after) = rest.split_once('"').unwrap();
    assert!(!description.is_empty(), "{line}");
    format!("{before}error_description=\"…\"{after}")
}

fn all_algorithms() -> String {
    Algorithm::supported().iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(" ")
}

impl Offer {
    /// The offer of a server with DPoP and its default settings.
    pub(crate) fn default_proofs() -> Self {
        Self { algorithms: Some(all_algorithms()), only_proofs: false }
    }

    /// Returns the status and the challenges of a reply.
    fn expected(&self, reply: Reply<'_>) -> (u16, Vec<String>) {
        let algorithms = self.algorithms.as_deref();
        let bearer = |parameters: &str| format!("Bearer realm=\"api\"{parameters}");
        let dpop = |parameters: &str| algorithms.map(|algs| format!("DPoP realm=\"api\"{parameters}, algs=\"{algs}\""));
        let error = |code: &str| format!(", error=\"{code}\", error_description=\"…\"");
        // The line of the scheme that the request used comes first, and only that one has an error.
        let under_dpop = |parameters: String, other: &str| {
            let other = if self.only_proofs { None } else { Some(bearer(other)) };
            dpop(&parameters).into_iter().chain(other).collect()
        };
        let under_bearer =
            |parameters: String, other: &str| [bearer(&parameters)].into_iter().chain(dpop(other)).collect();
        match reply {
            Reply::Ok | Reply::OkWithNonce => (200, Vec::new()),
            Reply::Proof => (401, under_dpop(error("invalid_dpop_proof"), "")),
            Reply::DpopToken => (401, under_dpop(error("invalid_token"), "")),
            Reply::Nonce => (401, under_dpop(error("use_dpop_nonce"), "")),
            Reply::BearerToken => (401, under_bearer(error("invalid_token"), "")),
            Reply::Bare if self.only_proofs => (401, dpop("").into_iter().collect()),
            Reply::Bare => (401, under_bearer(String::new(), "")),
            Reply::OnlyDpop => (401, dpop("").into_iter().collect()),
            Reply::BothRequest if self.only_proofs => (400, dpop(&error("invalid_request")).into_iter().collect()),
            Reply::BothRequest => (400, under_bearer(error("invalid_request"), &error("invalid_request"))),
            Reply::DpopRequest => (400, under_dpop(error("invalid_request"), "")),
            Reply::DpopScope(scopes) => {
                let scope = format!(", scope=\"{scopes}\"");
                (403, under_dpop(format!("{}{scope}", error("insufficient_scope")), &scope))
            }
            Reply::BearerScope(scopes) => {
                let scope = format!(", scope=\"{scopes}\"");
                (403, under_bearer(format!("{}{scope}", error("insufficient_scope")), &scope))
            }
            Reply::Unavailable => (503, Vec::new()),
        }
    }
}
