//! Which requests the scopes of a token allow (RFC 6749 §3.3; THREATS section 7).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    routing::{any, get},
};
use http::{Method, Request};
use serde_json::{Value, json};
use tower_oauth::{
    AnyOf, AuthError, OAuthLayer, ResourceServer, Scoped, Token,
    error::AuthErrorKind,
    layer::require::RequireScopesLayer,
    scope::{RequiredScopes, Scope, ScopeHierarchy, Scopes},
    testing::TestToken,
};

use crate::secrets::Log;
use crate::support::{
    API, Admin, Answer, DEFAULT_CHALLENGE, OrdersRead, OrdersWrite, SCOPES, app, get_with_headers, get_with_token,
    get_without_token, issuer, layer_with, router, send, valid_token,
};

const ORDERS_READ_REQUIRED: &str = concat!(
    r#"Bearer realm="api", error="insufficient_scope", "#,
    r#"error_description="The access token does not grant the required scope", scope="orders:read""#
);

/// `GET /orders`, which requires `orders:read`, with a token of this `scope`.
async fn with_scope(scope: impl Into<Value>) -> Answer {
    get_with_token(&app(), "/orders", &valid_token().claim("scope", scope).sign()).await
}

#[track_caller]
fn assert_lacks_orders_read(response: &Answer, what: &str) {
    assert_eq!((response.status.as_u16(), response.challenges()), (403, vec![ORDERS_READ_REQUIRED]), "{what}");
}

#[tokio::test]
async fn finds_a_scope_at_any_position_in_the_list() {
    for scope in [
        "orders:read",
        "a orders:read",
        "orders:read a",
        "a orders:read b",
        "a  orders:read ",
        "orders:read orders:read",
    ] {
        assert_eq!(with_scope(scope).await.status, 200, "{scope:?}");
    }
}

#[tokio::test]
async fn compares_whole_scope_names_byte_for_byte() {
    let similar = [
        "orders:readall",
        "orders:rea",
        "orders",
        "xorders:read",
        "orders:read:own",
        "orders:*",
        "*",
        "",
        " ",
        "ORDERS:READ",
        "Orders:read",
        "orders:write",
        "orders : read",
        "orders/read",
        "\"orders:read\"",
    ];
    for scope in similar {
        assert_lacks_orders_read(&with_scope(scope).await, scope);
    }
}

#[tokio::test]
async fn a_scope_of_similar_looking_characters_is_another_scope() {
    for scope in
        ["\u{43e}rders:read", "order\u{17f}:read", "orders\u{ff1a}read", "orders:re\u{430}d", "orders:read\u{301}"]
    {
        assert_lacks_orders_read(&with_scope(scope).await, scope);
    }
}

#[tokio::test]
async fn only_a_space_separates_scopes() {
    let others = [
        '\t', '\n', '\r', '\u{b}', '\u{c}', '\0', '\u{85}', '\u{a0}', '\u{2003}', '\u{2028}', '\u{200b}', '\u{3000}',
        '\u{feff}', ',', '+', ';', '|',
    ];
    for separator in others {
        for scope in
            [format!("a{separator}orders:read"), format!("orders:read{separator}a"), format!("{separator}orders:read")]
        {
            assert_lacks_orders_read(&with_scope(scope.clone()).await, &format!("{scope:?}"));
        }
    }
}

#[tokio::test]
async fn refuses_a_scope_of_another_type_and_reads_an_array_of_names() {
    let invalid = [
        json!(1),
        json!(true),
        json!({"orders:read": true}),
        json!([["orders:read"]]),
        json!([1]),
        json!(["orders:read", null]),
        json!(["a orders:read"]),
        json!(["orders:read", ""]),
        json!(["orders:read\n"]),
    ];
    for scope in invalid {
        let response = with_scope(scope.clone()).await;
        assert!(response.is_refusal(401, "invalid_token"), "{scope}: {response:?}");
    }
    assert_eq!(with_scope(json!(["a", "orders:read"])).await.status, 200);
    for lacking in [Value::Null, json!([]), json!(["a", "orders:readall"])] {
        assert_lacks_orders_read(&with_scope(lacking.clone()).await, &lacking.to_string());
    }
}

#[tokio::test]
async fn members_other_than_scope_grant_nothing() {
    let bare = || valid_token().without_claim("scope");
    for member in ["roles", "permissions", "scp", "Scope", "scopes", "SCOPE", "authorities"] {
        for value in [json!("orders:read"), json!(["orders:read"])] {
            let token = bare().claim(member, value).sign();
            assert_lacks_orders_read(&get_with_token(&app(), "/orders", &token).await, member);
        }
    }
    let in_the_header = bare().header("scope", "orders:read").sign();
    assert_lacks_orders_read(&get_with_token(&app(), "/orders", &in_the_header).await, "header");
    assert_lacks_orders_read(&get_with_token(&app(), "/orders", &bare().sign()).await, "no scope at all");
}

#[tokio::test]
async fn requires_every_scope_of_a_tuple_and_names_all_in_the_challenge() {
    let challenge_end = r#"scope="orders:read admin""#;
    for scope in ["orders:read", "admin", "orders:write", ""] {
        let response = get_with_token(&app(), "/admin", &valid_token().scope(scope).sign()).await;
        assert!(
            response.is_refusal(403, "insufficient_scope") && response.challenges()[0].ends_with(challenge_end),
            "{response:?}"
        );
    }
    assert_eq!(get_with_token(&app(), "/admin", &valid_token().scope("admin orders:read").sign()).await.status, 200);
}

#[tokio::test]
async fn a_challenge_never_contains_the_tokens_own_scopes() {
    for scope in ["x\" error=\"none", "orders:write, realm=\"other", "a\\", "x\r\nset-cookie: a=b"] {
        let response = with_scope(scope).await;
        assert_lacks_orders_read(&response, scope);
        assert!(response.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn request_headers_neither_grant_scopes_nor_change_the_route() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter);
    let weak = format!("Bearer {}", valid_token().scope("a").sign());
    for (name, value) in [
        ("x-scopes", "orders:read admin"),
        ("x-forwarded-user", "root"),
        ("x-forwarded-scope", "orders:read"),
        ("x-http-method-override", "OPTIONS"),
        ("x-original-url", "/public"),
        ("x-forwarded-uri", "/public"),
        ("x-rewrite-url", "/public"),
    ] {
        let headers = [("authorization", weak.as_bytes()), (name, value.as_bytes())];
        let response = get_with_headers(&app, "/orders", &headers).await;
        assert_lacks_orders_read(&response, name);
        let without = get_with_headers(&app, "/orders", &[(name, value.as_bytes())]).await;
        assert_eq!(without.challenges(), [DEFAULT_CHALLENGE], "{name}");
    }
    assert_eq!(counter.load(Ordering::Relaxed), 0);
}

/// Routes whose handlers behind the layer count their calls.
fn counting(counter: &Arc<AtomicUsize>) -> Router {
    let handler = |counter: &Arc<AtomicUsize>| {
        let counter = Arc::clone(counter);
        any(move |_: Scoped<OrdersRead>| async move { counter.fetch_add(1, Ordering::Relaxed).to_string() })
    };
    let unguarded = {
        let counter = Arc::clone(counter);
        any(move || async move { counter.fetch_add(1, Ordering::Relaxed).to_string() })
    };
    Router::new()
        .route("/orders", handler(counter))
        .route("/unguarded", unguarded.clone())
        .nest("/nested", Router::new().route("/", unguarded.clone()).route("/{id}", handler(counter)))
        .fallback_service(unguarded)
        .layer(OAuthLayer::new(issuer().verifier(API)))
        .route("/public", get(|| async { "public" }))
}

#[tokio::test]
async fn no_path_and_no_method_reaches_a_handler_without_a_token() {
    let counter = Arc::new(AtomicUsize::new(0));
    let app = counting(&counter);
    let paths = [
        "/orders",
        "/orders/",
        "//orders",
        "/./orders",
        "/public/../orders",
        "/%6frders",
        "/orders%2f",
        "/orders;a=b",
        "/ORDERS",
        "/orders?a=b",
        "/orders%00",
        "/nested",
        "/nested/",
        "/nested/7",
        "/unguarded",
        "/nowhere",
        "/",
        "/public/",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "TRACE", "BREW"] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = send(&app, request).await;
            assert!(response.is_refusal(401, ""), "{method} {path}: {response:?}");
        }
    }
    assert_eq!(counter.load(Ordering::Relaxed), 0);
    assert_eq!(get_without_token(&app, "/public").await.body, "public", "a route outside of the layer needs no token");
    assert_eq!(get_with_token(&app, "/orders", &valid_token().sign()).await.body, "0", "the first call of a handler");
}

#[tokio::test]
async fn require_scopes_without_an_oauth_layer_outside_responds_500_and_logs() {
    // The paths of this test only: the mistake is logged once for each path of the process.
    let open = |path: &str| Router::new().route(path, get(|| async { "ran" }));
    let guard = || RequireScopesLayer::all(["a"]).unwrap();
    let outside = open("/outside").layer(OAuthLayer::new(issuer().verifier(API))).layer(guard());
    let scoped = Router::new().route("/scoped-unlayered", get(|_: Scoped<OrdersRead>| async { "ran" }));
    let token = valid_token().scope("a orders:read").sign();
    let apps = [("/outside", outside), ("/guarded", open("/guarded").layer(guard())), ("/scoped-unlayered", scoped)];
    for (path, app) in apps {
        let log = Log::default();
        let bare = log.capture(get_without_token(&app, path)).await;
        let with_token = log.capture(get_with_token(&app, path, &token)).await;
        for response in [bare, with_token] {
            assert_eq!((response.status.as_u16(), &*response.body, response.challenges()), (500, "", vec![]));
        }
        let output = log.text();
        let errors = output.lines().filter(|line| line.contains("ERROR") && line.contains("no OAuthLayer"));
        assert_eq!(errors.count(), 1, "{output}");
    }
}

#[tokio::test]
async fn refuses_an_invalid_token_before_checking_its_scopes() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expired = valid_token().scope("").claim("exp", now - 100).sign();
    let forged = format!("{}A", valid_token().scope("").sign());
    for token in [expired, forged, "x".to_owned()] {
        let response = get_with_token(&app(), "/admin", &token).await;
        assert!(response.is_refusal(401, "invalid_token"), "{response:?}");
    }
    let repeated = [("authorization", &b"Bearer x"[..]), ("authorization", b"Bearer x")];
    assert!(get_with_headers(&app(), "/admin", &repeated).await.is_refusal(400, "invalid_request"));
}

#[tokio::test]
async fn a_handler_with_two_scoped_arguments_requires_both() {
    async fn handler(read: Scoped<OrdersRead>, write: Scoped<OrdersWrite>) -> String {
        format!("{} {}", read.subject().unwrap(), write.into_token().subject().unwrap())
    }
    let app = Router::new().route("/", get(handler)).layer(OAuthLayer::new(issuer().verifier(API)));
    let response = async |scope: &str| get_with_token(&app, "/", &valid_token().scope(scope).sign()).await;
    assert_eq!(response("orders:read orders:write").await.body, "ada ada");
    assert!(response("orders:read").await.challenges()[0].ends_with(r#"scope="orders:write""#));
    assert!(response("orders:write").await.challenges()[0].ends_with(r#"scope="orders:read""#));
    for scope in ["orders:read", "orders:write", ""] {
        assert!(response(scope).await.is_refusal(403, "insufficient_scope"), "{scope}");
    }
}

#[test]
fn a_tuple_requires_all_scopes_any_of_one_and_they_can_be_nested() {
    type Nested = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);
    type Deep = AnyOf<((OrdersRead, OrdersWrite), AnyOf<(Admin,)>)>;
    fn sufficient<S: RequiredScopes>() -> Vec<&'static str> {
        let subsets = ["", "r", "w", "a", "rw", "ra", "wa", "rwa"];
        let has = |subset: &str| {
            let names = [('r', "orders:read"), ('w', "orders:write"), ('a', "admin")];
            let granted: Vec<_> =
                names.iter().filter(|(short, _)| subset.contains(*short)).map(|(_, name)| *name).collect();
            TestToken::user("ada").scope(&granted.join(" ")).build().require::<S>().is_ok()
        };
        subsets.into_iter().filter(|subset| has(subset)).collect()
    }
    assert_eq!(sufficient::<OrdersRead>(), ["r", "rw", "ra", "rwa"]);
    assert_eq!(sufficient::<(OrdersRead,)>(), ["r", "rw", "ra", "rwa"]);
    assert_eq!(sufficient::<(OrdersRead, OrdersWrite, Admin)>(), ["rwa"]);
    assert_eq!(sufficient::<AnyOf<(OrdersRead, OrdersWrite, Admin)>>(), ["r", "w", "a", "rw", "ra", "wa", "rwa"]);
    assert_eq!(sufficient::<Nested>(), ["rw", "ra", "rwa"]);
    assert_eq!(sufficient::<Deep>(), ["a", "rw", "ra", "wa", "rwa"]);
    let error = TestToken::user("ada").build().require::<(Nested, Deep)>().unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::InsufficientScope);
}

#[tokio::test]
async fn the_challenge_of_a_nested_requirement_names_each_scope_once() {
    type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>, OrdersRead);
    async fn handler(_: Scoped<Needed>) {}
    let app = Router::new().route("/", get(handler)).layer(OAuthLayer::new(issuer().verifier(API)));
    let response = get_with_token(&app, "/", &valid_token().sign()).await;
    assert!(response.challenges()[0].ends_with(r#", scope="orders:read orders:write admin""#), "{response:?}");
}

#[test]
fn the_macro_lists_the_scopes_that_it_declares() {
    assert_eq!(SCOPES, ["orders:read", "orders:write", "admin"]);
    assert_eq!((OrdersRead::NAME, OrdersWrite::NAME, Admin::NAME), ("orders:read", "orders:write", "admin"));
}

#[tokio::test]
async fn a_scope_hierarchy_includes_narrower_scopes() {
    let hierarchy = || {
        let typed = ScopeHierarchy::new().implies::<Admin, OrdersWrite>().implies::<OrdersWrite, OrdersRead>();
        typed.implies_named("root", "admin")
    };
    let by_name = Router::new()
        .route("/by-name", get(|| async { "" }))
        .layer(RequireScopesLayer::all(["orders:read"]).unwrap())
        .route("/in-handler", get(|token: Token| async move { token.require::<OrdersRead>().map(drop) }));
    let app = router().merge(by_name).layer(layer_with(|server| server.scope_hierarchy(hierarchy())));
    for path in ["/orders", "/by-name", "/in-handler"] {
        for scope in ["orders:read", "orders:write", "admin", "root", "x root"] {
            let response = get_with_token(&app, path, &valid_token().scope(scope).sign()).await;
            assert_eq!(response.status, 200, "{path} {scope}");
        }
        for scope in ["", "orders", "roots", "orders:writeall"] {
            assert_lacks_orders_read(&get_with_token(&app, path, &valid_token().scope(scope).sign()).await, scope);
        }
    }
    let narrow = Request::builder().method(Method::POST).uri("/orders");
    let narrow = narrow.header("authorization", format!("Bearer {}", valid_token().sign())).body(Body::empty());
    assert_eq!(send(&app, narrow.unwrap()).await.status, 403, "a narrower scope does not include a wider one");
    let flat = get_with_token(&crate::support::app(), "/orders", &valid_token().scope("orders:write").sign()).await;
    assert_lacks_orders_read(&flat, "without a hierarchy, a scope includes no other");

    let token = TestToken::user("ada").scope("admin").scope_hierarchy(hierarchy()).build();
    assert!(token.allows("orders:read") && !token.allows("root") && token.require::<OrdersRead>().is_ok());
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["admin"], "the granted scopes only");
}

#[test]
fn a_cycle_in_a_scope_hierarchy_ends() {
    let cycle = ["ab", "bc", "ca"]
        .iter()
        .fold(ScopeHierarchy::new(), |hierarchy, pair| hierarchy.implies_named(&pair[..1], &pair[1..]));
    let token = TestToken::user("ada").scope("b").scope_hierarchy(cycle).build();
    assert!(["a", "b", "c"].iter().all(|name| token.allows(name)) && !token.allows("d"));
}

#[tokio::test]
async fn require_scopes_works_with_names_from_run_time() {
    let guarded = |guard: RequireScopesLayer| {
        Router::new().route("/", get(|| async { "" })).layer(guard).layer(OAuthLayer::new(issuer().verifier(API)))
    };
    let all = guarded(RequireScopesLayer::all(vec!["a".to_owned(), "b".to_owned()]).unwrap());
    let any = guarded(RequireScopesLayer::any(["a", "b"]).unwrap());
    for (scope, of_all, of_any) in
        [("a b", 200, 200), ("a", 403, 200), ("b", 403, 200), ("ab", 403, 403), ("", 403, 403)]
    {
        let token = valid_token().scope(scope).sign();
        for (app, expected) in [(&all, of_all), (&any, of_any)] {
            let response = get_with_token(app, "/", &token).await;
            assert_eq!(response.status, expected, "{scope:?}");
            assert!(expected == 200 || response.challenges()[0].ends_with(r#"scope="a b""#), "{response:?}");
        }
        assert_eq!(get_without_token(&all, "/").await.challenges(), [DEFAULT_CHALLENGE]);
    }
}

#[test]
fn refuses_invalid_scope_names_at_start_up() {
    let error = Scopes::new(["good", "a b", "", "a\"b", "ä"]).unwrap_err();
    assert_eq!(error.mistakes().len(), 4);
    assert!(error.mistakes().iter().all(|mistake| mistake.setting() == "scope"), "{error}");
    assert!(Scopes::new(Vec::<String>::new()).is_err(), "an empty list would require nothing");
    assert!(RequireScopesLayer::all(Vec::<String>::new()).is_err() && RequireScopesLayer::any(["a b"]).is_err());
    let hierarchy = ScopeHierarchy::new().implies_named("a b", "c").implies_named("d", "e\"");
    let server = ResourceServer::builder(issuer().verifier(API)).scope_hierarchy(hierarchy).build();
    assert_eq!(server.unwrap_err().mistakes().len(), 2);
    assert_eq!(Scopes::new(["a", "b"]).unwrap().to_string(), "a b");
}

#[test]
fn an_application_error_names_the_required_scopes() {
    let error = AuthError::insufficient_scope(Scopes::new(["a", "b"]).unwrap());
    assert_eq!(error.kind(), AuthErrorKind::InsufficientScope);
    let server = ResourceServer::new(issuer().verifier(API));
    let challenge = server.challenge(&error);
    let lines: Vec<_> = challenge.www_authenticate().map(|line| line.to_str().unwrap()).collect();
    assert!(lines.len() == 1 && lines[0].ends_with(r#"scope="a b""#));
}
