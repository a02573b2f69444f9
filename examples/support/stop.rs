//! Stops a program on SIGTERM and Ctrl-C.

use std::{process, time::Duration};

use tokio::{signal, time::sleep};

/// Waits for SIGTERM or Ctrl-C. After that the process has ten seconds for the requests that are under way.
pub(crate) async fn requested() {
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
        process::exit(0) // a client that never completes its request must not delay the end of the process
    });
}
