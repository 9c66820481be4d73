//! An object as a search gives it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AttributeName, Dn};

/// One value of an attribute, as the bytes that the directory gave. Cheap to clone: what is the same for thousands of mailboxes is
/// there once.
///
/// In JSON a string where it is UTF-8 text, else `{"base64": "…"}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// The value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, where it is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The value as a distinguished name, where it is one.
    pub fn as_dn(&self) -> Option<Dn> {
        self.as_text()?.parse().ok()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&Dn> for Value {
    fn from(dn: &Dn) -> Self {
        dn.as_str().into()
    }
}

/// Text as it is, other bytes as base64.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => write!(f, "base64:{}", STANDARD.encode(&self.0)),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes { base64: String },
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => serializer.serialize_str(text),
            None => Written::Bytes { base64: STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(text.as_ref().into()),
            Written::Bytes { base64 } => STANDARD.decode(base64).map(Self::from).map_err(serde::de::Error::custom),
        }
    }
}

/// An object of the directory with the attributes that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub dn: Dn,
    /// Its attributes; one without values is not there.
    pub attributes: BTreeMap<AttributeName, Vec<Value>>,
}

impl Entry {
    /// An object without attributes.
    pub fn new(dn: Dn) -> Self {
        Self { dn, attributes: BTreeMap::new() }
    }

    /// All values of an attribute.
    pub fn values(&self, attribute: &str) -> &[Value] {
        self.attributes.get(&AttributeName::new(attribute)).map_or(&[], Vec::as_slice)
    }

    /// The first value of an attribute.
    pub fn value(&self, attribute: &str) -> Option<&Value> {
        self.values(attribute).first()
    }

    /// The first value of an attribute as text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.value(attribute)?.as_text()
    }

    /// The first value of an attribute as a distinguished name; `None` too where it is none.
    pub fn dn_of(&self, attribute: &str) -> Option<Dn> {
        self.value(attribute)?.as_dn()
    }

    /// Whether the boolean attribute is there and `TRUE`.
    pub fn is_true(&self, attribute: &str) -> bool {
        self.text(attribute).is_some_and(|text| text.eq_ignore_ascii_case("TRUE"))
    }

    /// Whether the object is of this class, itself or by inheritance.
    pub fn is_of_class(&self, class: &str) -> bool {
        self.values("objectClass").iter().any(|value| value.as_text().is_some_and(|text| text.eq_ignore_ascii_case(class)))
    }
}
