//! What a token may do (RFC 6749 §3.3; THREATS section 7).

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

const ORDERS_READ_IS_LACKING: &str = concat!(
    r#"Bearer realm="api", error="insufficient_scope", "#,
    r#"error_description="The access token does not grant the required scope", scope="orders:read""#
);

/// `GET /orders`, which wants `orders:read`, with a token of this `scope`.
async fn with_scope(scope: impl Into<Value>) -> Answer {
    get_with_token(&app(), "/orders", &valid_token().claim("scope", scope).sign()).await
}

#[track_caller]
fn assert_lacks_orders_read(answer: &Answer, what: &str) {
    assert_eq!((answer.status.as_u16(), answer.challenges()), (403, vec![ORDERS_READ_IS_LACKING]), "{what}");
}

#[tokio::test]
async fn a_scope_is_found_wherever_it_stands_in_the_list() {
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
async fn names_are_compared_whole_and_byte_for_byte() {
    let near = [
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
    for scope in near {
        assert_lacks_orders_read(&with_scope(scope).await, scope);
    }
}

#[tokio::test]
async fn look_alikes_are_other_names() {
    for scope in
        ["\u{43e}rders:read", "order\u{17f}:read", "orders\u{ff1a}read", "orders:re\u{430}d", "orders:read\u{301}"]
    {
        assert_lacks_orders_read(&with_scope(scope).await, scope);
    }
}

#[tokio::test]
async fn only_a_space_separates() {
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
async fn a_scope_of_another_type_is_refused_but_an_array_of_names_is_read() {
    let twisted = [
        Value::Null,
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
    for scope in twisted {
        let answer = with_scope(scope.clone()).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{scope}: {answer:?}");
    }
    assert_eq!(with_scope(json!(["a", "orders:read"])).await.status, 200);
    for lacking in [json!([]), json!(["a", "orders:readall"])] {
        assert_lacks_orders_read(&with_scope(lacking.clone()).await, &lacking.to_string());
    }
}

#[tokio::test]
async fn members_that_are_not_scope_grant_nothing() {
    let bare = || valid_token().without("scope");
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
async fn all_of_a_tuple_is_needed_and_the_challenge_names_all() {
    let needed = r#"scope="orders:read admin""#;
    for scope in ["orders:read", "admin", "orders:write", ""] {
        let answer = get_with_token(&app(), "/admin", &valid_token().scope(scope).sign()).await;
        assert!(answer.is_refusal(403, "insufficient_scope") && answer.challenges()[0].ends_with(needed), "{answer:?}");
    }
    assert_eq!(get_with_token(&app(), "/admin", &valid_token().scope("admin orders:read").sign()).await.status, 200);
}

#[tokio::test]
async fn a_tokens_own_scopes_are_never_reflected() {
    for scope in ["x\" error=\"none", "orders:write, realm=\"stranger", "a\\", "x\r\nset-cookie: a=b"] {
        let answer = with_scope(scope).await;
        assert_lacks_orders_read(&answer, scope);
        assert!(answer.header("set-cookie").is_none());
    }
}

#[tokio::test]
async fn headers_of_the_client_grant_nothing_and_lead_nowhere_else() {
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
        let answer = get_with_headers(&app, "/orders", &headers).await;
        assert_lacks_orders_read(&answer, name);
        let without = get_with_headers(&app, "/orders", &[(name, value.as_bytes())]).await;
        assert_eq!(without.challenges(), [DEFAULT_CHALLENGE], "{name}");
    }
    assert_eq!(counter.load(Ordering::Relaxed), 0);
}

/// Counts how often a handler behind the layer ran.
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
async fn no_spelling_of_a_path_and_no_method_reaches_a_handler_without_a_token() {
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
            let answer = send(&app, request).await;
            assert!(answer.is_refusal(401, ""), "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(counter.load(Ordering::Relaxed), 0);
    assert_eq!(get_without_token(&app, "/public").await.body, "public", "a route beside the layer is open");
    assert_eq!(get_with_token(&app, "/orders", &valid_token().sign()).await.body, "0", "the counter counts");
}

#[tokio::test]
async fn a_guard_on_the_wrong_side_of_the_layer_fails_closed_and_says_so() {
    let open = Router::new().route("/orders", get(|| async { "ran" }));
    let guard = || RequireScopesLayer::all(["a"]).unwrap();
    let outside = open.clone().layer(OAuthLayer::new(issuer().verifier(API))).layer(guard());
    let token = valid_token().scope("a orders:read").sign();
    for app in [outside, open.layer(guard()), router()] {
        let log = Log::default();
        let bare = log.capture(get_without_token(&app, "/orders")).await;
        let with_token = log.capture(get_with_token(&app, "/orders", &token)).await;
        for answer in [bare, with_token] {
            assert_eq!((answer.status.as_u16(), &*answer.body, answer.challenges()), (500, "", vec![]));
        }
        let told = log.text();
        let errors = told.lines().filter(|line| line.contains("ERROR") && line.contains("no OAuthLayer"));
        assert_eq!(errors.count(), 2, "{told}");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_before_its_scopes_are_looked_at() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let expired = valid_token().scope("").claim("exp", now - 100).sign();
    let forged = format!("{}A", valid_token().scope("").sign());
    for token in [expired, forged, "x".to_owned()] {
        let answer = get_with_token(&app(), "/admin", &token).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
    }
    let repeated = [("authorization", &b"Bearer x"[..]), ("authorization", b"Bearer x")];
    assert!(get_with_headers(&app(), "/admin", &repeated).await.is_refusal(400, "invalid_request"));
}

#[tokio::test]
async fn two_guards_in_one_handler_are_both_held() {
    async fn both(read: Scoped<OrdersRead>, write: Scoped<OrdersWrite>) -> String {
        format!("{} {}", read.subject().unwrap(), write.into_token().subject().unwrap())
    }
    let app = Router::new().route("/", get(both)).layer(OAuthLayer::new(issuer().verifier(API)));
    let ask = async |scope: &str| get_with_token(&app, "/", &valid_token().scope(scope).sign()).await;
    assert_eq!(ask("orders:read orders:write").await.body, "ada ada");
    assert!(ask("orders:read").await.challenges()[0].ends_with(r#"scope="orders:write""#));
    assert!(ask("orders:write").await.challenges()[0].ends_with(r#"scope="orders:read""#));
    for scope in ["orders:read", "orders:write", ""] {
        assert!(ask(scope).await.is_refusal(403, "insufficient_scope"), "{scope}");
    }
}

#[test]
fn tuples_are_all_of_and_any_of_is_any_and_they_nest() {
    type Nested = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);
    type Deep = AnyOf<((OrdersRead, OrdersWrite), AnyOf<(Admin,)>)>;
    fn held<S: RequiredScopes>() -> Vec<&'static str> {
        let subsets = ["", "r", "w", "a", "rw", "ra", "wa", "rwa"];
        let has = |subset: &str| {
            let names = [('r', "orders:read"), ('w', "orders:write"), ('a', "admin")];
            let held: Vec<_> =
                names.iter().filter(|(short, _)| subset.contains(*short)).map(|(_, name)| *name).collect();
            TestToken::user("ada").scope(&held.join(" ")).build().require::<S>().is_ok()
        };
        subsets.into_iter().filter(|subset| has(subset)).collect()
    }
    assert_eq!(held::<OrdersRead>(), ["r", "rw", "ra", "rwa"]);
    assert_eq!(held::<(OrdersRead,)>(), ["r", "rw", "ra", "rwa"]);
    assert_eq!(held::<(OrdersRead, OrdersWrite, Admin)>(), ["rwa"]);
    assert_eq!(held::<AnyOf<(OrdersRead, OrdersWrite, Admin)>>(), ["r", "w", "a", "rw", "ra", "wa", "rwa"]);
    assert_eq!(held::<Nested>(), ["rw", "ra", "rwa"]);
    assert_eq!(held::<Deep>(), ["a", "rw", "ra", "wa", "rwa"]);
    let error = TestToken::user("ada").build().require::<(Nested, Deep)>().unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::InsufficientScope);
}

#[tokio::test]
async fn the_challenge_of_a_nested_requirement_names_each_scope_once() {
    type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>, OrdersRead);
    async fn handler(_: Scoped<Needed>) {}
    let app = Router::new().route("/", get(handler)).layer(OAuthLayer::new(issuer().verifier(API)));
    let answer = get_with_token(&app, "/", &valid_token().sign()).await;
    assert!(answer.challenges()[0].ends_with(r#", scope="orders:read orders:write admin""#), "{answer:?}");
}

#[test]
fn the_macro_lists_what_it_declared() {
    assert_eq!(SCOPES, ["orders:read", "orders:write", "admin"]);
    assert_eq!((OrdersRead::NAME, OrdersWrite::NAME, Admin::NAME), ("orders:read", "orders:write", "admin"));
}

#[tokio::test]
async fn a_wider_scope_includes_a_narrower_one_where_the_server_says_so() {
    let hierarchy = || {
        let known = ScopeHierarchy::new().implies::<Admin, OrdersWrite>().implies::<OrdersWrite, OrdersRead>();
        known.implies_named("root", "admin")
    };
    let by_name = Router::new()
        .route("/by-name", get(|| async { "" }))
        .layer(RequireScopesLayer::all(["orders:read"]).unwrap())
        .route("/in-handler", get(|token: Token| async move { token.require::<OrdersRead>().map(drop) }));
    let app = router().merge(by_name).layer(layer_with(|server| server.scope_hierarchy(hierarchy())));
    for path in ["/orders", "/by-name", "/in-handler"] {
        for scope in ["orders:read", "orders:write", "admin", "root", "x root"] {
            let answer = get_with_token(&app, path, &valid_token().scope(scope).sign()).await;
            assert_eq!(answer.status, 200, "{path} {scope}");
        }
        for scope in ["", "orders", "roots", "orders:writeall"] {
            assert_lacks_orders_read(&get_with_token(&app, path, &valid_token().scope(scope).sign()).await, scope);
        }
    }
    let narrow = Request::builder().method(Method::POST).uri("/orders");
    let narrow = narrow.header("authorization", format!("Bearer {}", valid_token().sign())).body(Body::empty());
    assert_eq!(send(&app, narrow.unwrap()).await.status, 403, "the narrower does not include the wider");
    let flat = get_with_token(&crate::support::app(), "/orders", &valid_token().scope("orders:write").sign()).await;
    assert_lacks_orders_read(&flat, "nothing is included unless said");

    let token = TestToken::user("ada").scope("admin").scope_hierarchy(hierarchy()).build();
    assert!(token.allows("orders:read") && !token.allows("root") && token.require::<OrdersRead>().is_ok());
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["admin"], "as granted");
}

#[test]
fn a_circle_of_inclusions_ends() {
    let circle = ["ab", "bc", "ca"]
        .iter()
        .fold(ScopeHierarchy::new(), |hierarchy, pair| hierarchy.implies_named(&pair[..1], &pair[1..]));
    let token = TestToken::user("ada").scope("b").scope_hierarchy(circle).build();
    assert!(["a", "b", "c"].iter().all(|name| token.allows(name)) && !token.allows("d"));
}

#[tokio::test]
async fn require_scopes_works_with_names_known_at_run_time() {
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
            let answer = get_with_token(app, "/", &token).await;
            assert_eq!(answer.status, expected, "{scope:?}");
            assert!(expected == 200 || answer.challenges()[0].ends_with(r#"scope="a b""#), "{answer:?}");
        }
        assert_eq!(get_without_token(&all, "/").await.challenges(), [DEFAULT_CHALLENGE]);
    }
}

#[test]
fn a_list_of_scopes_is_refused_at_start_up_unless_every_name_is_one() {
    let error = Scopes::new(["good", "a b", "", "a\"b", "ä"]).unwrap_err();
    assert_eq!(error.mistakes().len(), 4);
    assert!(error.mistakes().iter().all(|mistake| mistake.setting() == "scope"), "{error}");
    assert!(Scopes::new(Vec::<String>::new()).is_err(), "nothing would be needed");
    assert!(RequireScopesLayer::all(Vec::<String>::new()).is_err() && RequireScopesLayer::any(["a b"]).is_err());
    let hierarchy = ScopeHierarchy::new().implies_named("a b", "c").implies_named("d", "e\"");
    let server = ResourceServer::builder(issuer().verifier(API)).scope_hierarchy(hierarchy).build();
    assert_eq!(server.unwrap_err().mistakes().len(), 2);
    assert_eq!(Scopes::new(["a", "b"]).unwrap().to_string(), "a b");
}

#[test]
fn an_error_of_the_users_own_names_what_is_needed() {
    let error = AuthError::insufficient_scope(Scopes::new(["a", "b"]).unwrap());
    assert_eq!(error.kind(), AuthErrorKind::InsufficientScope);
    let server = ResourceServer::new(issuer().verifier(API));
    let challenge = server.challenge(&error);
    let lines: Vec<_> = challenge.www_authenticate().map(|line| line.to_str().unwrap()).collect();
    assert!(lines.len() == 1 && lines[0].ends_with(r#"scope="a b""#));
}
