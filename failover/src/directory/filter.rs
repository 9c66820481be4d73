//! Search filters (RFC 4515): built, parsed, printed, and answered for objects in memory.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use super::{AttributeName, Dn, Entry, Value};

/// Which objects a search means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of them; `(&)` is always true (RFC 4526).
    And(Vec<Filter>),
    /// Any of them; `(|)` is never true.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has a value.
    Present(AttributeName),
    /// The attribute has this value; without regard to case, distinguished names as such.
    Equal(AttributeName, Value),
    /// A value is this or more: numbers as numbers, else as text.
    AtLeast(AttributeName, Value),
    /// A value is this or less.
    AtMost(AttributeName, Value),
    /// A value begins, contains in this order, and ends.
    Substring {
        /// The attribute.
        attribute: AttributeName,
        /// What it begins with.
        first: Option<Value>,
        /// What it holds, in this order.
        middle: Vec<Value>,
        /// What it ends with.
        last: Option<Value>,
    },
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no search filter: {why} (at character {at})")]
pub struct FilterError {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
    /// Where, in bytes.
    pub at: usize,
}

/// Whatever can be asked for the values of an attribute.
pub trait Attributes {
    /// Whether `test` holds for any value of `attribute`.
    fn any(&self, attribute: &AttributeName, test: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

impl Attributes for Entry {
    fn any(&self, attribute: &AttributeName, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.attributes.get(attribute).is_some_and(|values| values.iter().any(|value| test(value.as_bytes())))
    }
}

impl Filter {
    /// The attribute has this value.
    pub fn equal(attribute: &str, value: impl Into<Value>) -> Self {
        Self::Equal(attribute.into(), value.into())
    }

    /// The object is of this class.
    pub fn class(name: &str) -> Self {
        Self::equal("objectClass", name)
    }

    /// Whether an object with these attributes is meant.
    pub fn matches(&self, object: &dyn Attributes) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.matches(object)),
            Self::Or(any) => any.iter().any(|filter| filter.matches(object)),
            Self::Not(filter) => !filter.matches(object),
            Self::Present(attribute) => object.any(attribute, &mut |_| true),
            Self::Equal(attribute, value) => object.any(attribute, &mut |found| same_value(attribute, found, value.as_bytes())),
            Self::AtLeast(attribute, value) => object.any(attribute, &mut |found| order(found, value.as_bytes()).is_ge()),
            Self::AtMost(attribute, value) => object.any(attribute, &mut |found| order(found, value.as_bytes()).is_le()),
            Self::Substring { attribute, first, middle, last } => {
                object.any(attribute, &mut |found| has_parts(found, first.as_ref(), middle, last.as_ref()))
            }
        }
    }
}

/// Whether two values of an attribute are the same to the directory: byte by byte, as text without regard to case, or as distinguished names.
pub fn same_value(attribute: &AttributeName, one: &[u8], other: &[u8]) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let (Ok(one), Ok(other)) = (std::str::from_utf8(one), std::str::from_utf8(other)) else { return false };
    if *attribute == *"objectCategory" && !other.contains('=') {
        // Active Directory takes a class's name for its category (MS-ADTS 3.1.1.3.1.3.5); of those that are used here the names agree.
        return one.parse::<Dn>().is_ok_and(|dn| dn.common_name().eq_ignore_ascii_case(other));
    }
    if !one.is_ascii() && one.to_lowercase() == other.to_lowercase() {
        return true;
    }
    looks_like_dn(one) && looks_like_dn(other) && same_dn(one, other)
}

/// Cheap: whether the text can be a distinguished name, which begins with an attribute and `=`.
fn looks_like_dn(text: &str) -> bool {
    let begins = text.trim_start_matches(' ').trim_start_matches(|char: char| char.is_ascii_alphanumeric());
    begins.trim_start_matches(' ').starts_with('=')
}

fn same_dn(one: &str, other: &str) -> bool {
    // What is spelled plainly differs already; only escapes, spaces and other scripts need a closer look.
    if is_plain(one) && is_plain(other) {
        return false;
    }
    matches!((one.parse::<Dn>(), other.parse::<Dn>()), (Ok(one), Ok(other)) if one == other)
}

/// Whether a name has no second spelling but for the case of its letters.
fn is_plain(text: &str) -> bool {
    let mut before = b',';
    text.bytes().all(|byte| {
        let is_special = !byte.is_ascii() || matches!(byte, b'\\' | b'"' | b'+');
        let is_surplus =
            (byte == b' ' && matches!(before, b' ' | b',' | b'=')) || (matches!(byte, b',' | b'=') && before == b' ');
        before = byte;
        !is_special && !is_surplus
    }) && before != b' '
}

fn order(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => folded(one).cmp(&folded(other)),
    }
}

fn folded(bytes: &[u8]) -> Vec<u8> {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.to_ascii_lowercase(), |text| text.to_lowercase().into_bytes())
}

fn has_parts(found: &[u8], first: Option<&Value>, middle: &[Value], last: Option<&Value>) -> bool {
    let found = folded(found);
    let mut rest = found.as_slice();
    if let Some(first) = first {
        match rest.strip_prefix(folded(first.as_bytes()).as_slice()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    if let Some(last) = last {
        match rest.strip_suffix(folded(last.as_bytes()).as_slice()) {
            Some(before) => rest = before,
            None => return false,
        }
    }
    for part in middle {
        let part = folded(part.as_bytes());
        match rest.windows(part.len().max(1)).position(|window| window == part) {
            Some(at) => rest = &rest[at + part.len()..],
            None if part.is_empty() => {}
            None => return false,
        }
    }
    true
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, sign: char, filters: &[Self]| {
            write!(f, "({sign}")?;
            filters.iter().try_for_each(|filter| write!(f, "{filter}"))?;
            f.write_str(")")
        };
        match self {
            Self::And(filters) => list(f, '&', filters),
            Self::Or(filters) => list(f, '|', filters),
            Self::Not(filter) => write!(f, "(!{filter})"),
            Self::Present(attribute) => write!(f, "({attribute}=*)"),
            Self::Equal(attribute, value) => write!(f, "({attribute}={})", escaped(value)),
            Self::AtLeast(attribute, value) => write!(f, "({attribute}>={})", escaped(value)),
            Self::AtMost(attribute, value) => write!(f, "({attribute}<={})", escaped(value)),
            Self::Substring { attribute, first, middle, last } => {
                write!(f, "({attribute}={}*", first.as_ref().map(escaped).unwrap_or_default())?;
                middle.iter().try_for_each(|part| write!(f, "{}*", escaped(part)))?;
                write!(f, "{})", last.as_ref().map(escaped).unwrap_or_default())
            }
        }
    }
}

/// A value as it is written in a filter: bytes that are special, control or not ASCII as `\xx` (RFC 4515 section 3).
fn escaped(value: &Value) -> String {
    let mut text = String::with_capacity(value.as_bytes().len());
    for byte in value.as_bytes() {
        match byte {
            b'*' | b'(' | b')' | b'\\' => text.push_str(&format!("\\{byte:02x}")),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:02x}")),
        }
    }
    text
}
