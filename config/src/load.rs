//! From a file to settings.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::Settings;
use crate::problem::{Problem, Problems, position};
use crate::resolve::{self, Paths};
use crate::{raw, syntax};

/// Largest settings file, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why there are no settings.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than [`MAX_FILE_BYTES`].
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Everything that is wrong in it, in the order of the file; never empty.
    Problems(Vec<Problem>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => {
                write!(
                    f,
                    "there is no settings file {}; make one with 'standin init', or name another with --config",
                    path.display()
                )
            }
            Self::Unreadable { path, source } => write!(f, "cannot read the settings file {}: {source}", path.display()),
            Self::TooLarge { path } => {
                write!(
                    f,
                    "the settings file {} is larger than {} MiB; name the right one with --config",
                    path.display(),
                    MAX_FILE_BYTES >> 20
                )
            }
            Self::Problems(problems) => {
                let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

// The cause is part of the message, so there is no `source` that would print it a second time.
impl std::error::Error for LoadError {}

impl Settings {
    /// Reads and checks a file, which is for this machine: paths on this node must be of its platform.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = read_bounded(path)?;
        let name = path.display().to_string();
        match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text, &name, Paths::OfThisPlatform).map_err(LoadError::Problems),
            Err(error) => Err(LoadError::Problems(vec![not_utf8(&bytes, &name, error.valid_up_to())])),
        }
    }

    /// Checks a text for whatever machine; `file_name` is only for the messages.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Vec<Problem>> {
        parse(text, file_name, Paths::OfAnyPlatform)
    }
}

/// The state directory that a file of settings names, although other things in it may be wrong: all that somebody needs who asks the daemon,
/// which goes on with the settings that it has.
pub fn state_dir_of(path: &Path) -> Option<PathBuf> {
    let text = String::from_utf8(read_bounded(path).ok()?).ok()?;
    // What stands after a slip may not be read.
    let (document, _) = DeTable::parse_recoverable(&text);
    let named = document.get_ref().get("node")?.get_ref().get("state_dir")?.get_ref().as_str()?;
    Some(PathBuf::from(named)).filter(|path| path.is_absolute())
}

/// The line, from 1, at which something stands in a file of settings. Keys lead there, each in the table of the one before; of a list of tables,
/// the key is a `name`. `None` if it is not there.
pub fn line_of(path: &Path, keys: &[&str]) -> Option<usize> {
    let text = String::from_utf8(read_bounded(path).ok()?).ok()?;
    let (document, _) = DeTable::parse_recoverable(&text);
    let (first, rest) = keys.split_first()?;
    let mut found = document.get_ref().get(*first)?;
    for key in rest {
        let is_named =
            |one: &&Spanned<DeValue<'_>>| one.get_ref().get("name").is_some_and(|name| name.get_ref().as_str() == Some(key));
        found = match found.get_ref() {
            DeValue::Array(list) => list.iter().find(is_named)?,
            table => table.get(*key)?,
        };
    }
    Some(position(&text, found.span().start).0)
}

fn parse(text: &str, file_name: &str, paths: Paths) -> Result<Settings, Vec<Problem>> {
    let problems = Problems::new(file_name, text);
    let settings =
        syntax::parse(&problems).and_then(|document| resolve::resolve(&problems, raw::read(&problems, &document), paths));
    let found = problems.finish();
    match settings {
        Some(settings) if found.is_empty() => Ok(settings),
        _ => Err(found),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(LoadError::TooLarge { path: path.to_owned() }),
        false => Ok(bytes),
    }
}

fn not_utf8(bytes: &[u8], file_name: &str, at: usize) -> Problem {
    let valid = String::from_utf8_lossy(&bytes[..at]);
    let (line, column) = position(&valid, at);
    let wrong = format!("the byte 0x{:02x} is not UTF-8", bytes.get(at).copied().unwrap_or_default());
    let instead = "save the file as UTF-8".to_owned();
    Problem { file: file_name.to_owned(), line, column, key: String::new(), wrong, instead }
}
