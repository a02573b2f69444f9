//! TLS with certificates of clients (RFC 8705), by the variables `TLS_CERT`, `TLS_KEY` and `TLS_CLIENT_CERTS`.
//!
//! The chain of a client's certificate is not checked, because a token names the certificate that it is bound to
//! (RFC 8705 §6.2).

use std::{env, fs, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, connect_info::Connected},
    middleware::map_request,
    serve::{IncomingStream, Listener},
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower_oauth::mutual_tls::ClientCertificate;
use tracing::debug;

use crate::mistakes::Mistakes;

/// Returns the lines of `--help`.
pub(crate) fn help() -> &'static str {
    "  TLS_CERT, TLS_KEY Files in PEM: the certificates of this server, the leaf first, and its private key. With them the
                    program speaks TLS, with HTTP/1.1 and HTTP/2. Default: no TLS.
  TLS_CLIENT_CERTS  optional: asks each client for a certificate; required: refuses clients without one. The chain of
                    a certificate is not checked. Default: asks for none."
}

/// Reads the variables. Returns `None` without TLS, or if a variable is wrong.
pub(crate) fn read(mistakes: &mut Mistakes) -> Option<Arc<ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let used = ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CERTS"].iter().any(|name| env::var_os(name).is_some());
    if !used {
        return None;
    }
    let chain = file(mistakes, "TLS_CERT").and_then(|pem| certificates(mistakes, &pem));
    let key = file(mistakes, "TLS_KEY").and_then(|pem| private_key(mistakes, &provider, &pem));
    let clients = client_certificates(mistakes);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder =
        builder.with_safe_default_protocol_versions().map_err(|error| mistakes.add("TLS_CERT", error)).ok()?;
    let builder = match clients? {
        ClientCertificates::Off => builder.with_no_client_auth(),
        asked => builder.with_client_cert_verifier(Arc::new(AnyCertificate {
            algorithms: provider.signature_verification_algorithms,
            required: matches!(asked, ClientCertificates::Required),
        })),
    };
    let config = builder.with_single_cert(chain?, key?);
    let mut config = config.map_err(|error| mistakes.add("TLS_KEY", wrong_key(&error))).ok()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

/// Serves over TLS. Each request of a connection has the client's certificate in its extensions.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    app: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = app.layer(map_request(add_certificate)).into_make_service_with_connect_info::<Client>();
    let listener = TlsListener { listener, acceptor: config.into(), handshakes: JoinSet::new() };
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

/// Accepts connections whose TLS handshake is complete. A handshake that waits for its client delays no other.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<Connection>>,
}

type Connection = (TlsStream<TcpStream>, SocketAddr);

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        loop {
            tokio::select! {
                (stream, address) = Listener::accept(&mut self.listener), if self.handshakes.len() < MAX_HANDSHAKES => {
                    self.handshakes.spawn(handshake(self.acceptor.clone(), stream, address));
                }
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await.unwrap_or_else(|late| Err(late.into())) {
        Ok(stream) => Some((stream, address)),
        Err(error) => {
            debug!(%address, %error, "TLS handshake failed");
            None
        }
    }
}

/// Longest time of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of handshakes under way. Further connections wait.
const MAX_HANDSHAKES: usize = 1000;

/// The certificate of a connection's client, if it presented one.
#[derive(Clone)]
struct Client(Option<ClientCertificate>);

impl Connected<IncomingStream<'_, TlsListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        Self(leaf.map(ClientCertificate::unverified))
    }
}

async fn add_certificate(mut request: Request) -> Request {
    let client = request.extensions_mut().remove::<ConnectInfo<Client>>();
    if let Some(ConnectInfo(Client(Some(certificate)))) = client {
        request.extensions_mut().insert(certificate);
    }
    request
}

/// Accepts any certificate. The client must have its private key: it signs the handshake.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    required: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

enum ClientCertificates {
    Off,
    Optional,
    Required,
}

fn client_certificates(mistakes: &mut Mistakes) -> Option<ClientCertificates> {
    if env::var_os("TLS_CLIENT_CERTS").is_none() {
        return Some(ClientCertificates::Off);
    }
    match &*mistakes.optional("TLS_CLIENT_CERTS")? {
        "optional" => Some(ClientCertificates::Optional),
        "required" => Some(ClientCertificates::Required),
        other => {
            mistakes.add("TLS_CLIENT_CERTS", format_args!("{other:?} is neither optional nor required"));
            None
        }
    }
}

fn file(mistakes: &mut Mistakes, name: &str) -> Option<Vec<u8>> {
    let path = mistakes.required(name, "the path of a file in PEM; TLS needs TLS_CERT and TLS_KEY")?;
    fs::read(&path).map_err(|error| mistakes.add(name, format_args!("cannot read {path:?}: {error}"))).ok()
}

fn certificates(mistakes: &mut Mistakes, pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| mistakes.add("TLS_CERT", format_args!("it is not PEM: {error}"))).ok()?;
    if chain.is_empty() {
        mistakes.add("TLS_CERT", "the file has no certificate in PEM");
        return None;
    }
    for certificate in &chain {
        if let Err(error) = ParsedCertificate::try_from(certificate) {
            mistakes.add("TLS_CERT", format_args!("a certificate is malformed: {error}"));
            return None;
        }
    }
    Some(chain)
}

fn private_key(mistakes: &mut Mistakes, provider: &CryptoProvider, pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
    let Ok(key) = PrivateKeyDer::from_pem_slice(pem) else {
        mistakes.add("TLS_KEY", "the file has no private key in PEM");
        return None;
    };
    let loaded = provider.key_provider.load_private_key(key.clone_key());
    loaded.map_err(|error| mistakes.add("TLS_KEY", format_args!("the private key is not usable: {error}"))).ok()?;
    Some(key)
}

fn wrong_key(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "it is not the private key of the first certificate in TLS_CERT".to_owned(),
        other => other.to_string(),
    }
}
