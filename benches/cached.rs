//! Costs and savings of `Cached`: a hit compared with the bare route, a flood of tokens, memory, many requests with one new
//! token, and an endpoint that hangs.
//!
//! `cargo bench --bench cached` prints Markdown tables; `-- hits`, `-- threads`, `-- flood`, `-- memory`, `-- network` print
//! one of them. `-- libraries` compares `quick_cache`, which the crate uses, with moka, on keys and values like the crate's.
//! Compare only ratios between machines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod support;

use std::{
    env, fs,
    hint::black_box,
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{Form, Json, Router, body::Body, extract::State, routing::post};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, request::Parts};
use serde_json::{Value, json};
use support::{AUDIENCE, Contestant, bare, least, median, paired, protected, ratio, token};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::{Service, ServiceExt};
use tower_oauth::{
    AuthError, Cached, IntrospectionVerifier, OAuthLayer, ResourceServer,
    fetch::{Fetch, FetchFuture},
    keys::Algorithm,
    testing::{MockIssuer, TestToken},
    verify::{ClientAuthentication, PresentedToken, Verdict, Verify},
};

const ISSUER: &str = "https://auth.example.com";
const HOUR: Duration = Duration::from_secs(3600);
const TOKENS: usize = 10_000;
const MILLION: usize = 1_000_000;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only checks that it builds.
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(kind) = arguments.iter().find_map(|argument| argument.strip_prefix("distinct=")) {
        return runtime.block_on(fill(kind));
    }
    if arguments.iter().any(|argument| argument == "libraries") {
        return libraries::compare();
    }
    if wanted("hits") {
        runtime.block_on(hits());
    }
    if wanted("threads") {
        threads();
    }
    if wanted("flood") {
        runtime.block_on(floods());
    }
    if wanted("memory") {
        memory();
    }
    if wanted("network") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(network());
    }
}

/// Returns distinct JWTs of the usual size.
fn jwts(issuer: &MockIssuer, count: usize) -> Vec<String> {
    (0..count)
        .map(|index| token(issuer).claim("jti", index.to_string()).claim("sub", format!("user-{index}")).sign())
        .collect()
}

fn opaque(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{index:043}")).collect()
}

/// An introspection endpoint that accepts every token, without the network.
struct Endpoint(Bytes);

impl Fetch for Endpoint {
    fn fetch(&self, _: Request<Bytes>) -> FetchFuture {
        let response = Response::new(self.0.clone());
        FetchFuture::new(async move { Ok(response) })
    }
}

/// An introspection response with the claims of the usual token.
fn response_claims() -> Value {
    let mut claims: Value = serde_json::from_str(&token(&MockIssuer::new(ISSUER)).claims_json()).unwrap();
    claims["active"] = json!(true);
    claims
}

fn introspection(fetch: impl Fetch, endpoint: &str) -> IntrospectionVerifier {
    let client = ClientAuthentication::secret_basic("orders-api", "secret");
    let builder = IntrospectionVerifier::builder(MockIssuer::new(ISSUER).issuer(), client, AUDIENCE);
    builder.endpoint(endpoint).fetch(fetch).build().unwrap()
}

fn endpoint() -> IntrospectionVerifier {
    introspection(Endpoint(Bytes::from(response_claims().to_string())), "https://auth.example.com/introspect")
}

/// Returns a cache that is large enough for 10 000 tokens without any eviction.
fn roomy<V: Verify>(verifier: V) -> Cached<V> {
    Cached::builder(verifier, HOUR).max_entries(4 * TOKENS).max_bytes(256 * 1024 * 1024).build()
}

async fn hits() {
    println!("\n| tokens in use | contestant | ns/request, median (min) | over bare, paired | × bare, paired |");
    println!("|---:|---|---:|---:|---:|");
    let issuer = MockIssuer::new(ISSUER).with_algorithm(Algorithm::RS256);
    let (jwts, opaque) = (jwts(&issuer, TOKENS), opaque(TOKENS));
    let extension = || {
        let layer = TestToken::user("ada").scope("orders:read").into_layer();
        Router::new().route("/orders", axum::routing::get(support::orders)).layer(layer)
    };
    for in_use in [1, TOKENS] {
        let (jwts, opaque) = (jwts[..in_use].to_vec(), opaque[..in_use].to_vec());
        let contestants = [
            ("bare route", Contestant::with_tokens(bare(), jwts.clone())),
            ("a layer that only inserts a token", Contestant::with_tokens(extension(), jwts.clone())),
            ("hit, RS256 JWT", Contestant::with_tokens(protected(roomy(issuer.verifier(AUDIENCE))), jwts.clone())),
            ("hit, opaque token", Contestant::with_tokens(protected(roomy(endpoint())), opaque)),
            ("no cache, RS256 JWT", Contestant::with_tokens(protected(issuer.verifier(AUDIENCE)), jwts)),
        ];
        for (_, contestant) in &contestants {
            contestant.send_all().await;
        }
        let (names, contestants): (Vec<_>, Vec<_>) = contestants.into_iter().unzip();
        let times = paired(&contestants, 101, 200).await;
        for (name, own) in names.iter().zip(&times) {
            let over = median(own.iter().zip(&times[0]).map(|(own, bare)| own - bare).collect());
            println!(
                "| {in_use} | {name} | {:.0} ({:.0}) | {over:.0} ns | {:.2} |",
                median(own.clone()),
                least(own),
                ratio(own, &times[0])
            );
        }
    }
}

fn request(token: &str) -> Request<Body> {
    Request::get("/orders").header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

fn parts(token: &str) -> Parts {
    request(token).into_parts().0
}

/// Returns the nanoseconds for one run, with this number of threads at once. `make` makes the function that a thread runs. The
/// result is the least of 15 rounds, and in each round that of the slowest thread.
fn per_run<F: FnMut(usize)>(threads: usize, count: usize, make: impl Fn(usize) -> F + Sync) -> f64 {
    let rounds = (0..15).map(|_| {
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            let (barrier, make) = (&barrier, &make);
            let runs = (0..threads).map(|thread| {
                scope.spawn(move || {
                    let mut run = make(thread);
                    run(0);
                    barrier.wait();
                    let start = Instant::now();
                    (0..count).for_each(&mut run);
                    start.elapsed().as_nanos() as f64 / count as f64
                })
            });
            let runs: Vec<_> = runs.collect();
            runs.into_iter().map(|run| run.join().unwrap()).fold(0.0, f64::max)
        })
    });
    least(&rounds.collect::<Vec<_>>())
}

fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn threads() {
    println!("\n| ns each, least of 15 rounds | one thread | two threads at once | throughput of two |");
    println!("|---|---:|---:|---:|");
    let issuer = MockIssuer::new(ISSUER).with_algorithm(Algorithm::ES256);
    let tokens = jwts(&issuer, TOKENS);
    let cached = roomy(issuer.verifier(AUDIENCE));
    let server = ResourceServer::new(cached.clone());
    let heads: Vec<_> = tokens.iter().map(|token| parts(token)).collect();
    current_thread().block_on(async {
        for head in &heads {
            server.authenticate(head).await.unwrap();
        }
    });
    let route = |app: &Router, in_use: usize| {
        let (app, tokens) = (app.clone(), tokens[..in_use].to_vec());
        move |thread: usize| {
            let (mut app, runtime, tokens) = (app.clone(), current_thread(), tokens.clone());
            move |index: usize| {
                let token = &tokens[((index + thread * 17) * 7919) % tokens.len()];
                black_box(runtime.block_on(app.call(request(token))).unwrap());
            }
        }
    };
    let authenticate = |in_use: usize| {
        let (server, heads) = (&server, &heads[..in_use]);
        move |thread: usize| {
            let runtime = current_thread();
            move |index: usize| {
                let head = &heads[((index + thread * 17) * 7919) % heads.len()];
                black_box(runtime.block_on(server.authenticate(head)).unwrap());
            }
        }
    };
    let print =
        |name: &str, one: f64, two: f64| println!("| {name} | {one:.0} | {two:.0} | {:.2} × |", 2.0 * one / two);
    let leaked = OAuthLayer::from_server(ResourceServer::new(cached.clone()).leak());
    let leaked = Router::new().route("/orders", axum::routing::get(support::orders)).layer(leaked);
    let (bare, hit) = (bare(), protected(cached));
    print("bare route", per_run(1, 20_000, route(&bare, 1)), per_run(2, 20_000, route(&bare, 1)));
    print("hit, one hot token", per_run(1, 20_000, route(&hit, 1)), per_run(2, 20_000, route(&hit, 1)));
    print("hit, 10 000 tokens", per_run(1, 20_000, route(&hit, TOKENS)), per_run(2, 20_000, route(&hit, TOKENS)));
    print(
        "hit, 10 000 tokens, leaked",
        per_run(1, 20_000, route(&leaked, TOKENS)),
        per_run(2, 20_000, route(&leaked, TOKENS)),
    );
    print("hit, one hot token, leaked", per_run(1, 20_000, route(&leaked, 1)), per_run(2, 20_000, route(&leaked, 1)));
    print(
        "`authenticate` alone, one hot token",
        per_run(1, 50_000, authenticate(1)),
        per_run(2, 50_000, authenticate(1)),
    );
    print(
        "`authenticate` alone, 10 000 tokens",
        per_run(1, 50_000, authenticate(TOKENS)),
        per_run(2, 50_000, authenticate(TOKENS)),
    );
}

/// A verifier that accepts `valid…` at once and refuses other tokens later, as an introspection does. It counts the calls for
/// `valid-known…`.
struct CountingVerifier {
    claims: Value,
    calls: Arc<AtomicUsize>,
}

impl CountingVerifier {
    fn new(calls: &Arc<AtomicUsize>) -> Self {
        Self { claims: response_claims(), calls: Arc::clone(calls) }
    }
}

impl Verify for CountingVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        if presented.token().starts_with("valid-known") {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        if presented.token().starts_with("valid") {
            return Verdict::Now(presented.permit().token(&self.claims));
        }
        Verdict::later(async { Err(AuthError::invalid_token()) })
    }
}

/// A random generator with a fixed seed, so that all runs are alike.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

const KNOWN: usize = 5_000;

async fn floods() {
    println!(
        "\n| flood, 10 000 entries | new tokens for each of 5 000 known | hits among the known: first 50 000 | last 50 000 of 200 000 |"
    );
    println!("|---|---:|---:|---:|");
    for (kind, prefix) in [("distinct valid tokens", "valid-new"), ("distinct invalid tokens", "invalid-new")] {
        for (start, new_first) in [("the known first", 0), ("100 000 new tokens first", 100_000)] {
            for flood in [1, 10] {
                let calls = Arc::new(AtomicUsize::new(0));
                let server = ResourceServer::new(Cached::new(CountingVerifier::new(&calls), HOUR));
                let (mut dice, mut next) = (Dice(1), 0);
                let mut another = |count: usize| {
                    next += count;
                    next - count..next
                };
                for index in another(new_first) {
                    black_box(server.authenticate(&parts(&format!("{prefix}-{index}"))).await).ok();
                }
                if new_first == 0 {
                    for known in 0..KNOWN {
                        server.authenticate(&parts(&format!("valid-known-{known}"))).await.unwrap();
                    }
                }
                let mut rates = Vec::new();
                for _ in 0..4 {
                    calls.store(0, Ordering::Relaxed);
                    for _ in 0..50_000 {
                        let known = dice.below(KNOWN);
                        server.authenticate(&parts(&format!("valid-known-{known}"))).await.unwrap();
                        for index in another(flood) {
                            black_box(server.authenticate(&parts(&format!("{prefix}-{index}"))).await).ok();
                        }
                    }
                    rates.push(100.0 - calls.load(Ordering::Relaxed) as f64 / 500.0);
                }
                println!("| {kind}, {start} | {flood} | {:.1} % | {:.1} % |", rates[0], rates[3]);
            }
        }
    }
}

fn resident_mib() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / 1024.0 / 1024.0
}

/// Measures each kind in a new process, because memory that one has freed would change the figures of the next.
fn memory() {
    println!(
        "\n| distinct tokens, each once | resident before | after 100 000 | after 1 000 000 | accepted tokens in the cache |"
    );
    println!("|---|---:|---:|---:|---:|");
    for kind in ["invalid", "valid"] {
        let status = Command::new(env::current_exe().unwrap()).arg(format!("distinct={kind}")).status().unwrap();
        assert!(status.success());
    }
}

async fn fill(prefix: &str) {
    let cached = Cached::new(CountingVerifier::new(&Arc::default()), HOUR);
    let server = ResourceServer::new(cached.clone());
    // The first requests allocate what the runtime needs.
    for index in 0..100 {
        black_box(server.authenticate(&parts(&format!("{prefix}-warm-{index}"))).await).ok();
    }
    let before = resident_mib();
    let mut some = 0.0;
    for index in 0..MILLION {
        if index == MILLION / 10 {
            some = resident_mib();
        }
        black_box(server.authenticate(&parts(&format!("{prefix}-{index:040}"))).await).ok();
    }
    let kind = if prefix == "invalid" { "invalid, refused by introspection" } else { "valid, 0.5 KB of claims" };
    println!("| {kind} | {before:.1} MiB | {some:.1} MiB | {:.1} MiB | {} |", resident_mib(), cached.len());
}

/// Starts an HTTP server that accepts `valid…` and hangs for `hang…`. Returns its URL and the number of calls.
async fn authorization_server(delay: Duration) -> (String, Arc<AtomicUsize>) {
    #[derive(serde::Deserialize)]
    struct IntrospectionRequest {
        token: String,
    }
    async fn introspect(
        State((calls, delay)): State<(Arc<AtomicUsize>, Duration)>,
        Form(request): Form<IntrospectionRequest>,
    ) -> Json<Value> {
        calls.fetch_add(1, Ordering::SeqCst);
        if request.token.starts_with("hang") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(delay).await;
        Json(if request.token.starts_with("valid") { response_claims() } else { json!({"active": false}) })
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let app = Router::new().route("/introspect", post(introspect)).with_state((Arc::clone(&calls), delay));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, calls)
}

async fn status(app: &Router, token: &str) -> u16 {
    app.clone().oneshot(request(token)).await.unwrap().status().as_u16()
}

async fn network() {
    let app = |url: &str| {
        let verifier = introspection(tower_oauth::fetch::HttpClient::new().unwrap(), url);
        protected(Cached::new(verifier, HOUR))
    };
    println!("\n| over HTTP, on loopback | introspections | |");
    println!("|---|---:|---|");
    let (url, calls) = authorization_server(Duration::from_millis(50)).await;
    let herd = app(&url);
    let start = Instant::now();
    let requests = (0..1000).map(|_| {
        tokio::spawn({
            let herd = herd.clone();
            async move { status(&herd, "valid-new").await }
        })
    });
    let statuses = join_all(requests.collect::<Vec<_>>()).await;
    assert!(statuses.iter().all(|status| *status.as_ref().unwrap() == 200));
    let (calls, took) = (calls.load(Ordering::SeqCst), start.elapsed().as_millis());
    println!(
        "| 1 000 concurrent requests with one new token; a response takes 50 ms | {calls} | all 200 in {took} ms |"
    );

    let (url, calls) = authorization_server(Duration::ZERO).await;
    let app = app(&url);
    for index in 0..1000 {
        assert_eq!(status(&app, &format!("valid-{index}")).await, 200);
    }
    let calm = latencies(&app).await;
    let before = calls.load(Ordering::SeqCst);
    let hanging: Vec<_> = (0..500)
        .map(|index| {
            let app = app.clone();
            tokio::spawn(async move { status(&app, &format!("hang-{index}")).await })
        })
        .collect();
    while calls.load(Ordering::SeqCst) < before + 500 {
        tokio::task::yield_now().await;
    }
    let troubled = latencies(&app).await;
    assert!(hanging.iter().all(|request| !request.is_finished()));
    println!(
        "| the endpoint hangs, 500 new tokens wait: p50 / p99 of 1 000 cached ones | {} | {troubled}; undisturbed {calm} |",
        calls.load(Ordering::SeqCst) - before
    );
    let new = Instant::now();
    assert_eq!(status(&app, "valid-and-new").await, 200);
    println!(
        "| meanwhile, a new token for which it does not hang | 1 | {:.1} ms |",
        new.elapsed().as_secs_f64() * 1000.0
    );
    let refused = join_all(hanging).await;
    assert!(refused.iter().all(|status| *status.as_ref().unwrap() == 503));
}

async fn latencies(app: &Router) -> String {
    let mut samples = Vec::new();
    for index in 0..50_000 {
        let token = format!("valid-{}", (index * 7919) % 1000);
        let start = Instant::now();
        assert_eq!(status(app, &token).await, 200);
        samples.push(start.elapsed());
    }
    samples.sort();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100].as_nanos() as f64 / 1000.0;
    format!("{:.1} / {:.1} µs", at(50), at(99))
}

/// Compares cache libraries, with a key of 32 bytes and a value like the crate's.
mod libraries {
    use std::{hint::black_box, sync::Arc, time::Duration};

    use quick_cache::{
        OptionsBuilder, UnitWeighter,
        sync::{Cache, DefaultLifecycle},
    };

    use super::{Dice, KNOWN, TOKENS, per_run};

    type Key = [u8; 32];

    /// An entry of the cache: a token, the parts of its key, and its expiry time.
    #[derive(Clone)]
    #[expect(dead_code, reason = "only moved and cloned")]
    struct Entry(Arc<[u8; 512]>, Option<[u8; 32]>, Duration);

    trait Candidate: Sync {
        fn find(&self, key: &Key) -> Option<Entry>;
        fn store(&self, key: Key, value: Entry);
    }

    impl Candidate for Cache<Key, Entry> {
        fn find(&self, key: &Key) -> Option<Entry> {
            self.get(key)
        }
        fn store(&self, key: Key, value: Entry) {
            self.insert(key, value);
        }
    }

    impl Candidate for moka::sync::Cache<Key, Entry> {
        fn find(&self, key: &Key) -> Option<Entry> {
            self.get(key)
        }
        fn store(&self, key: Key, value: Entry) {
            self.insert(key, value);
        }
    }

    fn quick(entries: usize, hot: f64, ghosts: f64) -> Cache<Key, Entry> {
        let mut options = OptionsBuilder::new();
        options.estimated_items_capacity(entries).weight_capacity(entries as u64);
        let options = options.hot_allocation(hot).ghost_allocation(ghosts).build().unwrap();
        Cache::with_options(
            options,
            UnitWeighter,
            quick_cache::DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        )
    }

    fn key(number: usize) -> Key {
        let mut dice = Dice(number as u64);
        std::array::from_fn(|_| dice.below(256) as u8)
    }

    fn entry() -> Entry {
        Entry(Arc::new([0; 512]), None, Duration::from_secs(1))
    }

    pub(crate) fn compare() {
        println!(
            "\n| `get`, ns each, least of 15 rounds | one thread, one key | 10 000 keys | two threads, one key | 10 000 keys |"
        );
        println!("|---|---:|---:|---:|---:|");
        let entries = 4 * TOKENS;
        let candidates: [(&str, Box<dyn Candidate>); 2] = [
            ("quick_cache 0.7", Box::new(quick(entries, 0.97, 0.5))),
            ("moka::sync 0.12", Box::new(moka::sync::Cache::new(entries as u64))),
        ];
        let keys: Vec<_> = (0..TOKENS).map(key).collect();
        for (name, candidate) in &candidates {
            for key in &keys {
                candidate.store(*key, entry());
            }
            let get = |in_use: usize| {
                let (candidate, keys) = (&**candidate, &keys[..in_use]);
                move |thread: usize| {
                    move |index: usize| {
                        black_box(candidate.find(&keys[((index + thread * 17) * 7919) % in_use]).unwrap());
                    }
                }
            };
            let [a, b, c, d] = [(1, 1), (1, TOKENS), (2, 1), (2, TOKENS)]
                .map(|(threads, in_use)| per_run(threads, 200_000, get(in_use)));
            println!("| {name} | {a:.0} | {b:.0} | {c:.0} | {d:.0} |");
        }
        floods();
    }

    /// Runs the floods above with the libraries alone.
    fn floods() {
        println!(
            "\n| 10 000 entries, 5 000 known at random; hits among the last 50 000 of 200 000 | known first, 1:1 | 10:1 | 100 000 new tokens first, 1:1 | 10:1 |"
        );
        println!("|---|---:|---:|---:|---:|");
        let names = [
            "quick_cache, 97 % hot, 50 % ghosts",
            "97 % hot, 100 % ghosts",
            "80 % hot, 100 % ghosts",
            "50 % hot, 100 % ghosts",
            "moka::sync",
        ];
        for (which, name) in names.iter().enumerate() {
            let rates = [(0, 1), (0, 10), (100_000, 1), (100_000, 10)].map(|(new_first, flood)| {
                let cache: Box<dyn Candidate> = match which {
                    0 => Box::new(quick(TOKENS, 0.97, 0.5)),
                    1 => Box::new(quick(TOKENS, 0.97, 1.0)),
                    2 => Box::new(quick(TOKENS, 0.8, 1.0)),
                    3 => Box::new(quick(TOKENS, 0.5, 1.0)),
                    _ => Box::new(moka::sync::Cache::new(TOKENS as u64)),
                };
                rate(&*cache, new_first, flood)
            });
            println!("| {name} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |", rates[0], rates[1], rates[2], rates[3]);
        }
    }

    fn rate(cache: &dyn Candidate, new_first: usize, flood: usize) -> f64 {
        let look_up = |number: usize| {
            let key = key(number);
            let hit = cache.find(&key).is_some();
            if !hit {
                cache.store(key, entry());
            }
            usize::from(hit)
        };
        let (mut dice, mut next) = (Dice(1), KNOWN);
        if new_first == 0 {
            (0..KNOWN).for_each(|known| _ = look_up(known));
        }
        for _ in 0..new_first {
            look_up(next);
            next += 1;
        }
        let mut hits = 0;
        for round in 0..200_000 {
            let hit = look_up(dice.below(KNOWN));
            hits += if round >= 150_000 { hit } else { 0 };
            for _ in 0..flood {
                look_up(next);
                next += 1;
            }
        }
        hits as f64 / 500.0
    }
}
