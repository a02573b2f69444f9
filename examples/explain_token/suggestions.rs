//! The settings that make a refused token pass.

use std::fmt::Write as _;

use tower_oauth::verify::{Cure, Explanation};

/// Returns the settings of `protected_api` that make the failed checks pass, one line for each.
pub(crate) fn settings(explanation: &Explanation) -> String {
    let mut lines = String::new();
    for check in explanation.failed() {
        for setting in check.cures().iter().filter_map(setting) {
            let _ = write!(lines, "\n  {:<10} {setting}", check.name());
        }
    }
    for preset in explanation.presets() {
        let _ = write!(lines, "\n  {:<10} OAUTH_PRESET={preset}", "preset");
    }
    if lines.is_empty() { lines } else { format!("\nAs settings of protected_api and of this program:{lines}\n") }
}

/// Returns the setting for a cure. `None` if there is none.
fn setting(cure: &Cure) -> Option<String> {
    let argument = cure.argument().unwrap_or_default();
    Some(match cure.method()? {
        "Issuer::builder" | "audience" if argument.is_empty() => return None,
        "Issuer::builder" if argument.starts_with("http:") => {
            format!("OAUTH_ISSUER={argument} OAUTH_ACCEPT=plain-http (without --jwks)")
        }
        "Issuer::builder" => format!("OAUTH_ISSUER={argument}"),
        "audience" => format!("OAUTH_AUDIENCE={argument}"),
        "leeway" => format!("OAUTH_LEEWAY={argument}"),
        "IntrospectionVerifier::new" => "OAUTH_MODE=introspection (protected_api only)".to_owned(),
        "accept_plain_jwt_type" => "OAUTH_ACCEPT=plain-type".to_owned(),
        "danger_accept_missing_audience" => "OAUTH_ACCEPT=missing-audience".to_owned(),
        "danger_accept_id_tokens" => "OAUTH_ACCEPT=id-tokens".to_owned(),
        "accept_without" => format!("OAUTH_ACCEPT=without-{}", argument.replace('_', "-")),
        _ => return None,
    })
}
