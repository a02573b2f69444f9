//! The values that the crate reports through the `metrics` facade. They contain no secrets.

use futures_util::FutureExt as _;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower_oauth::{
    AuthError, IntrospectionVerifier, JwtVerifier, OAuthLayer, Token, keys::Algorithm,
    layer::late_refusals::LateRefusals, verify::ClientAuthentication,
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    support::{API, Admin, get_with, get_with_token, layer_with, router, valid_token},
};

/// Each metric as `name{label="value"} = value`.
fn lines(snapshotter: &Snapshotter) -> Vec<String> {
    let mut lines: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let value = match value {
                DebugValue::Counter(count) => count.to_string(),
                DebugValue::Gauge(gauge) => gauge.to_string(),
                DebugValue::Histogram(values) => format!("{} times", values.len()),
            };
            format!("{}{{{}}} = {value}", key.key().name(), labels.join(","))
        })
        .collect();
    lines.sort();
    lines
}

/// Threat W13
#[test]
fn every_look_for_a_token_without_a_layer_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let app =
        axum::Router::new().route("/counted/{number}", axum::routing::get(async |_: Result<Token, AuthError>| ()));
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            for _ in 0..3 {
                assert_eq!(get_with_token(&app, "/counted/1", "x").await.status, 200);
            }
        });
    });
    assert_eq!(lines(&snapshotter), ["tower_oauth_refused_total{kind=missing_layer,reason=missing_layer} = 3"]);
}

#[test]
fn decisions_refreshes_ages_unknown_kids_and_waits_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    // A current-thread runtime: its tasks run on the thread that the recorder is set for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let fake = FakeIssuer::start().await;
            let clock = tower_oauth::testing::ManualClock::default();
            let issuer = fake.builder().clock(clock.clone()).build().unwrap();
            let app = router().layer(OAuthLayer::new(JwtVerifier::new(issuer.clone(), API).unwrap()));
            assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
            assert_eq!(get_with_token(&app, "/orders", &fake.valid_token()).await.status, 403);
            assert_eq!(get_with_token(&app, "/me", "garbage").await.status, 401);
            assert_eq!(get_with(&app, "/me", "Bearer a b").await.status, 400);
            assert_eq!(get_with(&app, "/me", "Basic x").await.status, 401);
            clock.advance(std::time::Duration::from_secs(60));
            fake.answer(Answer::Status(500));
            let unknown = fake.signer(Algorithm::ES256).token("eve").header("kid", "new").sign();
            assert_eq!(get_with_token(&app, "/me", &unknown).await.status, 503);
            fake.identifier.clone()
        })
    });
    let expected = [
        "tower_oauth_accepted_total{} = 2".to_owned(),
        format!("tower_oauth_key_age_seconds{{issuer={issuer}}} = 60"),
        format!("tower_oauth_key_refreshes_total{{issuer={issuer},result=failure}} = 1"),
        format!("tower_oauth_key_refreshes_total{{issuer={issuer},result=success}} = 1"),
        format!("tower_oauth_key_wait_seconds{{issuer={issuer}}} = 2 times"),
        "tower_oauth_refused_total{kind=insufficient_scope,reason=scope} = 1".to_owned(),
        "tower_oauth_refused_total{kind=invalid_request,reason=malformed_credentials} = 1".to_owned(),
        "tower_oauth_refused_total{kind=invalid_token,reason=not_a_jws} = 1".to_owned(),
        "tower_oauth_refused_total{kind=missing_credentials,reason=unsupported_scheme} = 1".to_owned(),
        "tower_oauth_refused_total{kind=unavailable,reason=unavailable} = 1".to_owned(),
        format!("tower_oauth_unknown_kids_total{{issuer={issuer}}} = 2"),
    ];
    assert_eq!(lines(&snapshotter), expected);
}

/// Threat W7
#[test]
fn a_refusal_after_the_head_of_the_response_is_counted_apart() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (sender, mut handed_out) = tokio::sync::mpsc::unbounded_channel();
            let handler = async move |extensions: http::Extensions| sender.send(LateRefusals::of(&extensions)).unwrap();
            let app = axum::Router::new().route("/", axum::routing::get(handler));
            let app = app.layer(layer_with(|server| server).late_refusals());
            assert_eq!(get_with_token(&app, "/", &valid_token().sign()).await.status, 200);
            let refusals = handed_out.recv().await.unwrap();
            assert!(refusals.require::<Admin>().is_err() && refusals.clone().require::<Admin>().is_err());
        });
    });
    let expected = [
        "tower_oauth_accepted_total{} = 1",
        "tower_oauth_refused_too_late_total{kind=insufficient_scope,reason=scope} = 1",
    ];
    assert_eq!(lines(&snapshotter), expected);
}

/// Threat W6
#[test]
fn a_recorded_refusal_that_is_not_sent_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let handler = async |extensions: http::Extensions| {
                LateRefusals::of(&extensions).require::<Admin>().unwrap_err();
                std::future::pending::<()>().await;
            };
            let app = axum::Router::new().route("/", axum::routing::get(handler));
            let (app, token) = (app.layer(layer_with(|server| server).late_refusals()), valid_token().sign());
            // The client leaves before the response.
            assert!(get_with_token(&app, "/", &token).now_or_never().is_none());
        });
    });
    let expected =
        ["tower_oauth_accepted_total{} = 1", "tower_oauth_refused_total{kind=insufficient_scope,reason=scope} = 1"];
    assert_eq!(lines(&snapshotter), expected);
}

#[test]
fn without_the_issuer_label_no_metric_names_the_issuer() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let fake = FakeIssuer::start().await;
            let issuer = fake.builder().without_issuer_label().build().unwrap();
            let app = router().layer(OAuthLayer::new(JwtVerifier::new(issuer.clone(), API).unwrap()));
            assert_eq!(get_with_token(&app, "/me", &fake.valid_token()).await.status, 200);
            let unknown = fake.signer(Algorithm::ES256).token("eve").header("kid", "new").sign();
            assert_eq!(get_with_token(&app, "/me", &unknown).await.status, 401);
            let client = ClientAuthentication::secret_basic("orders-api", "correct horse battery staple");
            let app = router().layer(OAuthLayer::new(IntrospectionVerifier::new(issuer, client, API).unwrap()));
            assert_eq!(get_with_token(&app, "/me", "opaque").await.status, 401);
        });
    });
    let lines = lines(&snapshotter);
    for line in [
        "tower_oauth_key_refreshes_total{result=success} = 2",
        "tower_oauth_key_wait_seconds{} = 2 times",
        "tower_oauth_unknown_kids_total{} = 2",
        "tower_oauth_introspections_total{result=inactive} = 1",
        "tower_oauth_introspection_seconds{} = 1 times",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.contains("issuer=")), "{lines:#?}");
}
