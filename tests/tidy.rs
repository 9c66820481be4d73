//! The style of this repository as a test, with a ratchet: what breaks a rule today is listed exactly, and that list may only shrink.
//!
//! Rules that clippy or rustc know are left to them (`[workspace.lints]`); here are those about the repository as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LONGEST_FILE_LINES: usize = 500;
const LONGEST_FUNCTION_LINES: usize = 70;
const LARGEST_FILE_BYTES: u64 = 1024 * 1024;

/// Files over [`LONGEST_FILE_LINES`], with their exact length.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions over [`LONGEST_FUNCTION_LINES`]: file, name, exact length.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Which crates of this workspace a crate may use. Imports go one way.
const LAYERS: &[(&str, &[&str])] = &[
    ("common", &[]),
    ("config", &["standin-common"]),
    ("replicator", &["standin-common", "standin-config"]),
    ("failover", &["standin-common", "standin-config"]),
    (".", &["standin-common", "standin-config", "standin-replicator", "standin-failover"]),
];

/// Words that may not be in a file, with the reason. Spelled in two halves, so that this file does not break its own rule.
fn forbidden_everywhere() -> Vec<(String, &'static str)> {
    vec![
        (["TO", "DO"].concat(), "an issue is the place for what is left to do"),
        (["FIX", "ME"].concat(), "an issue is the place for what is broken"),
        (["/wo", "rk/"].concat(), "a path of one machine means nothing elsewhere"),
        (["/home", "/"].concat(), "a path of one machine means nothing elsewhere"),
    ]
}

fn forbidden_in_rust() -> Vec<(String, &'static str)> {
    vec![
        (["to", "do!("].concat(), "unwritten code does not land"),
        (["unimple", "mented!("].concat(), "unwritten code does not land"),
        (["db", "g!("].concat(), "log with tracing"),
    ]
}

/// A file that git tracks or would track, with its text if it has one.
struct Source {
    path: String,
    len_bytes: u64,
    text: Option<String>,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is test code.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.split('/').any(|part| part == "tests" || part == "benches") || name == "tests.rs" || name.ends_with("_tests.rs")
    }

    fn is_platform(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        ["linux", "windows"].iter().any(|os| name == format!("{os}.rs") || self.path.contains(&format!("/os/{os}/")))
    }

    /// Numbered lines outside `#[cfg(test)]` modules, which by convention end a file.
    fn shipped_lines(&self) -> Vec<(usize, &str)> {
        if self.is_test() {
            return Vec::new();
        }
        self.lines().into_iter().take_while(|(_, line)| *line != "#[cfg(test)]").collect()
    }

    fn lines(&self) -> Vec<(usize, &str)> {
        self.text.iter().flat_map(|text| text.lines()).enumerate().map(|(index, line)| (index + 1, line)).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Everything that is tracked or would be with `git add .`, so that a fault is seen before it is committed.
fn sources() -> Vec<Source> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is needed to know which files belong to the repository");
    assert!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr));
    let mut paths: Vec<String> = list
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    paths.sort();
    paths.dedup();
    let sources: Vec<Source> = paths.into_iter().filter_map(read).collect();
    assert!(sources.len() > 20, "only {} files found: the list is wrong", sources.len());
    sources
}

/// `None` for a file that was removed but is still in git's index.
fn read(path: String) -> Option<Source> {
    let full: PathBuf = root().join(&path);
    let len_bytes = fs::symlink_metadata(&full).ok()?.len();
    let text = fs::read(&full).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Some(Source { path, len_bytes, text })
}

/// The text of a line without string literals and line comments, good enough for counting braces and finding words.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut in_string = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' if in_string => drop(chars.next()),
            '"' => in_string = !in_string,
            _ if in_string => {}
            '\'' if matches!(chars.peek(), Some('{' | '}' | '"')) => drop(chars.next()),
            '/' if chars.peek() == Some(&'/') => break,
            _ => code.push(char),
        }
    }
    code
}

/// Name and length of every function, from the line with `fn` to the one with its last brace.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(String, usize, i32)> = Vec::new();
    let mut depth = 0;
    let mut waiting: Option<(String, usize)> = None;
    for (number, line) in source.lines() {
        let code = code_of(line);
        if let Some(name) = function_name(&code) {
            waiting = Some((name, number));
        }
        for char in code.chars() {
            match char {
                '{' => {
                    depth += 1;
                    if let Some((name, start)) = waiting.take() {
                        open.push((name, start, depth));
                    }
                }
                '}' => {
                    if open.last().is_some_and(|(_, _, at)| *at == depth) {
                        let (name, start, _) = open.pop().unwrap();
                        found.push((name, number - start + 1));
                    }
                    depth -= 1;
                }
                // A declaration without a body, in a trait.
                ';' if depth == open.last().map_or(depth, |(_, _, at)| *at) && code.trim_end().ends_with(';') => waiting = None,
                _ => {}
            }
        }
    }
    found
}

fn function_name(code: &str) -> Option<String> {
    let before = ["fn ", "pub fn ", "const fn ", "async fn "];
    let trimmed = code.trim_start();
    let at = trimmed.find("fn ")?;
    let qualifiers = &trimmed[..at + 3];
    let plain = before.contains(&qualifiers) || (qualifiers.starts_with("pub") && qualifiers.ends_with(" fn "));
    let name: String = trimmed[at + 3..].chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
    (plain && !name.is_empty()).then_some(name)
}

fn assert_none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// What is found must be what is listed, so that the list shrinks with the faults.
fn assert_ratchet(rule: &str, mut found: Vec<String>, listed: impl Iterator<Item = String>) {
    let mut listed: Vec<String> = listed.collect();
    found.sort();
    listed.sort();
    let new: Vec<&String> = found.iter().filter(|entry| !listed.contains(entry)).collect();
    let gone: Vec<&String> = listed.iter().filter(|entry| !found.contains(entry)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "{rule}\n  not listed (make it shorter): {new:#?}\n  listed, not found (take it off the list): {gone:#?}"
    );
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter(|source| source.is_rust()).map(|source| (source.path.clone(), source.lines().len()));
    let long = long.filter(|(_, lines)| *lines > LONGEST_FILE_LINES).map(|(path, lines)| format!("{path}: {lines} lines"));
    assert_ratchet(
        "a file has at most 500 lines",
        long.collect(),
        LONG_FILES.iter().map(|(path, lines)| format!("{path}: {lines} lines")),
    );
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| source.is_rust()) {
        for (name, lines) in functions(source) {
            seen += 1;
            if lines > LONGEST_FUNCTION_LINES {
                long.push(format!("{}: {name}: {lines} lines", source.path));
            }
        }
    }
    assert!(seen > 200, "only {seen} functions found: the counter is wrong");
    let listed = LONG_FUNCTIONS.iter().map(|(path, name, lines)| format!("{path}: {name}: {lines} lines"));
    assert_ratchet("a function has at most 70 lines", long, listed);
}

#[test]
fn the_function_counter_counts() {
    let text = "trait A {\n    fn declared(&self);\n}\nfn outer() {\n    let s = \"{\";\n    fn inner() -> char {\n        '{'\n    }\n}\npub(crate) fn wide(\n    a: u8,\n) {\n}\n";
    let source = Source { path: "a.rs".into(), len_bytes: 0, text: Some(text.into()) };
    let found: Vec<(String, usize)> = functions(&source);
    assert_eq!(found, [("inner".into(), 3), ("outer".into(), 6), ("wide".into(), 4)]);
}

#[test]
fn no_forbidden_words() {
    let mut faults = Vec::new();
    for source in sources() {
        let words = forbidden_everywhere().into_iter().chain(forbidden_in_rust().into_iter().filter(|_| source.is_rust()));
        for (word, reason) in words {
            let hits = source.lines().into_iter().filter(|(_, line)| line.contains(&word)).map(|(number, _)| number);
            faults.extend(hits.map(|number| format!("{}:{number}: `{word}`: {reason}", source.path)));
        }
    }
    assert_none("these words may not be in the repository", &faults);
}

#[test]
fn no_unwrap_outside_tests() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        for (number, line) in source.shipped_lines() {
            let code = code_of(line);
            if code.contains(".unwrap()") || code.contains("allow(clippy::unwrap_used") {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("errors are returned, not unwrapped, outside tests", &faults);
}

#[test]
fn unsafe_only_in_platform_files() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust() && !source.is_platform()) {
        for (number, line) in source.lines() {
            let words: Vec<String> =
                code_of(line).split(|char: char| !char.is_alphanumeric() && char != '_').map(str::to_owned).collect();
            if words.iter().any(|word| word == "unsafe") {
                faults.push(format!("{}:{number}", source.path));
            }
        }
    }
    assert_none("`unsafe` only in linux.rs, windows.rs or beneath os/", &faults);
}

#[test]
fn no_fixed_waits_in_tests() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let shipped = source.shipped_lines().len();
        let in_tests = source.lines().into_iter().skip(shipped);
        // A poll inside a loop with a deadline says so on its line.
        let sleeps = in_tests.filter(|(_, line)| code_of(line).contains("thread::sleep") && !line.contains("// poll"));
        faults.extend(sleeps.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    assert_none(
        "a test waits for its condition with a deadline, it does not sleep (a poll in such a loop is marked `// poll`)",
        &faults,
    );
}

#[test]
fn no_trailing_whitespace() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with(".md")) {
        let ends = source.lines().into_iter().filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
        faults.extend(ends.map(|(number, _)| format!("{}:{number}", source.path)));
        if source.text.as_deref().is_some_and(|text| !text.is_empty() && !text.ends_with('\n')) {
            faults.push(format!("{}: no newline at the end", source.path));
        }
    }
    assert_none("lines end where their text ends", &faults);
}

#[test]
fn imports_go_one_way() {
    let mut faults = Vec::new();
    for (member, allowed) in LAYERS {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        let dependencies =
            manifest.split("\n[").filter(|part| part.starts_with("dependencies]") || part.starts_with("dev-dependencies]"));
        for line in dependencies.flat_map(str::lines).filter(|line| line.starts_with("standin")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            if !allowed.contains(&name) {
                faults.push(format!("{member} uses {name}"));
            }
        }
    }
    assert_none("imports go common <- config <- {replicator, failover} <- root", &faults);
}

#[test]
fn every_crate_has_the_lints() {
    let manifests =
        sources().into_iter().filter(|source| source.path.ends_with("Cargo.toml") && !source.path.starts_with("fuzz/"));
    let mut count = 0;
    let mut faults = Vec::new();
    for manifest in manifests {
        count += 1;
        if !manifest.text.as_deref().unwrap().contains("\n[lints]\nworkspace = true\n") {
            faults.push(manifest.path);
        }
    }
    assert_eq!(count, LAYERS.len(), "a crate was added: give it its place in LAYERS");
    assert_none("every crate has `[lints] workspace = true`", &faults);
}

#[test]
fn every_sample_is_tested() {
    let sources = sources();
    let samples =
        sources.iter().filter(|source| source.path.starts_with("config/samples/") && !source.path.contains("/invalid/"));
    let tests: String = sources
        .iter()
        .filter(|source| source.is_rust() && source.path.contains("tests"))
        .flat_map(|source| source.text.clone())
        .collect();
    let names: Vec<&str> = samples.map(|source| source.path.rsplit('/').next().unwrap()).collect();
    assert!(!names.is_empty());
    let named = |name: &str| tests.contains(&format!("(\"{name}\")"));
    let unnamed: Vec<_> = names.into_iter().filter(|name| !named(name)).map(str::to_owned).collect();
    assert_none("what every sample of config/samples means is tested, not only that it loads", &unnamed);
}

#[test]
fn every_invalid_sample_has_its_message() {
    let sources = sources();
    let has = |path: &str| sources.iter().any(|source| source.path == path);
    let invalid: Vec<&Source> = sources.iter().filter(|source| source.path.starts_with("config/samples/invalid/")).collect();
    assert!(!invalid.is_empty());
    let mut faults = Vec::new();
    for source in invalid {
        let (stem, kind) = source.path.rsplit_once('.').unwrap();
        let other = if kind == "toml" { format!("{stem}.txt") } else { format!("{stem}.toml") };
        if !has(&other) {
            faults.push(format!("{} without {other}", source.path));
        }
    }
    assert_none("an invalid sample and its message come in pairs", &faults);
}

#[test]
fn no_large_files() {
    let large = sources().into_iter().filter(|source| source.len_bytes > LARGEST_FILE_BYTES);
    let faults: Vec<String> = large.map(|source| format!("{}: {} bytes", source.path, source.len_bytes)).collect();
    assert_none("no file in git is larger than 1 MiB", &faults);
}
