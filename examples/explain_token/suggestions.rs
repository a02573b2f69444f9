//! The settings that make a refused token pass.

use std::fmt::Write as _;

use tower_oauth::verify::{Cure, Explanation, SuitablePreset};

/// Returns the settings of `protected_api` that make the failed checks pass, one line for each variable.
pub(crate) fn settings(explanation: &Explanation) -> String {
    let (mut lines, mut accepted) = (String::new(), Vec::new());
    for check in explanation.failed() {
        for cure in check.cures() {
            if let Some(name) = relaxation(cure) {
                accepted.push(name);
            } else if let Some(setting) = setting(cure) {
                let _ = write!(lines, "\n  {setting}");
            }
        }
    }
    if !accepted.is_empty() {
        let _ = write!(lines, "\n  OAUTH_ACCEPT={}", accepted.join(","));
    }
    for SuitablePreset { preset, .. } in explanation.presets() {
        let _ = write!(lines, "\n  OAUTH_PRESET={preset}  (if it is that of your provider, in place of OAUTH_ACCEPT)");
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\nAs settings of protected_api and of this program. Read the cost of each above:{lines}\n")
}

/// Returns the setting for a cure. `None` if no variable does it.
fn setting(cure: &Cure) -> Option<String> {
    let value = || cure.argument().map(quoted);
    Some(match cure.method()? {
        // The server may be on this machine, and then plain http needs no setting.
        "Issuer::builder" if cure.argument()?.starts_with("http:") => {
            format!("OAUTH_ISSUER={}  (perhaps with OAUTH_ACCEPT=plain-http)", value()?)
        }
        "Issuer::builder" => format!("OAUTH_ISSUER={}", value()?),
        "audience" => format!("OAUTH_AUDIENCE={}", value()?),
        "leeway" => format!("OAUTH_LEEWAY={}", value()?),
        "IntrospectionVerifier::new" => "OAUTH_MODE=introspection  (protected_api only)".to_owned(),
        _ => return None,
    })
}

/// Returns the name of a cure in `OAUTH_ACCEPT`. `None` if it is another setting.
fn relaxation(cure: &Cure) -> Option<String> {
    Some(match cure.method()? {
        "accept_plain_jwt_type" => "plain-type".to_owned(),
        "danger_accept_missing_audience" => "missing-audience".to_owned(),
        "danger_accept_id_tokens" => "id-tokens".to_owned(),
        "accept_without" => format!("without-{}", cure.argument()?.replace('_', "-")),
        _ => return None,
    })
}

/// Quotes a value for a shell. It comes from a token whose signature may be invalid.
fn quoted(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-._~:/@%+,".contains(character);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let escaped: String = value.chars().flat_map(char::escape_debug).collect();
    format!("'{}'", escaped.replace('\'', r"'\''"))
}
