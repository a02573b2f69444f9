//! The architecture: a module imports only from its own floor or a lower one, no modules import each other in a circle, and
//! no file is too long.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The modules of each floor, the lowest floor first. `lib.rs` is above all of them.
const FLOORS: [&[&str]; 6] = [
    &[
        "scope",
        "role",
        "error",
        "config_error",
        "confirmation",
        "claims",
        "acts_for",
        "credentials",
        "cross_site",
        "token",
        "challenge",
        "openapi",
        "json",
        "scheme",
        "url",
        "sync",
        "websocket",
    ],
    &["clock", "dpop", "fetch", "log", "jws", "keys", "issuer", "mutual_tls", "redis_link"],
    &["verify", "step_up"],
    &["server", "lifetime", "layer", "metadata"],
    &["extract"],
    &["testing"],
];
/// Uses floors 0 and 1. Only `testing` uses it.
const TOKEN_ENDPOINT: &str = "token_endpoint";
/// What `token_endpoint` may import from the rest of the crate. It is short, so that the token endpoint can become a crate of
/// its own.
const TOKEN_ENDPOINT_IMPORTS: [&str; 15] = [
    "claims",
    "clock",
    "config_error",
    "confirmation",
    "dpop",
    "fetch",
    "json",
    "jws",
    "keys",
    "log",
    "mutual_tls",
    "redis_link",
    "scope",
    "sync",
    "url",
];
/// The file of `token_endpoint` that implements a verifier, and what only it may import.
const ENDPOINT_VERIFIER: (&str, [&str; 3]) = ("token_endpoint/verifier.rs", ["error", "token", "verify"]);
/// The module of the guides, which has no code.
const DOCUMENTATION: &str = "guide";
const MAX_LINES: usize = 400;

struct Source {
    /// Below `src`, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The module of the crate that it belongs to: `keys` for `keys/jwk.rs`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The source before its unit tests, which may import anything.
    fn before_tests(&self) -> &str {
        self.text.split("#[cfg(test)]").next().unwrap()
    }
}

fn sources() -> Vec<Source> {
    fn collect(folder: &Path, root: &Path, into: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below: Vec<_> =
                    path.strip_prefix(root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
                into.push(Source { path: below.join("/"), text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    sources
}

/// The modules that a text names as `crate::module` or in `crate::{module::…, …}`.
/// Comments and doc attributes don't count, and neither does `$crate`, which is for the users of a macro.
fn imports(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.contains("doc = "));
    let code = lines.map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
    let mut imports = BTreeSet::new();
    for (position, _) in code.match_indices("crate::") {
        let whole_word = !code[..position].ends_with(|c: char| c == '$' || c == '_' || c.is_alphanumeric());
        if !whole_word {
            continue;
        }
        let rest = &code[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => imports.extend(first_names(group)),
            None => imports.extend(first_name(rest)),
        }
    }
    imports
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first names of the paths in a `use` group, up to its closing brace.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut at_start, mut names) = (0, true, Vec::new());
    for (position, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                names.extend(first_name(&group[position..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// Returns what is wrong with an import, or `None` if it is allowed.
fn violation(from: &str, to: &str) -> Option<String> {
    if from == TOKEN_ENDPOINT {
        let allowed = to == TOKEN_ENDPOINT || TOKEN_ENDPOINT_IMPORTS.contains(&to);
        return (!allowed).then(|| format!("token_endpoint imports {to}, which is not in TOKEN_ENDPOINT_IMPORTS"));
    }
    if (from, to) == ("testing", TOKEN_ENDPOINT) {
        return None;
    }
    match (floor(from), floor(to)) {
        (Some(from_floor), Some(to_floor)) if to_floor <= from_floor => None,
        (Some(from_floor), Some(to_floor)) => {
            Some(format!("{from} (floor {from_floor}) imports {to} (floor {to_floor})"))
        }
        (None, _) => Some(format!("{from} is on no floor: add it to FLOORS")),
        (_, None) => {
            Some(format!("{from} imports {to}, which is not a module: name the module, not a re-export of lib.rs"))
        }
    }
}

/// The modules that each module imports, except itself.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let own = source.module().to_owned();
        let imports = imports(source.before_tests()).into_iter().filter(|import| *import != own);
        graph.entry(own.clone()).or_default().extend(imports);
    }
    graph
}

/// Returns the modules of a circle of imports, if there is one. The first module is also the last.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn search(graph: &BTreeMap<String, BTreeSet<String>>, chain: &mut Vec<String>) -> bool {
        let Some(next) = chain.last().and_then(|last| graph.get(last)) else { return false };
        for module in next {
            if *module == chain[0] {
                chain.push(module.clone());
                return true;
            }
            if !chain.contains(module) {
                chain.push(module.clone());
                if search(graph, chain) {
                    return true;
                }
                chain.pop();
            }
        }
        false
    }
    graph.keys().find_map(|start| {
        let mut chain = vec![start.clone()];
        search(graph, &mut chain).then_some(chain)
    })
}

#[test]
fn a_module_imports_only_from_its_own_floor_or_a_lower_one() {
    let mut violations = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        for import in imports(source.before_tests()) {
            seen += 1;
            if source.path == ENDPOINT_VERIFIER.0 && ENDPOINT_VERIFIER.1.contains(&&*import) {
                continue;
            }
            violations.extend(violation(source.module(), &import).map(|text| format!("{}: {text}", source.path)));
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    assert!(seen > 60, "the reader of imports found only {seen}");
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    assert_eq!(circle(&graph()), None);
    let graph = |pairs: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c", "b"]);
}

#[test]
fn the_token_endpoint_imports_everything_in_its_list() {
    let imports = graph().remove(TOKEN_ENDPOINT).unwrap();
    let unused: Vec<_> = TOKEN_ENDPOINT_IMPORTS.iter().filter(|module| !imports.contains(**module)).collect();
    assert!(unused.is_empty(), "remove {unused:?} from TOKEN_ENDPOINT_IMPORTS");
}

#[test]
fn every_module_is_on_a_floor_and_every_floor_has_its_modules() {
    let modules: BTreeSet<_> = sources()
        .iter()
        .map(|source| source.module().to_owned())
        .filter(|name| !["lib", DOCUMENTATION].contains(&&**name))
        .collect();
    let listed: BTreeSet<_> = FLOORS.concat().into_iter().chain([TOKEN_ENDPOINT]).map(str::to_owned).collect();
    assert_eq!(modules, listed);
}

#[test]
fn no_file_is_longer_than_400_lines_before_its_tests() {
    let long: Vec<_> = sources()
        .iter()
        .map(|source| (source.path.clone(), source.before_tests().lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn the_reader_of_imports_finds_what_it_should() {
    let text = "
        //! [`crate::layer`] is only mentioned
        #![cfg_attr(feature = \"axum\", doc = \"[`crate::extract`] too\")]
        use crate::{
            claims::{ClaimNames, Facts}, // crate::extract
            error::AuthError,
            token,
        };
        pub(crate) use crate::scope::Scopes;
        pub(in crate::verify) fn f() -> crate::jws::X { $crate::layer::y(); xcrate::server::z() }
    ";
    let found: Vec<_> = imports(text).into_iter().collect();
    assert_eq!(found, ["claims", "error", "jws", "scope", "token", "verify"]);
    assert!(violation("scope", "error").is_none() && violation("layer", "log").is_none());
    for (from, to) in [
        ("scope", "clock"),
        ("keys", "verify"),
        ("verify", "server"),
        ("layer", "extract"),
        ("extract", "testing"),
        ("verify", "token_endpoint"),
    ] {
        assert!(violation(from, to).is_some(), "{from} {to}");
    }
    assert!(violation(TOKEN_ENDPOINT, "jws").is_none() && violation(TOKEN_ENDPOINT, TOKEN_ENDPOINT).is_none());
    assert!(violation(TOKEN_ENDPOINT, "verify").is_some() && violation("layer", TOKEN_ENDPOINT).is_some());
    assert!(violation("server", "Token").is_some() && violation("unknown", "error").is_some());
}
