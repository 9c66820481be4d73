//! Tables in RESULTS.md: each lies between two marks, and is written by the bench that its first mark names.

use std::fs;
use std::path::{Path, PathBuf};

/// A table whose lines come one by one.
pub(crate) struct Table {
    /// What stands between `<!-- begin ` and `: written by`.
    pub(crate) name: &'static str,
    /// Its two first lines.
    pub(crate) head: &'static str,
    /// So many cells tell what a line measures: a line with the same ones is replaced.
    pub(crate) keys: usize,
}

impl Table {
    /// Puts a line in: one that measures the same is replaced, others are kept.
    pub(crate) fn keep(&self, line: &str) {
        let key = |line: &str| line.split('|').skip(1).take(self.keys).map(str::to_owned).collect::<Vec<_>>();
        rewrite(self.name, |table| {
            let mut lines: Vec<&str> = table.lines().skip(2).collect();
            match lines.iter_mut().find(|old| key(old) == key(line)) {
                Some(old) => *old = line,
                None => lines.push(line),
            }
            format!("{}{}\n", self.head, lines.join("\n"))
        });
    }
}

/// Writes what stands between the marks of a name anew.
pub(crate) fn rewrite(name: &str, new: impl FnOnce(&str) -> String) {
    let (begin, end) = (format!("<!-- begin {name}: written by benches/run {name} -->\n"), format!("<!-- end {name} -->\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
    let old = fs::read_to_string(&path).unwrap();
    let (before, rest) = old.split_once(&begin).expect("RESULTS.md has the marks of this table");
    let (table, after) = rest.split_once(&end).expect("RESULTS.md has the marks of this table");
    let aside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&aside, format!("{before}{begin}{}{end}{after}", new(table))).unwrap();
    fs::rename(aside, path).unwrap();
}
