//! [`described`]: finds where an OpenAPI document and an API differ about tokens and scopes.
//!
//! *In*: a document, the API, and a way to issue tokens. *Out*: every operation whose documentation differs from what the API
//! does.

use std::{collections::BTreeSet, error::Error, fmt};

use http::{Request, Response, StatusCode, header};
use serde::Serialize;
use tower_service::Service;

use super::openapi_document::{DocumentedSecurity, Operation, operations};

/// Every difference that [`described`] found. `Debug` and `Display` list them, one on each line.
#[derive(Clone)]
pub struct Drifts(Vec<Drift>);

/// A difference between an OpenAPI document and the API.
#[derive(Debug, Clone)]
pub struct Drift {
    operation: String,
    kind: DriftKind,
    found: String,
}

/// What differs between an OpenAPI document and the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriftKind {
    /// The document names a scope, but a token without it is accepted.
    ScopeNotEnforced,
    /// A token with all scopes of a documented alternative is refused for another scope.
    ScopeNotDocumented,
    /// The document says that no token is required, but a request without a token is refused with 401.
    TokenNotDocumented,
    /// The document says that a token is required, but a request without a token is not refused with 401.
    TokenNotEnforced,
    /// The challenge of a refusal names other scopes than each documented alternative.
    OtherScopesInChallenge,
    /// A token with all scopes of a documented alternative is refused as invalid. The test may issue it for another API.
    TokenNotAccepted,
    /// Each token with all scopes of a documented alternative is refused for another reason than its scopes, such as a role or a
    /// step-up, and no challenge names a scope. So nothing shows which scopes the API requires.
    ScopesNotCompared,
    /// The document has no operation, so nothing was compared.
    NoOperation,
}

/// Compares what an OpenAPI document says about tokens and scopes with what the API does.
///
/// For each operation it sends a request without a token, with a token without scopes, and with tokens of the documented
/// scopes: each alternative as a whole, and each with one scope left out. `document` is the document of any library that
/// serializes it as JSON, or a [`serde_json::Value`]. `token` gets scopes separated by spaces and returns a token with them that
/// the API accepts, which also has what other checks require, such as a role or a recent authentication.
///
/// `app` is an axum router, or another service for requests with a `String` as body.
///
/// A handler runs if its token suffices, so give an API on test data. A request has an empty body. Its parameters are the
/// examples of the document, or values of the documented type. If an extractor refuses them before scopes are checked, the
/// operation is reported; then add an example to the document, or move the `Scoped` argument to the front. Paths are
/// requested as they stand in `paths`, without the paths of `servers`. An alternative for other credentials, such as an API
/// key, is not tested.
///
/// It cannot find an alternative that the document leaves out.
///
/// ```
/// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use axum::{Router, routing::get};
/// use serde_json::json;
/// use tower_oauth::{
///     OAuthLayer, Scoped, openapi,
///     testing::{DriftKind, MockIssuer, described},
/// };
///
/// async fn list(_: Scoped<OrdersRead>) -> &'static str {
///     "[]"
/// }
///
/// let issuer = MockIssuer::new("https://auth.test");
/// let layer = OAuthLayer::new(issuer.verifier("https://api.test"));
/// let app: Router = Router::new().route("/orders", get(list)).layer(layer);
/// let token = |scopes: &str| issuer.token("ada").audience("https://api.test").scope(scopes).sign();
///
/// let mut document = json!({"paths": {"/orders": {"get": {"security": openapi::requirements_of(&list, "oauth2")}}}});
/// described(&document, app.clone(), token).await.unwrap();
///
/// document["paths"]["/orders"]["get"]["security"] = json!([{"oauth2": ["orders:list"]}]);
/// let drifts = described(&document, app, token).await.unwrap_err();
/// assert_eq!(drifts.iter().next().unwrap().kind(), DriftKind::ScopeNotDocumented);
/// # }
/// ```
///
/// # Errors
/// Every difference.
///
/// # Panics
/// The document can't be serialized, or the API returns an error instead of a response.
pub async fn described<S, R>(document: &impl Serialize, app: S, token: impl Fn(&str) -> String) -> Result<(), Drifts>
where
    S: Service<Request<String>, Response = Response<R>, Error: fmt::Debug> + Clone,
{
    let document = serde_json::to_value(document).expect("the document is serialized as JSON");
    let operations = operations(&document);
    let mut drifts = Vec::new();
    if operations.is_empty() {
        let found = "the document has no `paths` with operations".to_owned();
        drifts.push(Drift { operation: "the document".to_owned(), kind: DriftKind::NoOperation, found });
    }
    for operation in operations {
        let client = OperationClient { app: app.clone(), token: &token, operation: &operation };
        let mut comparison = Comparison { operation: &operation, drifts: Vec::new(), named: Vec::new() };
        comparison.run(client).await;
        drifts.append(&mut comparison.drifts);
    }
    if drifts.is_empty() { Ok(()) } else { Err(Drifts(drifts)) }
}

impl Drifts {
    /// Returns the differences, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &Drift> {
        self.0.iter()
    }
}

impl Drift {
    /// Returns method and path template, such as `GET /orders/{id}`.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Returns what differs.
    #[must_use]
    pub fn kind(&self) -> DriftKind {
        self.kind
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.found)
    }
}

impl fmt::Display for Drifts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the OpenAPI document differs from the API:")?;
        self.iter().try_for_each(|drift| write!(f, "\n- {drift}"))
    }
}

impl fmt::Debug for Drifts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Drifts {}

type Names = BTreeSet<String>;

/// Sends the requests of one operation.
struct OperationClient<'o, S, T> {
    app: S,
    token: &'o T,
    operation: &'o Operation,
}

impl<S, T: Fn(&str) -> String> OperationClient<'_, S, T> {
    /// Sends a request, with a token of these scopes unless they are `None`.
    async fn send<R>(&mut self, scopes: Option<&Names>) -> Outcome
    where
        S: Service<Request<String>, Response = Response<R>, Error: fmt::Debug>,
    {
        let mut request = Request::builder().method(&self.operation.method).uri(&self.operation.target);
        for (name, value) in &self.operation.headers {
            request = request.header(name, value);
        }
        if let Some(scopes) = scopes {
            let token = (self.token)(&joined(scopes));
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(String::new()).expect("the path and the parameters make a request");
        std::future::poll_fn(|cx| self.app.poll_ready(cx)).await.expect("the API is ready");
        Outcome::of(&self.app.call(request).await.expect("the API responds"))
    }
}

/// What the API responded.
struct Outcome {
    status: StatusCode,
    /// The `error` of the challenge.
    error: Option<String>,
    /// The `scope` of the challenge.
    scopes: Option<Names>,
}

impl Outcome {
    fn of<R>(response: &Response<R>) -> Self {
        let lines = response.headers().get_all(header::WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
        let challenge = lines.collect::<Vec<_>>().join(", ");
        let scopes = parameter(&challenge, "scope").map(|scopes| scopes.split(' ').map(str::to_owned).collect());
        Self { status: response.status(), error: parameter(&challenge, "error").map(str::to_owned), scopes }
    }

    /// Returns the scopes of the challenge, if the token was refused because it lacks them.
    fn lacking(&self) -> Option<&Names> {
        let for_scope = self.status == StatusCode::FORBIDDEN && self.error.as_deref() == Some("insufficient_scope");
        self.scopes.as_ref().filter(|_| for_scope)
    }

    /// True if the token was refused, but not because of its scopes: a role, or a step-up.
    fn refused_otherwise(&self) -> bool {
        self.error.is_some() && self.lacking().is_none()
    }
}

/// Collects the differences of one operation.
struct Comparison<'o> {
    operation: &'o Operation,
    drifts: Vec<Drift>,
    /// The scopes of each challenge.
    named: Vec<Names>,
}

impl Comparison<'_> {
    async fn run<S, R, T>(&mut self, mut client: OperationClient<'_, S, T>)
    where
        S: Service<Request<String>, Response = Response<R>, Error: fmt::Debug>,
        T: Fn(&str) -> String,
    {
        let DocumentedSecurity { alternatives, optional, others } = &self.operation.security;
        let anonymous = client.send(None).await.status;
        self.compare_anonymous(anonymous, alternatives.is_empty() && !others || *optional);
        if alternatives.is_empty() || !self.drifts.is_empty() {
            return;
        }
        let mut refusals = Vec::new();
        for alternative in alternatives {
            let outcome = client.send(Some(alternative)).await;
            self.compare_sufficient(alternative, &outcome);
            refusals.extend(outcome.refused_otherwise().then_some((alternative, outcome)));
        }
        if !alternatives.iter().any(BTreeSet::is_empty) {
            self.compare_scopes(client).await;
        }
        if let [(alternative, outcome), ..] = &refusals[..]
            && refusals.len() == alternatives.len()
        {
            self.compare_refusal(alternative, outcome);
        }
    }

    /// Compares the responses to tokens that lack documented scopes.
    async fn compare_scopes<S, R, T>(&mut self, mut client: OperationClient<'_, S, T>)
    where
        S: Service<Request<String>, Response = Response<R>, Error: fmt::Debug>,
        T: Fn(&str) -> String,
    {
        let alternatives = &self.operation.security.alternatives;
        let bare = client.send(Some(&Names::new())).await;
        if !self.refuses(&bare) {
            let text =
                format!("a token without scopes got {}, but the document requires {}", bare.status, self.documented());
            return self.add(DriftKind::ScopeNotEnforced, text);
        }
        let mut accepted = Vec::new();
        for (alternative, left_out) in partial(alternatives) {
            let outcome = client.send(Some(&alternative)).await;
            if !self.refuses(&outcome) {
                accepted.push((alternative, left_out, outcome.status));
            }
        }
        for (alternative, left_out, status) in accepted {
            // A scope that a challenge names is enforced: the token has another one that includes it.
            if !self.named.iter().any(|names| names.contains(&left_out)) {
                let text =
                    format!("a token with {} got {status} without the documented `{left_out}`", quoted(&alternative));
                self.add(DriftKind::ScopeNotEnforced, text);
            }
        }
        self.compare_challenges();
    }

    fn compare_anonymous(&mut self, status: StatusCode, open: bool) {
        let refused = status == StatusCode::UNAUTHORIZED;
        if open && refused {
            let text = "a request without a token got 401, but the document says that no token is required";
            self.add(DriftKind::TokenNotDocumented, text.to_owned());
        }
        // An API may refuse missing credentials of another kind in its own way.
        let passed = if self.operation.security.others { status.is_success() } else { !refused };
        if !open && passed {
            let text = format!(
                "a request without a token got {status}, not 401, but the document says that a token is required"
            );
            self.add(DriftKind::TokenNotEnforced, text);
        }
    }

    /// Compares the response to a token that is documented to suffice.
    fn compare_sufficient(&mut self, alternative: &Names, outcome: &Outcome) {
        if let Some(names) = outcome.lacking() {
            let missing: Names = names.difference(alternative).cloned().collect();
            let text = format!("a token with {} is refused because it lacks {}", quoted(alternative), quoted(&missing));
            self.add(DriftKind::ScopeNotDocumented, text);
        } else if outcome.status == StatusCode::UNAUTHORIZED && outcome.error.as_deref() == Some("invalid_token") {
            let text = format!(
                "the token with {} is refused as invalid; does the test issue it for this API?",
                quoted(alternative)
            );
            self.add(DriftKind::TokenNotAccepted, text);
        }
    }

    /// Reports an operation that refuses every token before it checks scopes, unless another difference explains it.
    fn compare_refusal(&mut self, alternative: &Names, outcome: &Outcome) {
        if !self.named.is_empty() || !self.drifts.is_empty() {
            return;
        }
        let (status, error) = (outcome.status, outcome.error.as_deref().unwrap_or_default());
        let text = format!(
            "a token with {} got {status} with the error `{error}`, so no scope was compared; let the test issue tokens that pass the other checks",
            quoted(alternative)
        );
        self.add(DriftKind::ScopesNotCompared, text);
    }

    /// True if the token was refused. Keeps the scopes of the challenge.
    fn refuses(&mut self, outcome: &Outcome) -> bool {
        self.named.extend(outcome.lacking().cloned());
        outcome.lacking().is_some() || outcome.refused_otherwise()
    }

    /// Compares the scopes of all challenges with the documented ones, unless another difference explains them.
    fn compare_challenges(&mut self) {
        let alternatives = &self.operation.security.alternatives;
        let other = self.named.iter().find(|names| !alternatives.contains(names)).cloned();
        if let Some(names) = other.filter(|_| self.drifts.is_empty()) {
            let text =
                format!("the challenge names {}, but the document requires {}", quoted(&names), self.documented());
            self.add(DriftKind::OtherScopesInChallenge, text);
        }
    }

    fn documented(&self) -> String {
        self.operation.security.alternatives.iter().map(quoted).collect::<Vec<_>>().join(" or ")
    }

    fn add(&mut self, kind: DriftKind, found: String) {
        self.drifts.push(Drift { operation: self.operation.name.clone(), kind, found });
    }
}

/// Returns each alternative with one scope left out, and that scope, unless the rest is documented to suffice.
fn partial(alternatives: &[Names]) -> Vec<(Names, String)> {
    let without = |alternative: &Names, left_out: &String| {
        let mut rest = alternative.clone();
        rest.remove(left_out);
        (rest, left_out.clone())
    };
    let several = alternatives.iter().filter(|alternative| alternative.len() > 1);
    let parts = several.flat_map(|alternative| alternative.iter().map(move |left_out| without(alternative, left_out)));
    parts.filter(|(rest, _)| !alternatives.iter().any(|alternative| alternative.is_subset(rest))).collect()
}

fn joined(names: &Names) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn quoted(names: &Names) -> String {
    if names.is_empty() { "no scope".to_owned() } else { format!("`{}`", joined(names)) }
}

/// Returns the value of a challenge's parameter.
fn parameter<'c>(challenge: &'c str, name: &str) -> Option<&'c str> {
    let start = format!("{name}=\"");
    let preceded = |position: usize| challenge[..position].ends_with([' ', ',']);
    let (position, _) = challenge.match_indices(&start).find(|(position, _)| preceded(*position))?;
    challenge[position + start.len()..].split('"').next()
}
