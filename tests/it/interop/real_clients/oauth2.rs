//! The crate oauth2 5.
//!
//! It has no discovery, so the tests read the endpoints from the metadata, and no `private_key_jwt`. It does not check `iss`; its
//! user must compare it, as the tests do.

use oauth2::{
    AccessToken, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    IntrospectionUrl, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, RevocationUrl,
    Scope, StandardErrorResponse, StandardRevocableToken, TokenIntrospectionResponse as _, TokenResponse as _,
    TokenUrl,
    basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse, BasicTokenType},
};
use serde_json::Value;

use super::{API, Host, ODD, OPAQUE, callback, over_tls, send, text};

type Ready = BasicClient<EndpointSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointSet>;
type Failure = RequestTokenError<reqwest::Error, StandardErrorResponse<BasicErrorResponseType>>;

/// Returns a client with the endpoints of the metadata.
async fn client(host: &Host, id: &str, secret: &str) -> Ready {
    let metadata = host.metadata().await;
    let url = |name: &str| text(&metadata[name]);
    let client = BasicClient::new(ClientId::new(id.to_owned()))
        .set_auth_uri(AuthUrl::new(url("authorization_endpoint")).unwrap())
        .set_token_uri(TokenUrl::new(url("token_endpoint")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(url("introspection_endpoint")).unwrap())
        .set_revocation_url(RevocationUrl::new(over_tls(&url("revocation_endpoint"))).unwrap());
    let client = client.set_redirect_uri(RedirectUrl::new(callback(id).to_owned()).unwrap());
    if secret.is_empty() { client } else { client.set_client_secret(ClientSecret::new(secret.to_owned())) }
}

/// Obtains a code that Ada approves, and compares `state` and `iss`.
async fn code(host: &Host, client: &Ready, scopes: &[&str]) -> (AuthorizationCode, PkceCodeVerifier) {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let scopes = scopes.iter().map(|name| Scope::new((*name).to_owned()));
    let request = client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge);
    let (url, state) = request.url();
    let mut answer = host.answer(url.as_str()).await;
    assert_eq!((answer.get("state"), answer.get("iss")), (Some(state.secret()), Some(&host.issuer)));
    (AuthorizationCode::new(answer.remove("code").unwrap()), verifier)
}

async fn refresh(client: &Ready, token: &RefreshToken) -> Result<BasicTokenResponse, Failure> {
    client.exchange_refresh_token(token).request_async(&send).await
}

async fn is_active(client: &Ready, token: &AccessToken) -> bool {
    client.introspect(token).request_async(&send).await.unwrap().active()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>) -> BasicErrorResponseType {
    match answer {
        Err(RequestTokenError::ServerResponse(error)) => {
            assert!(error.error_description().is_some(), "the error has no description: {error}");
            error.error().clone()
        }
        other => panic!("not an error of the server: {other:?}"),
    }
}

#[tokio::test]
async fn gets_a_token_for_itself_by_basic_and_by_body_and_introspects_and_revokes_it() {
    for (path, (id, secret)) in [("", ("reports", "reports-secret")), ("/tenants/a", ODD)] {
        let host = Host::start(path).await;
        for way in [AuthType::BasicAuth, AuthType::RequestBody] {
            for audience in [API, OPAQUE] {
                let client = client(&host, id, secret).await.set_auth_type(way.clone());
                let request = client.exchange_client_credentials().add_scope(Scope::new("read".to_owned()));
                let answer = request.add_extra_param("resource", audience).request_async(&send).await.unwrap();
                assert_eq!(*answer.token_type(), BasicTokenType::Bearer);
                assert_eq!(answer.expires_in().map(|time| time.as_secs()), Some(900));
                assert_eq!(answer.scopes(), Some(&vec![Scope::new("read".to_owned())]));
                assert!(answer.refresh_token().is_none());
                assert_eq!(answer.access_token().secret().contains('.'), audience == API);

                let facts = client.introspect(answer.access_token()).request_async(&send).await.unwrap();
                assert!(facts.active());
                assert_eq!((facts.client_id().map(|id| id.as_str()), facts.sub()), (Some(id), Some(id)));
                assert_eq!((facts.iss(), facts.aud()), (Some(&*host.issuer), Some(&vec![audience.to_owned()])));
                assert_eq!((facts.token_type(), facts.scopes()), (Some(&BasicTokenType::Bearer), answer.scopes()));
                assert_eq!((facts.exp().unwrap() - facts.iat().unwrap()).num_seconds(), 900);

                let token = StandardRevocableToken::from(answer.access_token().clone());
                client.revoke_token(token).unwrap().request_async(&send).await.unwrap();
                assert!(!is_active(&client, answer.access_token()).await);
                let unknown = StandardRevocableToken::from(AccessToken::new("unknown".to_owned()));
                client.revoke_token(unknown).unwrap().request_async(&send).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_user_approves_and_it_refreshes_and_an_old_refresh_token_ends_the_session() {
    for (path, id, secret) in [("", "web", "web-secret"), ("/tenants/a", "native", "")] {
        let host = Host::start(path).await;
        let watch = client(&host, "reports", "reports-secret").await;
        let client = client(&host, id, secret).await;
        let (code, verifier) = code(&host, &client, &["read", "write"]).await;
        let first = client.exchange_code(code).set_pkce_verifier(verifier).request_async(&send).await.unwrap();
        let facts = watch.introspect(first.access_token()).request_async(&send).await.unwrap();
        assert_eq!((facts.sub(), facts.client_id().map(|id| id.as_str())), (Some("ada"), Some(id)));

        let old = first.refresh_token().unwrap();
        let second = refresh(&client, old).await.unwrap();
        let new = second.refresh_token().unwrap();
        // Only the refresh tokens of public clients rotate (RFC 9700 §2.2.2).
        let rotates = secret.is_empty();
        assert_eq!(old.secret() != new.secret(), rotates);
        // Fewer scopes than approved, for one token.
        let narrower = client.exchange_refresh_token(new).add_scope(Scope::new("read".to_owned()));
        let third = narrower.request_async(&send).await.unwrap();
        assert_eq!(third.scopes(), Some(&vec![Scope::new("read".to_owned())]));
        let fourth = refresh(&client, third.refresh_token().unwrap()).await.unwrap();
        assert!(is_active(&watch, fourth.access_token()).await);

        if !rotates {
            continue;
        }
        assert_eq!(refused(refresh(&client, old).await), BasicErrorResponseType::InvalidGrant);
        let newest = refresh(&client, fourth.refresh_token().unwrap()).await;
        assert_eq!(refused(newest), BasicErrorResponseType::InvalidGrant);
        assert!(!is_active(&watch, fourth.access_token()).await);
    }
}

#[tokio::test]
async fn revoking_a_refresh_token_revokes_its_access_token() {
    let host = Host::start("").await;
    let client = client(&host, "web", "web-secret").await;
    let (code, verifier) = code(&host, &client, &["read"]).await;
    let answer = client.exchange_code(code).set_pkce_verifier(verifier).request_async(&send).await.unwrap();
    assert!(is_active(&client, answer.access_token()).await);
    let token = answer.refresh_token().unwrap();
    client.revoke_token(token.clone().into()).unwrap().request_async(&send).await.unwrap();
    assert_eq!(refused(refresh(&client, token).await), BasicErrorResponseType::InvalidGrant);
    assert!(!is_active(&client, answer.access_token()).await);
}

#[tokio::test]
async fn sees_a_wrong_verifier_and_a_replayed_code_as_invalid_grant() {
    let host = Host::start("").await;
    let client = client(&host, "web", "web-secret").await;
    let (code_with_another, _) = code(&host, &client, &["read"]).await;
    let (_, another) = PkceCodeChallenge::new_random_sha256();
    let answer = client.exchange_code(code_with_another).set_pkce_verifier(another).request_async(&send).await;
    assert_eq!(refused(answer), BasicErrorResponseType::InvalidGrant);
    let (code_without, _) = code(&host, &client, &["read"]).await;
    let answer = client.exchange_code(code_without).request_async(&send).await;
    assert_eq!(refused(answer), BasicErrorResponseType::InvalidGrant);

    let (code, verifier) = code(&host, &client, &["read"]).await;
    let again = PkceCodeVerifier::new(verifier.secret().clone());
    let first = client.exchange_code(code.clone()).set_pkce_verifier(verifier).request_async(&send).await.unwrap();
    let second = client.exchange_code(code).set_pkce_verifier(again).request_async(&send).await;
    assert_eq!(refused(second), BasicErrorResponseType::InvalidGrant);
    assert!(!is_active(&client, first.access_token()).await, "the tokens of the code are revoked");
    let answer = refresh(&client, first.refresh_token().unwrap()).await;
    assert_eq!(refused(answer), BasicErrorResponseType::InvalidGrant);
}

#[tokio::test]
async fn sees_a_wrong_secret_a_wrong_scope_and_a_grant_it_may_not_use() {
    let host = Host::start("").await;
    for way in [AuthType::BasicAuth, AuthType::RequestBody] {
        let client = client(&host, "reports", "wrong").await.set_auth_type(way);
        let answer = client.exchange_client_credentials().request_async(&send).await;
        assert_eq!(refused(answer), BasicErrorResponseType::InvalidClient);
        let answer = client.introspect(&AccessToken::new("any".to_owned())).request_async(&send).await;
        assert_eq!(refused(answer), BasicErrorResponseType::InvalidClient);
    }
    let client = client(&host, "reports", "reports-secret").await;
    let request = client.exchange_client_credentials().add_scope(Scope::new("admin".to_owned()));
    assert_eq!(refused(request.request_async(&send).await), BasicErrorResponseType::InvalidScope);
    let request = client.exchange_client_credentials().add_extra_param("resource", "https://other.test");
    let unknown = BasicErrorResponseType::Extension("invalid_target".to_owned());
    assert_eq!(refused(request.request_async(&send).await), unknown);
    let answer = refresh(&client, &RefreshToken::new("any".to_owned())).await;
    assert_eq!(refused(answer), BasicErrorResponseType::UnauthorizedClient);
}

#[tokio::test]
async fn the_metadata_of_an_issuer_with_a_path_is_where_a_client_looks_for_it() {
    let host = Host::start("/tenants/a").await;
    let metadata = host.metadata().await;
    for (name, path) in [("token_endpoint", "/token"), ("authorization_endpoint", "/authorize")] {
        assert_eq!(metadata[name], host.url(path));
    }
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], Value::Bool(true));
}
