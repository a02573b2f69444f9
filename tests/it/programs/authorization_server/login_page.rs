//! The page in Chromium, which `tests/clients/login_page.py` drives with the keyboard and without any script.

use std::fs;

use tokio::process::Command;

use super::{Folder, ODD_CLIENTS, Server};
use crate::{
    interop::real_clients::{
        CHROMIUM,
        tools::{folder, in_target, missing, run},
    },
    support::not_run,
};

/// What the script does, one line for each.
const STEPS: &[&str] = &[
    "no script runs",
    "the page: its texts, and what Tab reaches",
    "an empty form: the browser itself requires the name",
    "a wrong password: the title, an alert and the focused field state the problem",
    "the right password: code, state and iss; the code is redeemed",
    "Deny requires no password",
    "a callback that redirects to another origin",
    "two tabs: the first one is submitted last",
    "the form of another site, with a token that the server issued to that site",
    "a frame on another site stays empty",
    "an unregistered redirect URI: an error page, and no redirect",
];

#[tokio::test]
async fn a_user_logs_in_with_the_keyboard_in_a_browser_without_scripts() {
    if missing(&["chromium", "chromedriver", "python3"]).is_some() {
        return not_run("the login page in Chromium", CHROMIUM);
    }
    let clients = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&clients, &[]).await else { return };
    // The pictures stay there, to be looked at.
    let pictures = in_target("tmp/login_page");
    fs::create_dir_all(&pictures).unwrap();
    let mut script = Command::new("python3");
    script.arg(folder().join("login_page.py")).arg(server.url("")).arg(&pictures);
    let output = run(script, &[]).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}\n{}", server.log());
    assert_eq!(printed.lines().map(str::trim).collect::<Vec<_>>(), STEPS);
    for picture in ["authorize.png", "authorize-phone.png", "authorize-wrong.png", "authorize-refused.png"] {
        assert!(pictures.join(picture).is_file(), "{picture}");
    }
    server.stop("TERM").await;
}
