//! [`CertificateHeader`]: the header in which a proxy passes the client's certificate on.
//!
//! *In*: the headers of a request. *Out*: the hash of the certificate, that there is none, or that the header is malformed.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, header};

use super::{BadCertificate, pem, thumbprint_of_der, xfcc};
use crate::{config_error::ConfigMistake, confirmation::Thumbprint};

/// The header in which a proxy passes the client's certificate on: its name and its form.
///
/// Each constructor shows the configuration of a proxy. All of them make the certificate optional, and accept certificates of
/// any issuer, because the token names the certificate (RFC 8705 §6.2).
/// [`MutualTls::behind_proxy`](super::MutualTls::behind_proxy) says what a header costs.
///
/// A name that is not the name of a header, or that has a meaning of its own, is a mistake in
/// [`ResourceServerBuilder::build`](crate::server::ResourceServerBuilder::build).
#[derive(Debug, Clone)]
pub struct CertificateHeader {
    name: Result<HeaderName, ConfigMistake>,
    dialect: Dialect,
}

/// How the value of the header is written.
#[derive(Debug, Clone, Copy)]
enum Dialect {
    Rfc9440,
    Xfcc,
    Pem,
}

impl CertificateHeader {
    /// `Client-Cert` of RFC 9440: the DER in base64 between colons. The chain in `Client-Cert-Chain` is not read.
    ///
    /// HAProxy:
    ///
    /// ```text
    /// bind :443 ssl crt server.pem ca-file clients.pem verify optional ca-ignore-err all crt-ignore-err all
    /// http-request del-header Client-Cert
    /// http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }
    /// ```
    #[must_use]
    pub fn rfc9440() -> Self {
        Self { name: Ok(HeaderName::from_static("client-cert")), dialect: Dialect::Rfc9440 }
    }

    /// `X-Forwarded-Client-Cert` of Envoy, Istio and others: one element with `Hash=`, `Cert=` or both, which must then
    /// agree. Two elements are refused, because then a second proxy has added one, or the client has.
    ///
    /// Envoy, in the HTTP connection manager:
    ///
    /// ```text
    /// forward_client_cert_details: SANITIZE_SET
    /// set_current_client_cert_details: { cert: true }
    /// ```
    ///
    /// `APPEND_FORWARD` and `FORWARD_ONLY` are wrong here: they let a header from outside pass.
    #[must_use]
    pub fn xfcc() -> Self {
        Self { name: Ok(HeaderName::from_static("x-forwarded-client-cert")), dialect: Dialect::Xfcc }
    }

    /// The certificate in PEM or in base64, in the header of this name. Of several certificates the first is the client's.
    ///
    /// The form may be percent-encoded or not, with or without the lines `-----BEGIN CERTIFICATE-----` and
    /// `-----END CERTIFICATE-----`, with spaces or without them. Several certificates follow each other, or have a comma
    /// between them. `+` is a digit of base64, never a space.
    ///
    /// | proxy | configuration |
    /// |---|---|
    /// | nginx | `ssl_verify_client optional_no_ca;` and `proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;` |
    /// | Apache | `SSLVerifyClient optional_no_ca`, `SSLOptions +ExportCertData`, and `RequestHeader set X-SSL-Client-Cert "expr=%{escape:%{SSL_CLIENT_CERT}}"` |
    /// | HAProxy | `http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]`, with the line `bind` of [`rfc9440`](Self::rfc9440) |
    /// | Traefik | `passTLSClientCert: { pem: true }`, which writes `X-Forwarded-Tls-Client-Cert` |
    /// | AWS ALB | mode *verify* writes `X-Amzn-Mtls-Clientcert-Leaf`, mode *passthrough* `X-Amzn-Mtls-Clientcert` |
    /// | Azure App Service | client certificate mode *optional* writes `X-ARR-ClientCert` |
    #[must_use]
    pub fn pem(name: &str) -> Self {
        Self { name: header_name(name), dialect: Dialect::Pem }
    }

    pub(super) fn name(&self) -> Result<&HeaderName, ConfigMistake> {
        self.name.as_ref().map_err(Clone::clone)
    }

    pub(super) fn thumbprint(&self, headers: &HeaderMap) -> Result<Option<Thumbprint>, BadCertificate> {
        let name = self.name.as_ref().map_err(|_| BadCertificate("its name is not a header name"))?;
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            // RFC 9440 §2.1. In the other forms a proxy that adds a header leaves that of the client beside it.
            return Err(BadCertificate("the header occurs twice"));
        }
        let value = value.as_bytes();
        if value.len() > MAX_BYTES {
            return Err(BadCertificate("the header is too long"));
        }
        let thumbprint = match self.dialect {
            Dialect::Rfc9440 => of_byte_sequence(value),
            Dialect::Xfcc => xfcc::thumbprint(value),
            Dialect::Pem => pem::thumbprint(value),
        };
        thumbprint.map(Some)
    }
}

fn header_name(name: &str) -> Result<HeaderName, ConfigMistake> {
    let mistake = |found: &str| {
        let change = "give the name of the header that the proxy replaces, such as x-ssl-client-cert";
        ConfigMistake::new("mutual_tls", format!("{name:?} {found}"), change)
    };
    match HeaderName::try_from(name) {
        Ok(header::AUTHORIZATION | header::COOKIE | header::HOST) => Err(mistake("has a meaning of its own")),
        Ok(name) if name == "dpop" => Err(mistake("has a meaning of its own")),
        Ok(name) => Ok(name),
        Err(_) => Err(mistake("is not a header name")),
    }
}

/// Reads one byte sequence without parameters (RFC 9440 §2.1, RFC 9651 §4.2.7).
fn of_byte_sequence(value: &[u8]) -> Result<Thumbprint, BadCertificate> {
    let content = value.trim_ascii().strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    let content = content.ok_or(BadCertificate("the header is not one byte sequence"))?;
    let der = BYTE_SEQUENCE.decode(content).map_err(|_| BadCertificate("the header is not base64"))?;
    thumbprint_of_der(&der)
}

/// Padding may be missing, and bits after the last byte are ignored (RFC 9651 §4.2.7).
const BYTE_SEQUENCE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Longest value of a header. A certificate has 1 to 2 KiB.
const MAX_BYTES: usize = 16 * 1024;
