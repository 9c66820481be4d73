//! Paths beneath a root, as bytes, checked where they are made: a path that exists as a value cannot leave its root.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest single name, in bytes (`NAME_MAX` of every file system in use).
pub const MAX_COMPONENT_LEN: usize = 255;
/// Longest path beneath a root, in bytes. Deeper than `PATH_MAX`, since trees are walked by directory handles.
pub const MAX_PATH_LEN: usize = 32 * 1024;

/// Why bytes are not a path beneath a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// An empty component: a leading, trailing or doubled slash.
    #[error("the path has an empty component (it starts or ends with '/', or has '//')")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("the path has a component '.' or '..'")]
    Dots,
    /// A NUL byte.
    #[error("the path has a NUL byte")]
    Nul,
    /// A component over [`MAX_COMPONENT_LEN`].
    #[error("a component of the path has {0} bytes, more than {MAX_COMPONENT_LEN}")]
    LongComponent(usize),
    /// A path over [`MAX_PATH_LEN`].
    #[error("the path has {0} bytes, more than {MAX_PATH_LEN}")]
    LongPath(usize),
}

/// A path beneath a root: components joined by `/`, never absolute, never with `.` or `..`; empty for the root itself.
///
/// Ordered as a walk meets them: a directory before what it holds, siblings by their bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_PATH_LEN {
            return Err(PathError::LongPath(bytes.len()));
        }
        if !bytes.is_empty() {
            bytes.split(|b| *b == b'/').try_for_each(check_component)?;
        }
        Ok(Self(bytes))
    }

    /// This path with one more component.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_component(name)?;
        if name.contains(&b'/') {
            return Err(PathError::EmptyComponent);
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        if bytes.len() > MAX_PATH_LEN {
            return Err(PathError::LongPath(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds this, `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component, empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// The components, none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// How many components there are.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether this is `directory` or lies beneath it.
    pub fn starts_with(&self, directory: &Self) -> bool {
        directory.is_root()
            || (self.0.starts_with(&directory.0) && (self.0.len() == directory.0.len() || self.0[directory.0.len()] == b'/'))
    }
}

fn check_component(component: &[u8]) -> Result<(), PathError> {
    match component {
        b"" => Err(PathError::EmptyComponent),
        b"." | b".." => Err(PathError::Dots),
        c if c.len() > MAX_COMPONENT_LEN => Err(PathError::LongComponent(c.len())),
        c if c.contains(&0) => Err(PathError::Nul),
        _ => Ok(()),
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts below every byte of a name, so that a directory's contents follow it at once.
        let key = |b: &u8| if *b == b'/' { 0 } else { *b };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    /// Printable text; bytes that are not UTF-8, control characters and backslashes appear as `\xNN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || c == '\\' {
                    let mut buffer = [0; 4];
                    for byte in c.encode_utf8(&mut buffer).bytes() {
                        write!(f, "\\x{byte:02x}")?;
                    }
                } else {
                    write!(f, "{c}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for RelPath {
    /// Only from the binary form: the readable one is for people and cannot be read back.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        Self::new(bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn what_could_leave_the_root_is_no_path() {
        for (bad, why) in [
            ("/etc/passwd", PathError::EmptyComponent),
            ("a/../b", PathError::Dots),
            ("..", PathError::Dots),
            ("a//b", PathError::EmptyComponent),
            ("a/", PathError::EmptyComponent),
            ("a\0b", PathError::Nul),
        ] {
            assert_eq!(RelPath::new(bad), Err(why), "{bad:?}");
        }
        assert_eq!(path("a").join(b"b/c"), Err(PathError::EmptyComponent));
        assert_eq!(RelPath::new("x".repeat(256)), Err(PathError::LongComponent(256)));
    }

    #[test]
    fn order_is_the_order_of_a_walk() {
        let mut paths = ["a-b", "a/b", "a", "a/b/c", "a.b", "", "b", "a/c"].map(path);
        paths.sort();
        assert_eq!(paths.map(|p| p.to_string()), [".", "a", "a/b", "a/b/c", "a/c", "a-b", "a.b", "b"]);
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(path("a/b/c").parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
        assert_eq!(path("a/b").name(), b"b");
        assert!(path("a/b").starts_with(&path("a")));
        assert!(!path("ab").starts_with(&path("a")));
    }

    #[test]
    fn odd_bytes_are_shown_escaped() {
        assert_eq!(RelPath::new(b"a\xff\n".to_vec()).unwrap().to_string(), "a\\xff\\x0a");
    }

    proptest! {
        #[test]
        fn a_received_path_is_checked(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let wire = postcard::to_stdvec(&bytes).unwrap();
            let read: Result<RelPath, _> = postcard::from_bytes(&wire);
            prop_assert_eq!(read.is_ok(), RelPath::new(bytes).is_ok());
        }
    }
}
