//! Distinguished names (RFC 4514): parsed, compared and rewritten by whole components, never as text.
//!
//! A name keeps the spelling in which it was read. Two names are the same if their components are, without regard to case and to
//! surplus spaces (caseIgnoreMatch, RFC 4518 section 2.6.1), whichever way they are escaped.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AttributeName;

/// A distinguished name. Cheap to clone.
#[derive(Clone)]
pub struct Dn {
    text: Arc<str>,
    /// What names that are the same have in common. Commas only between components: within values all that is special is hex.
    key: Arc<str>,
}

/// One component of a distinguished name, such as `CN=Sales`, or with several parts, `CN=Sales+L=Ulm`.
#[derive(Clone, Debug)]
pub struct Rdn {
    text: String,
    key: String,
    parts: Vec<(AttributeName, String)>,
}

/// Why a text is no distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no distinguished name: {why}")]
pub struct DnError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Dn {
    /// The name of the root, without components.
    pub fn root() -> Self {
        Self { text: "".into(), key: "".into() }
    }

    /// The name in its own spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What all spellings of the same name have in common; for maps that keep many names.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How many components the name has.
    pub fn depth(&self) -> usize {
        if self.key.is_empty() { 0 } else { self.key.bytes().filter(|byte| *byte == b',').count() + 1 }
    }

    /// Its components, the object's own first.
    pub fn components(&self) -> impl Iterator<Item = Rdn> + '_ {
        parse::pieces(&self.text).filter_map(|piece| Rdn::from_str(piece).ok())
    }

    /// Its first component, the object's own name.
    pub fn name(&self) -> Option<Rdn> {
        self.components().next()
    }

    /// The value of its first component: `Sales` of `CN=Sales,DC=x`. Empty for the root.
    pub fn common_name(&self) -> String {
        self.name().map(|name| name.value().to_owned()).unwrap_or_default()
    }

    /// The name of the object that holds it.
    pub fn parent(&self) -> Option<Self> {
        self.ancestor(1)
    }

    /// The name without its first `levels` components.
    pub fn ancestor(&self, levels: usize) -> Option<Self> {
        if levels == 0 {
            return Some(self.clone());
        }
        let key = match self.key.match_indices(',').nth(levels - 1) {
            Some((at, _)) => &self.key[at + 1..],
            None if self.depth() == levels => "",
            None => return None,
        };
        let text = parse::pieces(&self.text).nth(levels).map_or("", |piece| &self.text[parse::offset(&self.text, piece)..]);
        Some(Self { text: text.trim_start().into(), key: key.into() })
    }

    /// Whether it is `other` or lies beneath it.
    pub fn is_within(&self, other: &Self) -> bool {
        let Some(rest) = self.key.strip_suffix(&*other.key) else { return false };
        rest.is_empty() || other.key.is_empty() || rest.ends_with(',')
    }

    /// Whether it lies beneath `other` and is not `other`.
    pub fn is_beneath(&self, other: &Self) -> bool {
        self.key.len() != other.key.len() && self.is_within(other)
    }

    /// The name of the child that has the name `name` here.
    pub fn child(&self, name: &Rdn) -> Self {
        if self.key.is_empty() {
            return Self { text: name.text.as_str().into(), key: name.key.as_str().into() };
        }
        Self { text: format!("{},{}", name.text, self.text).into(), key: format!("{},{}", name.key, self.key).into() }
    }

    /// The name of the child `CN=value`.
    pub fn child_cn(&self, value: &str) -> Self {
        self.child(&Rdn::cn(value))
    }

    /// The same place under another first component.
    pub fn with_name(&self, name: &Rdn) -> Self {
        self.parent().unwrap_or_else(Self::root).child(name)
    }

    /// The same object after `from` has become `to`: `None` if it is neither `from` nor beneath it.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        if !self.is_within(from) {
            return None;
        }
        let mut own: Vec<Rdn> = self.components().take(self.depth() - from.depth()).collect();
        own.reverse();
        Some(own.iter().fold(to.clone(), |place, name| place.child(name)))
    }
}

impl Rdn {
    /// `attribute=value`, escaped as it must be.
    pub fn new(attribute: &str, value: &str) -> Self {
        let text = format!("{attribute}={}", parse::escaped(value));
        let parts = vec![(AttributeName::new(attribute), value.to_owned())];
        Self { key: parse::key_of(&parts), text, parts }
    }

    /// `CN=value`.
    pub fn cn(value: &str) -> Self {
        Self::new("CN", value)
    }

    /// The component in its own spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The attribute of its first part.
    pub fn attribute(&self) -> &AttributeName {
        &self.parts[0].0
    }

    /// The value of its first part, without escapes.
    pub fn value(&self) -> &str {
        &self.parts[0].1
    }

    /// All parts, without escapes; mostly one.
    pub fn parts(&self) -> &[(AttributeName, String)] {
        &self.parts
    }
}

impl FromStr for Dn {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, DnError> {
        let text = parse::trim(text);
        let mut key = String::with_capacity(text.len());
        for piece in parse::pieces(text) {
            let parts = parse::parts(piece).map_err(|why| DnError { text: text.to_owned(), why })?;
            if !key.is_empty() {
                key.push(',');
            }
            key.push_str(&parse::key_of(&parts));
        }
        Ok(Self { text: text.into(), key: key.into() })
    }
}

impl FromStr for Rdn {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, DnError> {
        let wrong = |why| DnError { text: text.to_owned(), why };
        let mut pieces = parse::pieces(text);
        let piece = pieces.next().ok_or_else(|| wrong("it is empty"))?;
        if pieces.next().is_some() {
            return Err(wrong("it has several components where one is meant"));
        }
        let parts = parse::parts(piece).map_err(wrong)?;
        Ok(Self { text: parse::trim(piece).to_owned(), key: parse::key_of(&parts), parts })
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key) || self.key == other.key
    }
}

impl Eq for Dn {}

impl Hash for Dn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialOrd for Dn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Dn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialEq for Rdn {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Rdn {}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Rdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Dn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Dn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Rdn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Rdn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
