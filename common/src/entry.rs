//! What a walk finds: one entry an object, with everything of it but a file's data.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::path::RelPath;

/// A point in time as file systems keep it: seconds since 1970 (negative before) and nanoseconds.
///
/// Where people may read it (JSON), it is RFC 3339 text in UTC, such as `2026-11-21T08:21:32.5Z`; what no calendar has is its two numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl From<SystemTime> for Time {
    /// 1970 for anything before it.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
    }
}

impl Time {
    fn to_text(self) -> Option<String> {
        let since = Duration::new(u64::try_from(self.secs).ok()?, self.nanos);
        let at = UNIX_EPOCH.checked_add(since).filter(|_| self.nanos < 1_000_000_000)?;
        let mut text = String::new();
        // A year of more than four digits cannot be written.
        write!(text, "{}", humantime::format_rfc3339(at)).ok().map(|()| text)
    }

    fn of_text(text: &str) -> Option<Self> {
        let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { secs: i64::try_from(since.as_secs()).ok()?, nanos: since.subsec_nanos() })
    }
}

/// The numbers of a [`Time`].
#[derive(Serialize, Deserialize)]
struct Numbers {
    secs: i64,
    nanos: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Readable {
    Text(String),
    Numbers(Numbers),
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = Numbers { secs: self.secs, nanos: self.nanos };
        if !serializer.is_human_readable() {
            return numbers.serialize(serializer);
        }
        self.to_text().map_or(Readable::Numbers(numbers), Readable::Text).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let readable = match deserializer.is_human_readable() {
            true => Readable::deserialize(deserializer)?,
            false => Readable::Numbers(Numbers::deserialize(deserializer)?),
        };
        match readable {
            Readable::Numbers(Numbers { secs, nanos }) => Ok(Self { secs, nanos }),
            Readable::Text(text) => Self::of_text(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no time"))),
        }
    }
}

/// An extended attribute: full name (`user.x`, `system.posix_acl_access`, …) and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Everything of an object but its kind and data. ACLs are extended attributes (`system.posix_acl_*`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// Permission bits with set-id and sticky bits, 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the contents.
    pub mtime: Time,
    /// Extended attributes, by name.
    pub xattrs: Vec<Xattr>,
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file, image file or block device, with its size in bytes.
    File {
        /// Size in bytes.
        size: u64,
    },
    /// A symbolic link with its target, which is kept and never followed.
    Symlink {
        /// What the link says.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// One more name for the object at `to`, which comes earlier in the walk of the same root.
    Hardlink {
        /// The first name.
        to: RelPath,
    },
}

/// One object of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where, beneath the root.
    pub path: RelPath,
    /// What.
    pub kind: Kind,
    /// With which attributes.
    pub attrs: Attrs,
    /// Whether the object has more than one name.
    pub linked: bool,
    /// Whether it may have changed after the point that the standby is at, as its change time tells, which cannot be set: then its data is
    /// compared even if its attributes are the same.
    pub doubted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_text_for_people_and_numbers_on_the_wire_and_none_is_changed() {
        for (secs, nanos, text) in [
            (1_795_248_092, 500_000_000, Some("\"2026-11-21T08:01:32.500000000Z\"")),
            (0, 0, Some("\"1970-01-01T00:00:00Z\"")),
            (-1, 5, None),
            (i64::MAX, 999_999_999, None),
            (253_402_300_800, 0, None),
            (7, u32::MAX, None),
        ] {
            let time = Time { secs, nanos };
            let json = serde_json::to_string(&time).unwrap();
            assert!(text.is_none_or(|text| text == json), "{json}");
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
            let wire = postcard::to_allocvec(&time).unwrap();
            assert_eq!(postcard::from_bytes::<Time>(&wire).unwrap(), time);
            assert_eq!(wire, postcard::to_allocvec(&(secs, nanos)).unwrap());
        }
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }
}
