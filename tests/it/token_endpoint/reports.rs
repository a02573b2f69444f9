//! The cases about token endpoints that were collected from public bug reports, in `reports.json`. `must` there says what is
//! right; where it leaves a choice, the comment here says what was chosen.

use axum::body::Body;
use serde_json::Value;
use tower_oauth::token_endpoint::{
    AuthorizationCodeGrant, AuthorizationError, AuthorizationRequest, Client, ClientBuilder, ClientCredential,
    ClientSecret, RefreshTokenGrant, TokenFormat,
};

use super::{AUTHORIZE, Answer, World, basic, encode, part, raw_basic, sent};

const CASES: &str = include_str!("reports.json");
const VERIFIER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const API: &str = "https://api.example.test";

/// Returns the strings of an array.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap())
}

/// Returns the client of the case, as the file of `examples/authorization_server` has it.
fn client(json: &Value) -> ClientBuilder {
    let credential = match json["client_secret"].as_str() {
        Some(secret) => ClientCredential::Secret(ClientSecret::new(secret)),
        None => ClientCredential::None,
    };
    let client =
        Client::builder(json["client_id"].as_str().unwrap(), credential).grant_types(texts(&json["grant_types"]));
    let client = client.default_scopes(json["scope"].as_str().unwrap().split(' '));
    let client = texts(&json["redirect_uris"]).fold(client, ClientBuilder::redirect_uri);
    let audiences = json["audiences"].as_object().unwrap();
    audiences.keys().fold(client, |client, audience| client.audience(audience, TokenFormat::Jwt))
}

/// A case, and an endpoint with its clients.
struct Trial<'c> {
    case: &'c Value,
    world: World,
}

impl<'c> Trial<'c> {
    /// Registers the clients of the case, with this change.
    fn new(case: &'c Value, change: fn(ClientBuilder) -> ClientBuilder) -> Self {
        let world = World::with(|builder| {
            let builder = builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new());
            builder.metadata_at_openid_configuration()
        });
        for json in case["clients"].as_array().unwrap() {
            world.clients.insert(change(client(json)).build().unwrap());
        }
        Self { case, world }
    }

    fn form(&self, request: &str) -> Vec<(&'c str, &'c str)> {
        let form = self.case["request"][request].as_object().unwrap();
        form.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect()
    }

    async fn authorize(&self) -> Result<AuthorizationRequest, AuthorizationError> {
        let uri = format!("/authorize?{}", encode(&self.form("GET /authorize"))).parse().unwrap();
        self.world.endpoint.authorize(&uri).await
    }

    /// Sends the token request as the client `job`.
    async fn job(&self) -> Answer {
        self.world.post("/token", &basic("job", "a secret of some length"), &self.form("POST /token")).await
    }

    async fn redeem(&self, code: &str, form: &[(&str, &str)]) -> Answer {
        let code =
            [("grant_type", "authorization_code"), ("code", code), ("code_verifier", VERIFIER), ("client_id", "app")];
        self.world.post("/token", "", &[&code[..], form].concat()).await
    }
}

/// Approves all scopes as Ada, and returns the code.
async fn approve(request: AuthorizationRequest) -> String {
    let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
    sent(&request.approve("ada", scopes).await.map(Body::new)).swap_remove(0).1
}

/// Runs one case. Panics if the id is unknown.
async fn run(case: &Value) {
    let usual = Trial::new;
    let same: fn(ClientBuilder) -> ClientBuilder = |client| client;
    match case["id"].as_str().unwrap() {
        "localhost-with-any-port" => {
            let error = usual(case, same).authorize().await.unwrap_err().to_string();
            assert!(error.contains("localhost") && error.contains("RFC 8252"), "{error}");
            assert!(usual(case, ClientBuilder::any_localhost_port).authorize().await.is_ok());
        }
        "offline-access-that-nobody-has" => {
            assert_eq!(usual(case, same).authorize().await.unwrap_err().code(), "invalid_scope");
            let trial = usual(case, ClientBuilder::grant_less_than_asked);
            let code = approve(trial.authorize().await.unwrap()).await;
            let answer = trial.redeem(&code, &[("redirect_uri", "http://127.0.0.1:5000/callback")]).await;
            answer.is_ok();
            assert_eq!(answer.text("scope"), "read");
        }
        "all-of-scopes-supported" => {
            usual(case, same).job().await.is_error(400, "invalid_scope");
            let answer = usual(case, ClientBuilder::grant_less_than_asked).job().await;
            answer.is_ok();
            assert_eq!(answer.text("scope"), "read write");
        }
        // Chosen: forgive the space.
        "scope-with-a-space-at-the-end" => {
            let answer = usual(case, same).job().await;
            answer.is_ok();
            assert_eq!(answer.text("scope"), "read");
        }
        "public-client-with-an-empty-password" => {
            assert_eq!(case["request"]["authorization"], "Basic app:");
            let trial = usual(case, same);
            let post = async |credentials| {
                trial.world.post("/token", &raw_basic(credentials), &trial.form("POST /token")).await
            };
            post("app:").await.is_error(400, "invalid_grant");
            post("job:").await.is_error(401, "invalid_client");
        }
        "no-redirect-uri-at-the-token-endpoint" => {
            let trial = usual(case, same);
            let code = usual_code(&trial).await;
            let form: Vec<_> = trial.form("POST /token").into_iter().filter(|(name, _)| *name != "code").collect();
            trial.world.post("/token", "", &[&form[..], &[("code", &code)]].concat()).await.is_ok();
        }
        "openid-configuration" => {
            let world = usual(case, same).world;
            let answer = world.get(case["request"]["GET"].as_str().unwrap()).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.plain.body, world.get("/.well-known/oauth-authorization-server").await.plain.body);
        }
        // Chosen: compare an empty path as the path `/`, and issue the registered text.
        "resource-with-a-slash" => {
            let answer = usual(case, same).job().await;
            answer.is_ok();
            assert_eq!(part(answer.text("access_token"), 1)["aud"], API);
        }
        // Chosen: a method that names the scheme. Without it, the mistake names the method.
        "private-scheme-without-a-dot" => {
            let error = client(&case["clients"][0]).build().unwrap_err().to_string();
            assert!(error.contains("accept_private_scheme"), "{error}");
            usual(case, |client| client.accept_private_scheme("cursor"));
        }
        "redirect-uris-that-can-never-match" => {
            let errors: Vec<_> = case["clients"].as_array().unwrap().iter().map(|json| client(json).build()).collect();
            let named = ["is not a wildcard", "has a port that is not a number up to 65535"];
            for (error, named) in errors.into_iter().zip(named) {
                let error = error.unwrap_err().to_string();
                assert!(error.contains(named), "{error}");
            }
        }
        other => panic!("a case without a test: {other}"),
    }
}

/// Returns a code for the client `app`, whose request has a redirect URI.
async fn usual_code(trial: &Trial<'_>) -> String {
    let query = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", "http://127.0.0.1:5000/callback"),
        ("code_challenge", "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA"),
        ("code_challenge_method", "S256"),
    ];
    let uri = format!("/authorize?{}", encode(&query)).parse().unwrap();
    approve(trial.world.endpoint.authorize(&uri).await.unwrap()).await
}

#[tokio::test]
async fn each_reported_case_is_answered_as_it_must_be() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    assert_eq!(cases.len(), 10);
    for case in &cases {
        run(case).await;
    }
}
