//! The variables about the senders of requests, right and wrong.

use super::{run, sender_fixture::NONCE_SECRET};
use crate::support::API;

const BASE: (&str, &str) = ("OAUTH_DPOP_BASE", "https://api.test/v1");

/// Runs the program, which must refuse these settings. Returns its messages.
async fn mistakes(settings: &[(&str, &str)]) -> Option<String> {
    let usual = [("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", API)];
    let output = run(&[&usual[..], settings].concat(), &[]).await?;
    let errors = output.stderr;
    assert_eq!(output.status, Some(2), "{settings:?}: {errors}");
    assert!(output.stdout.is_empty());
    Some(errors)
}

#[tokio::test]
async fn each_wrong_setting_about_senders_ends_the_program_at_once_and_is_named() {
    let short = &NONCE_SECRET[1..];
    let (long, not_hex) = (format!("{NONCE_SECRET}0"), format!("{short}g"));
    let signed = format!("+{short}");
    let cases = [
        ("OAUTH_DPOP_BASE", &["", " ", "api.test", "ftp://api.test", "http://api.test", "https://api.test?x=1"][..]),
        ("OAUTH_DPOP_BASE", &["https://api.test#x", "https://user@api.test", "https://", "https://api.test//v1"]),
        (
            "OAUTH_DPOP_BASE",
            &[
                "https://api.test,",
                ",https://api.test",
                "https://a.test,,https://b.test",
                "https://a.test https://b.test",
            ],
        ),
        ("OAUTH_DPOP_ALGS", &["", "es256", "HS256", "none", "ES256,RS256", "ES256 RS1", "RSA-OAEP"]),
        ("OAUTH_DPOP_MAX_AGE", &["", "0", "301", "-1", "1.5", "60s", "99999999999999999999"]),
        ("OAUTH_DPOP_NONCE_SECRET", &["", "Random", "secret", short, long.as_str(), not_hex.as_str(), signed.as_str()]),
        ("OAUTH_DPOP_REPLAY", &["", "Memory", "on", "none", "postgres://127.0.0.1", "http://127.0.0.1", "redis:"]),
        ("OAUTH_SENDER_CONSTRAINT", &["", "Require", "required", "1", "accept,require"]),
        (
            "OAUTH_CLIENT_CERT",
            &["", "Connection", "header", "Client-Cert", "pem", "pem:", "pem:a b", "pem:DPoP", "connection"],
        ),
    ];
    for (name, values) in cases {
        for value in values {
            let beside = [BASE].into_iter().filter(|(base, _)| *base != name);
            let settings: Vec<_> = beside.chain([(name, *value)]).collect();
            let Some(errors) = mistakes(&settings).await else { return };
            assert!(errors.contains(&format!("\n{name}: ")), "{name}={value:?}: {errors}");
            assert!(errors.lines().skip(1).all(|line| line.starts_with(name)), "{name}={value:?}: {errors}");
        }
    }
}

#[tokio::test]
async fn all_wrong_settings_about_senders_are_named_together() {
    let wrong = [
        ("OAUTH_DPOP_BASE", "ftp://x"),
        ("OAUTH_DPOP_ALGS", "HS256"),
        ("OAUTH_DPOP_MAX_AGE", "301"),
        ("OAUTH_DPOP_NONCE_SECRET", "hush"),
        ("OAUTH_DPOP_REPLAY", "postgres://user:hush@127.0.0.1"),
        ("OAUTH_SENDER_CONSTRAINT", "yes"),
        ("OAUTH_CLIENT_CERT", "pem:a b"),
        ("OAUTH_ALWAYS_ASK", "yes"),
        ("OAUTH_LEEWAY", "301"),
        ("OAUTH_HEADER", "a b"),
    ];
    let Some(errors) = mistakes(&wrong).await else { return };
    for (name, _) in wrong {
        assert!(errors.contains(&format!("\n{name}: ")), "{name} is missing in {errors}");
    }
    assert_eq!(errors.lines().count(), wrong.len() + 1, "{errors}");
    assert!(!errors.contains("hush"), "{errors}");
}

#[tokio::test]
async fn settings_of_dpop_without_its_base_url_are_mistakes() {
    let settings = [
        ("OAUTH_DPOP_ALGS", "ES256"),
        ("OAUTH_DPOP_MAX_AGE", "60"),
        ("OAUTH_DPOP_NONCE_SECRET", "random"),
        ("OAUTH_DPOP_REPLAY", "memory"),
    ];
    for setting in settings {
        let Some(errors) = mistakes(&[setting]).await else { return };
        assert!(errors.ends_with(&format!("\n{}: it has no effect; set OAUTH_DPOP_BASE\n", setting.0)), "{errors}");
    }
    let Some(errors) = mistakes(&settings).await else { return };
    assert_eq!(errors.lines().count(), settings.len() + 1, "{errors}");
}

#[tokio::test]
async fn require_without_dpop_and_certificates_is_a_mistake() {
    let require = ("OAUTH_SENDER_CONSTRAINT", "require");
    let Some(errors) = mistakes(&[require]).await else { return };
    assert!(errors.contains("\nOAUTH_SENDER_CONSTRAINT: ") && errors.lines().count() == 2, "{errors}");
    // A wrong base URL is the only mistake: with a right one, `require` is right too.
    for base in ["", "ftp://x"] {
        let Some(errors) = mistakes(&[require, ("OAUTH_DPOP_BASE", base)]).await else { return };
        assert!(errors.contains("\nOAUTH_DPOP_BASE: ") && errors.lines().count() == 2, "{errors}");
    }
    for means in [BASE, ("OAUTH_CLIENT_CERT", "rfc9440")] {
        assert!(start(&[require, means]).await.is_some());
    }
}

#[tokio::test]
async fn always_ask_is_a_setting_of_mode_mixed() {
    let credentials = [("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "secret")];
    for (mode, value) in [("jwt", "1"), ("introspection", "1"), ("mixed", "0"), ("mixed", ""), ("mixed", "true")] {
        let mode = ("OAUTH_MODE", mode);
        let credentials = credentials.into_iter().filter(|_| mode.1 != "jwt");
        let settings: Vec<_> = credentials.chain([mode, ("OAUTH_ALWAYS_ASK", value)]).collect();
        let Some(errors) = mistakes(&settings).await else { return };
        assert!(errors.contains("\nOAUTH_ALWAYS_ASK: ") && errors.lines().count() == 2, "{settings:?}: {errors}");
    }
    let settings = [&credentials[..], &[("OAUTH_MODE", "mixed"), ("OAUTH_ALWAYS_ASK", "1")]].concat();
    assert!(start(&settings).await.is_some());
}

#[tokio::test]
async fn right_settings_about_senders_start_the_program() {
    let upper = NONCE_SECRET.to_uppercase();
    let cases: [&[(&str, &str)]; 14] = [
        &[BASE],
        &[("OAUTH_DPOP_BASE", "https://api.test/")],
        &[("OAUTH_DPOP_BASE", "http://127.0.0.1:8080/v1, https://api.test,http://localhost")],
        &[BASE, ("OAUTH_DPOP_ALGS", "ES256 EdDSA")],
        &[BASE, ("OAUTH_DPOP_MAX_AGE", "1")],
        &[BASE, ("OAUTH_DPOP_MAX_AGE", "300")],
        &[BASE, ("OAUTH_DPOP_NONCE_SECRET", NONCE_SECRET)],
        &[BASE, ("OAUTH_DPOP_NONCE_SECRET", upper.as_str())],
        &[BASE, ("OAUTH_DPOP_NONCE_SECRET", "random")],
        &[BASE, ("OAUTH_DPOP_REPLAY", "memory")],
        &[BASE, ("OAUTH_DPOP_REPLAY", "off")],
        &[("OAUTH_SENDER_CONSTRAINT", "accept")],
        &[("OAUTH_CLIENT_CERT", "xfcc")],
        &[("OAUTH_CLIENT_CERT", "pem:X-SSL-Client-Cert")],
    ];
    for settings in cases {
        if start(settings).await.is_none() {
            return;
        }
    }
}

/// A Redis URL without the feature is a mistake that says how to get it. With the feature, Redis may be down.
#[tokio::test]
async fn redis_that_is_down_is_no_mistake() {
    let redis = [BASE, ("OAUTH_DPOP_REPLAY", "redis://:hush@127.0.0.1:1")];
    if cfg!(feature = "redis-replay") {
        start(&redis).await;
        return;
    }
    let Some(errors) = mistakes(&redis).await else { return };
    assert!(errors.contains("\nOAUTH_DPOP_REPLAY: ") && errors.contains("redis-replay"), "{errors}");
    assert!(!errors.contains("hush"), "{errors}");
}

/// Starts the program, which must accept these settings. Returns `None` if it was not built.
async fn start(settings: &[(&str, &str)]) -> Option<super::Api> {
    let usual = [("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", API)];
    super::Api::start(&[&usual[..], settings].concat()).await
}
