//! Certificates of clients and servers.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// What a client presents: its certificates, the leaf first, and the private key of the first.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: String,
}

/// In the subject of each client's certificate. Neither a response nor the log may have it.
pub(super) const SUBJECT: &str = "the subject of a client";

impl Identity {
    /// A client with a new key and a certificate that it has signed itself.
    pub(super) fn new() -> Self {
        Self::with_algorithm(&PKCS_ECDSA_P256_SHA256)
    }

    pub(super) fn with_algorithm(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        Self { chain: vec![self_signed(&key)], key: key.serialize_pem() }
    }

    /// One client for each algorithm that rcgen can generate keys for without waiting.
    pub(super) fn of_each_algorithm() -> [Self; 3] {
        [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].map(Self::with_algorithm)
    }

    /// The same key with another certificate.
    pub(super) fn renewed(&self) -> Self {
        Self { chain: vec![self_signed(&KeyPair::from_pem(&self.key).unwrap())], key: self.key.clone() }
    }

    /// Two identities: a client whose certificate an authority has signed, and the same certificates the other way round
    /// with the key of the authority.
    pub(super) fn issued() -> [Self; 2] {
        let mut parameters = parameters();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = KeyPair::generate().unwrap();
        let authority_key = authority.serialize_pem();
        let authority = CertifiedIssuer::self_signed(parameters, authority).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = self::parameters().signed_by(&key, &authority).unwrap();
        let chain = vec![leaf.der().clone(), authority.der().clone()];
        let reversed = Self { chain: chain.iter().rev().cloned().collect(), key: authority_key };
        [Self { chain, key: key.serialize_pem() }, reversed]
    }

    pub(super) fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// Returns the base64 of the leaf.
    pub(super) fn base64(&self) -> String {
        STANDARD.encode(self.leaf())
    }

    /// Returns the leaf as nginx writes it into a header.
    pub(super) fn escaped_pem(&self) -> String {
        let encoded =
            |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.into() } else { format!("%{:02X}", c as u8) };
        pem(self.leaf()).chars().map(encoded).collect()
    }
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, SUBJECT);
    parameters
}

/// Each certificate has another serial number.
fn self_signed(key: &KeyPair) -> CertificateDer<'static> {
    static SERIAL: AtomicUsize = AtomicUsize::new(1);
    let mut parameters = parameters();
    parameters.serial_number = Some((SERIAL.fetch_add(1, Relaxed) as u64).into());
    parameters.self_signed(key).unwrap().der().clone()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(super) fn pem(der: &CertificateDer<'_>) -> String {
    let digits = STANDARD.encode(der);
    let lines: Vec<_> = digits.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// The certificate of `localhost` and its files, which are removed when this value is dropped.
pub(super) struct ServerCertificate {
    pub(super) der: CertificateDer<'static>,
    folder: PathBuf,
}

impl ServerCertificate {
    pub(super) fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tower-oauth-mutual-tls-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Relaxed));
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let server = Self { der: certificate.der().clone(), folder };
        server.write("cert.pem", &certificate.pem());
        server.write("key.pem", &key.serialize_pem());
        server.write("both.pem", &(certificate.pem() + &key.serialize_pem()));
        server
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of a file: `cert.pem`, `key.pem`, or `both.pem` with both.
    pub(super) fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_owned()
    }

    /// Writes a further file, and returns its path.
    pub(super) fn write(&self, file: &str, text: &str) -> String {
        fs::write(self.folder.join(file), text).unwrap();
        self.path(file)
    }
}

impl Drop for ServerCertificate {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}
