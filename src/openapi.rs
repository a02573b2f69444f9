//! Security schemes and requirements for the OpenAPI document of an API (OpenAPI 3.0 to 3.2, Security Scheme Object).
//!
//! *In*: the scopes that [`scopes!`](crate::scopes) declares, what a handler requires, the issuer's URLs. *Out*: JSON.
//!
//! Every library that writes OpenAPI documents can take this JSON:
//!
//! - utoipa: `serde_json::from_value` makes its list of `SecurityRequirement`s. In `#[utoipa::path]`,
//!   `security(("oauth2" = [OrdersRead::NAME]))` works too. Add the scheme to the document when it is a [`Value`], as
//!   `examples/openapi.rs` does: utoipa 6.0 reads the flow of an authorization code as an implicit one, and loses its token
//!   URL. To write its own types instead, use `DESCRIBED.iter().copied().collect::<Scopes>()`.
//! - aide: `serde_json::from_value` makes the `SecurityScheme` for `TransformOpenApi::security_scheme`, and the list for
//!   `TransformOperation::inner_mut().security`. It does not know `oauth2MetadataUrl` and the device flow.
//! - poem-openapi: parse the text of `OpenApiService::spec`, and set `components.securitySchemes` and the `security` of the
//!   operations.
//!
//! Nothing is checked at run time here: a document does not protect an operation.
//! [`testing::described`](../testing/fn.described.html) finds where a document and the API differ.
//!
//! ```
//! # fn main() -> Result<(), tower_oauth::ConfigError> {
//! use serde_json::json;
//! use tower_oauth::{AnyOf, Scoped, openapi};
//!
//! tower_oauth::scopes! {
//!     /// Read any order.
//!     pub OrdersRead = "orders:read";
//!     /// Change any order.
//!     pub OrdersWrite = "orders:write";
//!     /// Do everything.
//!     pub Admin = "admin";
//! }
//!
//! async fn change(_: Scoped<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>) {}
//!
//! let scheme = openapi::oauth2_scheme(DESCRIBED)
//!     .authorization_code("https://auth.example.com/authorize", "https://auth.example.com/token")
//!     .build()?;
//! assert_eq!(scheme["flows"]["authorizationCode"]["scopes"]["orders:read"], "Read any order.");
//!
//! let security = openapi::requirements_of(&change, "oauth2");
//! let (writer, admin) = (json!({"oauth2": ["orders:read", "orders:write"]}), json!({"oauth2": ["orders:read", "admin"]}));
//! assert_eq!(security, json!([writer, admin]));
//! # Ok(())
//! # }
//! ```

use serde_json::{Map, Value, json};

use crate::{
    config_error::{ConfigError, MistakeCollector},
    scope::{RequiredScopes, check_name},
    token::Scoped,
    url::{PlainHttp, check_url},
};

/// Builder for a security scheme of the type `oauth2`. [`build`](Self::build) reports every mistake at once.
#[derive(Debug, Clone)]
#[must_use]
pub struct OAuth2SchemeBuilder {
    scopes: Vec<(String, String)>,
    flows: Vec<Flow>,
    description: Option<String>,
    metadata_url: Option<String>,
}

/// One way to get a token (OAuth Flow Object).
#[derive(Debug, Clone)]
struct Flow {
    setting: &'static str,
    member: &'static str,
    /// Names of members and their URLs.
    urls: Vec<(&'static str, String)>,
}

/// Returns a builder for a security scheme of the type `oauth2`, with these scopes and their descriptions: the `DESCRIBED` of
/// [`scopes!`](crate::scopes), or several of them (`orders::DESCRIBED.iter().chain(users::DESCRIBED)`).
///
/// At least one flow must be added. Each flow gets all scopes.
///
/// ```
/// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; }
/// use tower_oauth::openapi;
///
/// let scheme = openapi::oauth2_scheme(DESCRIBED).client_credentials("https://auth.example.com/token").build()?;
/// assert_eq!(scheme["type"], "oauth2");
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
pub fn oauth2_scheme<'d>(scopes: impl IntoIterator<Item = &'d (&'d str, &'d str)>) -> OAuth2SchemeBuilder {
    let scopes = scopes.into_iter().map(|(name, description)| ((*name).to_owned(), (*description).to_owned()));
    OAuth2SchemeBuilder { scopes: scopes.collect(), flows: Vec::new(), description: None, metadata_url: None }
}

impl OAuth2SchemeBuilder {
    /// Adds the flow for clients that act for themselves (RFC 6749 §4.4).
    pub fn client_credentials(self, token_url: impl Into<String>) -> Self {
        self.flow("client_credentials", "clientCredentials", vec![("tokenUrl", token_url.into())])
    }

    /// Adds the flow for clients that act for a user (RFC 6749 §4.1).
    pub fn authorization_code(self, authorization_url: impl Into<String>, token_url: impl Into<String>) -> Self {
        let urls = vec![("authorizationUrl", authorization_url.into()), ("tokenUrl", token_url.into())];
        self.flow("authorization_code", "authorizationCode", urls)
    }

    /// Adds the flow for devices without a browser (RFC 8628). OpenAPI 3.2 defines it; older readers ignore or refuse it.
    pub fn device_authorization(
        self,
        device_authorization_url: impl Into<String>,
        token_url: impl Into<String>,
    ) -> Self {
        let urls = vec![("deviceAuthorizationUrl", device_authorization_url.into()), ("tokenUrl", token_url.into())];
        self.flow("device_authorization", "deviceAuthorization", urls)
    }

    fn flow(mut self, setting: &'static str, member: &'static str, urls: Vec<(&'static str, String)>) -> Self {
        self.flows.push(Flow { setting, member, urls });
        self
    }

    /// Sets the URL of the issuer's metadata (RFC 8414), `oauth2MetadataUrl`. OpenAPI 3.2 defines it; older readers ignore or
    /// refuse it. Default: absent.
    pub fn metadata_url(self, url: impl Into<String>) -> Self {
        Self { metadata_url: Some(url.into()), ..self }
    }

    /// Sets the text for readers of the document. Default: absent.
    pub fn description(self, text: impl Into<String>) -> Self {
        Self { description: Some(text.into()), ..self }
    }

    /// Returns the Security Scheme Object.
    ///
    /// # Errors
    /// Every mistake at once: no flow, the same flow twice, a URL that is not an absolute `https` URL (plain `http` is
    /// accepted for loopback addresses), or a name that is not a scope-token (RFC 6749 §3.3).
    pub fn build(self) -> Result<Value, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        let scopes = self.scopes(&mut mistakes);
        let mut flows = Map::new();
        for flow in self.flows {
            let mut object = Map::new();
            for (member, url) in flow.urls {
                mistakes.check(check_url(flow.setting, &url, PlainHttp::Loopback));
                object.insert(member.to_owned(), url.into());
            }
            object.insert("scopes".to_owned(), scopes.clone().into());
            if flows.insert(flow.member.to_owned(), object.into()).is_some() {
                mistakes.add(flow.setting, "the flow is set twice", "set it once");
            }
        }
        if flows.is_empty() {
            mistakes.add("flows", "no flow is set", "call client_credentials or authorization_code");
        }
        let mut scheme = Map::from_iter([("type".to_owned(), "oauth2".into()), ("flows".to_owned(), flows.into())]);
        if let Some(url) = self.metadata_url {
            mistakes.check(check_url("metadata_url", &url, PlainHttp::Loopback));
            scheme.insert("oauth2MetadataUrl".to_owned(), url.into());
        }
        scheme.extend(self.description.map(|text| ("description".to_owned(), text.into())));
        mistakes.finish()?;
        Ok(scheme.into())
    }

    /// Returns the scopes of a flow. Of two descriptions of a scope, the first one that is not empty.
    fn scopes(&self, mistakes: &mut MistakeCollector) -> Map<String, Value> {
        let mut scopes = Map::new();
        for (name, description) in &self.scopes {
            mistakes.check(check_name("scopes", name));
            if scopes.get(name).is_none_or(|described| described == "") {
                scopes.insert(name.clone(), description.as_str().into());
            }
        }
        scopes
    }
}

/// Returns a security scheme of the type `http` for bearer tokens (RFC 6750). It names no issuer and no scopes.
///
/// ```
/// let scheme = tower_oauth::openapi::bearer_scheme();
/// assert_eq!(scheme, serde_json::json!({"type": "http", "scheme": "bearer"}));
/// ```
#[must_use]
pub fn bearer_scheme() -> Value {
    json!({"type": "http", "scheme": "bearer"})
}

/// Returns the `security` of an operation that requires `S`: a list of Security Requirement Objects, one for each of the
/// [alternatives](RequiredScopes::alternatives). `scheme` is the name of the scheme in `components.securitySchemes`.
///
/// The list has at most 64 entries. Of a requirement with more alternatives, those with the fewest scopes are documented.
///
/// For an operation that accepts requests without a token as well, add an empty object to the list. For one that requires a
/// token but no scope, use `[{scheme: []}]`.
///
/// ```
/// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; }
/// let security = tower_oauth::openapi::requirements::<OrdersRead>("oauth2");
/// assert_eq!(security, serde_json::json!([{"oauth2": ["orders:read"]}]));
/// ```
#[must_use]
pub fn requirements<S: RequiredScopes>(scheme: &str) -> Value {
    S::alternatives().into_iter().map(|names| json!({ scheme: names })).collect()
}

/// Returns the [`requirements`] of a handler, whose first argument is a [`Scoped`]. It has at most 16 arguments, as axum's
/// handlers do.
///
/// ```
/// # tower_oauth::scopes! { pub OrdersWrite = "orders:write"; }
/// use tower_oauth::{Scoped, openapi};
///
/// async fn add(_: Scoped<OrdersWrite>, order: String) -> String {
///     order
/// }
///
/// assert_eq!(openapi::requirements_of(&add, "oauth2"), serde_json::json!([{"oauth2": ["orders:write"]}]));
/// ```
///
/// A handler with a second `Scoped` does not compile here, because the document would name the scopes of one only. Require a
/// tuple instead, `Scoped<(OrdersRead, OrdersWrite)>`: then also the challenge names all scopes that the request needs.
///
/// ```compile_fail,E0283
/// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; pub OrdersWrite = "orders:write"; }
/// # use tower_oauth::{Scoped, openapi};
/// async fn change(_: Scoped<OrdersRead>, _: Scoped<OrdersWrite>) {}
///
/// openapi::requirements_of(&change, "oauth2");
/// ```
#[must_use]
pub fn requirements_of<Arguments, H: ScopedHandler<Arguments>>(handler: &H, scheme: &str) -> Value {
    let _ = handler;
    requirements::<H::Scopes>(scheme)
}

/// A function whose first argument is a [`Scoped`], followed by up to 15 others, none of which is a `Scoped`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `Scoped` as the first of at most 16 arguments",
    note = "move the `Scoped` argument to the front, or call `requirements::<S>` with its scopes"
)]
pub trait ScopedHandler<Arguments> {
    /// What the first argument requires.
    type Scopes: RequiredScopes;
}

/// Any argument but a [`Scoped`]. `Kind` is inferred.
///
/// For a `Scoped`, two implementations fit, so that the compiler can't infer `Kind` and refuses a handler with two of them.
pub trait OtherArgument<Kind> {}

impl<T> OtherArgument<()> for T {}

impl<S> OtherArgument<Scoped<()>> for Scoped<S> {}

macro_rules! handlers {
    () => { handlers!(@handler); };
    ($argument:ident $kind:ident $($others:ident $kinds:ident)*) => {
        handlers!(@handler $argument $kind $($others $kinds)*);
        handlers!($($others $kinds)*);
    };
    (@handler $($argument:ident $kind:ident)*) => {
        impl<H, S: RequiredScopes, R, $($argument: OtherArgument<$kind>, $kind),*>
            ScopedHandler<(Scoped<S>, $(($argument, $kind),)*)> for H
        where
            H: Fn(Scoped<S>, $($argument),*) -> R,
        {
            type Scopes = S;
        }
    };
}

handlers! { A1 K1 A2 K2 A3 K3 A4 K4 A5 K5 A6 K6 A7 K7 A8 K8 A9 K9 A10 K10 A11 K11 A12 K12 A13 K13 A14 K14 A15 K15 }
