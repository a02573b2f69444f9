//! The commands that `tenants` prints: a token of one tenant is refused at a path of the other.

use super::paste_all;
use crate::program::Program;

#[tokio::test]
async fn the_commands_of_tenants_get_what_its_comments_say() {
    let Some(program) = Program::example("tenants").start("Ctrl-C").await else { return };
    if let Some(answers) = paste_all(&program, &[200, 401]).await {
        assert_eq!(answers[0].body, "the orders of acme, for ada\n");
        assert!(answers[1].is_refusal(401, "invalid_token"), "{:?}", answers[1]);
    }
    program.stop("INT").await;
}
