//! `custom_verifier`, with its stand-in for the provider, and with providers that refuse, hang or send garbage.

mod pages;
mod provider;
mod sign_in;

use std::{env, fs, path::PathBuf, time::Duration};

use super::paste_all;
use crate::{program::Program, support::Answer};

/// The headers of a request of ada with her token.
const ADA: [(&str, &str); 3] =
    [("authorization", "Bearer token-of-ada"), ("x-host-auid", "acme"), ("x-user-auid", "ada")];
/// The headers of a request of the host with its token.
const ACME: [(&str, &str); 2] = [("authorization", "Bearer token-of-acme"), ("x-host-auid", "acme")];
/// The form with which the page of ada signs in.
const SIGN_IN: [(&str, &str); 3] = [("auid", "acme"), ("user_auid", "ada"), ("access_token", "token-of-ada")];
/// The paths of the tickets of one user, and of a host.
const MINE: &str = "/tickets/mine";
const ALL: &str = "/tickets";

async fn start(settings: &[(&str, &str)]) -> Option<Program> {
    Program::example("custom_verifier").settings(settings).start("Ctrl-C").await
}

/// Returns the URL of the program's stand-in for the provider.
fn app_center(program: &Program) -> String {
    let line = program.lines_with_start("# A stand-in for the app center is at ").remove(0);
    line.rsplit(' ').next().unwrap().to_owned()
}

/// The stand-in must have been called this often. Waits for its lines, which may come later than a response.
async fn was_called(program: &Program, times: usize) {
    let calls = || program.log().matches("app center checks a token").count();
    for _ in 0..1000 {
        if calls() >= times {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(calls(), times, "{}", program.log());
}

/// Returns the session that the response opens, as the value of `Cookie`.
#[track_caller]
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// Signs ada in, and returns her session.
async fn signed_in(program: &Program) -> String {
    session(&program.post_form("/sign_in", &[], &SIGN_IN).await)
}

/// Returns the status of `GET path` with this session.
async fn status(program: &Program, path: &str, session: &str) -> u16 {
    program.get(path, &[("cookie", session)]).await.status.as_u16()
}

/// Checks for 503 with a time to wait and no challenge.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("5")), "{answer:?}");
    assert!(answer.challenges().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn the_commands_of_custom_verifier_get_what_its_comments_say() {
    let folder = Folder::new();
    let Some(program) = start(&[("TMPDIR", folder.0.to_str().unwrap())]).await else { return };
    let Some(answers) = paste_all(&program, &[200, 201, 403, 200, 403, 200]).await else { return };
    let [opened, _, _, mine, refused, all] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(opened.body, "ada at acme is signed in\n");
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Max-Age=600"), "{cookie}");
    assert_eq!(opened.header("cache-control"), Some("no-store"));
    // The ticket that another site wanted to open is missing, and a session opens no further one.
    assert_eq!(mine.body, "the tickets of ada at acme:\nada: the printer is on fire\n");
    assert_eq!((mine.header("cache-control"), mine.header("set-cookie")), (Some("private"), None));
    assert!(refused.is_refusal(403, "insufficient_scope"), "{refused:?}");
    assert!(refused.challenges()[0].ends_with(", scope=\"host\""), "{refused:?}");
    assert_eq!(all.body, "all tickets of acme:\nada: the printer is on fire\n");
    was_called(&program, 2).await;
    program.stop("INT").await;
}

/// A new folder, which is removed when this value is dropped. Its path has no spaces, because the program does not quote it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("tower-oauth-custom-verifier-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
