//! Each verifier names its issuers and audiences, and each wrapper hands on those of the verifiers inside.

use std::{sync::Arc, time::Duration};

use tower_oauth::{
    Cached, IntrospectionVerifier, Issuer, JwtOrOpaque,
    testing::MockIssuer,
    verify::{ClientAuthentication, DynamicIssuers, IssuerInquiry, TrustedIssuers, Verify},
};

use crate::support::{API, ISSUER, issuer, verifier_from};

const OTHER_ISSUER: &str = "https://other.test";
const OTHER_API: &str = "https://other-api.test";

#[track_caller]
fn assert_names<'a>(verifier: &impl Verify, issuers: &[&str], audiences: impl Into<Option<&'a [&'a str]>>) {
    assert_eq!(verifier.issuers(), issuers);
    let known = audiences.into().map(|audiences| audiences.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(verifier.audiences(), known);
}

fn introspection() -> IntrospectionVerifier {
    let issuer = Issuer::builder(OTHER_ISSUER).jwks_uri("https://other.test/jwks").build().unwrap();
    IntrospectionVerifier::builder(issuer, ClientAuthentication::secret_basic("api", "secret"), OTHER_API)
        .endpoint("https://other.test/introspect")
        .audience("https://third-api.test")
        .build()
        .unwrap()
}

#[test]
fn a_verifier_of_one_issuer_names_it_and_its_audiences() {
    let jwt = issuer().verifier_builder(API).audience(OTHER_API).build().unwrap();
    assert_names(&jwt, &[ISSUER], &[API, OTHER_API][..]);
    assert_names(&introspection(), &[OTHER_ISSUER], &[OTHER_API, "https://third-api.test"][..]);
}

#[test]
fn verifiers_that_know_their_issuers_only_later_name_none() {
    let dynamic = DynamicIssuers::new(|_: IssuerInquiry| async { None });
    assert_names(&dynamic, &[], None);
    assert_names(&verifier_from(|_| panic!("not called")), &[], None);
}

/// RFC 9728 §2 b (MUST, accepts)
#[test]
fn every_wrapper_hands_on_issuers_and_audiences() {
    let jwt = || issuer().verifier(API);
    assert_names(&Arc::new(jwt()), &[ISSUER], &[API][..]);
    assert_names(&Box::new(jwt()), &[ISSUER], &[API][..]);
    let boxed: Box<dyn Verify> = Box::new(jwt());
    assert_names(&boxed, &[ISSUER], &[API][..]);
    let shared: Arc<dyn Verify> = Arc::new(Cached::new(Arc::new(jwt()), Duration::from_secs(1)));
    assert_names(&shared, &[ISSUER], &[API][..]);
}

#[test]
fn several_trusted_issuers_are_named_each_once_in_a_fixed_order() {
    let verifier = |issuer: &str, audience| MockIssuer::new(issuer).verifier(audience);
    let issuers = ["https://a.test", "https://b.test", "https://c.test", "https://d.test"];
    let audiences = [API, OTHER_API, API, API];
    let trusted = TrustedIssuers::new(issuers.iter().zip(audiences).rev().map(|(issuer, api)| verifier(issuer, api)));
    assert_names(&Cached::new(trusted.unwrap(), Duration::from_secs(1)), &issuers, &[API, OTHER_API][..]);
}

/// RFC 9728 §2 b (MUST, accepts)
#[test]
fn two_verifiers_name_the_issuers_and_audiences_of_both() {
    let jwt = || issuer().verifier_builder(API).audience(OTHER_API).build().unwrap();
    let third = "https://third-api.test";
    let either = JwtOrOpaque::new(jwt(), Cached::new(introspection(), Duration::from_secs(1)));
    assert_names(&either, &[ISSUER, OTHER_ISSUER], &[API, OTHER_API, third][..]);
    let both = JwtOrOpaque::builder(jwt(), introspection()).require_both().build();
    assert_names(&both, &[ISSUER, OTHER_ISSUER], &[OTHER_API][..]);
    // No token has an audience of both.
    let disjoint = JwtOrOpaque::builder(issuer().verifier(API), introspection()).require_both().build();
    assert_names(&disjoint, &[ISSUER, OTHER_ISSUER], &[][..]);
    // A verifier that names no audience may accept any.
    let unknown = verifier_from(|_| panic!("not called"));
    assert_names(&JwtOrOpaque::new(jwt(), unknown), &[ISSUER], None);
}
