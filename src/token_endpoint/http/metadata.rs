//! The server's metadata document (RFC 8414 §2).
//!
//! *In*: the configuration. *Out*: JSON, serialized once. It contains nothing from a request, also not its host or scheme.

use serde::Serialize;

use crate::jws::Algorithm;

/// The metadata (§2, and RFC 9207 §3). An empty list is left out (§3.2), except `response_types_supported`, which §2 requires.
#[derive(Serialize)]
pub(crate) struct ServerMetadata {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    response_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    response_modes_supported: Vec<&'static str>,
    grant_types_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code_challenge_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    authorization_response_iss_parameter_supported: bool,
    /// draft-ietf-oauth-client-id-metadata-document §5.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    client_id_metadata_document_supported: bool,
    /// RFC 9449 §5.1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dpop_signing_alg_values_supported: Vec<&'static str>,
    /// RFC 8705 §3.3.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_client_certificate_bound_access_tokens: bool,
}

impl ServerMetadata {
    /// Returns the metadata. `base` is the issuer without a slash at its end. `authorization_endpoint` is the URL of the
    /// application's own page, if codes are offered; `published` is one to publish if they aren't.
    pub(crate) fn new(
        issuer: &str,
        base: &str,
        authorization_endpoint: Option<&str>,
        published: Option<&str>,
        scopes: &[String],
        grants: impl Iterator<Item = String>,
    ) -> Self {
        let confidential = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
        let mut all_methods = confidential.clone();
        let algorithms: Vec<_> = Algorithm::supported().iter().map(|algorithm| algorithm.as_str()).collect();
        let code = authorization_endpoint.is_some();
        let if_code = |value| if code { vec![value] } else { Vec::new() };
        all_methods.extend(if_code("none"));
        Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: authorization_endpoint.or(published).map(str::to_owned),
            token_endpoint: format!("{base}/token"),
            jwks_uri: format!("{base}/jwks.json"),
            scopes_supported: scopes.to_vec(),
            response_types_supported: if_code("code"),
            response_modes_supported: if_code("query"),
            grant_types_supported: grants.collect(),
            token_endpoint_auth_methods_supported: all_methods.clone(),
            token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            revocation_endpoint: format!("{base}/revoke"),
            revocation_endpoint_auth_methods_supported: all_methods,
            revocation_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            introspection_endpoint: format!("{base}/introspect"),
            introspection_endpoint_auth_methods_supported: confidential,
            introspection_endpoint_auth_signing_alg_values_supported: algorithms,
            code_challenge_methods_supported: if_code("S256"),
            authorization_response_iss_parameter_supported: code,
            client_id_metadata_document_supported: false,
            dpop_signing_alg_values_supported: Vec::new(),
            tls_client_certificate_bound_access_tokens: false,
        }
    }

    /// Returns the metadata with what the client registry supports.
    pub(crate) fn with_client_documents(self, supported: bool) -> Self {
        Self { client_id_metadata_document_supported: supported, ..self }
    }

    /// Returns the metadata with the algorithms of proofs. Without any, tokens can't be bound to a key.
    pub(crate) fn with_dpop(self, algorithms: &[Algorithm]) -> Self {
        let names = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        Self { dpop_signing_alg_values_supported: names, ..self }
    }

    /// Returns the metadata with whether tokens can be bound to certificates.
    pub(crate) fn with_certificates(self, supported: bool) -> Self {
        Self { tls_client_certificate_bound_access_tokens: supported, ..self }
    }
}
