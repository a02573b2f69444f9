//! Explains why this API would accept or refuse a token. The settings are those of `protected_api`:
//!
//! ```sh
//! OAUTH_ISSUER=https://auth.example.com OAUTH_AUDIENCE=https://api.example.com \
//!     cargo run --example explain_token < token.txt
//! ```
//!
//! With `--jwks FILE` the keys come from a file, and nothing is fetched. The token is read from standard input, or is the last
//! argument. Prefer standard input: other users of the machine can see arguments.
//!
//! The program prints a table of all checks, what would make each failed one pass, and which presets would accept the token. It
//! never prints the token or its signature. Exit status: 0 if the token would be accepted, 1 if not, 2 if a setting is wrong.

use std::{
    env,
    io::{self, Read as _},
    process::ExitCode,
};

use tower_oauth::{Issuer, JwtVerifier, keys::KeySet};

use crate::{jwt_settings::JwtSettings, mistakes::Mistakes};

#[path = "../support/jwt_settings.rs"]
mod jwt_settings;
#[path = "../support/mistakes.rs"]
mod mistakes;
mod suggestions;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::parse(env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}\n\nEnvironment:\n{}", jwt_settings::help());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let verifier = match verifier(arguments.jwks.as_deref()) {
        Ok(verifier) => verifier,
        Err(mistakes) => {
            eprintln!("explain_token cannot start:\n{mistakes}");
            return ExitCode::from(2);
        }
    };
    let token = match arguments.token.map_or_else(read_token, Ok) {
        Ok(token) => token,
        Err(error) => {
            eprintln!("the token can't be read: {error}");
            return ExitCode::from(2);
        }
    };
    let token = bare(&token);
    if token.is_empty() {
        eprintln!("there is no token: give it on standard input or as an argument");
        return ExitCode::from(2);
    }
    if token.len() > MAX_TOKEN_BYTES {
        println!("The token has {} bytes, and a server accepts {MAX_TOKEN_BYTES} (max_token_bytes).", token.len());
        return ExitCode::FAILURE;
    }
    let explanation = verifier.explain(token).await;
    print!("{explanation}{}", suggestions::settings(&explanation));
    if explanation.is_accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Arguments {
    jwks: Option<String>,
    token: Option<String>,
}

impl Arguments {
    /// Returns `None` if the usage was asked for.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut parsed = Self { jwks: None, token: None };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--jwks" => parsed.jwks = Some(arguments.next().ok_or("--jwks: name a file")?),
                "-" => {}
                option if option.starts_with('-') => return Err(format!("{option}: unknown option")),
                _ if parsed.token.is_some() => return Err("more than one token".to_owned()),
                _ => parsed.token = Some(argument),
            }
        }
        Ok(Some(parsed))
    }
}

/// Makes the verifier, or returns every mistake in the settings.
fn verifier(jwks: Option<&str>) -> Result<JwtVerifier, Mistakes> {
    let mut mistakes = Mistakes::default();
    let settings = JwtSettings::read(&mut mistakes);
    let name = |setting: &'static str| if setting == "key set" { "--jwks" } else { jwt_settings::variable(setting) };
    let issuer = match jwks {
        Some(file) => KeySet::from_file(file).and_then(|keys| Issuer::from_keys(&settings.identifier, keys)),
        None => settings.issuer().build(),
    };
    let issuer = mistakes.check(name, issuer);
    let verifier = issuer.and_then(|issuer| mistakes.check(name, settings.verifier(issuer).build()));
    verifier.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

fn read_token() -> io::Result<String> {
    let mut token = String::new();
    io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut token)?;
    Ok(token)
}

/// Returns the token without the spaces around it and without the scheme, so that a whole header value can be given.
fn bare(token: &str) -> &str {
    let token = token.trim();
    let token = token.strip_prefix("Authorization:").unwrap_or(token).trim_start();
    match token.split_at_checked("Bearer ".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Bearer ") => rest.trim_start(),
        _ => token,
    }
}

const USAGE: &str = "usage: explain_token [--jwks FILE] [TOKEN]

Without TOKEN, or with -, the token is read from standard input.
  --jwks FILE       Read the issuer's keys from this file (JWK set, PEM or DER), and fetch nothing.";
const MAX_INPUT_BYTES: u64 = 1024 * 1024;
/// The default of `ResourceServerBuilder::max_token_bytes`.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
