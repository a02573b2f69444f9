//! Wrong settings: one run names every mistake with its place, and shows no secret, which is `hush` in these tests.

use std::fs;

use super::{Folder, ODD_CLIENTS, Server};
use crate::program::Program;

/// Runs the program with these variables and no others. It must name all of these mistakes, each on a line of its own, and show
/// no secret. Returns its messages, or `None` if the program was not built.
async fn refuses(settings: &[(&str, &str)], mistakes: &[&str]) -> Option<String> {
    Program::example("authorization_server").settings(settings).refuses_to_start(mistakes).await
}

#[tokio::test]
async fn a_missing_and_an_empty_variable_are_named() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let clients = folder.clients();
    if refuses(&[("CLIENTS", "")], &["CLIENTS: it is empty"]).await.is_none() {
        return;
    }
    refuses(&[], &["CLIENTS: it is missing; give for instance clients.json"]).await;
    let missing = "USERS: it is missing, and client \"web\" requires users";
    refuses(&[("CLIENTS", &clients)], &[missing]).await;
    let same = [("CLIENTS", &*clients), ("USERS", "web:hush")];
    refuses(&same, &["USERS[0]: \"web\" is also the id of a client"]).await;
}

#[tokio::test]
async fn one_run_names_the_mistakes_in_all_variables() {
    let folder = Folder::new();
    let file = folder.0.join("none.json");
    let file = file.to_str().unwrap();
    let settings = [
        ("BIND", "127.0.0.1"),
        ("ISSUER", "http://as.test"),
        ("CLIENTS", file),
        ("USERS", "ada:hush,bob,:hush,ada:hush, eve:hush,eve:"),
        ("STORE", "mysql://u:hush@x"),
        ("SIGNING_ALG", "HS256"),
        ("RUST_LOG", "a=b"),
    ];
    let mistakes = [
        "BIND: cannot listen on \"127.0.0.1\"",
        "ISSUER: issuer: \"http://as.test\" is plain http",
        &format!("CLIENTS: {file}: it cannot be read"),
        "USERS[1]: it has no colon",
        "USERS[2]: the name is empty",
        "USERS[3]: \"ada\" occurs twice",
        "USERS[4]: the name is empty, or there is space around it",
        "USERS[5]: the password is empty",
        "STORE: it is neither memory nor",
        "SIGNING_ALG: \"HS256\" is none of",
        "RUST_LOG: ",
    ];
    refuses(&settings, &mistakes).await;
}

#[tokio::test]
async fn a_store_that_is_down_is_named_without_its_password() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let clients = folder.clients();
    for (store, mistake) in
        [("redis://u:hush@127.0.0.1:1", "STORE: redis: "), ("postgres://u:hush@127.0.0.1:1/d", "STORE: postgres: ")]
    {
        let settings = [("CLIENTS", &*clients), ("USERS", "ada:hush"), ("STORE", store)];
        refuses(&settings, &[mistake]).await;
    }
}

#[tokio::test]
async fn a_file_that_is_no_array_of_clients_is_refused() {
    for (content, mistake) in [
        (r#"{"client_id": "hush"}"#, ": it is not an array of clients"),
        (r#""hush""#, ": it is not an array of clients"),
        ("[\n  {\"client_id\": \"a\",, \"client_secret\": \"hush\"}]", ": key must be a string at line 2 column 21"),
        ("[\n  {\"client_id\": \"a\"}\n", ": EOF while parsing a list at line 3 column 0"),
    ] {
        if refuses_file(content, &[mistake]).await.is_none() {
            return;
        }
    }
}

/// Runs the program with this file of clients. Every mistake in it must begin with the name of the file.
async fn refuses_file(content: &str, mistakes: &[&str]) -> Option<()> {
    let folder = Folder::new();
    let file = folder.0.join("wrong.json");
    fs::write(&file, content).unwrap();
    let errors = refuses(&[("CLIENTS", file.to_str().unwrap()), ("USERS", "ada:hush")], &[]).await?;
    for mistake in mistakes {
        assert!(errors.contains(mistake), "{mistake:?} is missing in:\n{errors}");
    }
    let with_name = format!("CLIENTS: {}", file.display());
    for line in errors.lines().filter(|line| line.starts_with("CLIENTS")) {
        assert!(line.starts_with(&with_name), "{line:?} does not name the file");
    }
    Some(())
}

#[tokio::test]
async fn every_mistake_in_a_file_of_clients_is_named_with_its_place() {
    refuses_file(WRONG_CLIENTS, MISTAKES_OF_CLIENTS).await;
}

/// Sixteen clients, each with its own mistakes.
const WRONG_CLIENTS: &str = r#"[{"redirect_uri": "x", "client_secret": "hush"}, 5, {"client_id": 5}, {"client_id": ""},
    {"client_id": "e", "client_secret": ["hush"]}, {"client_id": "f", "client_secret": "hush", "client_secret": "hush"},
    {"client_id": "g", "token_endpoint_auth_method": "client_secret_jwt"},
    {"client_id": "h", "token_endpoint_auth_method": "none", "client_secret": "hush", "grant_types": []},
    {"client_id": "i", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://x.test"},
    {"client_id": "j", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "EC"}]}},
    {"client_id": "f", "client_secret": "hush", "grant_types": ["password", "client_credentials"], "scope": "a \"b",
     "audiences": {"https://a.test": "JWT", "": "jwt"}},
    {"client_id": "l", "token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]},
    {"client_id": "m", "client_secret": "hush", "redirect_uris": ["http://x.test/", "/cb", "https://x.test/#"],
     "response_types": ["token"], "audiences": {"a": "jwt", "a": "opaque"}, "introspect": "true",
     "client_secret_expires_at": 1},
    {"client_id": "n", "token_endpoint_auth_method": "none", "grant_types": [], "introspect": true},
    {"client_id": "o", "client_secret": "", "redirect_uris": "https://x.test/"},
    {"client_id": "p", "client_secret": "hush", "redirect_uris": ["cursor://x", "https://*.x.test/"],
     "accept_private_schemes": ["javascript"], "any_localhost_port": 1, "grant_less_than_asked": "true"}]"#;

const MISTAKES_OF_CLIENTS: &[&str] = &[
    "[0].redirect_uri: there is no such member",
    "[0].client_id: it is missing",
    "[1]: it is not an object",
    "[2].client_id: it is not a string",
    "[3].client_secret: it is missing",
    "[4].client_secret: it is not a string",
    "[5].client_secret: it occurs twice",
    "[6].token_endpoint_auth_method: it is none of",
    "[7].client_secret: it is not used",
    "[8].jwks_uri: this server does not fetch keys",
    "[8].jwks: it is missing",
    "[9].jwks: ",
    "[10].client_id: \"f\" is also the client_id of [5]",
    "[10].grant_types[0]: \"password\" is none of",
    "[10].scope: ",
    "[10].audiences[\"https://a.test\"]: it is neither",
    "[10].audiences: ",
    "[11].grant_types: ",
    "[11].audiences: ",
    "[12].redirect_uris: ",
    "[12].response_types: ",
    "[12].audiences[\"a\"]: it occurs twice",
    "[12].introspect: it is not true or false",
    "[12].client_secret_expires_at: ",
    "[13].introspect: ",
    "[14].client_secret: ",
    "[14].redirect_uris: it is not an array of strings",
    "accept_private_scheme: \"cursor://x\"",
    "no request would match: \"https://*.x.test/\"",
    "[15].accept_private_schemes: ",
    "[15].any_localhost_port: it is not true or false",
    "[15].grant_less_than_asked: it is not true or false",
];

#[cfg(unix)]
#[tokio::test]
async fn a_wrong_key_file_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::with_clients(ODD_CLIENTS);
    let clients = folder.clients();
    folder.add_key("ec.pem");
    let key = folder.keys().join("ec.pem");
    let refuses_key = async |file: &str, algorithm, mistake: &str| {
        let signing = [("SIGNING_KEY", file), ("SIGNING_ALG", algorithm)];
        let settings = [&[("CLIENTS", &*clients), ("USERS", "ada:hush")], &signing[..]].concat();
        let errors = refuses(&settings, &[&format!("SIGNING_KEY: {file}: ")]).await?;
        assert!(errors.contains(mistake), "{mistake:?} is missing in:\n{errors}");
        Some(())
    };
    let file = key.to_str().unwrap();
    if refuses_key(file, "RS256", "a P-256 key, which cannot sign with RS256").await.is_none() {
        return;
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    refuses_key(file, "ES256", "other users may read it").await;
    // A file without a key.
    fs::set_permissions(&clients, fs::Permissions::from_mode(0o600)).unwrap();
    refuses_key(&clients, "ES256", "").await;
    refuses_key(folder.0.join("nowhere/key.pem").to_str().unwrap(), "ES256", "it cannot be written").await;
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let clients = folder.clients();
    let settings = [("BIND", server.0.address()), ("CLIENTS", &clients), ("USERS", "ada:hush")];
    refuses(&settings, &["BIND: cannot listen on "]).await;
    server.stop("INT").await;
}
