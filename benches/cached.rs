//! What the cache of verdicts costs and saves: a hit beside the bare route, a flood, memory, a thundering herd, an endpoint
//! that hangs.
//!
//! `cargo bench --bench cached` prints Markdown tables; `-- hits`, `-- threads`, `-- flood`, `-- memory`, `-- network` one
//! of them. `-- libraries` compares `quick_cache`, which is in use, with moka, on our key and value. Only ratios travel
//! between machines.
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
const LIVE: usize = 10_000;
const MILLION: usize = 1_000_000;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only wants to see that it builds.
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(strangers) = arguments.iter().find_map(|argument| argument.strip_prefix("strangers=")) {
        return runtime.block_on(remember(strangers));
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

/// Distinct tokens of the usual size.
fn jwts(issuer: &MockIssuer, count: usize) -> Vec<String> {
    (0..count)
        .map(|index| token(issuer).claim("jti", index.to_string()).claim("sub", format!("user-{index}")).sign())
        .collect()
}

fn opaque(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{index:043}")).collect()
}

/// An endpoint that accepts every token, without the network.
struct Endpoint(Bytes);

impl Fetch for Endpoint {
    fn fetch(&self, _: Request<Bytes>) -> FetchFuture {
        let answer = Response::new(self.0.clone());
        FetchFuture::new(async move { Ok(answer) })
    }
}

/// An introspection response with the claims of the usual token.
fn answer() -> Value {
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
    introspection(Endpoint(Bytes::from(answer().to_string())), "https://auth.example.com/introspect")
}

/// What is kept of 10 000 live tokens, with room to spare, so that none is evicted.
fn roomy<V: Verify>(verifier: V) -> Cached<V> {
    Cached::builder(verifier, HOUR).max_entries(4 * LIVE).max_bytes(256 * 1024 * 1024).build()
}

async fn hits() {
    println!("\n| live tokens | contestant | ns/request, median (min) | over bare, paired | × bare, paired |");
    println!("|---:|---|---:|---:|---:|");
    let issuer = MockIssuer::new(ISSUER).with_algorithm(Algorithm::RS256);
    let (jwts, opaque) = (jwts(&issuer, LIVE), opaque(LIVE));
    let extension = || {
        let layer = TestToken::user("ada").scope("orders:read").into_layer();
        Router::new().route("/orders", axum::routing::get(support::orders)).layer(layer)
    };
    for live in [1, LIVE] {
        let (jwts, opaque) = (jwts[..live].to_vec(), opaque[..live].to_vec());
        let contestants = [
            ("bare route", Contestant::with_tokens(bare(), jwts.clone())),
            ("a layer that merely inserts a token", Contestant::with_tokens(extension(), jwts.clone())),
            ("hit, RS256 JWT", Contestant::with_tokens(protected(roomy(issuer.verifier(AUDIENCE))), jwts.clone())),
            ("hit, opaque token", Contestant::with_tokens(protected(roomy(endpoint())), opaque)),
            ("no cache, RS256 JWT", Contestant::with_tokens(protected(issuer.verifier(AUDIENCE)), jwts)),
        ];
        for (_, contestant) in &contestants {
            contestant.see_all().await;
        }
        let (names, contestants): (Vec<_>, Vec<_>) = contestants.into_iter().unzip();
        let times = paired(&contestants, 101, 200).await;
        for (name, own) in names.iter().zip(&times) {
            let over = median(own.iter().zip(&times[0]).map(|(own, bare)| own - bare).collect());
            println!(
                "| {live} | {name} | {:.0} ({:.0}) | {over:.0} ns | {:.2} |",
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

/// Nanoseconds that one of so many threads needs for one run of what `make` made for it, all at once; the least of some.
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
    let tokens = jwts(&issuer, LIVE);
    let cached = roomy(issuer.verifier(AUDIENCE));
    let server = ResourceServer::new(cached.clone());
    let heads: Vec<_> = tokens.iter().map(|token| parts(token)).collect();
    current_thread().block_on(async {
        for head in &heads {
            server.authenticate(head).await.unwrap();
        }
    });
    let route = |app: &Router, live: usize| {
        let (app, tokens) = (app.clone(), tokens[..live].to_vec());
        move |thread: usize| {
            let (mut app, runtime, tokens) = (app.clone(), current_thread(), tokens.clone());
            move |index: usize| {
                let token = &tokens[((index + thread * 17) * 7919) % tokens.len()];
                black_box(runtime.block_on(app.call(request(token))).unwrap());
            }
        }
    };
    let admission = |live: usize| {
        let (server, heads) = (&server, &heads[..live]);
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
    print("hit, 10 000 tokens", per_run(1, 20_000, route(&hit, LIVE)), per_run(2, 20_000, route(&hit, LIVE)));
    print("the same, leaked", per_run(1, 20_000, route(&leaked, LIVE)), per_run(2, 20_000, route(&leaked, LIVE)));
    print("one hot token, leaked", per_run(1, 20_000, route(&leaked, 1)), per_run(2, 20_000, route(&leaked, 1)));
    print("`admit` alone, one hot token", per_run(1, 50_000, admission(1)), per_run(2, 50_000, admission(1)));
    print("`admit` alone, 10 000 tokens", per_run(1, 50_000, admission(LIVE)), per_run(2, 50_000, admission(LIVE)));
}

/// Accepts `good…` at once and refuses the rest as a server does, and counts whom it was asked about.
struct Judge {
    claims: Value,
    asked: Arc<AtomicUsize>,
}

impl Judge {
    fn new(asked: &Arc<AtomicUsize>) -> Self {
        Self { claims: answer(), asked: Arc::clone(asked) }
    }
}

impl Verify for Judge {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        if presented.token().starts_with("good-known") {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        if presented.token().starts_with("good") {
            return Verdict::Now(presented.permit().token(&self.claims));
        }
        Verdict::later(async { Err(AuthError::invalid_token()) })
    }
}

/// No two runs differ.
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
        "\n| flood, 10 000 entries | strangers to one of 5 000 known | hits among the known: first 50 000 | last 50 000 of 200 000 |"
    );
    println!("|---|---:|---:|---:|");
    for (kind, prefix) in [("distinct valid tokens", "good-stranger"), ("distinct invalid tokens", "bad-stranger")] {
        for (start, strangers_first) in [("the known first", 0), ("100 000 strangers first", 100_000)] {
            for flood in [1, 10] {
                let asked = Arc::new(AtomicUsize::new(0));
                let server = ResourceServer::new(Cached::new(Judge::new(&asked), HOUR));
                let (mut dice, mut stranger) = (Dice(1), 0);
                let mut another = |count: usize| {
                    stranger += count;
                    stranger - count..stranger
                };
                for index in another(strangers_first) {
                    black_box(server.authenticate(&parts(&format!("{prefix}-{index}"))).await).ok();
                }
                if strangers_first == 0 {
                    for known in 0..KNOWN {
                        server.authenticate(&parts(&format!("good-known-{known}"))).await.unwrap();
                    }
                }
                let mut rates = Vec::new();
                for _ in 0..4 {
                    asked.store(0, Ordering::Relaxed);
                    for _ in 0..50_000 {
                        let known = dice.below(KNOWN);
                        server.authenticate(&parts(&format!("good-known-{known}"))).await.unwrap();
                        for index in another(flood) {
                            black_box(server.authenticate(&parts(&format!("{prefix}-{index}"))).await).ok();
                        }
                    }
                    rates.push(100.0 - asked.load(Ordering::Relaxed) as f64 / 500.0);
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

/// Each in a process of its own, so that none finds what another left behind.
fn memory() {
    println!(
        "\n| distinct tokens, each once | resident before | after 100 000 | after 1 000 000 | accepted ones kept |"
    );
    println!("|---|---:|---:|---:|---:|");
    for strangers in ["bad", "good"] {
        let status = Command::new(env::current_exe().unwrap()).arg(format!("strangers={strangers}")).status().unwrap();
        assert!(status.success());
    }
}

async fn remember(strangers: &str) {
    let cached = Cached::new(Judge::new(&Arc::default()), HOUR);
    let server = ResourceServer::new(cached.clone());
    // What a runtime and a few requests need is there before.
    for index in 0..100 {
        black_box(server.authenticate(&parts(&format!("{strangers}-warm-{index}"))).await).ok();
    }
    let before = resident_mib();
    let mut some = 0.0;
    for index in 0..MILLION {
        if index == MILLION / 10 {
            some = resident_mib();
        }
        black_box(server.authenticate(&parts(&format!("{strangers}-{index:040}"))).await).ok();
    }
    let kind = if strangers == "bad" { "invalid, refused by introspection" } else { "valid, 0.5 KB of claims" };
    println!("| {kind} | {before:.1} MiB | {some:.1} MiB | {:.1} MiB | {} |", resident_mib(), cached.len());
}

/// A server that speaks HTTP: knows `good…`, hangs at `hang…`, and counts.
async fn authorization_server(delay: Duration) -> (String, Arc<AtomicUsize>) {
    #[derive(serde::Deserialize)]
    struct Question {
        token: String,
    }
    async fn introspect(
        State((asked, delay)): State<(Arc<AtomicUsize>, Duration)>,
        Form(question): Form<Question>,
    ) -> Json<Value> {
        asked.fetch_add(1, Ordering::SeqCst);
        if question.token.starts_with("hang") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(delay).await;
        Json(if question.token.starts_with("good") { answer() } else { json!({"active": false}) })
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let app = Router::new().route("/introspect", post(introspect)).with_state((Arc::clone(&asked), delay));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, asked)
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
    let (url, asked) = authorization_server(Duration::from_millis(50)).await;
    let herd = app(&url);
    let start = Instant::now();
    let requests = (0..1000).map(|_| {
        tokio::spawn({
            let herd = herd.clone();
            async move { status(&herd, "good-new").await }
        })
    });
    let statuses = join_all(requests.collect::<Vec<_>>()).await;
    assert!(statuses.iter().all(|status| *status.as_ref().unwrap() == 200));
    let (asked_once, took) = (asked.load(Ordering::SeqCst), start.elapsed().as_millis());
    println!(
        "| 1 000 concurrent requests with one new token; an answer takes 50 ms | {asked_once} | all 200 in {took} ms |"
    );

    let (url, asked) = authorization_server(Duration::ZERO).await;
    let app = app(&url);
    for index in 0..1000 {
        assert_eq!(status(&app, &format!("good-{index}")).await, 200);
    }
    let calm = latencies(&app).await;
    let before = asked.load(Ordering::SeqCst);
    let hanging: Vec<_> = (0..500)
        .map(|index| {
            let app = app.clone();
            tokio::spawn(async move { status(&app, &format!("hang-{index}")).await })
        })
        .collect();
    while asked.load(Ordering::SeqCst) < before + 500 {
        tokio::task::yield_now().await;
    }
    let troubled = latencies(&app).await;
    assert!(hanging.iter().all(|request| !request.is_finished()));
    println!(
        "| the endpoint hangs, 500 new tokens wait: p50 / p99 of 1 000 cached ones | {} | {troubled}; undisturbed {calm} |",
        asked.load(Ordering::SeqCst) - before
    );
    let new = Instant::now();
    assert_eq!(status(&app, "good-and-new").await, 200);
    println!(
        "| meanwhile, a new token at which it does not hang | 1 | {:.1} ms |",
        new.elapsed().as_secs_f64() * 1000.0
    );
    let refused = join_all(hanging).await;
    assert!(refused.iter().all(|status| *status.as_ref().unwrap() == 503));
}

async fn latencies(app: &Router) -> String {
    let mut samples = Vec::new();
    for index in 0..50_000 {
        let token = format!("good-{}", (index * 7919) % 1000);
        let start = Instant::now();
        assert_eq!(status(app, &token).await, 200);
        samples.push(start.elapsed());
    }
    samples.sort();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100].as_nanos() as f64 / 1000.0;
    format!("{:.1} / {:.1} µs", at(50), at(99))
}

/// The candidates, on a key of 32 bytes and a value like ours.
mod libraries {
    use std::{hint::black_box, sync::Arc, time::Duration};

    use quick_cache::{
        OptionsBuilder, UnitWeighter,
        sync::{Cache, DefaultLifecycle},
    };

    use super::{Dice, KNOWN, LIVE, per_run};

    type Key = [u8; 32];

    /// What an entry is: a token, the parts of its key, and when it dies.
    #[derive(Clone)]
    #[expect(dead_code, reason = "it is only carried about")]
    struct Kept(Arc<[u8; 512]>, Option<[u8; 32]>, Duration);

    trait Candidate: Sync {
        fn find(&self, key: &Key) -> Option<Kept>;
        fn keep(&self, key: Key, value: Kept);
    }

    impl Candidate for Cache<Key, Kept> {
        fn find(&self, key: &Key) -> Option<Kept> {
            self.get(key)
        }
        fn keep(&self, key: Key, value: Kept) {
            self.insert(key, value);
        }
    }

    impl Candidate for moka::sync::Cache<Key, Kept> {
        fn find(&self, key: &Key) -> Option<Kept> {
            self.get(key)
        }
        fn keep(&self, key: Key, value: Kept) {
            self.insert(key, value);
        }
    }

    fn quick(entries: usize, hot: f64, ghosts: f64) -> Cache<Key, Kept> {
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

    fn kept() -> Kept {
        Kept(Arc::new([0; 512]), None, Duration::from_secs(1))
    }

    pub(crate) fn compare() {
        println!(
            "\n| `get`, ns each, least of 15 rounds | one thread, one key | 10 000 keys | two threads, one key | 10 000 keys |"
        );
        println!("|---|---:|---:|---:|---:|");
        let entries = 4 * LIVE;
        let candidates: [(&str, Box<dyn Candidate>); 2] = [
            ("quick_cache 0.7", Box::new(quick(entries, 0.97, 0.5))),
            ("moka::sync 0.12", Box::new(moka::sync::Cache::new(entries as u64))),
        ];
        let keys: Vec<_> = (0..LIVE).map(key).collect();
        for (name, candidate) in &candidates {
            for key in &keys {
                candidate.keep(*key, kept());
            }
            let get = |live: usize| {
                let (candidate, keys) = (&**candidate, &keys[..live]);
                move |thread: usize| {
                    move |index: usize| {
                        black_box(candidate.find(&keys[((index + thread * 17) * 7919) % live]).unwrap());
                    }
                }
            };
            let [a, b, c, d] =
                [(1, 1), (1, LIVE), (2, 1), (2, LIVE)].map(|(threads, live)| per_run(threads, 200_000, get(live)));
            println!("| {name} | {a:.0} | {b:.0} | {c:.0} | {d:.0} |");
        }
        floods();
    }

    /// As in the table of floods, without anything of ours.
    fn floods() {
        println!(
            "\n| 10 000 entries, 5 000 known at random; hits among the last 50 000 of 200 000 | known first, 1:1 | 10:1 | 100 000 strangers first, 1:1 | 10:1 |"
        );
        println!("|---|---:|---:|---:|---:|");
        let names = [
            "quick_cache, 97 % hot, 50 % ghosts",
            "the same, 100 % ghosts",
            "80 % hot, 100 % ghosts",
            "50 % hot, 100 % ghosts",
            "moka::sync",
        ];
        for (which, name) in names.iter().enumerate() {
            let rates = [(0, 1), (0, 10), (100_000, 1), (100_000, 10)].map(|(strangers_first, flood)| {
                let cache: Box<dyn Candidate> = match which {
                    0 => Box::new(quick(LIVE, 0.97, 0.5)),
                    1 => Box::new(quick(LIVE, 0.97, 1.0)),
                    2 => Box::new(quick(LIVE, 0.8, 1.0)),
                    3 => Box::new(quick(LIVE, 0.5, 1.0)),
                    _ => Box::new(moka::sync::Cache::new(LIVE as u64)),
                };
                rate(&*cache, strangers_first, flood)
            });
            println!("| {name} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |", rates[0], rates[1], rates[2], rates[3]);
        }
    }

    fn rate(cache: &dyn Candidate, strangers_first: usize, flood: usize) -> f64 {
        let ask = |number: usize| {
            let key = key(number);
            let hit = cache.find(&key).is_some();
            if !hit {
                cache.keep(key, kept());
            }
            usize::from(hit)
        };
        let (mut dice, mut stranger) = (Dice(1), KNOWN);
        if strangers_first == 0 {
            (0..KNOWN).for_each(|known| _ = ask(known));
        }
        for _ in 0..strangers_first {
            ask(stranger);
            stranger += 1;
        }
        let mut hits = 0;
        for round in 0..200_000 {
            let hit = ask(dice.below(KNOWN));
            hits += if round >= 150_000 { hit } else { 0 };
            for _ in 0..flood {
                ask(stranger);
                stranger += 1;
            }
        }
        hits as f64 / 500.0
    }
}
