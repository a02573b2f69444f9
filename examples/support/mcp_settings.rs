//! Reads the settings of `mcp_server` from the environment.
//!
//! | variable | meaning |
//! |---|---|
//! | `BIND` | Address to listen on. Default: `127.0.0.1:5001`. |
//! | `OAUTH_ISSUER` | Issuer of the tokens. Required. |
//! | `OAUTH_JWKS_URI` | URL of the key set, for an issuer without metadata. |
//! | `OAUTH_RESOURCE` | Identifier of this server, which is the audience of its tokens. Default: `http://BIND/mcp`. |
//! | `OAUTH_RESOURCE_ALSO` | Further identifiers, separated by commas, for further public names. |
//! | `RUST_LOG` | Filter of the log. Default: `info`. |

use std::{net::SocketAddr, process};

use tokio::net::TcpListener;
use tower_oauth::{Issuer, ProtectedResource, metadata::ProtectedResourceBuilder};

use crate::{log::start_log, mistakes::Mistakes};

/// What the environment decides.
pub(crate) struct McpSettings {
    pub(crate) listener: TcpListener,
    pub(crate) issuer: Issuer,
    pub(crate) resource: ProtectedResource,
}

/// Reads all settings. Ends the program with every mistake in them, and status 2.
pub(crate) async fn read() -> McpSettings {
    let mut mistakes = Mistakes::default();
    start_log(&mut mistakes);
    let bind = mistakes.optional("BIND").unwrap_or_else(|| "127.0.0.1:5001".to_owned());
    let listener = TcpListener::bind(&bind).await;
    let listener = listener.map_err(|error| mistakes.add("BIND", format_args!("cannot listen on {bind:?}: {error}")));
    let issuer = issuer(&mut mistakes);
    let address = listener.as_ref().ok().and_then(|listener| listener.local_addr().ok());
    let resource = resource(&mut mistakes, address);
    match (listener, issuer, resource) {
        (Ok(listener), Some(issuer), Some(resource)) if mistakes.is_empty() => {
            McpSettings { listener, issuer, resource }
        }
        _ => {
            eprintln!("mcp_server cannot start:\n{mistakes}");
            process::exit(2)
        }
    }
}

fn issuer(mistakes: &mut Mistakes) -> Option<Issuer> {
    let identifier = mistakes.required("OAUTH_ISSUER", "https://auth.example.com");
    // A placeholder for a missing issuer, so that the URL of the key set is checked too.
    let mut issuer = Issuer::builder(identifier.unwrap_or_else(|| "http://127.0.0.1".to_owned()));
    if let Some(jwks_uri) = mistakes.optional("OAUTH_JWKS_URI") {
        issuer = issuer.jwks_uri(jwks_uri);
    }
    mistakes.check(|setting| if setting == "jwks_uri" { "OAUTH_JWKS_URI" } else { "OAUTH_ISSUER" }, issuer.build())
}

fn resource(mistakes: &mut Mistakes, address: Option<SocketAddr>) -> Option<ProtectedResource> {
    let default = || format!("http://{}/mcp", address.unwrap_or_else(|| ([127, 0, 0, 1], 5001).into()));
    let identifier = mistakes.optional("OAUTH_RESOURCE").unwrap_or_else(default);
    let also = mistakes.optional("OAUTH_RESOURCE_ALSO").unwrap_or_default();
    let also = also.split(',').map(str::trim).filter(|identifier| !identifier.is_empty());
    let resource = ProtectedResource::builder(identifier).scopes(["mcp:tools"]).name("Tools of tower-oauth's example");
    let resource = also.fold(resource, ProtectedResourceBuilder::also);
    mistakes.check(variable, resource.build())
}

fn variable(setting: &str) -> &'static str {
    if setting == "also" { "OAUTH_RESOURCE_ALSO" } else { "OAUTH_RESOURCE" }
}
