//! The crate openidconnect 4.
//!
//! It is a client for `OpenID` providers. The token endpoint is not one: it has no ID tokens and no user info. The crate's discovery
//! requests `/.well-known/openid-configuration`, which is not served by default. It can read the document of RFC 8414 as
//! `ProviderMetadata` if two members are added, which `OpenID` Discovery requires and RFC 8414 does not have. The rest works: codes with PKCE, refresh,
//! introspection, revocation, and its JWK set verifies our tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::{
    AccessToken, AdditionalProviderMetadata, AuthType, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret,
    CsrfToken, DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, IntrospectionUrl, IssuerUrl,
    JsonWebKey as _, JsonWebKeySetUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, RequestTokenError, RevocationUrl, Scope, TokenIntrospectionResponse as _,
    TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreErrorResponseType,
        CoreGrantType, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseMode,
        CoreResponseType, CoreRevocableToken, CoreSubjectIdentifierType, CoreTokenResponse,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_oauth::keys::Algorithm;

use super::{API, Host, ODD, OPAQUE, callback, over_tls, send, text};

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
type Failure = RequestTokenError<reqwest::Error, openidconnect::StandardErrorResponse<CoreErrorResponseType>>;

async fn metadata(host: &Host) -> Metadata {
    let mut metadata = host.metadata().await;
    metadata["subject_types_supported"] = json!(["public"]);
    metadata["id_token_signing_alg_values_supported"] = json!([]);
    serde_json::from_value(metadata).unwrap()
}

async fn client(host: &Host, id: &str, secret: Option<&str>) -> Ready {
    let metadata = metadata(host).await;
    let endpoints = metadata.additional_metadata().clone();
    assert_eq!(endpoints.code_challenge_methods_supported, ["S256"]);
    let secret = secret.map(|secret| ClientSecret::new(secret.to_owned()));
    CoreClient::from_provider_metadata(metadata, ClientId::new(id.to_owned()), secret)
        // Otherwise it requests the scope `openid`, which no client has here.
        .disable_openid_scope()
        .set_introspection_url(endpoints.introspection_endpoint)
        .set_redirect_uri(RedirectUrl::new(callback(id).to_owned()).unwrap())
        .set_revocation_url(RevocationUrl::new(over_tls(&endpoints.revocation_endpoint)).unwrap())
}

async fn code(host: &Host, client: &Ready) -> (AuthorizationCode, PkceCodeVerifier) {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
    let request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
    let request = request.add_scope(Scope::new("read".to_owned())).set_pkce_challenge(challenge);
    // A nonce is for an ID token. The token endpoint ignores it.
    let (url, state, _) = request.url();
    let mut answer = host.answer(url.as_str()).await;
    assert_eq!((answer.get("state"), answer.get("iss")), (Some(state.secret()), Some(&host.issuer)));
    (AuthorizationCode::new(answer.remove("code").unwrap()), verifier)
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

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>) -> CoreErrorResponseType {
    match answer {
        Err(RequestTokenError::ServerResponse(error)) => error.error().clone(),
        other => panic!("not an error of the server: {other:?}"),
    }
}

#[tokio::test]
async fn openid_discovery_fails_and_the_metadata_need_two_more_members() {
    let host = Host::start("").await;
    let found = CoreProviderMetadata::discover_async(IssuerUrl::new(host.issuer.clone()).unwrap(), &send).await;
    assert!(matches!(&found, Err(DiscoveryError::Response(status, ..)) if *status == 404), "{found:?}");
    let error = serde_json::from_value::<CoreProviderMetadata>(host.metadata().await).unwrap_err();
    assert!(error.to_string().contains("missing field `subject_types_supported`"), "{error}");

    let metadata = metadata(&host).await;
    assert_eq!(metadata.issuer().as_str(), host.issuer);
    assert_eq!(metadata.token_endpoint().unwrap().as_str(), host.url("/token"));
    let ways = metadata.token_endpoint_auth_methods_supported().unwrap();
    assert_eq!(ways[..2], [CoreClientAuthMethod::ClientSecretBasic, CoreClientAuthMethod::ClientSecretPost]);
    assert!(ways.contains(&CoreClientAuthMethod::PrivateKeyJwt));
    assert_eq!(metadata.grant_types_supported().unwrap()[1], CoreGrantType::AuthorizationCode);
}

#[tokio::test]
async fn gets_a_token_for_itself_by_basic_and_by_body_and_revokes_it() {
    for (path, (id, secret)) in [("", ("reports", "reports-secret")), ("/tenants/a", ODD)] {
        let host = Host::start(path).await;
        for way in [AuthType::BasicAuth, AuthType::RequestBody] {
            let client = client(&host, id, Some(secret)).await.set_auth_type(way);
            let request = client.exchange_client_credentials().unwrap().add_extra_param("resource", OPAQUE);
            let answer = request.request_async(&send).await.unwrap();
            assert!(answer.id_token().is_none());
            assert!(is_active(&client, answer.access_token()).await);
            let token = CoreRevocableToken::from(answer.access_token().clone());
            client.revoke_token(token).unwrap().request_async(&send).await.unwrap();
            assert!(!is_active(&client, answer.access_token()).await);
        }
        let client = client(&host, id, Some("wrong")).await;
        let answer = client.exchange_client_credentials().unwrap().request_async(&send).await;
        assert_eq!(refused(answer), CoreErrorResponseType::InvalidClient);
    }
}

#[tokio::test]
async fn a_user_approves_and_it_refreshes_and_each_code_and_refresh_token_works_once() {
    for (path, id, secret) in [("", "web", Some("web-secret")), ("/tenants/a", "native", None)] {
        let host = Host::start(path).await;
        let watch = client(&host, "reports", Some("reports-secret")).await;
        let client = client(&host, id, secret).await;

        let (with_another, _) = code(&host, &client).await;
        let (_, another) = PkceCodeChallenge::new_random_sha256();
        assert_eq!(refused(redeem(&client, &with_another, another).await), CoreErrorResponseType::InvalidGrant);

        let (code, verifier) = code(&host, &client).await;
        let again = PkceCodeVerifier::new(verifier.secret().clone());
        let first = redeem(&client, &code, verifier).await.unwrap();
        assert_eq!(first.scopes(), Some(&vec![Scope::new("read".to_owned())]));
        let second = refresh(&client, &first).await.unwrap();
        let facts = watch.introspect(second.access_token()).request_async(&send).await.unwrap();
        assert_eq!((facts.active(), facts.sub(), facts.iss()), (true, Some("ada"), Some(&*host.issuer)));

        let third = refresh(&client, &second).await.unwrap();
        // Only the refresh tokens of public clients rotate (RFC 9700 §2.2.2).
        if secret.is_none() {
            assert_eq!(refused(refresh(&client, &first).await), CoreErrorResponseType::InvalidGrant);
            let ended = refused(refresh(&client, &third).await);
            assert_eq!(ended, CoreErrorResponseType::InvalidGrant, "the session has ended");
        }
        assert_eq!(refused(redeem(&client, &code, again).await), CoreErrorResponseType::InvalidGrant);
        assert!(!is_active(&watch, third.access_token()).await);
    }
}

#[tokio::test]
async fn its_key_set_reads_ours_and_its_keys_verify_our_tokens() {
    // Not Ed25519: CoreJwsSigningAlgorithm has no such name. It takes the curve of EdDSA from the key.
    let algorithms = [
        (Algorithm::ES256, CoreJwsSigningAlgorithm::EcdsaP256Sha256),
        (Algorithm::RS256, CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256),
        (Algorithm::PS256, CoreJwsSigningAlgorithm::RsaSsaPssSha256),
        (Algorithm::EdDSA, CoreJwsSigningAlgorithm::EdDsa),
    ];
    for (algorithm, name) in algorithms {
        let host = Host::signing(algorithm).await;
        let client = client(&host, "reports", Some("reports-secret")).await;
        let request = client.exchange_client_credentials().unwrap().add_extra_param("resource", API);
        let answer = request.request_async(&send).await.unwrap();
        let url = JsonWebKeySetUrl::new(text(&host.metadata().await["jwks_uri"])).unwrap();
        let keys = CoreJsonWebKeySet::fetch_async(&url, &send).await.unwrap();

        let token = answer.access_token().secret();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let [key] = &keys.keys()[..] else { panic!("{keys:?}") };
        assert_eq!(key.key_id().map(|id| id.as_str()), header["kid"].as_str());
        key.verify_signature(&name, signed.as_bytes(), &signature).unwrap();
        key.verify_signature(&name, &[signed.as_bytes(), b"x"].concat(), &signature).unwrap_err();
    }
}
