//! Wrong settings, and what the metadata of the resource says about proofs and certificates.

use std::time::Duration;

use serde_json::{Value, json};
use tower_oauth::{
    ProtectedResource, ResourceServer, challenge::SchemeChallenge, dpop::Dpop, keys::Algorithm, mutual_tls::MutualTls,
    server::ResourceServerBuilder,
};

use crate::support::{API, get_without_token, issuer};

fn builder() -> ResourceServerBuilder {
    ResourceServer::builder(issuer().verifier(API))
}

fn mistakes(builder: ResourceServerBuilder) -> Vec<String> {
    builder.build().unwrap_err().mistakes().iter().map(|mistake| mistake.setting().to_owned()).collect()
}

#[test]
fn every_mistake_is_reported_at_once() {
    let dpop = Dpop::new("http://api.test").algorithms([]).max_age(Duration::from_secs(301));
    let other = SchemeChallenge::builder("dpop").build().unwrap();
    let found = mistakes(builder().dpop(dpop).additional_challenge(other));
    for setting in ["additional_challenge", "dpop", "algorithms", "max_age"] {
        assert!(found.iter().any(|found| found == setting), "{setting} is not in {found:?}");
    }
}

#[test]
fn each_wrong_setting_is_a_mistake() {
    for (base, why) in [
        ("", "empty"),
        ("api.test", "no scheme"),
        ("ftp://api.test", "another scheme"),
        ("http://api.test", "not https"),
        ("https://user@api.test", "userinfo"),
        ("https://api.test?a", "a query"),
        ("https://api.test#a", "a fragment"),
    ] {
        assert_eq!(mistakes(builder().dpop(Dpop::new(base))), ["dpop"], "{why}");
        assert_eq!(mistakes(builder().dpop(Dpop::new(API).also_known_as(base))), ["dpop"], "{why}");
    }
    for base in
        ["https://api.test/", "https://api.test/v1/", "http://127.0.0.1:3000", "http://[::1]:3000", "http://localhost"]
    {
        assert!(builder().dpop(Dpop::new(base)).build().is_ok(), "{base}");
    }
    assert_eq!(mistakes(builder().dpop(Dpop::target(|_| None).also_known_as(API))), ["also_known_as"]);
    assert_eq!(mistakes(builder().dpop(Dpop::new(API).max_age(Duration::ZERO))), ["max_age"]);
    assert_eq!(mistakes(builder().require_sender_constraint()), ["require_sender_constraint"]);
}

async fn document(configure: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> Value {
    let resource = ProtectedResource::new(API).unwrap();
    let server = configure(builder().resource(resource)).build().unwrap();
    let metadata = server.metadata().unwrap().clone();
    let path = metadata.paths().next().unwrap().to_owned();
    let app = axum::Router::new().route_service(&path, metadata);
    serde_json::from_str(&get_without_token(&app, &path).await.body).unwrap()
}

/// RFC 9728 §2 e (OPTIONAL, accepts and refuses)
#[tokio::test]
async fn the_metadata_says_which_bound_tokens_are_accepted() {
    const ALGORITHMS: &str = "dpop_signing_alg_values_supported";
    const REQUIRED: &str = "dpop_bound_access_tokens_required";
    const CERTIFICATES: &str = "tls_client_certificate_bound_access_tokens";
    let es256 = || Dpop::new(API).algorithms([Algorithm::ES256]);
    let plain = document(|server| server).await;
    for name in [ALGORITHMS, REQUIRED, CERTIFICATES] {
        assert_eq!(plain.get(name), None, "{name}");
    }
    let dpop = document(|server| server.dpop(es256())).await;
    assert_eq!((&dpop[ALGORITHMS], dpop.get(REQUIRED), dpop.get(CERTIFICATES)), (&json!(["ES256"]), None, None));
    let required = document(|server| server.dpop(es256()).require_sender_constraint()).await;
    assert_eq!(required[REQUIRED], true);
    let both =
        document(|server| server.dpop(es256()).mutual_tls(MutualTls::on_the_connection()).require_sender_constraint());
    let both = both.await;
    assert_eq!((both.get(REQUIRED), &both[CERTIFICATES]), (None, &json!(true)), "a certificate is enough too");
}
