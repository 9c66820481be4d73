//! Absolute paths of either platform, as written for the node they are on, and how they lie to each other.
//!
//! A file names paths of two machines, perhaps of two platforms, so `std::path` of this one cannot judge them.

use std::path::PathBuf;

/// A cleaned absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    text: String,
    /// Components for comparison; lower case for Windows, whose file systems do not tell case apart.
    components: Vec<String>,
}

/// How one path lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    Same,
    /// The first lies beneath the second.
    Beneath,
    /// The second lies beneath the first.
    Above,
}

/// Why a text is not an absolute path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("is not an absolute path")]
    Relative,
    #[error("has a component \".\" or \"..\"")]
    Dots,
    #[error("has a NUL character")]
    Nul,
}

impl Place {
    /// Checks and cleans `/srv/mail`, `E:\mail` or `\\server\share\mail`.
    pub(crate) fn new(text: &str) -> Result<Self, PlaceError> {
        if text.contains('\0') {
            return Err(PlaceError::Nul);
        }
        match text.starts_with('/') {
            true => Self::slashed(text),
            false => Self::windows(text),
        }
    }

    fn slashed(text: &str) -> Result<Self, PlaceError> {
        let components: Vec<_> = text.split('/').filter(|c| !c.is_empty()).map(str::to_owned).collect();
        check_dots(&components)?;
        Ok(Self { text: format!("/{}", components.join("/")), components })
    }

    fn windows(text: &str) -> Result<Self, PlaceError> {
        let bytes = text.as_bytes();
        let is_slash = |b: &u8| *b == b'\\' || *b == b'/';
        let drive = bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && is_slash(&bytes[2]);
        // `\\?\` and `\\.\` only switch how the rest is read (learn.microsoft.com, "Naming Files, Paths, and Namespaces").
        let rest = text.strip_prefix(r"\\?\").or_else(|| text.strip_prefix(r"\\.\"));
        if !drive && rest.is_none() && !text.starts_with(r"\\") {
            return Err(PlaceError::Relative);
        }
        let parts = rest.unwrap_or(text).split(['\\', '/']);
        let components: Vec<_> = parts.filter(|c| !c.is_empty()).map(str::to_lowercase).collect();
        check_dots(&components)?;
        let trimmed = text.trim_end_matches(['\\', '/']);
        // The root of a drive keeps its slash: `E:` alone means "where drive E was left".
        let text = if components.len() == 1 && drive { format!("{trimmed}\\") } else { trimmed.to_owned() };
        Ok(Self { text, components })
    }

    /// The path without doubled or trailing slashes.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn to_path(&self) -> PathBuf {
        PathBuf::from(&self.text)
    }

    /// Whether this is `/`.
    pub(crate) fn is_whole_machine(&self) -> bool {
        self.components.is_empty()
    }

    /// How this lies to `other` on the same machine.
    pub(crate) fn overlap(&self, other: &Self) -> Option<Overlap> {
        let beneath = |a: &Self, b: &Self| a.components.starts_with(&b.components);
        match (beneath(self, other), beneath(other, self)) {
            (true, true) => Some(Overlap::Same),
            (true, false) => Some(Overlap::Beneath),
            (false, true) => Some(Overlap::Above),
            (false, false) => None,
        }
    }
}

fn check_dots(components: &[String]) -> Result<(), PlaceError> {
    match components.iter().any(|c| c == "." || c == "..") {
        true => Err(PlaceError::Dots),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::new(text).unwrap()
    }

    #[test]
    fn absolute_paths_of_both_platforms() {
        for (text, cleaned) in [
            ("/srv//mail/", "/srv/mail"),
            ("/", "/"),
            (r"E:\Exchange\", r"E:\Exchange"),
            ("e:/Exchange", "e:/Exchange"),
            (r"E:\", r"E:\"),
            (r"\\nas\mail", r"\\nas\mail"),
            (r"\\.\PhysicalDrive1", r"\\.\PhysicalDrive1"),
        ] {
            assert_eq!(place(text).text(), cleaned, "{text}");
        }
        for bad in ["", "srv/mail", "./srv", "E:", "E:mail", r"\srv", "~/mail"] {
            assert_eq!(Place::new(bad), Err(PlaceError::Relative), "{bad}");
        }
        assert_eq!(Place::new("/srv/../etc"), Err(PlaceError::Dots));
        assert_eq!(Place::new(r"C:\a\..\b"), Err(PlaceError::Dots));
        assert_eq!(Place::new("/a\0"), Err(PlaceError::Nul));
    }

    #[test]
    fn overlaps_go_by_whole_components() {
        assert_eq!(place("/srv/mail").overlap(&place("/srv/mail/")), Some(Overlap::Same));
        assert_eq!(place("/srv/mail/a").overlap(&place("/srv/mail")), Some(Overlap::Beneath));
        assert_eq!(place("/").overlap(&place("/srv")), Some(Overlap::Above));
        assert_eq!(place("/srv/mail2").overlap(&place("/srv/mail")), None);
        assert_eq!(place("/srv/Mail").overlap(&place("/srv/mail")), None);
        assert_eq!(place(r"E:\MAIL\a").overlap(&place("e:/mail")), Some(Overlap::Beneath));
        assert_eq!(place(r"\\?\E:\mail").overlap(&place("e:/mail")), Some(Overlap::Same));
    }
}
