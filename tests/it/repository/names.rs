//! One word has one meaning: no type name is used twice in the crate.

use std::{collections::BTreeMap, fs, path::Path};

/// `ResponseFuture` is the future of each service, in the service's module, as in tower-http.
const REPEATED: [&str; 1] = ["ResponseFuture"];

/// Only one of the two signature backends is compiled, and both define the same types.
const OTHER_BACKEND: &str = "jws/rust_crypto";

/// The names of the structs, enums, traits and free type aliases of a source.
fn types(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            match (words.next()?, words.next()?) {
                ("struct" | "enum" | "trait" | "union", name) => name.split(|c: char| !c.is_alphanumeric()).next(),
                _ => None,
            }
        })
        .collect()
}

fn collect(folder: &Path, into: &mut BTreeMap<String, Vec<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.to_str().unwrap().replace('\\', "/");
            if name.contains(OTHER_BACKEND) {
                continue;
            }
            for found in types(&fs::read_to_string(&path).unwrap()) {
                into.entry(found.to_owned()).or_default().push(name.clone());
            }
        }
    }
}

#[test]
fn no_type_name_is_used_twice() {
    let mut found = BTreeMap::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 200, "the reader of types found only {}", found.len());
    found.retain(|name, files| files.len() > 1 && !REPEATED.contains(&name.as_str()));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_reader_of_types_finds_what_it_should() {
    let text = "pub struct A<T>(T);\n    enum B {\npub(crate) trait C: D {}\n// struct E;\n#[cfg(test)]\nmod tests {\nstruct F;\n";
    assert_eq!(types(text), ["A", "B", "C"]);
}
