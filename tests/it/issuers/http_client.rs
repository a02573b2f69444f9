//! The HTTP client over real sockets: which requests it sends twice, and responses in a content coding (RFC 9110 §8.4, §9.2.2).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower_oauth::{
    IntrospectionVerifier, Issuer, ResourceServer,
    fetch::{Fetch as _, FetchError, HttpClient},
    keys::{Algorithm, PrivateKey},
    verify::ClientAuthentication,
};

use crate::support::{API, issuer};

/// What the server does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    Respond,
    /// Closes the connection without a byte.
    Close,
    /// Resets the connection.
    Reset,
    /// Never responds.
    Hang,
    /// Closes the connection in the middle of the body.
    CutBody,
}

/// A server that reads each request as a whole and then reacts. Lists its reactions.
struct Server {
    url: String,
    reactions: Arc<Mutex<Vec<Reaction>>>,
    /// The client assertions of the requests.
    assertions: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `react` gets the number of the request on its connection, from 1, and of all requests that got no response so far.
    async fn start(react: impl Fn(usize, usize) -> Reaction + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap());
        let reactions = Arc::<Mutex<Vec<Reaction>>>::default();
        let assertions = Arc::<Mutex<Vec<String>>>::default();
        let (log, sent) = (Arc::clone(&reactions), Arc::clone(&assertions));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, react.clone(), Arc::clone(&log), Arc::clone(&sent)));
            }
        });
        Self { url, reactions, assertions }
    }

    /// Reactions to requests, except the ordinary responses.
    fn faults(&self) -> Vec<Reaction> {
        let reactions = self.reactions.lock().unwrap();
        reactions.iter().copied().filter(|reaction| *reaction != Reaction::Respond).collect()
    }

    async fn fetch(&self, client: &HttpClient, method: &Method) -> Result<Response<Bytes>, FetchError> {
        let body = if *method == Method::POST { Bytes::from_static(b"token=opaque") } else { Bytes::new() };
        let request = Request::builder().method(method).uri(&self.url).body(body).unwrap();
        client.fetch(request).await
    }

    /// Sends requests until one meets a fault, and returns its result. The client may need a moment to find that a connection
    /// is idle, and until then it opens another one.
    async fn fetch_until_fault(&self, client: &HttpClient, method: &Method) -> Result<Response<Bytes>, FetchError> {
        for _ in 0..1000 {
            let result = self.fetch(client, method).await;
            if !self.faults().is_empty() {
                return result;
            }
            assert!(result.is_ok(), "{result:?}");
            tokio::task::yield_now().await;
        }
        panic!("the client reused no connection");
    }
}

async fn serve(
    mut stream: TcpStream,
    react: impl Fn(usize, usize) -> Reaction,
    log: Arc<Mutex<Vec<Reaction>>>,
    assertions: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    for number in 1.. {
        let body = read_request(&mut stream).await?;
        let assertion = form_urlencoded::parse(&body).find(|(name, _)| name == "client_assertion");
        assertions.lock().unwrap().extend(assertion.map(|(_, value)| value.into_owned()));
        let reaction = {
            let mut log = log.lock().unwrap();
            let faults = log.iter().filter(|reaction| **reaction != Reaction::Respond).count();
            log.push(react(number, faults));
            *log.last().unwrap()
        };
        match reaction {
            Reaction::Respond => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.ok()?,
            Reaction::Close => return None,
            Reaction::Reset => {
                stream.set_zero_linger().unwrap();
                return None;
            }
            Reaction::Hang => std::future::pending().await,
            Reaction::CutBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await.ok()?;
                return None;
            }
        }
    }
    None
}

/// Reads the head and the body of a request. Returns the body.
async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

const METHODS: [Method; 2] = [Method::GET, Method::POST];

/// RFC 9110 §9.2.2 (MAY, accepts)
#[tokio::test]
async fn a_request_that_meets_the_end_of_a_reused_connection_is_sent_once_more() {
    for method in METHODS {
        for fault in [Reaction::Close, Reaction::Reset] {
            let react = move |number, faults| if number == 2 && faults == 0 { fault } else { Reaction::Respond };
            let (server, client) = (Server::start(react).await, HttpClient::new().unwrap());
            let response = server.fetch_until_fault(&client, &method).await;
            assert_eq!(response.unwrap().body(), "{}", "{method} {fault:?}");
            assert_eq!(server.faults(), [fault]);
        }
    }
}

/// RFC 9110 §9.2.2 (MAY, refuses)
#[tokio::test]
async fn a_request_is_sent_at_most_twice() {
    for method in METHODS {
        let react = |number, faults| if number >= 2 || faults > 0 { Reaction::Close } else { Reaction::Respond };
        let (server, client) = (Server::start(react).await, HttpClient::new().unwrap());
        let error = server.fetch_until_fault(&client, &method).await.unwrap_err();
        assert_eq!(error.to_string(), "the connection failed");
        assert_eq!(server.faults(), [Reaction::Close; 2], "{method}");
    }
}

/// The client assertions that a server gets, until it closes a reused connection in response to one.
async fn assertions_until_fault(client: ClientAuthentication) -> Vec<String> {
    let react = |number, faults| if number == 2 && faults == 0 { Reaction::Close } else { Reaction::Respond };
    let server = Server::start(react).await;
    let keys = issuer().key_set();
    let issuer = Issuer::from_keys("https://auth.test", keys).unwrap();
    let verifier = IntrospectionVerifier::builder(issuer, client, API).endpoint(&*server.url).build().unwrap();
    let api = ResourceServer::builder(verifier).build().unwrap();
    for number in 0..1000 {
        api.authenticate_token(&format!("opaque-{number}")).await.unwrap_err();
        if !server.faults().is_empty() {
            return server.assertions.lock().unwrap().clone();
        }
        tokio::task::yield_now().await;
    }
    panic!("the client reused no connection");
}

/// RFC 7523 §3: the server may accept each `jti` only once.
///
/// RFC 9110 §9.2.2 (MAY, refuses)
#[tokio::test]
async fn a_request_with_a_client_assertion_for_one_use_is_sent_once() {
    let client = || ClientAuthentication::private_key_jwt("api", PrivateKey::generate(Algorithm::ES256).unwrap());
    let sent = assertions_until_fault(client()).await;
    assert_eq!(sent.iter().collect::<HashSet<_>>().len(), sent.len(), "an assertion was sent twice");
    let sent = assertions_until_fault(client().with_reused_assertions()).await;
    assert!(sent.len() > 2 && sent.iter().all(|assertion| *assertion == sent[0]), "{sent:?}");
}

/// RFC 9110 §9.2.2 (MAY, refuses)
#[tokio::test]
async fn a_request_on_a_new_connection_is_sent_once() {
    for method in METHODS {
        for fault in [Reaction::Close, Reaction::Reset] {
            let (server, client) = (Server::start(move |_, _| fault).await, HttpClient::new().unwrap());
            assert!(server.fetch(&client, &method).await.is_err());
            assert_eq!(server.faults(), [fault], "{method}");
        }
    }
}

/// RFC 9110 §9.2.2 (MAY, refuses)
#[tokio::test]
async fn a_request_is_not_repeated_after_a_part_of_its_response_or_a_timeout() {
    for method in METHODS {
        for (fault, message) in
            [(Reaction::CutBody, "the response was interrupted"), (Reaction::Hang, "no response in time")]
        {
            let react = move |number, _| if number == 2 { fault } else { Reaction::Respond };
            let client = HttpClient::builder().timeout(Duration::from_secs(1)).build().unwrap();
            let server = Server::start(react).await;
            let error = server.fetch_until_fault(&client, &method).await.unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(server.faults(), [fault], "{method}");
        }
    }
}
