//! Reads the settings of the program from the environment.

use std::{env, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tower_oauth::{
    Cached, IntrospectionVerifier, Issuer, JwtOrOpaque, JwtVerifier, Preset, ProtectedResource, ResourceServer,
    metadata::ProtectedResourceBuilder,
    verify::{ClientAuthentication, Verify},
};

use crate::{
    jwt_settings::{self, JwtSettings},
    log::start_log,
    mistakes::Mistakes,
    sender_settings::{self, SenderSettings},
    tls,
};

/// Everything that the environment decides.
pub(crate) struct Settings {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) issuer: Issuer,
    /// The value of `OAUTH_MODE`.
    pub(crate) mode: String,
    pub(crate) server: ResourceServer,
    /// True if web pages of every origin can call the API.
    pub(crate) cors: bool,
}

/// Returns the text of `--help`.
pub(crate) fn help() -> String {
    format!(
        "An API that is protected by OAuth 2.0 access tokens. It has no arguments; these variables configure it:

  BIND              Address to listen on. Required.
{}
{}
  OAUTH_HEADER      A header that may contain the token, without a scheme, beside Authorization. Default: none;
                    with a preset, the header in which the provider sends its token.
  OAUTH_MODE        jwt (default); introspection: introspects every token; mixed: introspects every opaque token.
  OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET
                    Credentials of this API at the introspection endpoint.
  OAUTH_INTROSPECTION_URL
                    Introspection endpoint, which implies mixed. Default: from the issuer's metadata.
  OAUTH_INTROSPECTION_CACHE_SECONDS
                    How long a verdict by introspection is cached. Default: 30.
  OAUTH_ALWAYS_ASK  1: in mode mixed, introspects good JWTs too. Default: only opaque tokens.
{}
  OAUTH_RESOURCE_METADATA
                    1: publishes what clients can learn without a token (RFC 9728) about the resource
                    OAUTH_AUDIENCE, which must then be a URL. Default: nothing.
  OAUTH_RESOURCE_ALSO
                    Further identifiers of the resource, separated by commas, for an API with several hosts.
                    Each is accepted as audience. Default: none.
  RUST_LOG          Filter of the log, with the crate's own events. Default: info.",
        tls::help(),
        jwt_settings::help(),
        sender_settings::HELP
    )
}

/// Reads all settings, or returns every mistake in them.
pub(crate) async fn read() -> Result<Settings, Mistakes> {
    let mut mistakes = Mistakes::default();
    start_log(&mut mistakes);
    let bind = mistakes.required("BIND", "127.0.0.1:3000").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener = listener.map_err(|error| mistakes.add("BIND", format_args!("cannot listen on {bind:?}: {error}")));
    let tls = tls::read(&mut mistakes);
    let jwt = JwtSettings::read(&mut mistakes);
    // A placeholder for each wrong setting, so that the other settings are checked too.
    let placeholder = || Issuer::builder("http://127.0.0.1").build().ok();
    let issuer = mistakes.check(variable, jwt.issuer().build()).or_else(placeholder);
    let resource = resource(&mut mistakes, &jwt);
    let verifier = issuer.as_ref().and_then(|issuer| verifier(&mut mistakes, &jwt, resource.as_ref(), issuer));
    // The placeholder accepts no audience of the resource.
    let resource = resource.filter(|_| verifier.is_some());
    let placeholder =
        |issuer: &Issuer| JwtVerifier::new(issuer.clone(), "-").ok().map(|jwt| (String::new(), boxed(jwt)));
    let verifier = verifier.or_else(|| issuer.as_ref().and_then(placeholder));
    let sender = SenderSettings::read(&mut mistakes).await;
    let server = verifier.map(|(mode, verifier)| (mode, server(&mut mistakes, jwt.preset, resource, verifier, sender)));
    match (listener, issuer, server) {
        (Ok(listener), Some(issuer), Some((mode, Some(server)))) if mistakes.is_empty() => {
            Ok(Settings { listener, tls, issuer, mode, server, cors: sender_settings::allow_origins() })
        }
        _ => Err(mistakes),
    }
}

/// Returns the resource whose metadata the program publishes.
fn resource(mistakes: &mut Mistakes, jwt: &JwtSettings) -> Option<ProtectedResource> {
    let also = mistakes.optional("OAUTH_RESOURCE_ALSO");
    let publish = mistakes.optional("OAUTH_RESOURCE_METADATA");
    if publish.as_deref().is_some_and(|value| value != "1") {
        mistakes.add("OAUTH_RESOURCE_METADATA", "it is not 1");
    }
    if publish.is_none() {
        if also.is_some() {
            mistakes.add("OAUTH_RESOURCE_ALSO", "it has no effect; set OAUTH_RESOURCE_METADATA=1");
        }
        return None;
    }
    let also = also.iter().flat_map(|list| list.split(',')).map(str::trim);
    let builder = also.fold(ProtectedResource::builder(&jwt.audience), ProtectedResourceBuilder::also);
    let name = |setting| if setting == "also" { "OAUTH_RESOURCE_ALSO" } else { "OAUTH_AUDIENCE" };
    mistakes.check(name, builder.build())
}

/// Returns the server that reads the tokens from the accepted headers.
fn server(
    mistakes: &mut Mistakes,
    preset: Option<Preset>,
    resource: Option<ProtectedResource>,
    verifier: Arc<dyn Verify>,
    sender: SenderSettings,
) -> Option<ResourceServer> {
    let of_preset = || preset.and_then(header).map(str::to_owned);
    let mut builder = sender.apply_to(ResourceServer::builder(verifier));
    if let Some(header) = mistakes.optional("OAUTH_HEADER").or_else(of_preset) {
        builder = builder.accept_header(header);
    }
    if let Some(resource) = resource {
        builder = builder.resource(resource);
    }
    let name = |setting| match setting {
        "resource" => "OAUTH_RESOURCE_METADATA",
        setting => sender_settings::variable(setting).unwrap_or("OAUTH_HEADER"),
    };
    mistakes.check(name, builder.build())
}

fn boxed(verifier: impl Verify) -> Arc<dyn Verify> {
    Arc::new(verifier)
}

/// Returns the header in which the provider sends its token to the API, if it is not `Authorization`.
fn header(preset: Preset) -> Option<&'static str> {
    match preset.as_str() {
        "cloudflare-access" => Some("Cf-Access-Jwt-Assertion"),
        "google-iap" => Some("X-Goog-Iap-Jwt-Assertion"),
        _ => None,
    }
}

/// Returns the mode and its verifier. It accepts each identifier of the resource as audience.
fn verifier(
    mistakes: &mut Mistakes,
    settings: &JwtSettings,
    resource: Option<&ProtectedResource>,
    issuer: &Issuer,
) -> Option<(String, Arc<dyn Verify>)> {
    let also: Vec<&str> = resource.into_iter().flat_map(|resource| resource.identifiers().skip(1)).collect();
    let jwt = also.iter().fold(settings.verifier(issuer.clone()), |jwt, also| jwt.audience(*also));
    let jwt = mistakes.check(variable, jwt.build());
    let implied = if env::var_os("OAUTH_INTROSPECTION_URL").is_some() { "mixed" } else { "jwt" };
    let mode = mistakes.optional("OAUTH_MODE").unwrap_or_else(|| implied.to_owned());
    if !["jwt", "introspection", "mixed"].contains(&&*mode) {
        mistakes.add("OAUTH_MODE", "it is none of jwt, introspection and mixed");
        return None;
    }
    let always_ask = always_ask(mistakes, &mode);
    if mode == "jwt" {
        for name in ["INTROSPECTION_URL", "CLIENT_ID", "CLIENT_SECRET", "INTROSPECTION_CACHE_SECONDS"] {
            let name = format!("OAUTH_{name}");
            if env::var_os(&name).is_some() {
                mistakes
                    .add(&name, "mode jwt never calls the introspection endpoint; unset it, or set OAUTH_MODE=mixed");
            }
        }
        return Some((mode, boxed(jwt?)));
    }
    if mode == "introspection" && settings.preset.is_some() {
        mistakes.add("OAUTH_PRESET", "mode introspection never verifies a JWT; unset it, or set OAUTH_MODE=mixed");
    }
    let opaque = introspection(mistakes, settings, &also, issuer)?;
    let verifier = match &*mode {
        "mixed" if always_ask => boxed(JwtOrOpaque::builder(jwt?, opaque).require_both().build()),
        "mixed" => boxed(JwtOrOpaque::new(jwt?, opaque)),
        _ => boxed(opaque),
    };
    Some((mode, verifier))
}

/// True if good JWTs are introspected too.
fn always_ask(mistakes: &mut Mistakes, mode: &str) -> bool {
    match mistakes.optional("OAUTH_ALWAYS_ASK").as_deref() {
        None => return false,
        Some("1") if mode == "mixed" => {}
        Some("1") => mistakes.add("OAUTH_ALWAYS_ASK", "it has no effect; set OAUTH_MODE=mixed"),
        Some(_) => mistakes.add("OAUTH_ALWAYS_ASK", "it is not 1"),
    }
    true
}

/// Returns the verifier that introspects tokens.
fn introspection(
    mistakes: &mut Mistakes,
    settings: &JwtSettings,
    also: &[&str],
    issuer: &Issuer,
) -> Option<impl Verify + use<>> {
    let id = mistakes.required("OAUTH_CLIENT_ID", "orders-api").unwrap_or_else(|| "-".to_owned());
    let secret = mistakes.required("OAUTH_CLIENT_SECRET", "the secret that the issuer has for this client");
    let client = ClientAuthentication::secret_basic(id, secret.unwrap_or_else(|| "-".to_owned()));
    let seconds = mistakes.optional("OAUTH_INTROSPECTION_CACHE_SECONDS").map_or(Ok(30), |seconds| seconds.parse());
    let seconds = seconds.map_err(|_| mistakes.add("OAUTH_INTROSPECTION_CACHE_SECONDS", "it is no number of seconds"));
    let builder = IntrospectionVerifier::builder(issuer.clone(), client, &settings.audience);
    let mut builder = also.iter().fold(builder, |builder, also| builder.audience(*also));
    if settings.accepts_missing_audience() {
        builder = builder.danger_accept_missing_audience();
    }
    if let Some(leeway) = settings.leeway {
        builder = builder.leeway(leeway);
    }
    if let Some(endpoint) = mistakes.optional("OAUTH_INTROSPECTION_URL") {
        builder = builder.endpoint(endpoint);
    }
    Some(Cached::new(mistakes.check(variable, builder.build())?, Duration::from_secs(seconds.ok()?)))
}

/// Returns the variable for one of the crate's settings.
fn variable(setting: &str) -> &'static str {
    if setting == "endpoint" { "OAUTH_INTROSPECTION_URL" } else { jwt_settings::variable(setting) }
}
