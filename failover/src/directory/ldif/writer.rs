//! Writing LDIF that `ldifde -i -f` and `ldapmodify -f` take.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::{Entry, Modify, Rename, Value};

/// Lines are folded after so many characters (RFC 2849).
const LINE_CHARACTERS: usize = 76;

/// One write of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Attributes of an object.
    Modify(Modify),
    /// An object's name.
    Rename(Rename),
}

impl Write {
    /// The write that takes this one back.
    pub fn inverse(&self) -> Self {
        match self {
            Self::Modify(modify) => Self::Modify(modify.inverse()),
            Self::Rename(rename) => Self::Rename(rename.inverse()),
        }
    }
}

/// Writes a change file, in the order given. In each object old values are deleted by value, then new ones added, so the import
/// refuses an object that was changed meanwhile.
///
/// # Errors
/// Those of `out`.
pub fn write_changes(out: &mut dyn io::Write, writes: impl IntoIterator<Item = Write>) -> io::Result<()> {
    for write in writes {
        match write {
            Write::Modify(modify) => write_modify(out, &modify)?,
            Write::Rename(rename) => {
                line(out, "dn", &Value::from(&rename.dn))?;
                out.write_all(b"changetype: modrdn\n")?;
                line(out, "newrdn", &rename.name.as_str().into())?;
                out.write_all(b"deleteoldrdn: 1\n\n")?;
            }
        }
    }
    Ok(())
}

fn write_modify(out: &mut dyn io::Write, modify: &Modify) -> io::Result<()> {
    line(out, "dn", &Value::from(&modify.dn))?;
    out.write_all(b"changetype: modify\n")?;
    for change in &modify.changes {
        for (word, values) in [("delete", &change.delete), ("add", &change.add)] {
            if values.is_empty() {
                continue;
            }
            writeln!(out, "{word}: {}", change.attribute)?;
            values.iter().try_for_each(|value| line(out, change.attribute.as_str(), value))?;
            out.write_all(b"-\n")?;
        }
    }
    out.write_all(b"\n")
}

/// Writes an object as an export has it.
///
/// # Errors
/// Those of `out`.
pub fn write_record(out: &mut dyn io::Write, entry: &Entry) -> io::Result<()> {
    line(out, "dn", &Value::from(&entry.dn))?;
    for (name, values) in &entry.attributes {
        values.iter().try_for_each(|value| line(out, name.as_str(), value))?;
    }
    out.write_all(b"\n")
}

fn line(out: &mut dyn io::Write, name: &str, value: &Value) -> io::Result<()> {
    let text = match value.as_text().filter(|text| is_safe(text)) {
        Some(text) => format!("{name}: {text}"),
        None => format!("{name}:: {}", STANDARD.encode(value.as_bytes())),
    };
    let mut rest = text.as_bytes();
    let (first, after) = rest.split_at(rest.len().min(LINE_CHARACTERS));
    out.write_all(first)?;
    rest = after;
    while !rest.is_empty() {
        let (next, after) = rest.split_at(rest.len().min(LINE_CHARACTERS - 1));
        out.write_all(b"\n ")?;
        out.write_all(next)?;
        rest = after;
    }
    out.write_all(b"\n")
}

/// SAFE-STRING of RFC 2849, and no blank at the end.
fn is_safe(text: &str) -> bool {
    let begins_well = !text.starts_with([' ', ':', '<']);
    begins_well && !text.ends_with(' ') && text.bytes().all(|byte| matches!(byte, 0x01..=0x7f) && byte != b'\n' && byte != b'\r')
}
