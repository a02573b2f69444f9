//! Builds each contestant with a command of its own, so that cargo does not unify the features of several peers.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{Entry, lineup::ENTRIES, report::Measured};

/// Returns the directory of this program, which is also that of the other programs.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().expect("the system knows where this program is");
    program.parent().expect("a program is in a directory").to_owned()
}

/// Returns one program for each contestant, or why there is none.
pub(crate) fn all(build: bool) -> Vec<Measured> {
    let programs = target().join("contestants");
    std::fs::create_dir_all(&programs).expect("the target directory is writable");
    ENTRIES
        .iter()
        .map(|entry| {
            let outcome = one(entry, &programs, build);
            if let Err(reason) = &outcome {
                eprintln!("{}: {reason}", entry.name);
            }
            Measured::new(entry, graph(entry), outcome)
        })
        .collect()
}

/// Copies the program, because two configurations of a package overwrite each other.
fn one(entry: &Entry, programs: &Path, build: bool) -> Result<PathBuf, String> {
    let program = programs.join([entry.package, entry.feature.unwrap_or_default()].join("-"));
    if build {
        eprintln!("building {}", entry.name);
        let output = cargo(&["build", "--release"], entry);
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            let error = output.lines().find(|line| line.starts_with("error")).unwrap_or("cargo failed");
            return Err(format!("the build fails: {error}"));
        }
        std::fs::copy(target().join(entry.package), &program).map_err(|error| error.to_string())?;
    }
    if program.exists() { Ok(program) } else { Err("the program was not built".to_owned()) }
}

/// Returns the versions of the compared crates, and the features that select a backend, from cargo.
fn graph(entry: &Entry) -> String {
    let output = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{p} {f}"], entry);
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let show = |name: &&str| {
        let line = tree.lines().find(|line| line.split(' ').next() == Some(name))?;
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.trim_start_matches('v'));
        let backends: Vec<_> =
            line.split([' ', ',']).filter(|feature| ["aws_lc_rs", "rust_crypto"].contains(feature)).collect();
        let backends = match (name, backends.join(" + ")) {
            ("jsonwebtoken", none) if none.is_empty() => " (ring)".to_owned(),
            (_, none) if none.is_empty() => String::new(),
            (_, backends) => format!(" ({backends})"),
        };
        Some(format!("{name} {version}{backends}"))
    };
    entry.shown.iter().filter_map(show).collect::<Vec<_>>().join(", ")
}

fn cargo(arguments: &[&str], entry: &Entry) -> Output {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).args(["--package", entry.package]);
    command.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    if let Some(feature) = entry.feature {
        command.args(["--features", feature]);
    }
    command.output().expect("cargo is installed")
}
