//! The variables for TLS, right and wrong.

use super::{
    certificates::{Identity, ServerCertificate},
    client::Client,
    start, token,
};
use crate::{fake_issuer::FakeIssuer, programs::protected_api::run, support::API};

type Settings<'s> = &'s [(&'s str, &'s str)];

#[tokio::test]
async fn reports_each_wrong_setting_of_tls() {
    let server = ServerCertificate::new();
    let (certificate, key, both) = (server.path("cert.pem"), server.path("key.pem"), server.path("both.pem"));
    let other_key = server.write("other-key.pem", &Identity::new().key);
    let text = server.write("text.pem", "a text");
    let empty = server.write("empty.pem", "");
    let no_certificate =
        server.write("no-certificate.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let no_key = server.write("no-key.pem", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    let not_base64 = server.write("not-base64.pem", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n");
    let missing = server.path("missing.pem");
    let folder = server.folder().to_str().unwrap();
    let (cert, key_name, clients) = ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CERTS");
    let cases: [(Settings<'_>, &[&str]); 19] = [
        (&[(cert, &certificate)], &[key_name]),
        (&[(key_name, &key)], &[cert]),
        (&[(clients, "optional")], &[cert, key_name]),
        (&[(cert, &certificate), (key_name, &key), (clients, "maybe")], &[clients]),
        (&[(cert, &certificate), (key_name, &key), (clients, "")], &[clients]),
        (&[(cert, &certificate), (key_name, &key), (clients, "Required")], &[clients]),
        (&[(cert, ""), (key_name, "")], &[cert, key_name]),
        (&[(cert, &missing), (key_name, &key)], &[cert]),
        (&[(cert, &certificate), (key_name, &missing)], &[key_name]),
        (&[(cert, folder), (key_name, folder)], &[cert, key_name]),
        (&[(cert, &text), (key_name, &text)], &[cert, key_name]),
        (&[(cert, &empty), (key_name, &empty)], &[cert, key_name]),
        (&[(cert, &key), (key_name, &certificate)], &[cert, key_name]),
        (&[(cert, &no_certificate), (key_name, &no_key)], &[cert, key_name]),
        (&[(cert, &not_base64), (key_name, &key)], &[cert]),
        (&[(cert, &no_certificate), (key_name, &missing), (clients, "no")], &[cert, key_name, clients]),
        (&[(cert, &certificate), (key_name, &other_key)], &[key_name]),
        (&[(cert, &both), (key_name, &other_key)], &[key_name]),
        (&[(cert, &no_certificate), (key_name, &other_key)], &[cert]),
    ];
    let usual = [("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", API)];
    for (wrong, expected) in cases {
        let Some(output) = run(&[&usual[..], wrong].concat(), &[]).await else { return };
        let errors = output.stderr;
        assert_eq!(output.status, Some(2), "{wrong:?}: {errors}");
        let named: Vec<_> = errors.lines().skip(1).filter_map(|line| line.split(": ").next()).collect();
        assert_eq!(named, expected, "{wrong:?}: {errors}");
        assert!(!errors.contains("PRIVATE KEY"), "{errors}");
    }
    // Beside the other settings.
    let wrong = [("TLS_CERT", &*missing), ("TLS_KEY", &key), ("TLS_CLIENT_CERTS", "no"), ("OAUTH_LEEWAY", "x")];
    let Some(output) = run(&wrong, &[]).await else { return };
    let errors = output.stderr;
    for name in ["TLS_CERT", "TLS_CLIENT_CERTS", "OAUTH_LEEWAY", "OAUTH_ISSUER", "OAUTH_AUDIENCE"] {
        assert!(errors.contains(&format!("\n{name}: ")), "{name}: {errors}");
    }
}

#[tokio::test]
async fn the_help_describes_each_variable() {
    let Some(output) = run(&[], &["--help"]).await else { return };
    let help = output.stdout;
    let source = include_str!("../../../../examples/protected_api/main.rs");
    for name in ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CERTS"] {
        assert!(help.contains(name) && source.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn the_files_may_be_one_with_more_certificates_behind_the_first() {
    let (issuer, server) = (FakeIssuer::start().await, ServerCertificate::new());
    let chain =
        std::fs::read_to_string(server.path("both.pem")).unwrap() + &super::certificates::pem(Identity::new().leaf());
    let chain = server.write("chain.pem", &chain);
    let Some(api) = start(&issuer, &[("TLS_CERT", &*chain), ("TLS_KEY", &chain)]).await else { return };
    assert_eq!(Client::new(&server, None).present(api.address(), &token(&issuer).sign()).await.status, 200);
}
