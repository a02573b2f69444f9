//! The metrics of a cache.

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::{AuthErrorKind, Cached, HOUR, Server, subject, wait_until};

#[test]
fn counts_hits_refusals_joined_calls_and_misses() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let server = Server::with_ada();
            let cached = Cached::new(server.clone(), HOUR);
            server.hold_responses();
            let requests: Vec<_> = (0..3)
                .map(|_| {
                    let cached = cached.clone();
                    tokio::spawn(async move { subject(&cached, "ada").await })
                })
                .collect();
            wait_until(|| server.calls() == 1).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            server.release_responses();
            for request in requests {
                assert_eq!(request.await.unwrap().as_deref(), Ok("ada"));
            }
            for _ in 0..5 {
                assert_eq!(subject(&cached, "ada").await.as_deref(), Ok("ada"));
            }
            for _ in 0..4 {
                assert_eq!(subject(&cached, "bad").await, Err(AuthErrorKind::InvalidToken));
            }
        });
    });
    let mut lines: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter(|(key, ..)| key.key().name() == "tower_oauth_cache_lookups_total")
        .map(|(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let DebugValue::Counter(count) = value else { panic!("not a counter") };
            format!("{} {count}", labels.join(","))
        })
        .collect();
    lines.sort();
    assert_eq!(lines, ["result=hit 5", "result=joined 2", "result=miss 2", "result=refused 3"]);
}
