//! A rule of pairing, as it is written after `-r`: `[SG][,STORE][:[TG][,TSTORE]]`.
//!
//! A name that holds `,` or `:` is put in double quotes, or the character has a backslash before it. Blanks around `,` and `:` do not count.

use std::fmt;
use std::str::FromStr;

use super::{Store, fold};

/// What one side of a rule names. A part that is not given means the equal name, see [`Rule`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The storage group.
    pub group: Option<String>,
    /// The store.
    pub store: Option<String>,
}

/// A rule. Without any part (`-r` alone): equal group and equal store, one to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it says of the source.
    pub source: Side,
    /// What it says of the target.
    pub target: Side,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no pairing rule: {why}; write -r [GROUP][,STORE][:[GROUP][,STORE]]")]
pub struct RuleError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

impl Rule {
    /// This store with that one, all names said.
    pub fn exactly(source: &Store, target: &Store) -> Self {
        let side = |store: &Store| Side { group: Some(store.group.clone()), store: Some(store.name.clone()) };
        Self { source: side(source), target: side(target) }
    }

    /// Whether it speaks about this store of the source.
    pub(super) fn means(&self, store: &Store) -> bool {
        is_or_any(self.source.group.as_deref(), &store.group) && is_or_any(self.source.store.as_deref(), &store.name)
    }

    /// The more it says about the source, the more it counts; a store says more than a group.
    pub(super) fn specificity(&self) -> u8 {
        u8::from(self.source.store.is_some()) * 2 + u8::from(self.source.group.is_some())
    }

    /// Whether it leads from this store of the source, which it means, to that one of the target.
    pub(super) fn leads(&self, store: &Store, other: &Store) -> bool {
        is_or_any(self.target_group(store), &other.group)
            && is_or_any(Some(self.target.store.as_deref().unwrap_or(&store.name)), &other.name)
    }

    /// The group of the target; none if any will do, which is so where only stores are named.
    fn target_group<'a>(&'a self, store: &'a Store) -> Option<&'a str> {
        let only_stores = self.source.group.is_none() && self.source.store.is_some();
        self.target.group.as_deref().or((!only_stores).then_some(store.group.as_str()))
    }

    /// Whether it can be left unmet for this store: it names neither the store nor a group that the target lacks.
    pub(super) fn is_met_by_part(&self, target: &[Store], store: &Store) -> bool {
        let names_store = self.source.store.is_some() || self.target.store.is_some();
        let names_group = self.source.group.is_some() || self.target.group.is_some();
        let group = self.target_group(store);
        !names_store && (!names_group || target.iter().any(|other| is_or_any(group, &other.group)))
    }
}

fn is_or_any(asked: Option<&str>, name: &str) -> bool {
    asked.is_none_or(|asked| fold(asked) == fold(name))
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = |why| RuleError { text: text.to_owned(), why };
        let sides = split(text, ':').map_err(wrong)?;
        if sides.len() > 2 {
            return Err(wrong("it has more than one \":\" (put a name that holds one in quotes)"));
        }
        let side = |text: Option<&&str>| -> Result<Side, &'static str> {
            let parts = split(text.copied().unwrap_or_default(), ',')?;
            if parts.len() > 2 {
                return Err("one side has more than one \",\" (put a name that holds one in quotes)");
            }
            let part = |at: usize| parts.get(at).map(|part| bare(part)).filter(|part| !part.is_empty());
            Ok(Side { group: part(0), store: part(1) })
        };
        Ok(Self { source: side(sides.first()).map_err(wrong)?, target: side(sides.get(1)).map_err(wrong)? })
    }
}

/// Splits at a separator that is neither quoted nor escaped.
fn split(text: &str, separator: char) -> Result<Vec<&str>, &'static str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if char == separator && !quoted => {
                parts.push(&text[from..at]);
                from = at + char.len_utf8();
            }
            _ => {}
        }
    }
    if quoted {
        return Err("a quote is not closed");
    }
    parts.push(&text[from..]);
    Ok(parts)
}

/// The name that is meant: without blanks around, quotes and escapes. A backslash before anything else is itself.
fn bare(part: &str) -> String {
    let part = part.trim();
    let mut name = String::with_capacity(part.len());
    let mut chars = part.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.peek().is_some_and(|next| matches!(next, ',' | ':' | '"' | '\\')) => name.extend(chars.next()),
            '"' => {}
            char => name.push(char),
        }
    }
    name
}

/// Whether more must follow: the text ends in a `,` that is neither quoted nor escaped.
pub(crate) fn is_unfinished(text: &str) -> bool {
    split(text, ',').is_ok_and(|parts| parts.len() > 1 && parts.last().is_some_and(|last| last.trim().is_empty()))
}

/// As it would be written in one word; a shell may want quotes around the whole where a name has blanks.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_side(f, &self.source)?;
        if self.target != Side::default() {
            f.write_str(":")?;
            write_side(f, &self.target)?;
        }
        Ok(())
    }
}

fn write_side(f: &mut fmt::Formatter<'_>, side: &Side) -> fmt::Result {
    f.write_str(&side.group.as_deref().map(escaped).unwrap_or_default())?;
    match &side.store {
        Some(store) => write!(f, ",{}", escaped(store)),
        None => Ok(()),
    }
}

fn escaped(name: &str) -> String {
    name.chars().flat_map(|char| matches!(char, ',' | ':' | '"' | '\\').then_some('\\').into_iter().chain([char])).collect()
}
