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
    pub(super) dpop_bound_access_tokens: bool,
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
    dpop_bound_access_tokens: bool,
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
        Ok(Self {
            name,
            redirect_uris: members.redirect_uris,
            grant_types,
            dpop_bound_access_tokens: members.dpop_bound_access_tokens,
            authentication,
        })
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

/// True for a character that is not visible, but changes what a name looks like or is equal to: controls, formats (`Cf`, also those
/// of the direction, UAX #9 §2), `Default_Ignorable_Code_Point` (also the characters that join or vary emoji), and blank symbols.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
            | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{fffe}' | '\u{ffff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn default_grant_types() -> Vec<String> {
    vec!["authorization_code".to_owned()]
}

/// The grants of such clients. With `client_credentials`, anyone who can publish a document would get tokens without a user.
const GRANT_TYPES: [&str; 2] = ["authorization_code", "refresh_token"];
const MAX_NAME_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::is_invisible;

    /// Threat T67
    #[test]
    fn a_name_has_no_format_ignorable_or_blank_character() {
        // The ranges of Cf and of Default_Ignorable_Code_Point in Unicode 16, and blank symbols.
        let ranges = [
            (0x0, 0x1f),
            (0x7f, 0x9f),
            (0xad, 0xad),
            (0x34f, 0x34f),
            (0x600, 0x605),
            (0x61c, 0x61c),
            (0x6dd, 0x6dd),
            (0x70f, 0x70f),
            (0x890, 0x891),
            (0x8e2, 0x8e2),
            (0x115f, 0x1160),
            (0x17b4, 0x17b5),
            (0x180b, 0x180f),
            (0x200b, 0x200f),
            (0x2028, 0x202e),
            (0x2060, 0x206f),
            (0x2800, 0x2800),
            (0x3164, 0x3164),
            (0xfe00, 0xfe0f),
            (0xfeff, 0xfeff),
            (0xffa0, 0xffa0),
            (0xfff0, 0xfffb),
            (0x110bd, 0x110bd),
            (0x110cd, 0x110cd),
            (0x13430, 0x1343f),
            (0x1bca0, 0x1bca3),
            (0x1d159, 0x1d159),
            (0x1d173, 0x1d17a),
            (0xe0000, 0xe0fff),
        ];
        let is_listed =
            |character: char| ranges.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(character)));
        for character in '\0'..=char::MAX {
            // Object replacement, and two code points that are no characters.
            let is_listed = is_listed(character) || matches!(character, '\u{fffc}' | '\u{fffe}' | '\u{ffff}');
            assert_eq!(is_invisible(character), is_listed, "{character:?}");
        }
        for letter in "aéя字पा🂡❤".chars() {
            assert!(!is_invisible(letter), "{letter:?}");
        }
    }
}
