//! Reads the settings of the program from the environment.

use std::{env, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tower_oauth::{
    Cached, IntrospectionVerifier, Issuer, JwtOrOpaque, JwtVerifier,
    verify::{ClientAuthentication, Verify},
};

use crate::{log::start_log, mistakes::Mistakes};

/// Everything that the environment decides.
pub(crate) struct Settings {
    pub(crate) listener: TcpListener,
    pub(crate) issuer: Issuer,
    /// The value of `OAUTH_MODE`.
    pub(crate) mode: String,
    pub(crate) verifier: Arc<dyn Verify>,
}

/// Reads all settings, or returns every mistake in them.
pub(crate) async fn read() -> Result<Settings, Mistakes> {
    let mut mistakes = Mistakes::default();
    start_log(&mut mistakes);
    let bind = mistakes.required("BIND", "127.0.0.1:3000").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener = listener.map_err(|error| mistakes.add("BIND", format_args!("cannot listen on {bind:?}: {error}")));
    // A placeholder for each wrong setting, so that the other settings are checked too.
    let placeholder = || "http://127.0.0.1".to_owned();
    let issuer = mistakes.required("OAUTH_ISSUER", "https://auth.example.com").unwrap_or_else(placeholder);
    let mut issuer = Issuer::builder(issuer);
    if let Some(jwks_uri) = mistakes.optional("OAUTH_JWKS_URI") {
        issuer = issuer.jwks_uri(jwks_uri);
    }
    let audience = mistakes.required("OAUTH_AUDIENCE", "https://api.example.com").unwrap_or_else(|| "-".to_owned());
    let issuer = mistakes.check(variable, issuer.build()).or_else(|| Issuer::builder(placeholder()).build().ok());
    let verifier = issuer.as_ref().and_then(|issuer| verifier(&mut mistakes, issuer, &audience));
    match (listener, issuer, verifier) {
        (Ok(listener), Some(issuer), Some((mode, verifier))) if mistakes.is_empty() => {
            Ok(Settings { listener, issuer, mode, verifier })
        }
        _ => Err(mistakes),
    }
}

/// Returns the mode and its verifier.
fn verifier(mistakes: &mut Mistakes, issuer: &Issuer, audience: &str) -> Option<(String, Arc<dyn Verify>)> {
    let implied = if env::var_os("OAUTH_INTROSPECTION_URL").is_some() { "mixed" } else { "jwt" };
    let mode = mistakes.optional("OAUTH_MODE").unwrap_or_else(|| implied.to_owned());
    if !["jwt", "introspection", "mixed"].contains(&&*mode) {
        mistakes.add("OAUTH_MODE", "it is none of jwt, introspection and mixed");
        return None;
    }
    let jwt = mistakes.check(variable, JwtVerifier::new(issuer.clone(), audience))?;
    if mode == "jwt" {
        for name in ["INTROSPECTION_URL", "CLIENT_ID", "CLIENT_SECRET", "INTROSPECTION_CACHE_SECONDS"] {
            let name = format!("OAUTH_{name}");
            if env::var_os(&name).is_some() {
                mistakes
                    .add(&name, "mode jwt never calls the introspection endpoint; unset it, or set OAUTH_MODE=mixed");
            }
        }
        return Some((mode, Arc::new(jwt)));
    }
    let id = mistakes.required("OAUTH_CLIENT_ID", "orders-api").unwrap_or_else(|| "-".to_owned());
    let secret = mistakes.required("OAUTH_CLIENT_SECRET", "the secret that the issuer has for this client");
    let client = ClientAuthentication::secret_basic(id, secret.unwrap_or_else(|| "-".to_owned()));
    let seconds = mistakes.optional("OAUTH_INTROSPECTION_CACHE_SECONDS").map_or(Ok(30), |seconds| seconds.parse());
    let seconds = seconds.map_err(|_| mistakes.add("OAUTH_INTROSPECTION_CACHE_SECONDS", "it is no number of seconds"));
    let mut builder = IntrospectionVerifier::builder(issuer.clone(), client, audience);
    if let Some(endpoint) = mistakes.optional("OAUTH_INTROSPECTION_URL") {
        builder = builder.endpoint(endpoint);
    }
    let opaque = Cached::new(mistakes.check(variable, builder.build())?, Duration::from_secs(seconds.ok()?));
    let verifier: Arc<dyn Verify> =
        if mode == "mixed" { Arc::new(JwtOrOpaque::new(jwt, opaque)) } else { Arc::new(opaque) };
    Some((mode, verifier))
}

/// Returns the variable for one of the crate's settings.
fn variable(setting: &str) -> &'static str {
    match setting {
        "issuer" => "OAUTH_ISSUER",
        "jwks_uri" => "OAUTH_JWKS_URI",
        "endpoint" => "OAUTH_INTROSPECTION_URL",
        _ => "OAUTH_AUDIENCE",
    }
}
