//! Reads the settings about the senders of requests: DPoP and certificates.

use std::{env, time::Duration};

use tower_oauth::{
    dpop::{Dpop, NonceSecret},
    keys::Algorithm,
    mutual_tls::{CertificateHeader, MutualTls},
    server::ResourceServerBuilder,
};

use crate::mistakes::Mistakes;

/// The text of `--help` about the variables that this module reads.
pub(crate) const HELP: &str = "  OAUTH_DPOP_BASE   Accepts tokens that are bound to a key, with DPoP (RFC 9449). The public base URLs, separated by
                    commas, that clients use up to where the paths of this program begin. Default: no DPoP.
  OAUTH_DPOP_ALGS   Accepted algorithms of proofs, separated by spaces. Default: all that the program can verify.
  OAUTH_DPOP_MAX_AGE
                    How old a proof may be, in seconds. Default: 60. Maximum: 300.
  OAUTH_DPOP_NONCE_SECRET
                    Requires a nonce of this server in each proof. 64 hexadecimal digits, which all instances
                    share, or random, for one instance. Default: no nonces.
  OAUTH_DPOP_REPLAY Where used proofs are stored: memory (default), a redis:// URL, or off, which accepts a proof
                    again until it is too old. The URL requires a build with the feature redis-replay.
  OAUTH_SENDER_CONSTRAINT
                    accept (default): tokens that are not bound are accepted too; require: they are refused.
  OAUTH_CLIENT_CERT Accepts tokens that are bound to a client certificate (RFC 8705), and says where it is found:
                      connection    in the TLS connection to this program; set TLS_CLIENT_CERTS too
                      rfc9440       in the header Client-Cert, which a proxy must replace in each request
                      xfcc          in the header X-Forwarded-Client-Cert, likewise
                      pem:HEADER    as PEM in the header HEADER, likewise
                    Default: no certificates.
  With any of these variables or OAUTH_ALWAYS_ASK, web pages of every origin can call the API (CORS).";

/// How the server checks the senders of requests.
pub(crate) struct SenderSettings {
    dpop: Option<Dpop>,
    certificates: Option<MutualTls>,
    required: bool,
}

impl SenderSettings {
    /// Reads the variables. Adds every mistake in them; `build` of the server finds the others.
    pub(crate) async fn read(mistakes: &mut Mistakes) -> Self {
        let dpop = if is_set("OAUTH_DPOP_BASE") {
            Some(dpop(mistakes).await)
        } else {
            for name in DPOP_SETTINGS.into_iter().filter(|name| is_set(name)) {
                mistakes.add(name, "it has no effect; set OAUTH_DPOP_BASE");
            }
            None
        };
        let certificates = is_set("OAUTH_CLIENT_CERT").then(|| certificates(mistakes));
        Self { dpop, certificates, required: required(mistakes) }
    }

    pub(crate) fn apply_to(self, mut server: ResourceServerBuilder) -> ResourceServerBuilder {
        if let Some(dpop) = self.dpop {
            server = server.dpop(dpop);
        }
        if let Some(certificates) = self.certificates {
            server = server.mutual_tls(certificates);
        }
        if self.required { server.require_sender_constraint() } else { server }
    }
}

/// Returns the variable for one of the crate's settings.
pub(crate) fn variable(setting: &str) -> Option<&'static str> {
    match setting {
        "dpop" => Some("OAUTH_DPOP_BASE"),
        "algorithms" => Some("OAUTH_DPOP_ALGS"),
        "max_age" => Some("OAUTH_DPOP_MAX_AGE"),
        "mutual_tls" => Some("OAUTH_CLIENT_CERT"),
        "require_sender_constraint" => Some("OAUTH_SENDER_CONSTRAINT"),
        _ => None,
    }
}

/// True if one of the variables is set with which web pages of every origin can call the API.
pub(crate) fn allow_origins() -> bool {
    let others = ["OAUTH_DPOP_BASE", "OAUTH_SENDER_CONSTRAINT", "OAUTH_CLIENT_CERT", "OAUTH_ALWAYS_ASK"];
    let tls = ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CERTS"];
    others.into_iter().chain(tls).chain(DPOP_SETTINGS).any(is_set)
}

/// The variables that have no effect without `OAUTH_DPOP_BASE`.
const DPOP_SETTINGS: [&str; 4] =
    ["OAUTH_DPOP_ALGS", "OAUTH_DPOP_MAX_AGE", "OAUTH_DPOP_NONCE_SECRET", "OAUTH_DPOP_REPLAY"];

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some()
}

async fn dpop(mistakes: &mut Mistakes) -> Dpop {
    // A placeholder for a wrong value, so that the other settings are checked too.
    let bases = mistakes.optional("OAUTH_DPOP_BASE").unwrap_or_else(|| "http://127.0.0.1".to_owned());
    let (first, others) = bases.split_once(',').map_or((&*bases, None), |(first, others)| (first, Some(others)));
    let others = others.into_iter().flat_map(|others| others.split(','));
    let mut dpop = others.fold(Dpop::new(first.trim()), |dpop, other| dpop.also_known_as(other.trim()));
    if let Some(names) = mistakes.optional("OAUTH_DPOP_ALGS") {
        dpop = dpop.algorithms(algorithms(mistakes, &names));
    }
    if let Some(seconds) = mistakes.optional("OAUTH_DPOP_MAX_AGE") {
        match seconds.parse() {
            Ok(seconds) => dpop = dpop.max_age(Duration::from_secs(seconds)),
            Err(_) => mistakes.add("OAUTH_DPOP_MAX_AGE", "it is no number of seconds from 1 to 300"),
        }
    }
    if let Some(secret) = mistakes.optional("OAUTH_DPOP_NONCE_SECRET").and_then(|text| nonce_secret(mistakes, &text)) {
        dpop = dpop.nonces(secret);
    }
    match mistakes.optional("OAUTH_DPOP_REPLAY").as_deref() {
        None | Some("memory") => dpop,
        Some("off") => dpop.danger_accept_replays(),
        Some(url) if url.starts_with("redis://") => in_redis(mistakes, dpop, url).await,
        // The value may be a URL with a password, so the message does not have it.
        Some(_) => {
            mistakes.add("OAUTH_DPOP_REPLAY", "it is not memory, off or a redis:// URL");
            dpop
        }
    }
}

/// Returns the algorithms of a list, each once.
fn algorithms(mistakes: &mut Mistakes, names: &str) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    for name in names.split(' ').filter(|name| !name.is_empty()) {
        match name.parse() {
            Ok(algorithm) if algorithms.contains(&algorithm) => {}
            Ok(algorithm) => algorithms.push(algorithm),
            Err(_) => {
                let known: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
                mistakes.add("OAUTH_DPOP_ALGS", format_args!("{name:?} is not one of: {}", known.join(" ")));
            }
        }
    }
    // Only wrong names: no second mistake about an empty list.
    if algorithms.is_empty() { vec![Algorithm::ES256] } else { algorithms }
}

/// Returns the secret. A mistake does not show the value.
fn nonce_secret(mistakes: &mut Mistakes, text: &str) -> Option<NonceSecret> {
    if text == "random" {
        return mistakes.check(|_| "OAUTH_DPOP_NONCE_SECRET", NonceSecret::for_one_instance());
    }
    let secret = from_hexadecimal(text);
    if secret.is_none() {
        mistakes.add("OAUTH_DPOP_NONCE_SECRET", "it is neither 64 hexadecimal digits nor random");
    }
    secret.map(NonceSecret::shared)
}

/// Returns the bytes of 64 hexadecimal digits.
fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit));
    let bytes: Vec<u8> = bytes.filter_map(|byte| byte.try_into().ok()).collect();
    if digits.len() == 64 { bytes.try_into().ok() } else { None }
}

/// Stores used proofs in Redis, which may be down: until it is back, requests with a proof are refused with 503.
#[cfg(feature = "redis-replay")]
async fn in_redis(mistakes: &mut Mistakes, dpop: Dpop, url: &str) -> Dpop {
    let store = tower_oauth::dpop::RedisReplayStore::connect(url).await;
    match mistakes.check(|_| "OAUTH_DPOP_REPLAY", store) {
        Some(store) => dpop.replay_store(store),
        None => dpop,
    }
}

#[cfg(not(feature = "redis-replay"))]
#[expect(clippy::unused_async, reason = "the store of another build connects")]
async fn in_redis(mistakes: &mut Mistakes, dpop: Dpop, _: &str) -> Dpop {
    mistakes.add("OAUTH_DPOP_REPLAY", "this build has no Redis; build the program with --features redis-replay");
    dpop
}

fn certificates(mistakes: &mut Mistakes) -> MutualTls {
    let setting = mistakes.optional("OAUTH_CLIENT_CERT");
    let header = match setting.as_deref() {
        Some("connection") => {
            if !is_set("TLS_CLIENT_CERTS") {
                mistakes.add("OAUTH_CLIENT_CERT", "no connection has a client certificate; set TLS_CLIENT_CERTS");
            }
            return MutualTls::on_the_connection();
        }
        Some("rfc9440") => CertificateHeader::rfc9440(),
        Some("xfcc") => CertificateHeader::xfcc(),
        other => match other.map(|other| other.strip_prefix("pem:")) {
            Some(Some(header)) => CertificateHeader::pem(header),
            Some(None) => {
                mistakes.add("OAUTH_CLIENT_CERT", "it is not connection, rfc9440, xfcc or pem:HEADER");
                CertificateHeader::rfc9440()
            }
            // A placeholder: `optional` has added the mistake.
            None => CertificateHeader::rfc9440(),
        },
    };
    MutualTls::behind_proxy(header)
}

/// True if only bound tokens are accepted.
fn required(mistakes: &mut Mistakes) -> bool {
    match mistakes.optional("OAUTH_SENDER_CONSTRAINT").as_deref() {
        None | Some("accept") => false,
        Some("require") => true,
        Some(_) => {
            mistakes.add("OAUTH_SENDER_CONSTRAINT", "it is neither accept nor require");
            false
        }
    }
}
