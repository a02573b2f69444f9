//! Certificates of clients, to which tokens can be bound (RFC 8705).
//!
//! *In*: the head of a request. *Out*: the SHA-256 hash of the client's certificate, that the request has none, or that a
//! proxy's header is malformed.
//!
//! A token with `cnf` and `x5t#S256` is valid only on a connection with the certificate that has this hash (RFC 8705 §3).
//! [`MutualTls`] says where the server finds that certificate. Its chain, its subject and its dates are *not* checked here:
//! for a bound token the hash is enough (RFC 8705 §6.2). That the client has the private key is checked by TLS, which ends
//! either in the program ([`ClientCertificate`]) or in a proxy ([`CertificateHeader`]).
//!
//! ```
//! # fn main() -> Result<(), tower_oauth::ConfigError> {
//! use tower_oauth::mutual_tls::{CertificateHeader, ClientCertificate, MutualTls};
//!
//! // TLS ends in the program: its acceptor puts this value into the extensions of each request of the connection.
//! # let der_of_the_leaf = [0x30, 0];
//! let certificate = ClientCertificate::unverified(der_of_the_leaf);
//! let source = MutualTls::on_the_connection();
//!
//! // TLS ends in a proxy, which replaces this header in every request.
//! let source = MutualTls::behind_proxy(CertificateHeader::rfc9440());
//! # let _ = (certificate, source);
//! # Ok(()) }
//! ```

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderMap, HeaderName};
use pkcs8::der::{Decode, Tag, Tagged, asn1::AnyRef};

pub use self::{client_certificate::ClientCertificate, header::CertificateHeader};
use crate::{config_error::MistakeCollector, confirmation::Thumbprint, jws::sha256};

mod client_certificate;
mod header;
mod pem;
mod xfcc;

/// Where the server finds the certificate of a request's client.
#[doc(alias("mTLS", "x5t#S256"))]
#[derive(Clone)]
pub struct MutualTls(CertificateSource);

#[derive(Clone)]
enum CertificateSource {
    Connection,
    Extensions(Arc<FromExtensions>),
    Header(CertificateHeader),
}

type FromExtensions = dyn Fn(&Extensions) -> Option<ClientCertificate> + Send + Sync;

/// A proxy's header that is not in the form of its [`CertificateHeader`]. The text is for logs. It has nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadCertificate(pub(crate) &'static str);

impl MutualTls {
    /// Takes the [`ClientCertificate`] in the request's extensions. TLS ends in the program, and its acceptor puts the value
    /// there.
    ///
    /// The acceptor must ask each client for a certificate (RFC 8705 §3), because it can't know yet whether the token is
    /// bound. It may make the certificate optional, and may accept certificates of any issuer (RFC 8705 §6.2).
    ///
    /// Headers are not read.
    #[must_use]
    pub fn on_the_connection() -> Self {
        Self(CertificateSource::Connection)
    }

    /// Takes the certificate that `find` finds in the request's extensions, for an acceptor with a type of its own. `None`
    /// means that the client presented no certificate.
    ///
    /// `find` runs for each request with a bound token. [`ClientCertificate::unverified`] computes a hash, so make the
    /// value once for each connection if you can.
    ///
    /// ```
    /// use tower_oauth::mutual_tls::{ClientCertificate, MutualTls};
    ///
    /// /// What an acceptor puts into the extensions: the client's certificates in DER, the leaf first.
    /// #[derive(Clone)]
    /// struct PeerCertificates(Vec<Vec<u8>>);
    ///
    /// let source = MutualTls::from_extensions(|extensions| {
    ///     let leaf = extensions.get::<PeerCertificates>()?.0.first()?;
    ///     Some(ClientCertificate::unverified(leaf))
    /// });
    /// # let _ = source;
    /// ```
    #[must_use]
    pub fn from_extensions(find: impl Fn(&Extensions) -> Option<ClientCertificate> + Send + Sync + 'static) -> Self {
        Self(CertificateSource::Extensions(Arc::new(find)))
    }

    /// Takes the certificate from the header of a proxy in which TLS ends.
    ///
    /// The cost: the program believes the header. Any client that can reach the program without the proxy can name any
    /// certificate, and then use each bound token that it has stolen (RFC 9440 §4). Therefore:
    ///
    /// - Only the proxy may be able to connect to the program: listen on a loopback or private address, or authenticate the
    ///   proxy with TLS.
    /// - The proxy must replace the header in **every** request, and remove it if the client presented no certificate. A
    ///   header that came from outside must not pass (RFC 9440 §2.4). Send one from outside and see that it is refused.
    /// - The proxy must ask each client for a certificate, and must not accept a resumed session without it.
    ///
    /// A header that occurs twice, is empty, is longer than 16 KiB or is in another form is refused as a wrong certificate:
    /// 401 `invalid_token`.
    #[must_use]
    pub fn behind_proxy(header: CertificateHeader) -> Self {
        Self(CertificateSource::Header(header))
    }

    /// Adds the mistakes in the settings.
    pub(crate) fn mistakes(&self, mistakes: &mut MistakeCollector) {
        if let CertificateSource::Header(header) = &self.0 {
            mistakes.check(header.name());
        }
    }

    /// Returns the hash of the client's certificate. `None` if the client presented no certificate.
    pub(crate) fn thumbprint(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Thumbprint>, BadCertificate> {
        match &self.0 {
            CertificateSource::Connection => Ok(extensions.get::<ClientCertificate>().map(|found| *found.thumbprint())),
            CertificateSource::Extensions(find) => Ok(find(extensions).map(|found| *found.thumbprint())),
            CertificateSource::Header(header) => header.thumbprint(headers),
        }
    }

    /// Returns the header that the certificate is read from.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        match &self.0 {
            CertificateSource::Header(header) => header.name().ok(),
            CertificateSource::Connection | CertificateSource::Extensions(_) => None,
        }
    }
}

impl fmt::Debug for MutualTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            CertificateSource::Connection => "MutualTls::on_the_connection",
            CertificateSource::Extensions(_) => "MutualTls::from_extensions",
            CertificateSource::Header(_) => "MutualTls::behind_proxy",
        })
    }
}

/// Returns the hash of a certificate in DER (RFC 8705 §3.1). Checks only that it is one complete SEQUENCE.
fn thumbprint_of_der(der: &[u8]) -> Result<Thumbprint, BadCertificate> {
    match AnyRef::from_der(der) {
        Ok(value) if value.tag() == Tag::Sequence => Ok(sha256([der])),
        _ => Err(BadCertificate("the certificate is not one value in DER")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn mistakes_of(source: &MutualTls) -> bool {
        let mut mistakes = MistakeCollector::new();
        source.mistakes(&mut mistakes);
        mistakes.finish().is_err()
    }

    #[test]
    fn each_source_is_the_only_one_that_is_read() {
        let [by_acceptor, by_own_type, by_proxy] = [b"0\x011", b"0\x012", b"0\x013"];
        let mut extensions = Extensions::new();
        extensions.insert(ClientCertificate::verified(by_acceptor));
        extensions.insert(by_own_type);
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("client-cert"), HeaderValue::from_static(":MAEz:"))]);
        let own_type = MutualTls::from_extensions(|extensions| {
            extensions.get::<&'static [u8; 3]>().map(ClientCertificate::unverified)
        });
        let proxy = MutualTls::behind_proxy(CertificateHeader::rfc9440());
        assert_eq!(proxy.header().unwrap(), "client-cert");
        assert_eq!(format!("{proxy:?}"), "MutualTls::behind_proxy");
        for (source, certificate) in
            [(MutualTls::on_the_connection(), by_acceptor), (own_type, by_own_type), (proxy, by_proxy)]
        {
            let expected = sha256([certificate.as_slice()]);
            assert_eq!(source.thumbprint(&headers, &extensions), Ok(Some(expected)), "{source:?}");
            assert_eq!(source.thumbprint(&HeaderMap::new(), &Extensions::new()), Ok(None), "{source:?}");
            assert!(!mistakes_of(&source));
        }
        assert!(MutualTls::on_the_connection().header().is_none());
        let wrong = MutualTls::behind_proxy(CertificateHeader::pem("a b"));
        assert!(mistakes_of(&wrong) && wrong.header().is_none());
    }
}
