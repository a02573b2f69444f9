//! The list of what did not run because something is missing on this machine.
//!
//! Tests add to it with [`not_run`]. `tests/not_run.rs` prints it. Cargo runs the test programs in the order of their names, so
//! `cargo test` prints the list once, after the tests of `it`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::OnceLock,
};

/// Adds to the list that a test does not run. With `CI` set, this fails the test.
///
/// `what` says what was not tested. `missing` says what to install, build or set.
pub(crate) fn not_run(what: &str, missing: &str) {
    assert!(env::var_os("CI").is_none(), "NOT RUN: {what}: {missing}");
    not_run_here(what, missing);
}

/// The same for programs and files that are missing on most machines, also where `CI` is set: never a failure.
pub(crate) fn not_run_here(what: &str, missing: &str) {
    // The harness shows this for tests that fail, and with `-- --show-output`.
    eprintln!("NOT RUN: {what}: {missing}");
    start();
    let line = format!("{}\t{}\t{}\n", run(), missing.replace(['\t', '\n'], " "), what.replace(['\t', '\n'], " "));
    let file = OpenOptions::new().create(true).append(true).open(file());
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}

/// Removes the list of an earlier run, once in each process.
pub(crate) fn start() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // Without the process that started this one, the runs have no different numbers.
        if cfg!(not(unix)) || entries(&read(), run()).is_empty() {
            fs::remove_file(file()).ok();
        }
    });
}

/// Prints the list of this run, and removes it. `tests/not_run.rs` calls it.
#[allow(dead_code)]
pub(crate) fn print() {
    let list = read();
    let entries = entries(&list, run());
    if !entries.is_empty() {
        print!("{}", listed(&entries));
    }
    fs::remove_file(file()).ok();
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("not_run.txt")
}

fn read() -> String {
    fs::read_to_string(file()).unwrap_or_default()
}

/// The process that started this one: `cargo test`, which is the same for all test programs of a run.
fn run() -> u32 {
    #[cfg(unix)]
    return std::os::unix::process::parent_id();
    #[cfg(not(unix))]
    return 0;
}

/// What did not run in this run, by what is missing. A line has the run, what is missing and what did not run.
fn entries(list: &str, run: u32) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut entries: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in list.lines() {
        if let [of, missing, what] = line.split('\t').collect::<Vec<_>>()[..]
            && of == run.to_string()
        {
            entries.entry(missing).or_default().insert(what);
        }
    }
    entries
}

fn listed(entries: &BTreeMap<&str, BTreeSet<&str>>) -> String {
    const SHOWN: usize = 3;
    let mut text = "\nNOT RUN, because something is missing on this machine:\n".to_owned();
    for (missing, whats) in entries {
        let shown: Vec<_> = whats.iter().take(SHOWN).copied().collect();
        let more = if whats.len() > SHOWN { format!("; {} more", whats.len() - SHOWN) } else { String::new() };
        writeln!(text, "- {missing}\n    not tested: {}{more}", shown.join("; ")).unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn a_run_starts_with_an_empty_list() {
    start();
    let list = read();
    let others = list.lines().filter(|line| !line.starts_with(&format!("{}\t", run()))).count();
    assert!(others == 0 || !entries(&list, run()).is_empty());
}

#[test]
fn the_list_has_each_missing_thing_once() {
    let list = "7\tnode\ta client\n7\tredis-server\tc\n8\tother\trun\n7\tredis-server\tc\n7\tredis-server\ta\n\
                7\tredis-server\tb\n7\tredis-server\td\n7\tredis-server\te\n7\tbroken line\n";
    let text = listed(&entries(list, 7));
    let expected = "\nNOT RUN, because something is missing on this machine:\n- node\n    not tested: a client\n\
                    - redis-server\n    not tested: a; b; c; 2 more\n\n";
    assert_eq!(text, expected);
    assert!(entries(list, 9).is_empty());
}
