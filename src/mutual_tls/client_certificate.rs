//! [`ClientCertificate`]: the certificate that a client presented on a TLS connection.

use std::fmt;

use crate::{confirmation::Thumbprint, jws::sha256};

/// The certificate that a client presented on its TLS connection, and whose private key it has proved to have.
///
/// The acceptor makes it once for each connection, from the first certificate of the client (the leaf), and puts a clone into
/// the extensions of each request. [`MutualTls::on_the_connection`](super::MutualTls::on_the_connection) finds it there. It
/// has the SHA-256 hash of the certificate (RFC 8705 §3.1), not the certificate.
///
/// The constructors say what the acceptor has checked. Today the crate treats both alike, because it compares only the hash, and
/// for that [`unverified`](Self::unverified) is enough (RFC 8705 §6.2). Authentication by the subject of a certificate
/// (`tls_client_auth`, RFC 8705 §2.1), which the crate does not have yet, would need [`verified`](Self::verified).
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    thumbprint: Thumbprint,
    chain: Chain,
}

/// What the acceptor has checked of the certificate's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    Verified,
    Unverified,
}

impl ClientCertificate {
    /// Creates the value from the leaf in DER. Call it only if the TLS layer has checked that the certificate's chain ends
    /// at a certificate authority that you have chosen, such as with rustls's `WebPkiClientVerifier`.
    #[must_use]
    pub fn verified(der: impl AsRef<[u8]>) -> Self {
        Self { thumbprint: sha256([der.as_ref()]), chain: Chain::Verified }
    }

    /// Creates the value from the leaf in DER. Call it if the TLS layer accepts any certificate. The TLS layer must have
    /// checked the signature of the handshake all the same, so that the client has the private key.
    #[must_use]
    pub fn unverified(der: impl AsRef<[u8]>) -> Self {
        Self { thumbprint: sha256([der.as_ref()]), chain: Chain::Unverified }
    }

    pub(super) fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::encoded;

    #[test]
    fn a_certificate_has_the_hash_of_its_der_and_shows_nothing_of_it() {
        // SHA-256 of `abc` (FIPS 180-4).
        let certificate = ClientCertificate::unverified(b"abc");
        assert_eq!(encoded(certificate.thumbprint()), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert_eq!(certificate.thumbprint(), ClientCertificate::verified(vec![b'a', b'b', b'c']).thumbprint());
        assert_ne!(certificate, ClientCertificate::verified(b"abc"));
        assert_eq!(format!("{certificate:?}"), "ClientCertificate { chain: Unverified, .. }");
    }
}
