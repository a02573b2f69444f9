//! The README's first command.

use super::paste_all;
use crate::{program::Program, support::DEFAULT_CHALLENGE};

#[tokio::test]
async fn the_commands_of_quickstart_get_what_its_comments_say() {
    let Some(program) = Program::example("quickstart").start("Ctrl-C").await else { return };
    let refused = program.get("/orders", &[]).await;
    assert_eq!((refused.status.as_u16(), refused.challenges()), (401, vec![DEFAULT_CHALLENGE]));

    if let Some(answers) = paste_all(&program, &[200, 403]).await {
        assert_eq!(answers[0].body, "the orders of acme\n");
        let challenge = answers[1].header("www-authenticate").unwrap();
        assert!(challenge.starts_with(r#"Bearer realm="api", error="insufficient_scope", "#), "{challenge}");
        assert!(challenge.ends_with(r#", scope="orders:read orders:write""#), "{challenge}");
        assert_eq!(answers[1].header("cache-control"), Some("no-store"));
    }
    program.stop("INT").await;
}
