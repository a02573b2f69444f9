//! Every test that `ledger.md` names exists, and no threat is missing in it.

use std::{collections::BTreeSet, fs, path::Path};

const LEDGER: &str = include_str!("../ledger.md");

/// The sections of the threat catalogue that concern this crate, with the number of their entries.
const THREATS: [(&str, u8); 10] =
    [("A", 10), ("K", 11), ("X", 9), ("S", 16), ("E", 11), ("C", 16), ("P", 9), ("H", 14), ("I", 18), ("T", 32)];

/// The cells of every row of the tables, without the headings.
fn rows() -> Vec<Vec<&'static str>> {
    let lines = LEDGER.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| !["clause", "id", "trap"].contains(&cells[0])).collect()
}

/// The texts in backticks that have the form of a test name.
fn tests_named_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|name| name.contains("::"))
}

/// Whether `module::test` or, in `src`, `module::tests::test` is a test.
fn exists(name: &str) -> bool {
    let (module, test) = name.rsplit_once("::").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = match module.strip_suffix("::tests") {
        Some(module) => root.join("src").join(module.replace("::", "/")),
        None => root.join("tests/it").join(module.replace("::", "/")),
    };
    let source = fs::read_to_string(path.with_extension("rs")).or_else(|_| fs::read_to_string(path.join("mod.rs")));
    let Ok(source) = source else { return false };
    let Some((before, _)) = source.split_once(&format!("fn {test}(")) else { return false };
    let above = before.lines().rev().skip_while(|line| ["", "async"].contains(&line.trim()));
    above.take_while(|line| line.trim_start().starts_with("#[")).any(|line| line.contains("test"))
}

#[test]
fn every_test_that_the_ledger_names_exists() {
    let missing: BTreeSet<_> = tests_named_in(LEDGER).filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(tests_named_in(LEDGER).count() > 200);
    assert!(!exists("requests::no_such_test") && !exists("nowhere::at_all"), "the search can fail");
    assert!(!exists("support::issuer"), "a function is not yet a test");
}

#[test]
fn every_cell_of_the_ledger_names_a_test_or_says_why_not() {
    let mut empty = Vec::new();
    for row in rows() {
        let columns = match row.len() {
            3 | 4 => &row[2..],
            2 => &row[1..],
            other => panic!("{other} columns: {row:?}"),
        };
        for cell in columns {
            let reasoned = cell.starts_with('(') && cell.ends_with(')') && cell.len() > 8;
            if tests_named_in(cell).next().is_none() && !reasoned {
                empty.push(row[0]);
            }
        }
    }
    assert!(empty.is_empty(), "{empty:#?}");
}

#[test]
fn every_threat_to_requests_and_tokens_stands_in_the_ledger() {
    let listed: BTreeSet<String> =
        rows().iter().filter(|row| row.len() == 3).flat_map(|row| row[0].split(' ')).map(str::to_owned).collect();
    let ids = THREATS.iter().flat_map(|(section, count)| (1..=*count).map(move |number| format!("{section}{number}")));
    let missing: Vec<_> = ids.filter(|id| !listed.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
