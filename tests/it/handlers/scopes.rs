//! Which requests the scopes of a token allow (RFC 6749 §3.3; threats P).

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

use crate::log::Log;
use crate::support::{
    API, Admin, Answer, DEFAULT_CHALLENGE, OrdersRead, OrdersWrite, SCOPES, app, get_with_headers, get_with_token,
    get_without_token, issuer, layer_with, router, send, valid_token,
};

/// A scope beside those of `support`.
struct Audit;

impl Scope for Audit {
    const NAME: &'static str = "audit";
}

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

/// RFC 6749 §7 (MUST, accepts)
/// RFC 6749 §3.3 a (MUST, accepts)
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

/// RFC 6749 §7 (MUST, refuses)
/// RFC 6749 §3.3 a (MUST, refuses)
/// Threat P1
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

/// RFC 6749 §3.3 a (MUST, refuses)
/// Threat P3
#[tokio::test]
async fn a_scope_of_similar_looking_characters_is_another_scope() {
    for scope in
        ["\u{43e}rders:read", "order\u{17f}:read", "orders\u{ff1a}read", "orders:re\u{430}d", "orders:read\u{301}"]
    {
        assert_lacks_orders_read(&with_scope(scope).await, scope);
    }
}

/// RFC 6749 §3.3 a (MUST, refuses)
/// Threat P2
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

/// Threat P4
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

/// RFC 9068 §2.2.3.1 a (MAY, refuses)
/// Threat P5
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

/// RFC 6749 §3.3 a (MUST, accepts)
/// RFC 6750 §3.1 a (SHOULD, accepts)
/// Threat P6
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

/// RFC 6750 §3 d (MUST NOT, refuses)
/// Threat P7
#[tokio::test]
async fn a_challenge_never_contains_the_tokens_own_scopes() {
    for scope in ["x\" error=\"none", "orders:write, realm=\"other", "a\\", "x\r\nset-cookie: a=b"] {
        let response = with_scope(scope).await;
        assert_lacks_orders_read(&response, scope);
        assert!(response.header("set-cookie").is_none());
    }
}

/// Threat P8
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

/// RFC 9110 §15.5.2 (MUST, accepts)
/// Threat P9
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

/// Threats P9, W13
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

/// RFC 6750 §3.1 a (SHOULD, refuses)
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

/// Threat P6
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

/// RFC 6750 §3.1 a (SHOULD, accepts)
#[tokio::test]
async fn the_challenge_of_a_nested_requirement_names_each_scope_once() {
    type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>, OrdersRead);
    async fn handler(_: Scoped<Needed>) {}
    let app = Router::new().route("/", get(handler)).layer(OAuthLayer::new(issuer().verifier(API)));
    let response = get_with_token(&app, "/", &valid_token().sign()).await;
    assert!(response.challenges()[0].ends_with(r#", scope="orders:read orders:write""#), "{response:?}");
}

/// The `scope` of the challenge for a token with the scopes `granted`.
fn named<S: RequiredScopes>(granted: &str, hierarchy: &ScopeHierarchy) -> String {
    let token = TestToken::user("ada").scope(granted).scope_hierarchy(hierarchy.clone()).build();
    let error = token.require::<S>().unwrap_err();
    let challenge = ResourceServer::new(issuer().verifier(API)).challenge(&error);
    let line = challenge.www_authenticate().next().unwrap().to_str().unwrap().to_owned();
    line.split_once("scope=\"").unwrap().1.trim_end_matches('"').to_owned()
}

/// MCP 7 (SHOULD, accepts)
#[test]
fn a_challenge_names_the_whole_alternative_that_lacks_the_fewest_scopes() {
    type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);
    type Pairs = AnyOf<((OrdersRead, OrdersWrite), (Admin, Audit))>;
    type Shared = (AnyOf<(OrdersRead, OrdersWrite)>, AnyOf<(Admin, OrdersWrite)>);
    let flat = ScopeHierarchy::new();
    for (granted, scopes) in [
        ("", "orders:read orders:write"),
        ("orders:read", "orders:read orders:write"),
        ("admin", "orders:read admin"),
        ("orders:write", "orders:read orders:write"),
        ("orders:write admin", "orders:read orders:write"),
    ] {
        assert_eq!(named::<Needed>(granted, &flat), scopes, "{granted:?}");
    }
    for (granted, scopes) in [
        ("", "orders:read orders:write"),
        ("orders:write", "orders:read orders:write"),
        ("audit", "admin audit"),
        ("orders:read admin", "orders:read orders:write"),
    ] {
        assert_eq!(named::<Pairs>(granted, &flat), scopes, "{granted:?}");
    }
    assert_eq!(named::<AnyOf<((Admin, OrdersRead), OrdersWrite)>>("", &flat), "orders:write");
    assert_eq!(named::<Shared>("", &flat), "orders:write", "one scope meets both members");
    assert_eq!(named::<Shared>("admin", &flat), "orders:read admin");
}

/// MCP 7 (SHOULD, accepts)
#[test]
fn a_challenge_names_the_narrow_scope_of_a_hierarchy() {
    let hierarchy = ScopeHierarchy::new().implies::<Admin, OrdersWrite>().implies::<OrdersWrite, OrdersRead>();
    assert_eq!(named::<OrdersRead>("", &hierarchy), "orders:read");
    // `orders:write` includes `orders:read`, so only `admin` is lacking.
    assert_eq!(named::<(OrdersRead, Admin)>("orders:write", &hierarchy), "orders:read admin");
    assert_eq!(named::<AnyOf<((OrdersRead, Audit), Admin)>>("orders:write", &hierarchy), "orders:read audit");
    assert_eq!(named::<AnyOf<(Admin, OrdersRead, OrdersWrite)>>("", &hierarchy), "orders:read");
    assert_eq!(named::<AnyOf<(Admin, Audit, OrdersWrite)>>("", &hierarchy), "orders:write", "audit is in neither");
    assert_eq!(named::<AnyOf<(Audit, Admin)>>("", &hierarchy), "audit", "without a relation, the first");
}

/// MCP 7 (SHOULD, accepts)
#[tokio::test]
async fn a_layer_for_any_of_several_scopes_names_one_of_them() {
    let guarded = |names: &[&str], hierarchy: ScopeHierarchy| {
        let guard = RequireScopesLayer::any(names).unwrap();
        let routes = Router::new().route("/", get(|| async { "" })).layer(guard);
        routes.layer(layer_with(|server| server.scope_hierarchy(hierarchy)))
    };
    let wide_and_narrow = || ScopeHierarchy::new().implies_named("wide", "narrow");
    for (app, named) in [
        (guarded(&["first", "second"], ScopeHierarchy::new()), "first"),
        (guarded(&["wide", "other", "narrow"], wide_and_narrow()), "narrow"),
        (guarded(&["narrow", "wide"], wide_and_narrow()), "narrow"),
    ] {
        let response = get_with_token(&app, "/", &valid_token().sign()).await;
        assert!(response.challenges()[0].ends_with(&format!(r#", scope="{named}""#)), "{response:?}");
    }
}

/// Checks for each set of granted scopes whether the alternatives meet the requirement, and whether no shorter list of
/// scopes would complete a token than the challenge names.
fn check_alternatives<S: RequiredScopes>() {
    let names = ["orders:read", "orders:write", "admin", "audit"];
    let sets: Vec<Vec<&str>> =
        (0..16).map(|bits| (0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| names[bit]).collect()).collect();
    let sufficient = |set: &[&str]| S::satisfied(&|name| set.contains(&name));
    let includes = |set: &[&str], part: &[&str]| part.iter().all(|name| set.contains(name));
    for granted in &sets {
        let alternatives = S::alternatives();
        assert!(alternatives.iter().all(|alternative| sufficient(alternative)), "{alternatives:?}");
        assert_eq!(sufficient(granted), alternatives.iter().any(|alternative| includes(granted, alternative)));
        if !sufficient(granted) {
            let challenge = named::<S>(&granted.join(" "), &ScopeHierarchy::new());
            let challenge: Vec<&str> = challenge.split(' ').collect();
            assert!(sufficient(&challenge), "{challenge:?}");
            let lacking = |set: &[&str]| set.iter().filter(|name| !granted.contains(name)).count();
            let fewest = sets.iter().filter(|set| sufficient(set)).map(|set| lacking(set)).min();
            assert_eq!(Some(lacking(&challenge)), fewest, "{granted:?} {challenge:?}");
        }
    }
}

/// MCP 7 (SHOULD, accepts)
#[test]
fn every_alternative_meets_the_requirement_and_no_other_list_lacks_fewer_scopes() {
    type One = AnyOf<(OrdersRead, OrdersWrite)>;
    type Two = AnyOf<(Admin, OrdersWrite)>;
    type Three = AnyOf<((OrdersRead, Audit), Admin)>;
    check_alternatives::<OrdersRead>();
    check_alternatives::<(OrdersRead, OrdersWrite, Admin, Audit)>();
    check_alternatives::<AnyOf<(OrdersRead, OrdersWrite, Admin, Audit)>>();
    check_alternatives::<(One, Two)>();
    check_alternatives::<(Two, Three)>();
    check_alternatives::<AnyOf<((One, Audit), (Two, OrdersRead))>>();
    check_alternatives::<(Three, AnyOf<(Audit, (OrdersWrite, Admin))>, One)>();
}

/// MCP 7 (SHOULD, refuses)
#[test]
fn the_alternatives_of_a_requirement_are_minimal_and_bounded() {
    type Four = AnyOf<(OrdersRead, OrdersWrite, Admin, Audit)>;
    type Other = AnyOf<(Named<'1'>, Named<'2'>, Named<'3'>, Named<'4'>)>;
    type Third = AnyOf<(Named<'5'>, Named<'6'>, Named<'7'>, Named<'8'>)>;
    type Fourth = AnyOf<(Named<'9'>, Named<'a'>, Named<'b'>, Named<'c'>)>;
    assert_eq!(<(OrdersRead, OrdersRead)>::alternatives(), [["orders:read"]]);
    assert_eq!(
        <(AnyOf<(OrdersRead, Admin)>, AnyOf<(Admin, OrdersWrite)>)>::alternatives(),
        [vec!["orders:read", "orders:write"], vec!["admin"]],
        "what includes `admin` is left out"
    );
    assert_eq!(<(Four, Other, Third)>::alternatives().len(), 64);
    let all = <((Four, Other), (Third, Fourth))>::alternatives();
    assert_eq!(all.len(), 64, "256 without a bound");
    // Of too many alternatives, those remain that this token lacks least of.
    let token = TestToken::user("ada").scope("audit 4 8").build();
    let error = token.require::<((Four, Other), (Third, Fourth))>().unwrap_err();
    let challenge = ResourceServer::new(issuer().verifier(API)).challenge(&error);
    assert!(challenge.www_authenticate().next().unwrap().to_str().unwrap().ends_with(r#"scope="audit 4 8 9""#));
}

/// A scope that is implemented by hand.
struct Named<const C: char>;

impl<const C: char> Scope for Named<C> {
    const NAME: &'static str = match C {
        '1' => "1",
        '2' => "2",
        '3' => "3",
        '4' => "4",
        '5' => "5",
        '6' => "6",
        '7' => "7",
        '8' => "8",
        '9' => "9",
        'a' => "a",
        'b' => "b",
        'c' => "c",
        _ => "not a name",
    };
}

/// MCP 7 (SHOULD, refuses)
#[test]
fn a_requirement_of_the_application_states_its_alternatives() {
    struct Own;
    impl RequiredScopes for Own {
        fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
            granted("a") && granted("b") || granted("c")
        }

        fn alternatives() -> Vec<Vec<&'static str>> {
            vec![vec!["a", "b"], vec!["c"]]
        }
    }
    let flat = ScopeHierarchy::new();
    for (granted, scopes) in [("", "c"), ("a", "a b"), ("b x", "a b")] {
        assert_eq!(named::<Own>(granted, &flat), scopes, "{granted:?}");
    }
    assert_eq!(named::<(Own, Admin)>("a", &flat), "a b admin");
    assert_eq!(named::<AnyOf<((Own, Admin), Audit)>>("c", &flat), "c admin");
    assert_eq!(<(Admin, Own)>::alternatives(), [vec!["admin", "a", "b"], vec!["admin", "c"]]);
    assert_eq!(named::<(Own, Named<'x'>)>("", &flat), "c", "no challenge can carry the other name");
}

/// MCP 7 (SHOULD, refuses)
#[test]
fn a_requirement_of_the_application_with_many_alternatives_is_bounded_when_it_is_combined() {
    struct Many;
    impl RequiredScopes for Many {
        fn satisfied(granted: &dyn Fn(&str) -> bool) -> bool {
            granted("250")
        }

        fn alternatives() -> Vec<Vec<&'static str>> {
            (0..300).map(|number| vec![&*number.to_string().leak()]).collect()
        }
    }
    assert_eq!(<(Admin, Many)>::alternatives().len(), 64);
    assert_eq!(<((Many, Admin), (Many, Many))>::alternatives().len(), 64);
    assert_eq!(AnyOf::<(Admin, Many)>::alternatives().len(), 64);
    let flat = ScopeHierarchy::new();
    assert_eq!(named::<(Admin, Many)>("250", &flat), "admin 250", "the bound keeps what the token lacks least of");
    assert_eq!(named::<((Many, Admin), AnyOf<(Many, Audit)>)>("250", &flat), "250 admin");
}

/// Scopes of a module of their own, because `SCOPES` and `DESCRIBED` belong to the module.
mod documented {
    tower_oauth::scopes! {
        /// Read any order.
        #[derive(PartialEq)]
        ///
        ///   Also those of other "tenants",
        /// in \ any state.
        pub(super) Read = "documented:read";
        #[doc = concat!("Change ", "any order.")]
        pub(super) Write = "documented:write";
        pub(super) Bare = "documented:bare";
    }
}

#[test]
fn the_macro_keeps_doc_comments_as_descriptions() {
    let read = "Read any order. Also those of other \"tenants\", in \\ any state.";
    assert_eq!(documented::Read::DESCRIPTION, read);
    let expected = [("documented:read", read), ("documented:write", "Change any order."), ("documented:bare", "")];
    assert_eq!(documented::DESCRIBED, expected);
    assert_eq!(documented::SCOPES, expected.map(|(name, _)| name));
    assert_eq!(
        (documented::Read.to_string(), documented::Bare.to_string()),
        (expected[0].0.into(), expected[2].0.into())
    );
    assert!(documented::Read == documented::Read, "other attributes still work");
    assert_eq!((Named::<'1'>::DESCRIPTION, documented::Write::DESCRIPTION), ("", expected[1].1));
}

/// RFC 6749 §3.3 b (MUST, accepts)
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
        for (app, expected, named) in [(&all, of_all, "a b"), (&any, of_any, "a")] {
            let response = get_with_token(app, "/", &token).await;
            assert_eq!(response.status, expected, "{scope:?}");
            let named = format!(r#"scope="{named}""#);
            assert!(expected == 200 || response.challenges()[0].ends_with(&named), "{response:?}");
        }
        assert_eq!(get_without_token(&all, "/").await.challenges(), [DEFAULT_CHALLENGE]);
    }
}

/// RFC 6749 §3.3 b (MUST, refuses)
/// RFC 6750 §3 d (MUST NOT, refuses)
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
