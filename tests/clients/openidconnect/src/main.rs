//! The crate openidconnect 4 as a client of the token endpoint. The test in tests/it/interop/real_clients starts this program,
//! passes the settings in the variable SERVER, reads the printed results, and acts as the browser.

use std::{collections::HashMap, env, fmt::Debug, io};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    AccessToken, AdditionalProviderMetadata, AsyncHttpClient as _, AuthType, AuthenticationFlow, AuthorizationCode,
    ClientId, ClientSecret, CsrfToken, DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpClientError,
    HttpRequest, HttpResponse, IntrospectionUrl, IssuerUrl, JsonWebKey as _, JsonWebKeySetUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl, RequestTokenError,
    RevocationUrl, Scope, StandardErrorResponse, TokenIntrospectionResponse as _, TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreErrorResponseType,
        CoreGrantType, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseMode,
        CoreResponseType, CoreRevocableToken, CoreSubjectIdentifierType, CoreTokenResponse,
    },
    reqwest,
    url::Url,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The part of the settings that this program uses.
#[derive(Deserialize)]
struct Server {
    issuer: String,
    api: String,
    opaque: String,
    odd: (String, String),
    callback_with_query: String,
    loopback: String,
}

/// Members of the OAuth metadata that `OpenID` Discovery does not have.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Endpoints {
    introspection_endpoint: IntrospectionUrl,
    revocation_endpoint: String,
    code_challenge_methods_supported: Vec<String>,
}

impl AdditionalProviderMetadata for Endpoints {}

type Metadata = ProviderMetadata<
    Endpoints,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;
type Ready = CoreClient<EndpointSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointMaybeSet, EndpointMaybeSet>;
type HttpError = HttpClientError<reqwest::Error>;
type Failure = RequestTokenError<HttpError, StandardErrorResponse<CoreErrorResponseType>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server: Server = serde_json::from_str(&env::var("SERVER").unwrap()).unwrap();
    let oauth = oauth_metadata(&server).await;
    discovery(&server, &oauth).await;
    let metadata = openid_metadata(&oauth);
    machines(&server, &metadata).await;
    for (id, secret) in [("web", Some("web-secret")), ("native", None)] {
        users(&server, &metadata, id, secret).await;
    }
    key_set(&server, &metadata, oauth["jwks_uri"].as_str().unwrap()).await;
}

/// The crate's discovery fails, and the document of RFC 8414 needs two more members.
async fn discovery(server: &Server, oauth: &Value) {
    match CoreProviderMetadata::discover_async(IssuerUrl::new(server.issuer.clone()).unwrap(), &send).await {
        Err(DiscoveryError::Response(status, ..)) => println!("OpenID discovery: {}", status.as_u16()),
        other => panic!("not a response that is no document: {other:?}"),
    }
    let error = serde_json::from_value::<CoreProviderMetadata>(oauth.clone()).unwrap_err();
    assert!(error.to_string().contains("missing field `subject_types_supported`"), "{error}");
    println!("OAuth metadata: without subject_types_supported");

    let metadata = openid_metadata(oauth);
    assert_eq!(metadata.issuer().as_str(), server.issuer);
    assert_eq!(metadata.token_endpoint().unwrap().as_str(), format!("{}/token", server.issuer));
    let ways = metadata.token_endpoint_auth_methods_supported().unwrap();
    assert_eq!(ways[..2], [CoreClientAuthMethod::ClientSecretBasic, CoreClientAuthMethod::ClientSecretPost]);
    assert!(ways.contains(&CoreClientAuthMethod::PrivateKeyJwt));
    assert_eq!(metadata.grant_types_supported().unwrap()[1], CoreGrantType::AuthorizationCode);
    assert_eq!(metadata.additional_metadata().code_challenge_methods_supported, ["S256"]);
    println!("OAuth metadata: read with two more members");
}

/// Clients that get tokens for themselves.
async fn machines(server: &Server, metadata: &Metadata) {
    let odd = (server.odd.0.as_str(), server.odd.1.as_str());
    for (name, (id, secret)) in [("reports", ("reports", "reports-secret")), ("special characters", odd)] {
        for (way, name_of_way) in
            [(AuthType::BasicAuth, "client_secret_basic"), (AuthType::RequestBody, "client_secret_post")]
        {
            let client = client(server, metadata, id, Some(secret)).set_auth_type(way);
            let request = client.exchange_client_credentials().unwrap().add_extra_param("resource", &server.opaque);
            let answer = request.request_async(&send).await.unwrap();
            assert!(answer.id_token().is_none());
            println!("client_credentials by {name_of_way}: {name}");
            assert!(is_active(&client, answer.access_token()).await);
            let token = CoreRevocableToken::from(answer.access_token().clone());
            client.revoke_token(token).unwrap().request_async(&send).await.unwrap();
            assert!(!is_active(&client, answer.access_token()).await);
            println!("active, and after a revocation inactive: {name}");
        }
        let client = client(server, metadata, id, Some("wrong"));
        let answer = client.exchange_client_credentials().unwrap().request_async(&send).await;
        println!("a wrong secret: {name}: {}", refused(answer));
    }
}

/// A client that gets tokens for Ada.
async fn users(server: &Server, metadata: &Metadata, id: &str, secret: Option<&str>) {
    let watch = client(server, metadata, "reports", Some("reports-secret"));
    let client = client(server, metadata, id, secret);

    let (with_another, _) = code(server, &client).await;
    let (_, another) = PkceCodeChallenge::new_random_sha256();
    println!("{id}: a wrong verifier: {}", refused(redeem(&client, &with_another, another).await));

    let (code, verifier) = code(server, &client).await;
    println!("{id}: a code, with state and iss");
    let again = PkceCodeVerifier::new(verifier.secret().clone());
    let first = redeem(&client, &code, verifier).await.unwrap();
    assert_eq!(first.scopes(), Some(&vec![Scope::new("read".to_owned())]));
    let second = refresh(&client, &first).await.unwrap();
    let facts = watch.introspect(second.access_token()).request_async(&send).await.unwrap();
    assert_eq!((facts.active(), facts.sub(), facts.iss()), (true, Some("ada"), Some(&*server.issuer)));
    println!("{id}: the refreshed token is Ada's");

    let third = refresh(&client, &second).await.unwrap();
    println!("{id}: refreshed again");
    // Only the refresh tokens of public clients rotate (RFC 9700 §2.2.2).
    if secret.is_none() {
        println!("{id}: an old refresh token: {}", refused(refresh(&client, &first).await));
        println!("{id}: the session has ended: {}", refused(refresh(&client, &third).await));
    }
    println!("{id}: a replayed code: {}", refused(redeem(&client, &code, again).await));
    assert!(!is_active(&watch, third.access_token()).await);
    println!("{id}: its tokens are revoked");
}

/// The crate reads the key set, and its key verifies a token with the algorithm of the token's header, which it prints.
async fn key_set(server: &Server, metadata: &Metadata, url: &str) {
    let client = client(server, metadata, "reports", Some("reports-secret"));
    let request = client.exchange_client_credentials().unwrap().add_extra_param("resource", &server.api);
    let answer = request.request_async(&send).await.unwrap();
    let keys = CoreJsonWebKeySet::fetch_async(&JsonWebKeySetUrl::new(url.to_owned()).unwrap(), &send).await.unwrap();

    let token = answer.access_token().secret();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let algorithm: CoreJwsSigningAlgorithm = serde_json::from_value(header["alg"].clone()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let [key] = &keys.keys()[..] else { panic!("{keys:?}") };
    assert_eq!(key.key_id().map(|id| id.as_str()), header["kid"].as_str());
    key.verify_signature(&algorithm, signed.as_bytes(), &signature).unwrap();
    key.verify_signature(&algorithm, &[signed.as_bytes(), b"x"].concat(), &signature).unwrap_err();
    println!("the key set verifies the JWT: {algorithm:?}");
}

/// Fetches the metadata (RFC 8414 §3.1: the well-known path is inserted before the issuer's path).
async fn oauth_metadata(server: &Server) -> Value {
    let mut url = Url::parse(&server.issuer).unwrap();
    let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let response = http().get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let metadata: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(metadata["issuer"], server.issuer);
    metadata
}

/// Adds the two members that `OpenID` Discovery requires and RFC 8414 does not have.
fn openid_metadata(oauth: &Value) -> Metadata {
    let mut metadata = oauth.clone();
    metadata["subject_types_supported"] = json!(["public"]);
    metadata["id_token_signing_alg_values_supported"] = json!([]);
    serde_json::from_value(metadata).unwrap()
}

fn client(server: &Server, metadata: &Metadata, id: &str, secret: Option<&str>) -> Ready {
    let endpoints = metadata.additional_metadata();
    let secret = secret.map(|secret| ClientSecret::new(secret.to_owned()));
    let callback = if id == "native" { &server.loopback } else { &server.callback_with_query };
    // The crate revokes only at `https` URLs.
    let revocation = endpoints.revocation_endpoint.replacen("http://", "https://", 1);
    CoreClient::from_provider_metadata(metadata.clone(), ClientId::new(id.to_owned()), secret)
        // Otherwise it requests the scope `openid`, which no client has here.
        .disable_openid_scope()
        .set_introspection_url(endpoints.introspection_endpoint.clone())
        .set_redirect_uri(RedirectUrl::new(callback.clone()).unwrap())
        .set_revocation_url(RevocationUrl::new(revocation).unwrap())
}

/// Obtains a code that Ada approves, and compares `state` and `iss`.
async fn code(server: &Server, client: &Ready) -> (AuthorizationCode, PkceCodeVerifier) {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
    let request = request.add_scope(Scope::new("read".to_owned())).set_pkce_challenge(challenge);
    // A nonce is for an ID token. The token endpoint ignores it.
    let (url, state, _) = request.url();
    let mut answer: HashMap<_, _> = browse(&url).query_pairs().into_owned().collect();
    assert_eq!((answer.get("state"), answer.get("iss")), (Some(state.secret()), Some(&server.issuer)));
    (AuthorizationCode::new(answer.remove("code").unwrap()), verifier)
}

/// Returns the URL of the redirect. The browser is the test.
fn browse(url: &Url) -> Url {
    println!("browse {url}");
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    Url::parse(line.trim_end()).unwrap()
}

async fn redeem(
    client: &Ready,
    code: &AuthorizationCode,
    verifier: PkceCodeVerifier,
) -> Result<CoreTokenResponse, Failure> {
    client.exchange_code(code.clone()).unwrap().set_pkce_verifier(verifier).request_async(&send).await
}

async fn refresh(client: &Ready, answer: &CoreTokenResponse) -> Result<CoreTokenResponse, Failure> {
    client.exchange_refresh_token(answer.refresh_token().unwrap()).unwrap().request_async(&send).await
}

async fn is_active(client: &Ready, token: &AccessToken) -> bool {
    client.introspect(token).request_async(&send).await.unwrap().active()
}

/// Returns the code of the error that the server sent.
#[track_caller]
fn refused<T: Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Err(RequestTokenError::ServerResponse(error)) => error.error().as_ref().to_owned(),
        other => panic!("not an error of the server: {other:?}"),
    }
}

/// Sends a request of the crate with the HTTP client of its documentation. In production a proxy would terminate TLS; here the
/// request is sent by `http`.
async fn send(mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let url = request.uri().to_string().replacen("https://", "http://", 1);
    *request.uri_mut() = url.parse().unwrap();
    http().call(request).await
}

/// Returns a client that follows no redirects and uses no proxy.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
