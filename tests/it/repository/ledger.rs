//! The ledger: which tests cover which duty and which threat.
//!
//! `tests/duties.md` and `tests/threats.md` define the ids. The documentation of a test names those that it covers, a duty in a
//! line of its own:
//!
//! ```text
//! /// RFC 6750 §2.1 a (MUST, accepts)
//! /// RFC 6750 §3.1 b (SHOULD NOT, accepts and refuses)
//! /// Threats H1, H2
//! ```
//!
//! `UPDATE_LEDGER=1 cargo test --all-features --test it repository::ledger` writes `tests/it/ledger.md`. Without the variable the
//! test compares the file with the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::Path,
};

const KINDS: [&str; 2] = ["accepts", "refuses"];

/// A duty or a threat, as its file defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Definition {
    section: String,
    id: String,
    /// Empty for a threat.
    level: String,
    text: String,
    /// Why it has no test. For a duty it may begin with a kind and a colon; without, it holds for both kinds.
    reason: String,
}

/// What the documentation of a test says that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Covered {
    Duty { id: String, level: String, kinds: Vec<&'static str> },
    Threat { id: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    name: String,
    covers: Vec<Covered>,
}

/// The cells of a row of a table. A `|` in backticks is text.
fn cells(row: &str) -> Vec<String> {
    let (mut cells, mut in_code) = (vec![String::new()], false);
    for c in row.trim().trim_start_matches('|').chars() {
        in_code ^= c == '`';
        match c {
            '|' if !in_code => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells.pop();
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

fn definitions(text: &str) -> Vec<Definition> {
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let cells = if line.starts_with("| ") && !line.starts_with("| id |") { cells(line) } else { Vec::new() };
        let (id, level, text, reason) = match &cells[..] {
            [] => continue,
            [id, text, reason] => (id, "", text, reason),
            [id, level, text, reason] => (id, &**level, text, reason),
            _ => panic!("a row has other columns: {line}"),
        };
        let (id, level, text, reason) = (id.clone(), level.to_owned(), text.clone(), reason.clone());
        found.push(Definition { section: section.clone(), id, level, text, reason });
    }
    found
}

/// What a line of documentation says that its test covers. Returns nothing for other lines.
fn covered(line: &str) -> Vec<Covered> {
    if let Some(ids) = line.strip_prefix("Threats ").or_else(|| line.strip_prefix("Threat ")) {
        return ids.split(", ").map(|id| Covered::Threat { id: id.to_owned() }).collect();
    }
    let inside = line.strip_suffix(')').and_then(|line| line.rsplit_once(" ("));
    let Some((id, (level, kinds))) = inside.and_then(|(id, inside)| Some((id, inside.rsplit_once(", ")?))) else {
        return Vec::new();
    };
    let named: Vec<_> =
        kinds.split(" and ").filter_map(|named| KINDS.into_iter().find(|kind| *kind == named)).collect();
    if named.is_empty() || named.len() != kinds.split(" and ").count() {
        return Vec::new();
    }
    vec![Covered::Duty { id: id.to_owned(), level: level.to_owned(), kinds: named }]
}

/// The tests of a source file, whose module has this name.
fn tests_of(module: &str, source: &str) -> Vec<Test> {
    let (mut inner, mut above, mut found) = (String::new(), Vec::new(), Vec::new());
    for line in source.lines() {
        if line.starts_with(|c: char| c.is_alphabetic()) {
            let named = line.strip_suffix(" {").and_then(|line| line.rsplit_once("mod "));
            inner = named.map(|(_, name)| format!("::{name}")).unwrap_or_default();
        }
        let code = line.trim();
        if code.is_empty() || code.starts_with("//") || code.starts_with("#[") {
            above.push(code);
            continue;
        }
        let is_test = above.iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"));
        let name = code.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let (true, Some(name)) = (is_test, name) {
            let docs = above.iter().filter_map(|line| line.strip_prefix("///"));
            let covers = docs.flat_map(|line| covered(line.trim())).collect();
            let inner = if line.starts_with(' ') { &*inner } else { "" };
            found.push(Test { name: format!("{module}{inner}::{name}"), covers });
        }
        above.clear();
    }
    found
}

/// All tests below a directory, which is the root of the modules.
fn tests_below(root: &Path, module: &str, into: &mut Vec<Test>) {
    let mut entries: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let below = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
        if path.is_dir() {
            tests_below(&path, &below, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = if ["mod", "main", "lib"].contains(&name) { module } else { &below };
            into.extend(tests_of(module, &fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The tests of each duty and threat: by id and kind. The kind of a threat is empty.
fn by_id(tests: &[Test]) -> BTreeMap<(&str, &str), BTreeSet<&str>> {
    let mut by_id: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for test in tests {
        for covered in &test.covers {
            let (id, kinds) = match covered {
                Covered::Duty { id, kinds, .. } => (id, &kinds[..]),
                Covered::Threat { id } => (id, &[""][..]),
            };
            for kind in kinds {
                by_id.entry((id, kind)).or_default().insert(&test.name);
            }
        }
    }
    by_id
}

impl Definition {
    fn kinds(&self) -> &'static [&'static str] {
        if self.level.is_empty() { &[""] } else { &KINDS }
    }

    /// Why there is no test of this kind. Empty if there is no reason.
    fn reason(&self, kind: &str) -> &str {
        match self.reason.split_once(": ") {
            Some((only, reason)) if KINDS.contains(&only) => {
                if only == kind {
                    reason
                } else {
                    ""
                }
            }
            _ => &self.reason,
        }
    }

    fn cell(&self, kind: &str, tests: &BTreeMap<(&str, &str), BTreeSet<&str>>) -> String {
        let tests = tests.get(&(&*self.id, kind)).into_iter().flatten().map(|test| format!("`{test}`"));
        let reason = Some(self.reason(kind)).filter(|reason| !reason.is_empty());
        tests.chain(reason.map(|reason| format!("({reason})"))).collect::<Vec<_>>().join(" ")
    }
}

/// Everything that is wrong with the definitions and the documentation of the tests.
fn mistakes(duties: &[Definition], threats: &[Definition], tests: &[Test]) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut levels = BTreeMap::new();
    for definition in duties.iter().chain(threats) {
        if levels.insert(&*definition.id, &*definition.level).is_some() {
            mistakes.push(format!("{} is defined twice", definition.id));
        }
    }
    for test in tests {
        for covered in &test.covers {
            let (id, level) = match covered {
                Covered::Duty { id, level, .. } => (id, &**level),
                Covered::Threat { id } => (id, ""),
            };
            match levels.get(&**id) {
                None => mistakes.push(format!("{}: {id} is not defined", test.name)),
                Some(defined) if *defined != level => {
                    mistakes.push(format!("{}: the level of {id} is {defined:?}, not {level:?}", test.name));
                }
                Some(_) => {}
            }
        }
    }
    let by_id = by_id(tests);
    for definition in duties.iter().chain(threats) {
        for kind in definition.kinds().iter().filter(|kind| definition.cell(kind, &by_id).is_empty()) {
            let duty = [&*definition.id, *kind].join(" ");
            mistakes.push(format!("{}: no test names it, and there is no reason", duty.trim_end()));
        }
    }
    mistakes
}

const HEAD: &str = "\
# The ledger: the tests for each duty and each threat

Generated from `tests/duties.md`, `tests/threats.md` and the documentation of the tests. Change those, and write this file again with
`UPDATE_LEDGER=1 cargo test --all-features --test it repository::ledger`.

Tests that *accept* try what must be accepted, tests that *refuse* try what must be refused. The names are those that
`cargo test` prints. A text in parentheses says why there is no test.
";

fn ledger(duties: &[Definition], threats: &[Definition], tests: &[Test]) -> String {
    let by_id = by_id(tests);
    let mut text = HEAD.to_owned();
    for (title, heading, rule, definitions) in [
        ("Duties", "| id | level | duty | accepts | refuses |", "|---|---|---|---|---|", duties),
        ("Threats", "| id | threat | tests |", "|---|---|---|", threats),
    ] {
        write!(text, "\n## {title}\n").unwrap();
        let mut section = "";
        for definition in definitions {
            if definition.section != section {
                section = &definition.section;
                write!(text, "\n### {section}\n\n{heading}\n{rule}\n").unwrap();
            }
            let mut cells = vec![definition.id.clone()];
            cells.extend(Some(definition.level.clone()).filter(|level| !level.is_empty()));
            cells.push(definition.text.clone());
            cells.extend(definition.kinds().iter().map(|kind| definition.cell(kind, &by_id)));
            writeln!(text, "| {} |", cells.join(" | ")).unwrap();
        }
    }
    text
}

#[test]
fn the_ledger_is_made_from_the_definitions_and_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join("tests").join(name)).unwrap().replace("\r\n", "\n");
    let (duties, threats) = (definitions(&read("duties.md")), definitions(&read("threats.md")));
    let mut tests = Vec::new();
    tests_below(&root.join("tests/it"), "", &mut tests);
    tests_below(&root.join("src"), "", &mut tests);
    assert!(tests.len() > 1700 && duties.len() > 280 && threats.len() > 200, "the readers found too little");
    let mistakes = mistakes(&duties, &threats, &tests);
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));

    let ledger = ledger(&duties, &threats, &tests);
    if env::var_os("UPDATE_LEDGER").is_some() {
        fs::write(root.join("tests/it/ledger.md"), ledger).unwrap();
        return;
    }
    let stored = read("it/ledger.md");
    let differs = ledger.lines().zip(stored.lines()).find(|(made, stored)| made != stored);
    assert!(ledger == stored, "tests/it/ledger.md is old: write it again with UPDATE_LEDGER=1. {differs:#?}");
}

#[test]
fn a_missing_test_and_a_wrong_id_are_mistakes() {
    let duties = "## One\n| id | level | duty | no test, because |\n|---|---|---|---|\n| RFC 1 §2 a | MUST | `x|y` holds | |\n\
                  | RFC 1 §3 | MUST, SHOULD | z | refuses: it can't be |\n| RFC 1 §3 | MUST | z | it can't be |\n";
    let duties = definitions(duties);
    assert_eq!(duties[0].text, "`x|y` holds");
    let threats = definitions("| A1 | t | |\n| A2 | u | not here |\n");
    let source = "/// Text.\n///\n/// RFC 1 §2 a (MUST, accepts)\n/// RFC 1 §9 (MUST, refuses)\n#[test]\nfn one() {}\n\n\
                  mod inner {\n    /// RFC 1 §3 (MUST, SHOULD, accepts and refuses)\n    /// Threats A1, A3\n    \
                  #[tokio::test]\n    async fn two() {}\n\n    /// RFC 1 §2 a (MUST, refuses)\n    fn no_test() {}\n}\n";
    let tests = tests_of("module", source);
    assert_eq!(tests.iter().map(|test| &*test.name).collect::<Vec<_>>(), ["module::one", "module::inner::two"]);
    assert_eq!(
        mistakes(&duties, &threats, &tests),
        [
            "RFC 1 §3 is defined twice",
            "module::one: RFC 1 §9 is not defined",
            "module::inner::two: the level of RFC 1 §3 is \"MUST\", not \"MUST, SHOULD\"",
            "module::inner::two: A3 is not defined",
            "RFC 1 §2 a refuses: no test names it, and there is no reason",
        ]
    );
    let ledger = ledger(&duties, &threats, &tests);
    for row in [
        "| RFC 1 §2 a | MUST | `x|y` holds | `module::one` |  |",
        "| RFC 1 §3 | MUST, SHOULD | z | `module::inner::two` | `module::inner::two` (it can't be) |",
        "| A1 | t | `module::inner::two` |",
        "| A2 | u | (not here) |",
    ] {
        assert!(ledger.lines().any(|line| line == row), "{row}\n{ledger}");
    }
}
