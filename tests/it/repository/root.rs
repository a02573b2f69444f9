//! The crate's root exports what most programs need, and no more.

use std::fs;

/// Every name that the root exports, without its modules.
const ROOT: [&str; 20] = [
    "AnyOf",
    "AuthError",
    "Cached",
    "Claims",
    "ClientToken",
    "ConfigError",
    "InRole",
    "IntrospectionVerifier",
    "Issuer",
    "JwtOrOpaque",
    "JwtVerifier",
    "OAuthLayer",
    "Preset",
    "ProtectedResource",
    "ResourceServer",
    "Scoped",
    "Token",
    "UserToken",
    "roles!",
    "scopes!",
];

/// The last name of each path in the `pub use` items of `lib.rs`.
fn exported(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for item in code.split("pub use ").skip(1) {
        let item = item.split(';').next().unwrap();
        let words =
            item.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter(|word| !word.is_empty());
        names.extend(
            words.filter(|word| !word.ends_with("::")).map(|word| word.rsplit("::").next().unwrap().to_owned()),
        );
    }
    names
}

/// The macros that the crate exports; `#[macro_export]` puts them at the root.
fn macros(folder: &std::path::Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            macros(&path, into);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for item in text.split("#[macro_export]\nmacro_rules! ").skip(1) {
            into.push(format!("{}!", item.split_whitespace().next().unwrap()));
        }
    }
}

#[test]
fn the_root_exports_exactly_its_list() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = exported(&fs::read_to_string(sources.join("lib.rs")).unwrap());
    macros(&sources, &mut names);
    names.sort();
    assert_eq!(names, ROOT);
    assert!(ROOT.len() <= 20);
}

#[test]
fn the_reader_of_exports_finds_names_in_groups() {
    let text = "// pub use a::No;\npub use self::{\n    a::b::Yes,\n    c::{Two, d::Three},\n};\npub use x::Four;";
    assert_eq!(exported(text), ["Yes", "Two", "Three", "Four"]);
}
