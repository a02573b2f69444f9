//! Judges the content of a document (§4 of the draft, RFC 7591 §2).
//!
//! *In*: the bytes of a document and the URL that it is from. *Out*: what it says about its client, or why it is invalid.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// What a valid document says about its client.
#[derive(Debug)]
pub(super) struct ClientMetadata {
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
    /// The grant types that are used.
    pub(super) grant_types: Vec<String>,
    pub(super) authentication: ClientAuthenticationMethod,
}

/// How the client authenticates at the token endpoint.
#[derive(Debug)]
pub(super) enum ClientAuthenticationMethod {
    None,
    /// `private_key_jwt` with the key set in the document.
    Keys(String),
    /// `private_key_jwt` with the key set at this URL.
    KeysAt(String),
}

#[derive(Deserialize)]
struct Members {
    client_id: String,
    client_name: String,
    redirect_uris: Vec<String>,
    #[serde(default = "default_grant_types")]
    grant_types: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    jwks: Option<Box<RawValue>>,
    #[serde(default)]
    jwks_uri: Option<String>,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

impl ClientMetadata {
    /// Parses the document at the URL `client_id`. The error is the reason for the log.
    pub(super) fn parse(client_id: &str, body: &[u8]) -> Result<Self, String> {
        let text = json::issuer_text(body).map_err(|_| "it is not UTF-8")?;
        let members: Members = json::object(text).map_err(|error| format!("it is no such document: {error}"))?;
        // §4.1: simple string comparison.
        if members.client_id != client_id {
            return Err("its client_id is not its URL".to_owned());
        }
        if members.others.keys().any(|name| name.starts_with("client_secret")) {
            return Err("it has a client_secret, which can't be secret there".to_owned());
        }
        let name = members.client_name;
        if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.contains(is_invisible) {
            return Err("its client_name is empty, too long, or has control or invisible characters".to_owned());
        }
        if members.redirect_uris.is_empty() {
            return Err("its redirect_uris are empty".to_owned());
        }
        let authentication =
            authentication(members.token_endpoint_auth_method.as_deref(), members.jwks, members.jwks_uri)?;
        let mut grant_types = members.grant_types;
        grant_types.retain(|name| GRANT_TYPES.contains(&name.as_str()));
        Ok(Self { name, redirect_uris: members.redirect_uris, grant_types, authentication })
    }
}

fn authentication(
    method: Option<&str>,
    jwks: Option<Box<RawValue>>,
    jwks_uri: Option<String>,
) -> Result<ClientAuthenticationMethod, &'static str> {
    // RFC 7591 §2: both must not be present.
    if jwks.is_some() && jwks_uri.is_some() {
        return Err("it has jwks and jwks_uri");
    }
    match method.unwrap_or("none") {
        "none" => Ok(ClientAuthenticationMethod::None),
        "private_key_jwt" => match (jwks, jwks_uri) {
            (Some(jwks), _) => Ok(ClientAuthenticationMethod::Keys(jwks.get().to_owned())),
            (None, Some(url)) => Ok(ClientAuthenticationMethod::KeysAt(url)),
            (None, None) => Err("private_key_jwt, but neither jwks nor jwks_uri"),
        },
        _ => Err("its token_endpoint_auth_method is neither none nor private_key_jwt"),
    }
}

/// True for a character that is not visible, but changes what a name looks like or is equal to: controls, also those of the
/// direction (UAX #9 §2), and characters without width, also the one that joins emoji.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn default_grant_types() -> Vec<String> {
    vec!["authorization_code".to_owned()]
}

/// The grants of such clients. With `client_credentials`, anyone who can publish a document would get tokens without a user.
const GRANT_TYPES: [&str; 2] = ["authorization_code", "refresh_token"];
const MAX_NAME_CHARS: usize = 200;
