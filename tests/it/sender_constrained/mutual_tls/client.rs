//! A client for TLS that presents a certificate, and whose connections the tests control.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificates::{Identity, ServerCertificate};
use crate::support::Answer;

#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

pub(super) const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client with one identity. Its later connections resume the session of the first.
#[derive(Clone)]
pub(super) struct Client(ClientConfig);

impl Client {
    pub(super) fn new(server: &ServerCertificate, identity: Option<&Identity>) -> Self {
        Self::with_version(server, identity, &TLS13)
    }

    pub(super) fn with_version(
        server: &ServerCertificate,
        identity: Option<&Identity>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(server.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        Self(match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.private_key()).unwrap(),
        })
    }

    /// A client that presents the certificate of another, and signs with its own key.
    pub(super) fn with_wrong_key(
        server: &ServerCertificate,
        identity: &Identity,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let Self(mut config) = Self::with_version(server, None, version);
        let key = aws_lc_rs::sign::any_supported_type(&identity.private_key()).unwrap();
        let stolen = CertifiedKey::new(identity.chain.clone(), key);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(stolen));
        Self(config)
    }

    /// Opens a connection to `localhost` at this address.
    pub(super) async fn connect(&self, address: &str, protocol: Protocol) -> Result<Connection, String> {
        let mut config = self.0.clone();
        let name: &[u8] = match protocol {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
        };
        config.alpn_protocols = vec![name.to_vec()];
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::new(config));
        let host = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(host, stream).await.map_err(|error| error.to_string())?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(name));
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let stream = TokioIo::new(stream);
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), stream).await;
                let (sender, connection) = handshake.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Connection { sender, resumed })
    }

    /// Returns the response of `/whoami` on a new connection, over HTTP/1.1.
    pub(super) async fn get(&self, address: &str, headers: &[(&str, &str)]) -> Answer {
        let mut connection = self.connect(address, Protocol::Http1).await.unwrap();
        connection.get("/whoami", headers).await.unwrap()
    }

    /// Returns the response of `/whoami` to a token on a new connection, over HTTP/1.1.
    pub(super) async fn present(&self, address: &str, token: &str) -> Answer {
        self.get(address, &[("authorization", &format!("Bearer {token}"))]).await
    }
}

pub(super) struct Connection {
    sender: Sender,
    /// True if the client resumed a session, so that neither side sent a certificate.
    pub(super) resumed: bool,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    /// Sends `GET path` on this connection.
    pub(super) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, hyper::Error> {
        let request = |uri: String| {
            let request = Request::get(uri);
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                let request = request(path.to_owned()).header("host", "localhost");
                sender.send_request(request.body(Empty::new()).unwrap()).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request(format!("https://localhost{path}")).body(Empty::new()).unwrap()).await?
            }
        };
        answer(response).await
    }

    /// Sends `GET /whoami` with this token on this connection.
    pub(super) async fn present(&mut self, token: &str) -> Answer {
        self.get("/whoami", &[("authorization", &format!("Bearer {token}"))]).await.unwrap()
    }
}

async fn answer(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() })
}
