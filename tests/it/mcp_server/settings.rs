//! Wrong settings of the program, and its end.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{Mcp, run};

#[tokio::test]
async fn wrong_settings_end_the_program_and_all_are_named() {
    type Settings<'s> = &'s [(&'s str, &'s str)];
    let rows: [(Settings<'_>, &[&str]); 6] = [
        (&[], &["OAUTH_ISSUER"]),
        (
            &[
                ("BIND", "nowhere"),
                ("OAUTH_ISSUER", " https://auth.test"),
                ("OAUTH_JWKS_URI", "keys.json"),
                ("OAUTH_RESOURCE", "https://mcp.test/mcp#tools"),
                ("OAUTH_RESOURCE_ALSO", "http://mcp.example.com/mcp"),
                ("RUST_LOG", "=["),
            ],
            &["BIND", "OAUTH_ISSUER", "OAUTH_JWKS_URI", "OAUTH_RESOURCE", "OAUTH_RESOURCE_ALSO", "RUST_LOG"],
        ),
        (&[("OAUTH_ISSUER", "auth.test")], &["OAUTH_ISSUER"]),
        (&[("OAUTH_ISSUER", "https://auth.test"), ("OAUTH_RESOURCE", "")], &["OAUTH_RESOURCE"]),
        (&[("OAUTH_ISSUER", "https://auth.test"), ("BIND", "0.0.0.0:0")], &["OAUTH_RESOURCE"]),
        (
            &[
                ("OAUTH_ISSUER", "https://auth.test"),
                ("OAUTH_RESOURCE", "https://mcp.test/mcp"),
                ("OAUTH_RESOURCE_ALSO", "https://mcp.test:443/other"),
            ],
            &["OAUTH_RESOURCE_ALSO"],
        ),
    ];
    for (settings, wrong) in rows {
        let Some(output) = run(settings).await else { return };
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{settings:?}: {text}");
        let mut named: Vec<_> = text.lines().skip(1).map(|line| line.split(':').next().unwrap().to_owned()).collect();
        named.sort();
        assert_eq!(named, wrong, "{settings:?}: {text}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_ends_the_program() {
    let Some(mut mcp) = Mcp::start(&[("OAUTH_ISSUER", "https://auth.test")]).await else { return };
    let id = mcp.process.id().unwrap().to_string();
    let kill = Command::new("kill").args(["-s", "TERM", &id]).stdout(Stdio::null()).status().await.unwrap();
    assert!(kill.success());
    let status = timeout(Duration::from_secs(5), mcp.process.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}
