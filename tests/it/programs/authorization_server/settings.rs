//! The settings of the program that clients and browsers need.

use http::{HeaderMap, Method};
use serde_json::json;

use super::{Folder, Server, http, run};

#[tokio::test]
async fn every_mistake_is_named_with_status_2() {
    let folder = Folder::new();
    let client = json!([{
        "client_id": "web", "token_endpoint_auth_method": "none", "redirect_uris": [super::CALLBACK],
        "audiences": {"https://api.test": "jwt"}, "accept_without_pkce": true,
    }]);
    std::fs::write(folder.0.join("clients.json"), client.to_string()).unwrap();
    let settings = [("JSON", "yes"), ("ALLOW_ORIGINS", "https://app.test/"), ("SIGNING_ALG", "none")];
    let Some((status, _, text)) = run(&folder, &settings, &[]).await else { return };
    assert_eq!(status, 2, "{text}");
    for named in ["JSON: ", "SIGNING_ALG: ", "[0].accept_without_pkce: "] {
        assert!(text.contains(named), "{named} in {text}");
    }
    let folder = Folder::new();
    for (wrong, count) in [("https://app.test/,*", 2), ("null", 1), ("https://app.test,,http://x.test", 1), ("", 1)] {
        let (status, _, text) = run(&folder, &[("ALLOW_ORIGINS", wrong)], &[]).await.unwrap();
        assert_eq!((status, text.matches("ALLOW_ORIGINS: ").count()), (2, count), "{wrong}: {text}");
    }
}

/// RFC 9700 §2.6 (MAY, MUST NOT, refuses)
#[tokio::test]
async fn json_is_read_and_origins_are_allowed_only_if_set() {
    let folder = Folder::new();
    let listed = [("JSON", "on"), ("ALLOW_ORIGINS", "https://app.test, http://localhost:5173")];
    let any = [("JSON", "off"), ("ALLOW_ORIGINS", "*")];
    let (app, dev, all) = (Some("https://app.test"), Some("http://localhost:5173"), Some("*"));
    for (settings, reads_json, allowed) in
        [(&[][..], false, [None; 3]), (&listed, true, [app, dev, None]), (&any, false, [all; 3])]
    {
        let Some(server) = Server::start(&folder, settings).await else { return };
        let form = json!({
            "grant_type": "client_credentials", "client_id": "reports", "client_secret": "reports-secret",
        });
        for (origin, allowed) in
            ["https://app.test", "http://localhost:5173", "https://evil.test"].into_iter().zip(allowed)
        {
            let send = async |method, path: &str| {
                let request = http().request(method, server.url(path)).header("origin", origin);
                let request = request.header("content-type", "application/json").body(form.to_string());
                let response = request.send().await.unwrap();
                (response.status().as_u16(), allowed_origin(response.headers()))
            };
            let status = if reads_json { 200 } else { 400 };
            assert_eq!(send(Method::POST, "/token").await, (status, allowed.map(str::to_owned)));
            assert_eq!(send(Method::OPTIONS, "/token").await, (204, allowed.map(str::to_owned)));
            assert_eq!(send(Method::GET, "/jwks.json").await, (200, Some("*".to_owned())));
            assert_eq!(send(Method::OPTIONS, "/authorize").await, (204, None));
            assert_eq!(send(Method::GET, super::AUTHORIZE).await, (200, None));
        }
    }
}

fn allowed_origin(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("access-control-allow-origin")?.to_str().unwrap().to_owned())
}
