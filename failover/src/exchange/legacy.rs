//! Names of the form `/o=Organization/ou=Group/cn=…` (legacyExchangeDN), compared and rewritten by whole components.

use std::fmt;

/// A legacyExchangeDN. Compared without regard to case.
#[derive(Clone, Debug)]
pub struct LegacyDn {
    text: String,
    key: String,
}

impl LegacyDn {
    /// Reads one: components `attribute=value`, each after a `/`. `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim_matches(' ').strip_prefix('/')?;
        let well = rest.split('/').all(|part| part.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty()));
        let key = rest.split('/').map(component_key).collect::<Vec<_>>().join("/");
        well.then(|| Self { text: text.trim_matches(' ').to_owned(), key })
    }

    /// In its own spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `other` or begins with all of its components.
    pub fn is_within(&self, other: &Self) -> bool {
        self.key.strip_prefix(&other.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The name after `from`, itself or what it begins with, has become `to`; `None` if it does not begin so.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        if !self.is_within(from) {
            return None;
        }
        let count = from.text.split('/').count();
        let rest: String = self.text.split('/').skip(count).flat_map(|part| ["/", part]).collect();
        Self::parse(&format!("{}{rest}", to.text))
    }
}

fn component_key(part: &str) -> String {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    format!("{}={}", name.trim().to_lowercase(), value.trim().to_lowercase())
}

impl PartialEq for LegacyDn {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for LegacyDn {}

impl fmt::Display for LegacyDn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
