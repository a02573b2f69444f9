//! The security guide names every method that weakens a check, so that an auditor can rely on its tables.

use std::{collections::BTreeSet, fs, path::Path};

/// Adds the names of the public methods that begin with `danger_` or `accept_`.
fn collect(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("pub fn ")?.split('(').next());
            let weakening = |name: &&str| name.starts_with("danger_") || name.starts_with("accept_");
            into.extend(names.filter(weakening).map(str::to_owned));
        }
    }
}

#[test]
fn the_security_guide_names_every_method_that_weakens_a_check() {
    let mut methods = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&source, &mut methods);
    assert!(methods.len() > 15, "the reader of methods found only {methods:?}");
    let guide = fs::read_to_string(source.join("guide/security.md")).unwrap();
    methods.retain(|method| !guide.contains(&format!("| [`{method}`]")) && !guide.contains(&format!(", [`{method}`]")));
    assert!(methods.is_empty(), "no row of src/guide/security.md names {methods:?}");
}
