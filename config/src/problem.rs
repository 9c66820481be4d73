//! What is wrong with a settings file, where, and what to write instead.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

/// Longest piece of the file that a message repeats, in characters.
const MAX_QUOTE: usize = 60;

/// One fault of a settings file, shown as `standin.toml:14: sets.mail.orphans: what is wrong; what to write instead`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Path of the key, such as `sets.mail.roots[0].target`; empty where the text is not TOML at all.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// What to do about it.
    pub instead: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if self.key.is_empty() {
            write!(f, "column {}: ", self.column)?;
        } else {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.wrong, self.instead)
    }
}

/// Collects problems. Ask it for nothing but [`Problems::finish`]; the reading goes on after each one.
pub(crate) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: RefCell::new(Vec::new()) }
    }

    /// The text being read.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Notes a problem at byte `at` of the text.
    pub(crate) fn add(&self, at: usize, key: &str, wrong: impl Into<String>, instead: impl Into<String>) {
        let (line, column) = position(self.text, at);
        let (file, key) = (self.file.to_owned(), key.to_owned());
        self.found.borrow_mut().push(Problem { file, line, column, key, wrong: wrong.into(), instead: instead.into() });
    }

    /// All problems, in the order of the file.
    pub(crate) fn finish(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|problem| (problem.line, problem.column));
        found
    }
}

/// Line and column, both from 1, of byte `at` of `text`.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    // Bytes that only continue a character are no column of their own.
    let column = 1 + before[line_start..].iter().filter(|b| **b & 0xC0 != 0x80).count();
    (line, column)
}

/// `text` in double quotes, escaped and cut short, for a message.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

/// The one of `known` that `written` is probably a slip of.
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if written.len() > MAX_QUOTE {
        return None;
    }
    let lower = written.to_lowercase();
    // A third of the letters wrong is a slip; more is another word.
    let slips = |name: &str| distance(&lower, &name.to_lowercase());
    let close = known.into_iter().map(|name| (slips(name), name));
    close.filter(|(slips, name)| *slips <= (name.chars().count().max(3) / 3)).min().map(|(_, name)| name)
}

/// Optimal string alignment distance: letters added, left out, changed, or swapped with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let text = "ä = 1\nñö = x";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, text.find('=').unwrap()), (1, 3));
        assert_eq!(position(text, text.find('x').unwrap()), (2, 6));
        assert_eq!(position(text, 1000), (2, 7));
    }

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["orphans", "max_orphans", "limit", "lanes"];
        assert_eq!(nearest("orphan", keys), Some("orphans"));
        assert_eq!(nearest("lnaes", keys), Some("lanes"));
        assert_eq!(nearest("Limit", keys), Some("limit"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn quotes_are_short_and_escaped() {
        assert_eq!(quote("a\n"), r#""a\n""#);
        assert_eq!(quote(&"ä".repeat(100)).chars().count(), MAX_QUOTE + 3);
    }
}
