//! When a program is told to end: SIGTERM and Ctrl-C.

use std::{process, time::Duration};

use tokio::{signal, time::sleep};

/// Until it is told to stop. Then what is under way has ten seconds.
pub(crate) async fn when_told() {
    #[cfg(unix)]
    let terminated = async {
        if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
            terminate.recv().await;
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! { () = terminated => {}, _ = signal::ctrl_c() => {} }
    tokio::spawn(async {
        sleep(Duration::from_secs(10)).await;
        process::exit(0) // somebody never ends their request
    });
}
