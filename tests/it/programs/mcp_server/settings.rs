//! Wrong settings of the program, and its end.

use super::{Mcp, launch};

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
        let Some(text) = launch(settings).refuses_to_start(&[]).await else { return };
        let mut named: Vec<_> = text.lines().skip(1).map(|line| line.split(':').next().unwrap().to_owned()).collect();
        named.sort();
        assert_eq!(named, wrong, "{settings:?}: {text}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_ends_the_program() {
    let Some(mcp) = Mcp::start(&[("OAUTH_ISSUER", "https://auth.test")]).await else { return };
    mcp.program.stop("TERM").await;
}
