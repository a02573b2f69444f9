//! Certificates in PEM or in base64 alone, as proxies write them into one header.
//!
//! *In*: the value of the header. *Out*: the hash of the first certificate.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;

use super::{BadCertificate, thumbprint_of_der};
use crate::confirmation::Thumbprint;

/// Returns the hash of the first certificate (the leaf). The others must be well-formed too.
pub(super) fn thumbprint(value: &[u8]) -> Result<Thumbprint, BadCertificate> {
    // A `%` that encodes nothing stays in the text, where base64 refuses it. A `+` stays too: AWS ALB writes it plainly.
    let text = percent_decode(value).decode_utf8().map_err(|_| NOT_PEM)?;
    let (first, mut rest) = next_certificate(text.trim_ascii())?;
    let leaf = of_base64(first)?;
    while let Some(text) = rest {
        let (other, next) = next_certificate(text)?;
        of_base64(other)?;
        rest = next;
    }
    Ok(leaf)
}

/// Returns the base64 of the first certificate, and the text of the further ones.
fn next_certificate(text: &str) -> Result<(&str, Option<&str>), BadCertificate> {
    let Some(content) = text.strip_prefix("-----BEGIN CERTIFICATE-----") else {
        return Ok(match text.split_once(',') {
            Some((content, rest)) => (content, Some(rest.trim_ascii_start())),
            None => (text, None),
        });
    };
    let (content, rest) = content.split_once("-----END CERTIFICATE-----").ok_or(NOT_PEM)?;
    let rest = rest.trim_ascii_start();
    Ok(match rest.strip_prefix(',') {
        Some(rest) => (content, Some(rest.trim_ascii_start())),
        None => (content, (!rest.is_empty()).then_some(rest)),
    })
}

/// Proxies write line breaks as spaces or leave them out.
fn of_base64(content: &str) -> Result<Thumbprint, BadCertificate> {
    let digits: Vec<u8> = content.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    thumbprint_of_der(&STANDARD.decode(digits).map_err(|_| NOT_PEM)?)
}

const NOT_PEM: BadCertificate = BadCertificate("the header is not PEM");
