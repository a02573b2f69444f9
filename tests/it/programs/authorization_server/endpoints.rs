//! The endpoints of the program: metadata, keys, tokens, introspection and revocation, with unusual names and secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Folder, ODD, ODD_CLIENTS, Server};
use crate::support::Answer;

const AN_API: (&str, &str) = ("an api", "hush api");
const ANOTHER: (&str, &str) = ("another", "hush");

/// How a client sends its id and secret.
#[derive(Clone, Copy)]
enum Credentials {
    /// In Basic, each form-encoded (RFC 6749 §2.3.1).
    Basic((&'static str, &'static str)),
    /// In Basic as they are.
    Plain((&'static str, &'static str)),
    Body((&'static str, &'static str)),
    BasicAndBody((&'static str, &'static str)),
}

impl Server {
    /// Posts this form.
    async fn posts(&self, path: &str, credentials: Credentials, form: &[(&str, &str)]) -> Answer {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let encoded = |(id, secret)| Some(basic((&encode(id), &encode(secret))));
        let (authorization, body) = match credentials {
            Credentials::Basic(client) => (encoded(client), None),
            Credentials::Plain(client) => (Some(basic(client)), None),
            Credentials::Body(client) => (None, Some(client)),
            Credentials::BasicAndBody(client) => (encoded(client), Some(client)),
        };
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", &**value)).collect();
        let body = body.into_iter().flat_map(|(id, secret)| [("client_id", id), ("client_secret", secret)]);
        self.post(path, &headers, &body.chain(form.iter().copied()).collect::<Vec<_>>()).await
    }

    /// Posts a request for a token, which must be refused with this status and error.
    async fn refuses_token(&self, credentials: Credentials, form: &[(&str, &str)], status: u16, error: &str) -> Answer {
        let answer = self.posts("/token", credentials, form).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.starts_with(&format!("{{\"error\":\"{error}\",")), "{answer:?}");
        answer
    }

    /// Returns the answer of the introspection endpoint to this client.
    pub(super) async fn introspects(&self, client: (&str, &str), token: &str) -> String {
        let answer = self.post("/introspect", &[("authorization", &basic(client))], &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

/// Returns the value of `Authorization`.
fn basic((id, secret): (&str, &str)) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn metadata_and_keys_are_served_at_the_address_that_the_program_prints() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let issuer = server.url("");
    let line = format!("authorization server at {issuer} (ES256, store: memory, 4 clients)");
    assert!(server.log().contains(&line), "{}", server.log());
    let metadata = server.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata.status, 200);
    let first = format!(r#""issuer":"{issuer}","authorization_endpoint":"{issuer}/authorize""#);
    assert!(metadata.body.contains(&first), "{}", metadata.body);
    let metadata = server.get("/.well-known/openid-configuration").await;
    assert_eq!(metadata.status, 200);
    for part in [
        &*format!(r#""issuer":"{issuer}","#),
        r#""response_types_supported":["code"]"#,
        r#""scopes_supported":["orders:read","profile","read","write"]"#,
    ] {
        assert!(metadata.body.contains(part), "{part}: {}", metadata.body);
    }
    let keys = server.get("/jwks.json").await;
    assert!(keys.status == 200 && keys.body.contains(r#""alg":"ES256""#), "{keys:?}");
    assert_eq!(server.get("/nowhere").await.status, 404);
    server.stop("TERM").await;
}

#[tokio::test]
async fn eddsa_is_a_setting_and_ctrl_c_ends_the_program() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[("SIGNING_ALG", "EdDSA")]).await else { return };
    assert!(server.log().contains("(EdDSA, store: memory, 4 clients)"), "{}", server.log());
    server.stop("INT").await;
}

#[tokio::test]
async fn credentials_with_special_characters_work_in_basic_and_in_the_body() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let answer = server.posts("/token", Credentials::Basic(ODD), &[GRANT]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(r#""token_type":"Bearer","expires_in":900,"scope":"read write""#), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!access_token(&answer).contains('.'), "the first audience of the file has opaque tokens: {answer:?}");
    let form = [GRANT, ("scope", "read"), ("resource", "https://a.test")];
    let answer = server.posts("/token", Credentials::Body(ODD), &form).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(access_token(&answer).split('.').filter(|part| !part.is_empty()).count(), 3, "no JWT: {answer:?}");
    assert!(!server.log().contains("hush"), "{}", server.log());
}

#[tokio::test]
async fn wrong_requests_for_a_token_are_refused() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let wrong = Credentials::Plain((AN_API.0, "wrong"));
    let answer = server.refuses_token(wrong, &[GRANT], 401, "invalid_client").await;
    assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "), "{answer:?}");
    server.refuses_token(Credentials::Body(("unknown", "x")), &[GRANT], 401, "invalid_client").await;
    server.refuses_token(Credentials::BasicAndBody(ODD), &[GRANT], 400, "invalid_request").await;
    let password = [("grant_type", "password")];
    server.refuses_token(Credentials::Body(ODD), &password, 400, "unsupported_grant_type").await;
    server.refuses_token(Credentials::Body(ODD), &[GRANT, ("scope", "admin")], 400, "invalid_scope").await;
    let headers = [("content-type", "application/json")];
    let answer = server.0.send("POST", "/token", &headers, r#"{"grant_type":"client_credentials"}"#).await;
    assert!(answer.status == 400 && answer.body.starts_with(r#"{"error":"invalid_request","#), "{answer:?}");
    let answer = server.get("/token").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (400, Some("POST, OPTIONS")), "{answer:?}");
}

#[tokio::test]
async fn only_clients_with_introspect_see_a_token_until_it_is_revoked() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let token = access_token(&server.posts("/token", Credentials::Basic(ODD), &[GRANT]).await);
    assert!(server.introspects(AN_API, &token).await.contains(r#""active":true,"#));
    assert_eq!(server.introspects(ANOTHER, &token).await, r#"{"active":false}"#);
    let answer = server.posts("/revoke", Credentials::Plain(ANOTHER), &[("token", "unknown")]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(server.introspects(AN_API, &token).await.contains(r#""active":true,"#));
    let answer = server.posts("/revoke", Credentials::Basic(ODD), &[("token", &token)]).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "{}"), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(server.introspects(AN_API, &token).await, r#"{"active":false}"#);
    assert!(!server.log().contains("hush"), "{}", server.log());
}

/// Returns the access token of a token response.
pub(super) fn access_token(answer: &Answer) -> String {
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    json["access_token"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}
