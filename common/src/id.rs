//! Names and numbers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name of a node, a set, a group or a resource, in bytes.
pub const MAX_NAME_LEN: usize = 64;

/// Why a text is not a usable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than [`MAX_NAME_LEN`].
    #[error("a name has at most {MAX_NAME_LEN} bytes, this one has {0}")]
    TooLong(usize),
    /// Names become file names and command arguments, so only harmless characters are taken.
    #[error("a name has only letters, digits, '-', '_' and '.', and starts with a letter or digit; {0:?} is not allowed here")]
    Character(char),
}

fn check_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong(text.len()));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Character(first));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
        Some(bad) => Err(NameError::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check_name(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// The name of a node: one machine running the daemon.
    NodeName
}
name! {
    /// The name of a replication set; case-sensitive.
    SetName
}
name! {
    /// The name of a group: resources that move together.
    GroupName
}
name! {
    /// The name of a resource, unique within its group.
    ResourceName
}
name! {
    /// One run of a cutover; no two of a group have the same.
    RunId
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this one.
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Raised by every failover, failback or handoff of a set: the higher one is right, the lower one never writes.
    Generation
}
number! {
    /// The number of a recovery point of a set.
    PointNumber
}
/// One mirror, from its start to its end, through pauses and cuts. Random, so that two sources never share one.
///
/// In JSON it is text: a program that reads numbers as floating point would change it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MirrorId(pub u64);

impl fmt::Display for MirrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for MirrorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(&self.0) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for MirrorId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

/// The place of a root in its set's list of roots, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RootIndex(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_harmless_characters_only() {
        assert!("mail-1.example_x".parse::<NodeName>().is_ok());
        assert_eq!("".parse::<SetName>(), Err(NameError::Empty));
        assert_eq!("../x".parse::<SetName>(), Err(NameError::Character('.')));
        assert_eq!("a/b".parse::<SetName>(), Err(NameError::Character('/')));
        assert_eq!("x".repeat(65).parse::<SetName>(), Err(NameError::TooLong(65)));
    }

    #[test]
    fn a_mirror_is_text_in_json() {
        let mirror = MirrorId(u64::MAX - 7);
        let json = serde_json::to_string(&mirror).unwrap();
        assert_eq!(json, "\"18446744073709551608\"");
        assert_eq!(serde_json::from_str::<MirrorId>(&json).unwrap(), mirror);
        let wire = postcard::to_allocvec(&mirror).unwrap();
        assert_eq!((wire.clone(), postcard::from_bytes(&wire)), (postcard::to_allocvec(&mirror.0).unwrap(), Ok(mirror)));
    }

    #[test]
    fn set_names_are_case_sensitive() {
        assert_ne!("Mail".parse::<SetName>(), "mail".parse::<SetName>());
    }
}
