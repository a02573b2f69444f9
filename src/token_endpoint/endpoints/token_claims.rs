//! The claims of an access token (RFC 9068 §2.2): in a JWT, in an introspection response, and for a verifier in the process.
//!
//! *In*: what a token says. *Out*: JSON, with the claims of the application.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{
    confirmation::Confirmation,
    token_endpoint::token_content::{ContentRecord, ScopeForm},
};

/// The claims. They are written from borrowed texts.
#[derive(Serialize)]
pub(crate) struct AccessTokenClaims<'t> {
    pub(super) iss: &'t str,
    pub(super) sub: &'t str,
    pub(super) aud: &'t str,
    pub(super) client_id: &'t str,
    pub(super) iat: u64,
    pub(super) exp: u64,
    pub(super) jti: &'t str,
    #[serde(skip_serializing_if = "ScopeClaim::is_empty")]
    pub(super) scope: ScopeClaim<'t>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acr: Option<&'t str>,
    /// What the token is bound to (RFC 7800 §3.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
    /// The claims of the application, none of which has a name from above.
    #[serde(flatten)]
    pub(super) own: Option<&'t Map<String, Value>>,
}

/// Returns `token_type` of the responses (RFC 9449 §5, RFC 6750 §6.1.1).
pub(super) fn token_type(confirmation: Option<&Confirmation>) -> &'static str {
    if confirmation.is_some_and(|confirmation| confirmation.key().is_some()) { "DPoP" } else { "Bearer" }
}

/// `scope`.
pub(super) struct ScopeClaim<'t> {
    /// The names, separated by spaces.
    text: &'t str,
    form: ScopeForm,
}

impl<'t> ScopeClaim<'t> {
    pub(super) fn new(text: &'t str, content: Option<&ContentRecord>) -> Self {
        Self { text, form: content.map_or(ScopeForm::Text, |content| content.scope_form) }
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl Serialize for ScopeClaim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.form {
            ScopeForm::Text => serializer.serialize_str(self.text),
            ScopeForm::Array => serializer.collect_seq(self.text.split(' ')),
        }
    }
}
