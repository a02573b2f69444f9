//! The API: `/public` without a layer, and `/orders`, for which the layer asks the issuer about each token.

use std::time::Duration;

use axum::{
    Router,
    routing::get,
    serve::{Listener as _, ListenerExt as _},
};
use tokio::net::TcpListener;
use tower_oauth::{
    Cached, IntrospectionVerifier, Issuer, OAuthLayer, Token,
    verify::{ClientAuthentication, Verify},
};

use crate::process;

pub(crate) const AUDIENCE: &str = "https://api.test";
/// Short, so that the issuer is asked about known tokens during the flood too.
const MAX_AGE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
pub(crate) enum VerifierKind {
    Alone,
    Cached,
}

impl VerifierKind {
    pub(crate) fn named(name: &str) -> Self {
        [Self::Alone, Self::Cached].into_iter().find(|kind| kind.name() == name).unwrap()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Cached => "cached",
        }
    }
}

/// Serves the API, with the issuer at this port of the loopback address.
pub(crate) async fn serve(kind: VerifierKind, issuer: &str) {
    let identifier = format!("http://127.0.0.1:{issuer}");
    let endpoint = format!("{identifier}/introspect");
    let issuer = Issuer::builder(identifier).build().unwrap();
    let client = ClientAuthentication::secret_basic("orders-api", "not-a-secret");
    let verifier = IntrospectionVerifier::builder(issuer, client, AUDIENCE).endpoint(endpoint).build().unwrap();
    let app = match kind {
        VerifierKind::Alone => app(verifier),
        VerifierKind::Cached => app(Cached::new(verifier, MAX_AGE)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().tap_io(|stream| stream.set_nodelay(true).unwrap());
    process::report(listener.local_addr().unwrap().port(), Vec::new);
    axum::serve(listener, app).await.unwrap();
}

fn app(verifier: impl Verify) -> Router {
    let orders = Router::new().route("/orders", get(async |_: Token| "orders")).layer(OAuthLayer::new(verifier));
    Router::new().route("/public", get(async || "public")).merge(orders)
}
