//! The order of layers, and no circle between files of `src/`: read from the paths `crate::…` and `super::…` in the code.
//!
//! A file may name files of its own layer and of those below it. The order from below, as the page of `src/lib.rs` has it:
//! error (with clean, files, thread) < config < log, metrics, net < engine < objstore < catalog < ost.
//! What stands behind `#[cfg(test)]` is not looked at: a test may use what it likes.

// A test fails by panicking, outside its functions too.
#![allow(clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Layers from below; folders or files of `src/` that stand side by side are in one line.
const LAYERS: [&[&str]; 7] = [
    &["error", "clean", "files", "thread"],
    &["config"],
    &["log", "metrics", "net"],
    &["engine"],
    &["objstore"],
    &["catalog"],
    &["ost"],
];

/// Which file names which, with the paths that it does so by.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_file_names_one_of_a_layer_above() {
    let upward = upward(&arrows(&sources()));
    assert!(upward.is_empty(), "upward:\n{}", upward.join("\n"));
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    let circles = circles(&arrows(&sources()));
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn an_upward_arrow_and_a_circle_are_seen() {
    let mut sources = sources();
    assert_eq!(sources["config/value.rs"].matches("crate::catalog").count(), 0);
    sources
        .entry("config/value.rs".into())
        .and_modify(|text| text.push_str("use crate::catalog::lsu::{Capabilities, Lsu};\n"));
    let upward = upward(&arrows(&sources));
    assert_eq!(
        upward,
        ["config/value.rs -> catalog/lsu.rs (crate::catalog::lsu::Capabilities)"]
    );
    let circles = circles(&arrows(&sources));
    assert!(
        circles
            .iter()
            .any(|files| files.contains(&"config/value.rs".to_owned())),
        "{circles:#?}"
    );
}

/// The catalog is the one door to the store: what is above it names no file of `objstore`.
#[test]
fn nobody_reaches_past_the_catalog() {
    let mut reached = Vec::new();
    for (file, text) in sources_of("cli/src") {
        reached.extend(text.contains("vastost::objstore").then(|| format!("cli/src/{file}")));
    }
    for (file, to) in arrows(&sources()) {
        let past = to.keys().any(|to| to.starts_with("objstore/"));
        reached.extend((file.starts_with("ost/") && past).then_some(file));
    }
    assert!(reached.is_empty(), "{reached:#?}");
}

/// All below is async: who waits for it on his own thread stands in one file for each program.
#[test]
fn only_the_bridges_block() {
    let of_library = sources().into_iter().map(|(file, text)| (format!("src/{file}"), text));
    let of_cli = sources_of("cli/src")
        .into_iter()
        .map(|(file, text)| (format!("cli/src/{file}"), text));
    let blocking: Vec<String> = of_library
        .chain(of_cli)
        .filter(|(_, text)| ["block_on(", "run_on("].iter().any(|call| text.contains(call)))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(
        blocking,
        ["src/engine/runtime.rs", "src/ost/bridge.rs", "cli/src/wait.rs"]
    );
}

fn upward(arrows: &Arrows) -> Vec<String> {
    let mut found = Vec::new();
    for (from, to) in arrows {
        for (file, path) in to.iter().filter(|(file, _)| layer(file) > layer(from)) {
            found.push(format!("{from} -> {file} ({path})"));
        }
    }
    found
}

/// The layer of a file, counted from below; `lib.rs` names all of them.
fn layer(file: &str) -> usize {
    let top = file.split(['/', '.']).next().unwrap_or_default();
    let found = LAYERS.iter().position(|layer| layer.contains(&top));
    if top == "lib" {
        LAYERS.len()
    } else {
        found.unwrap_or_else(|| panic!("src/{file} has no layer"))
    }
}

/// The code of each file below `src/`, without comments and without what is for tests alone.
fn sources() -> BTreeMap<String, String> {
    let found = sources_of("src");
    assert!(found.len() > 100, "{} files below src", found.len());
    found
}

fn sources_of(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            let name = entry
                .strip_prefix(&root)
                .expect("below src")
                .to_str()
                .expect("UTF-8")
                .to_owned();
            if entry.is_dir() {
                folders.push(entry);
            } else if name.ends_with(".rs") && !name.ends_with("_tests.rs") {
                let text = std::fs::read_to_string(&entry).expect("a file");
                found.insert(name, code(&text));
            }
        }
    }
    found
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn arrows(sources: &BTreeMap<String, String>) -> Arrows {
    let modules: BTreeMap<Vec<&str>, &String> = sources.keys().map(|file| (module(file), file)).collect();
    let mut arrows = Arrows::new();
    for (file, text) in sources {
        let own = module(file);
        let to = arrows.entry(file.clone()).or_default();
        for path in paths(text) {
            let Some(absolute) = absolute(&own, &path) else {
                continue;
            };
            let owner = (1..=absolute.len()).rev().find_map(|len| modules.get(&absolute[..len]));
            if let Some(owner) = owner.filter(|owner| **owner != file) {
                to.entry((*owner).clone()).or_insert(path);
            }
        }
    }
    arrows
}

/// `catalog/write/mod.rs` is module `catalog::write`.
fn module(file: &str) -> Vec<&str> {
    let mut path: Vec<_> = file.trim_end_matches(".rs").split('/').collect();
    if path.last() == Some(&"mod") {
        path.pop();
    }
    path
}

/// The path from the root of the crate.
fn absolute<'a>(own: &[&'a str], path: &'a str) -> Option<Vec<&'a str>> {
    let mut rest = path.split("::").peekable();
    let mut from = match *rest.peek()? {
        "crate" => Vec::new(),
        _ => own.to_vec(),
    };
    while let Some(first) = rest.next_if(|part| ["crate", "self", "super"].contains(part)) {
        if first == "super" {
            from.pop();
        }
    }
    from.extend(rest);
    Some(from)
}

/// Every path that begins with `crate` or `super`, those in braces one by one.
fn paths(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::"]
        .iter()
        .flat_map(|word| text.match_indices(word))
        .map(|(at, _)| at)
    {
        let before = text[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        expand(&text[start..], "", &mut found);
    }
    found
}

/// Reads one tree of a `use`, or one path, from the start of `text` on; gives what is left.
fn expand<'a>(text: &'a str, prefix: &str, found: &mut BTreeSet<String>) -> &'a str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    if !path.ends_with("::") || !rest.starts_with('{') {
        found.insert(path.trim_end_matches("::").trim_end_matches("::self").to_owned());
        return rest;
    }
    rest = &rest[1..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        match rest.chars().next() {
            Some(c) if c.is_alphanumeric() || c == '_' => rest = expand(rest, &path, found),
            Some('}') => return &rest[1..],
            // A glob, or the new name behind `as`, which is no path of ours.
            Some(c) => rest = &rest[c.len_utf8()..],
            None => return rest,
        }
    }
}

/// The sets of files that name each other directly or through others, each sorted, by depth-first search (Tarjan 1972).
fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    #[derive(Default)]
    struct Search<'a> {
        order: BTreeMap<&'a str, usize>,
        low: BTreeMap<&'a str, usize>,
        open: Vec<&'a str>,
        found: Vec<Vec<String>>,
    }
    fn visit<'a>(arrows: &'a Arrows, file: &'a str, search: &mut Search<'a>) {
        let number = search.order.len();
        search.order.insert(file, number);
        search.low.insert(file, number);
        search.open.push(file);
        for next in arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if !search.order.contains_key(next.as_str()) {
                visit(arrows, next, search);
                let low = search.low[file].min(search.low[next.as_str()]);
                search.low.insert(file, low);
            } else if search.open.contains(&next.as_str()) {
                let low = search.low[file].min(search.order[next.as_str()]);
                search.low.insert(file, low);
            }
        }
        if search.low[file] == number {
            let at = search
                .open
                .iter()
                .position(|open| *open == file)
                .expect("it was opened above");
            let mut circle: Vec<_> = search.open.split_off(at).into_iter().map(ToOwned::to_owned).collect();
            circle.sort_unstable();
            search.found.extend(Some(circle).filter(|circle| circle.len() > 1));
        }
    }
    let mut search = Search::default();
    for file in arrows.keys() {
        if !search.order.contains_key(file.as_str()) {
            visit(arrows, file, &mut search);
        }
    }
    search.found
}
