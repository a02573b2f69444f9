//! Reads the settings for JWT access tokens from the environment.

use std::time::Duration;

use tower_oauth::{
    Issuer, JwtVerifier, Preset,
    issuer::IssuerBuilder,
    verify::{JwtVerifierBuilder, OptionalClaim},
};

use crate::mistakes::Mistakes;

/// Returns the text of `--help` about the variables that [`JwtSettings::read`] reads.
pub(crate) fn help() -> String {
    let presets: Vec<_> = Preset::all().iter().map(|preset| preset.as_str()).collect();
    HELP.replace("{presets}", &presets.join(" "))
}

const HELP: &str = "  OAUTH_ISSUER      Issuer of the tokens. Required.
  OAUTH_AUDIENCE    Identifier of this API. Required.
  OAUTH_JWKS_URI    URL of the key set, for an issuer without metadata.
  OAUTH_PRESET      The provider, such as keycloak. Default: none, for tokens that follow RFC 9068. One of:
                    {presets}
  OAUTH_ACCEPT      What to accept beyond that, separated by commas or spaces. Each weakens a check.
                      plain-type         typ JWT, or none
                      missing-audience   tokens without aud, and introspection responses without it
                      id-tokens          with plain-type or a preset: tokens with nonce, at_hash or c_hash
                      plain-http         http URLs of an issuer that is not on a loopback address
                      without-sub, without-client-id, without-iat, without-jti
                    The names of the crate's methods are accepted too, such as accept_plain_jwt_type.
  OAUTH_LEEWAY      Tolerance for the difference of the clocks, in seconds. Default: 30. Maximum: 300.";

/// The settings of an issuer and of the verifier of its JWTs.
pub(crate) struct JwtSettings {
    /// Value of `OAUTH_ISSUER`. If it is missing, a placeholder, so that the other settings are checked too.
    pub(crate) identifier: String,
    pub(crate) audience: String,
    pub(crate) preset: Option<Preset>,
    jwks_uri: Option<String>,
    accepted: Vec<Accepted>,
    pub(crate) leeway: Option<Duration>,
}

impl JwtSettings {
    /// Reads the variables. Adds every mistake in them; `build` of the two builders finds the others.
    pub(crate) fn read(mistakes: &mut Mistakes) -> Self {
        let identifier = mistakes.required("OAUTH_ISSUER", "https://auth.example.com");
        Self {
            identifier: identifier.unwrap_or_else(|| "http://127.0.0.1".to_owned()),
            jwks_uri: mistakes.optional("OAUTH_JWKS_URI"),
            audience: mistakes.required("OAUTH_AUDIENCE", "https://api.example.com").unwrap_or_else(|| "-".to_owned()),
            preset: preset(mistakes),
            accepted: accepted(mistakes),
            leeway: leeway(mistakes),
        }
    }

    /// Returns the builder of the issuer.
    pub(crate) fn issuer(&self) -> IssuerBuilder {
        let mut issuer = Issuer::builder(&self.identifier);
        if let Some(jwks_uri) = &self.jwks_uri {
            issuer = issuer.jwks_uri(jwks_uri);
        }
        if self.accepted.contains(&Accepted::PlainHttp) { issuer.danger_accept_plain_http() } else { issuer }
    }

    /// Returns true if a missing audience is accepted, also in introspection responses.
    #[allow(dead_code, reason = "not every program introspects tokens")]
    pub(crate) fn accepts_missing_audience(&self) -> bool {
        self.accepted.contains(&Accepted::MissingAudience)
    }

    /// Returns the builder of the verifier of this issuer's JWTs.
    pub(crate) fn verifier(&self, issuer: Issuer) -> JwtVerifierBuilder {
        let mut verifier = JwtVerifier::builder(issuer, &self.audience);
        if let Some(preset) = self.preset {
            verifier = verifier.preset(preset);
        }
        if let Some(leeway) = self.leeway {
            verifier = verifier.leeway(leeway);
        }
        self.accepted.iter().fold(verifier, |verifier, accepted| match accepted {
            Accepted::PlainType => verifier.accept_plain_jwt_type(),
            Accepted::MissingAudience => verifier.danger_accept_missing_audience(),
            Accepted::IdTokens => verifier.danger_accept_id_tokens(),
            Accepted::PlainHttp => verifier,
            Accepted::Without(claim) => verifier.accept_without(*claim),
        })
    }
}

/// Returns the variable for one of the crate's settings.
pub(crate) fn variable(setting: &str) -> &'static str {
    match setting {
        "issuer" => "OAUTH_ISSUER",
        "jwks_uri" => "OAUTH_JWKS_URI",
        "preset" => "OAUTH_PRESET",
        "leeway" => "OAUTH_LEEWAY",
        "danger_accept_id_tokens" => "OAUTH_ACCEPT",
        _ => "OAUTH_AUDIENCE",
    }
}

/// A relaxation, by its name in `OAUTH_ACCEPT`.
#[derive(Clone, Copy, PartialEq)]
enum Accepted {
    PlainType,
    MissingAudience,
    IdTokens,
    PlainHttp,
    Without(OptionalClaim),
}

const ACCEPTED: [(&str, Accepted); 8] = [
    ("plain-type", Accepted::PlainType),
    ("missing-audience", Accepted::MissingAudience),
    ("id-tokens", Accepted::IdTokens),
    ("plain-http", Accepted::PlainHttp),
    ("without-sub", Accepted::Without(OptionalClaim::Subject)),
    ("without-client-id", Accepted::Without(OptionalClaim::ClientId)),
    ("without-iat", Accepted::Without(OptionalClaim::IssuedAt)),
    ("without-jti", Accepted::Without(OptionalClaim::JwtId)),
];

impl Accepted {
    /// Finds a relaxation by its name, or by that of the crate's method.
    fn find(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        let name = name.strip_prefix("danger-").unwrap_or(&name);
        let name = name.strip_prefix("accept-").unwrap_or(name);
        let name = if name == "plain-jwt-type" { "plain-type" } else { name };
        ACCEPTED.iter().find(|(known, _)| *known == name).map(|(_, accepted)| *accepted)
    }
}

fn preset(mistakes: &mut Mistakes) -> Option<Preset> {
    let name = mistakes.optional("OAUTH_PRESET")?;
    let preset = name.parse().ok();
    if preset.is_none() {
        let known: Vec<_> = Preset::all().iter().map(|preset| preset.as_str()).collect();
        mistakes.add("OAUTH_PRESET", format_args!("{name:?} is no preset; the presets are: {}", known.join(", ")));
    }
    preset
}

fn accepted(mistakes: &mut Mistakes) -> Vec<Accepted> {
    let list = mistakes.optional("OAUTH_ACCEPT").unwrap_or_default();
    let names = list.split([',', ' ']).filter(|name| !name.is_empty());
    names.filter_map(|name| Accepted::find(name).or_else(|| unknown(mistakes, name))).collect()
}

fn unknown(mistakes: &mut Mistakes, name: &str) -> Option<Accepted> {
    let known = ACCEPTED.map(|(known, _)| known).join(", ");
    mistakes.add("OAUTH_ACCEPT", format_args!("{name:?} is not one of: {known}"));
    None
}

fn leeway(mistakes: &mut Mistakes) -> Option<Duration> {
    let text = mistakes.optional("OAUTH_LEEWAY")?;
    let seconds = text.parse().ok().filter(|seconds| *seconds <= 300);
    if seconds.is_none() {
        mistakes.add("OAUTH_LEEWAY", format_args!("{text:?} is no number of seconds from 0 to 300"));
    }
    seconds.map(Duration::from_secs)
}
