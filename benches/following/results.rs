//! The table in RESULTS.md.

use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- begin following: written by benches/run following -->\n";
const END: &str = "<!-- end following -->\n";
const HEAD: &str = "| work | what | peer | peer's | standin's | ratio | goal |\n| --- | --- | --- | --- | --- | --- | --- |\n";

/// One line: what was measured, of whom, and what was to be reached.
pub(crate) fn line([work, what, peer]: [&str; 3], [theirs, ours]: [String; 2], ratio: f64, goal: &str, reached: bool) -> String {
    let verdict = if reached { "reached" } else { "**missed**" };
    format!("| {work} | {what} | {peer} | {theirs} | {ours} | **{ratio:.2}** | {goal}: {verdict} |")
}

/// Puts a line in: one of the same work and measure is replaced, others are kept.
pub(crate) fn keep(line: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let old = fs::read_to_string(&path).unwrap();
    let (before, rest) = old.split_once(BEGIN).expect("RESULTS.md has the marks of this table");
    let (table, after) = rest.split_once(END).expect("RESULTS.md has the marks of this table");
    let key = |line: &str| line.split('|').skip(1).take(3).map(str::to_owned).collect::<Vec<_>>();
    let mut lines: Vec<&str> = table.lines().skip(2).collect();
    match lines.iter_mut().find(|old| key(old) == key(line)) {
        Some(old) => *old = line,
        None => lines.push(line),
    }
    let aside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&aside, format!("{before}{BEGIN}{HEAD}{}\n{END}{after}", lines.join("\n"))).unwrap();
    fs::rename(aside, path).unwrap();
}
