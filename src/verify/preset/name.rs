//! The names of the presets, for settings and logs.
//!
//! *In*: a preset or its name. *Out*: the name, or the preset.

use std::{fmt, str::FromStr};

use super::Preset;

impl Preset {
    const ALL: &'static [Self] = &[
        Self::Auth0,
        Self::Auth0Rfc9068,
        Self::Okta,
        Self::EntraId,
        Self::Cognito,
        Self::Keycloak,
        Self::Zitadel,
        Self::Supabase,
        Self::Firebase,
        Self::Clerk,
        Self::WorkOs,
        Self::BetterAuth,
        Self::CloudflareAccess,
        Self::GoogleIap,
        Self::GoogleServiceAccount,
        Self::Kubernetes,
        Self::GitHubActions,
        Self::FusionAuth,
        Self::Authentik,
        Self::OpenIdConnect,
    ];

    /// Returns all presets of this version.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::ALL
    }

    /// Returns the name, such as `entra-id`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth0 => "auth0",
            Self::Auth0Rfc9068 => "auth0-rfc9068",
            Self::Okta => "okta",
            Self::EntraId => "entra-id",
            Self::Cognito => "cognito",
            Self::Keycloak => "keycloak",
            Self::Zitadel => "zitadel",
            Self::Supabase => "supabase",
            Self::Firebase => "firebase",
            Self::Clerk => "clerk",
            Self::WorkOs => "workos",
            Self::BetterAuth => "better-auth",
            Self::CloudflareAccess => "cloudflare-access",
            Self::GoogleIap => "google-iap",
            Self::GoogleServiceAccount => "google-service-account",
            Self::Kubernetes => "kubernetes",
            Self::GitHubActions => "github-actions",
            Self::FusionAuth => "fusionauth",
            Self::Authentik => "authentik",
            Self::OpenIdConnect => "openid-connect",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    /// Parses a name. Ignores upper and lower case, `-` and `_`, so `EntraId` is `entra-id`.
    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        let letters = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
        let wanted = letters(name);
        Self::ALL.iter().copied().find(|preset| letters(preset.as_str()) == wanted).ok_or(UnknownPreset(()))
    }
}

/// The error of parsing a [`Preset`]: the text is not the name of one. `Display` lists the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPreset(());

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown preset; the presets are")?;
        for (index, preset) in Preset::ALL.iter().enumerate() {
            write!(f, "{} {preset}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownPreset {}
