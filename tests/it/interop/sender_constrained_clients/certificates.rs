//! Certificate-bound tokens of npm's oidc-provider (RFC 8705), by oauth4webapi over undici: with the certificate on the API's own
//! connections, and in the header of a proxy.

use std::fs;

use serde_json::{Value, json};

use super::{
    exchanges::Exchanges,
    oidc_provider::{MODES, of_issuer},
    programs::Program,
};
use crate::{interop::oidc_provider::Provider, support::not_run};

const REQUESTS: &[&str] = &[
    "own certificate: 200",
    "no certificate: 401 Bearer invalid_token",
    "another certificate: 401 Bearer invalid_token",
    "own certificate again: 200",
];

/// Runs the client in each mode. `headers` returns the header in which a proxy sends this certificate.
async fn is_accepted_with_its_certificate_only(
    scheme: &str,
    settings: &[(&str, &str)],
    headers: impl Fn(&str) -> Value,
) -> Option<()> {
    let provider = Provider::start()?;
    if provider.mtls.is_none() {
        not_run("certificate-bound tokens", "openssl is not installed (Debian: apt-get install openssl)");
        return None;
    }
    let folder = certificates(&provider);
    let own = ["server.pem", "server.key"].map(|name| format!("{folder}/{name}"));
    for (mode, resources) in MODES {
        let mut all = [&of_issuer(&provider, mode), settings].concat();
        if scheme == "https" {
            all.extend([("TLS_CERT", &*own[0]), ("TLS_KEY", &*own[1])]);
        }
        let api = Program::start("protected_api", scheme, &all).await?;
        for resource in resources {
            let settings = json!({
                "issuer": provider.identifier, "client_id": "cc-mtls", "scope": "orders:read", "resource": resource,
                "url": format!("{}/whoami", api.origin), "certificates": folder,
                "headers": headers(&der(&folder, "client")), "other_headers": headers(&der(&folder, "other")),
            });
            let seen = Exchanges::of("mtls.mjs", &settings).await?;
            seen.are(&["token: 200"], REQUESTS);
            let whoami = &seen.step("own certificate")[0]["answer"];
            assert_eq!(whoami["confirmation"]["x5t#S256"].as_str().map(str::len), Some(43), "{whoami}");
        }
    }
    Some(())
}

fn certificates(provider: &Provider) -> String {
    provider.folder.join("keys/certificates").to_str().unwrap().to_owned()
}

/// Returns this certificate in base64.
fn der(folder: &str, name: &str) -> String {
    let pem = fs::read_to_string(format!("{folder}/{name}.pem")).unwrap();
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

#[tokio::test]
async fn a_bound_token_is_accepted_on_connections_with_its_certificate_only() {
    let settings = [("TLS_CLIENT_CERTS", "optional"), ("OAUTH_CLIENT_CERT", "connection")];
    is_accepted_with_its_certificate_only("https", &settings, |_| json!({})).await;
}

#[tokio::test]
async fn a_bound_token_is_accepted_with_its_certificate_in_the_header_of_a_proxy() {
    let settings = [("OAUTH_CLIENT_CERT", "rfc9440")];
    let header = |der: &str| json!({"client-cert": format!(":{der}:")});
    is_accepted_with_its_certificate_only("http", &settings, header).await;
}
