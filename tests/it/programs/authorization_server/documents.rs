//! Clients that publish their metadata themselves.

use std::fs;

use serde_json::{Value, json};

use super::{AUTHORIZE, Folder, Server, http, run};
use crate::token_endpoint::client_documents::{
    document,
    server::{Answer, DocumentServer, certificate},
};

/// Starts a server with a document at `/c`, and the program that trusts it. Returns the URL of the document, too.
async fn start(folder: &Folder, change: Value, settings: &[(&str, &str)]) -> Option<(DocumentServer, Server, String)> {
    let documents = DocumentServer::start()?;
    let id = documents.url("/c");
    documents.answer("/c", Answer::json(&document(&id, &change)));
    let file = folder.0.join("authority.pem");
    fs::write(&file, certificate()?).unwrap();
    let usual = [("CLIENT_DOCUMENT_HOSTS", "localhost"), ("CLIENT_DOCUMENT_CA", file.to_str().unwrap())];
    let server = Server::start(folder, &[&usual, settings].concat()).await?;
    Some((documents, server, id))
}

/// Returns status and text of the page for this client.
async fn page(server: &Server, id: &str, redirect_uri: &str, more: &str) -> (u16, String) {
    let request = AUTHORIZE.replace("client_id=web", &format!("client_id={id}"));
    let request = request.replace("redirect_uri=https://app.test/cb", &format!("redirect_uri={redirect_uri}"));
    let response = http().get(server.url(&format!("{request}{more}"))).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Threat T67
#[tokio::test]
async fn the_page_shows_where_a_client_is_from_and_where_the_answer_goes() {
    let folder = Folder::new();
    let change = json!({"client_name": "<b>Bank</b>"});
    let Some((_documents, server, id)) = start(&folder, change, &[("CLIENT_DOCUMENT_LOOPBACK", "1")]).await else {
        return;
    };
    let metadata = http().get(server.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.bytes().await.unwrap()).unwrap();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let (status, text) = page(&server, &id, "https://app.test/cb", "").await;
    assert_eq!(status, 200, "{text}");
    for part in [
        "<bdi>&lt;b&gt;Bank&lt;/b&gt;</bdi>",
        "<strong>localhost</strong>",
        "<strong>app.test</strong>",
        "<li>read</li>",
        "<li>write</li>",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Warning") && !text.contains("<b>Bank"), "{text}");
    for uri in ["http://localhost:51234/cb", "http://127.0.0.1:51234/cb"] {
        let (status, text) = page(&server, &id, uri, "").await;
        assert_eq!(status, 200, "{text}");
        let host = uri.trim_start_matches("http://").trim_end_matches("/cb");
        assert!(text.contains("Warning") && text.contains(&format!("<strong>{host}</strong>")), "{text}");
    }
    let (_, text) = page(&server, "web", "https://app.test/cb", "").await;
    assert!(!text.contains("registered nowhere"), "{text}");
}

#[tokio::test]
async fn the_settings_decide_what_such_clients_may_get() {
    let folder = Folder::new();
    let settings = [
        ("CLIENT_DOCUMENT_LOOPBACK", "1"),
        ("CLIENT_DOCUMENT_SCOPE", "read"),
        ("CLIENT_DOCUMENT_AUDIENCES", r#"{"https://mcp.test":"opaque"}"#),
    ];
    let Some((_documents, server, id)) = start(&folder, json!({"scope": "write"}), &settings).await else { return };
    let (_, text) = page(&server, &id, "https://app.test/cb", "").await;
    assert!(
        text.contains("<li>read</li>") && !text.contains("<li>write</li>") && text.contains("https://mcp.test"),
        "{text}"
    );
    for refused in ["&scope=write", "&resource=https://api.test"] {
        assert_eq!(page(&server, &id, "https://app.test/cb", refused).await.0, 303, "{refused}");
    }
}

/// Threat T61
#[tokio::test]
async fn nothing_is_fetched_from_a_loopback_address_without_the_setting() {
    let folder = Folder::new();
    let Some((documents, server, id)) = start(&folder, json!({}), &[]).await else { return };
    assert_eq!(page(&server, &id, "https://app.test/cb", "").await.0, 400);
    assert_eq!(documents.connections(), 0);
}

#[tokio::test]
async fn wrong_settings_of_documents_are_all_named() {
    let folder = Folder::new();
    let settings = [
        ("CLIENT_DOCUMENT_HOSTS", "https://claude.ai,vscode.dev"),
        ("CLIENT_DOCUMENT_SCOPE", "a\"b"),
        ("CLIENT_DOCUMENT_AUDIENCES", r#"{"https://mcp.test":"JWT"}"#),
        ("CLIENT_DOCUMENT_CA", "/nowhere/ca.pem"),
        ("CLIENT_DOCUMENT_LOOPBACK", "yes"),
    ];
    let Some((code, _, stderr)) = run(&folder, &settings, &[]).await else { return };
    assert_ne!(code, 0);
    for (name, _) in settings {
        assert!(stderr.lines().any(|line| line.starts_with(&format!("{name}: "))), "{name}: {stderr}");
    }
    let Some((code, _, stderr)) = run(&folder, &settings[1..2], &[]).await else { return };
    assert_ne!(code, 0);
    assert!(stderr.contains("CLIENT_DOCUMENT_SCOPE: it has no effect without CLIENT_DOCUMENT_HOSTS"), "{stderr}");
}
