//! Words of a command line and of an options file, and which of them are options.

use std::fmt;

/// Why a command line or an options file can not be meant. The program ends with the code for a bad command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A word that is no option, where one was expected.
    #[error("\"{0}\" is no option; exchfailover -? shows the syntax")]
    Unknown(String),
    /// A word too many after an account. It is not shown: it may be a part of a password.
    #[error("-u takes one word, USER:PASSWORD, and another follows; put quotes around one with blanks")]
    AfterAccount,
    /// An option without its value.
    #[error("-{option} needs {what} after it")]
    NoValue {
        /// The option.
        option: &'static str,
        /// What belongs there.
        what: &'static str,
    },
    /// An option that was given twice, with different values.
    #[error("-{option} was given twice, as \"{first}\" and as \"{second}\"")]
    Twice {
        /// The option.
        option: &'static str,
        /// Its first value.
        first: String,
        /// Its second value.
        second: String,
    },
    /// An option that must be there.
    #[error("{0}; exchfailover -? shows the syntax")]
    Missing(&'static str),
    /// Options that contradict each other.
    #[error("-{0} and -{1} can not be meant together")]
    Contradiction(&'static str, &'static str),
    /// A rule of pairing.
    #[error("-r: {0}")]
    Rule(#[from] crate::pairing::RuleError),
    /// An options file that names another one.
    #[error("{file}, line {line}: -o may not stand in an options file")]
    Nested {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// An options file in which a quote is not closed.
    #[error("{file}, line {line}: a quote is not closed")]
    Quote {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// An options file that can not be read.
    #[error("-o: can not read {file}: {why}")]
    File {
        /// The file.
        file: String,
        /// What the system said.
        why: String,
    },
}

/// One word as it was written. What it says is not shown when it is printed for debugging: it may be a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    text: String,
    /// Quotes of an options file are still in the word, since a rule needs to know what they protect.
    is_quoted: bool,
    /// The file and line that it came from.
    from: Option<(String, usize)>,
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Every option, as it is spelled, without its `-` or `/`.
pub(super) const OPTIONS: &[&str] = &[
    "failover",
    "failback",
    "s",
    "t",
    "l",
    "norus",
    "nospn",
    "o",
    "r",
    "setup",
    "test",
    "u",
    "?",
    "??",
    "plan",
    "resume",
    "undo",
    "no-verify",
    "only-domain",
    "only-user",
    "leave-unpaired",
    "move-host-spn",
    "swap-routing-groups",
    "no-connectors",
    "default-public-store",
    "verify",
    "json",
    "ldif",
    "changes",
    "server",
    "domain",
    "ca",
    "pin",
    "password-file",
    "state-dir",
    "config",
];

impl Word {
    /// A word of the command line.
    pub(super) fn typed(text: &str) -> Self {
        Self { text: text.to_owned(), is_quoted: false, from: None }
    }

    /// The option that the word is, if it is one: `-x`, `/x` or `--x`, in any case.
    pub(super) fn option(&self) -> Option<&'static str> {
        let name = self.text.strip_prefix("--").or_else(|| self.text.strip_prefix(['-', '/']))?;
        OPTIONS.iter().find(|option| option.eq_ignore_ascii_case(name)).copied()
    }

    /// Whether it asks as one asks every other program.
    pub(super) fn asks_for_help(&self) -> bool {
        ["-h", "--help"].iter().any(|asks| self.text.eq_ignore_ascii_case(asks))
    }

    /// Whether it looks like an option, known or not. A path may begin with `/`.
    pub(super) fn looks_like_option(&self) -> bool {
        self.text.starts_with(['-', '/']) && self.text.len() > 1
    }

    /// What is meant: an options file's quotes are taken away.
    pub(super) fn meant(&self) -> String {
        if self.is_quoted { unquoted(&self.text) } else { self.text.clone() }
    }

    /// What was written, quotes and all, for those who know what they protect.
    pub(super) fn written(&self) -> &str {
        &self.text
    }

    /// What was written as a rule, or its beginning. Quotes around a whole `"GROUP:GROUP"` are there for its blanks, as on a command line,
    /// and protect nothing; a `:` of a name is written `\:`.
    pub(super) fn as_rule(&self) -> &str {
        let inner = self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let is_whole = |inner: &&str| self.is_quoted && inner.contains(':') && !inner.contains('"');
        inner.filter(is_whole).unwrap_or(&self.text)
    }

    pub(super) fn from(&self) -> Option<&(String, usize)> {
        self.from.as_ref()
    }
}

/// The words of an options file: any number to a line; `#` at the beginning of a word makes the rest of the line a comment; blanks within
/// double quotes belong to the word, and `""` within quotes is a quote.
///
/// # Errors
/// A quote that is not closed on its line.
pub fn file_words(file: &str, text: &str) -> Result<Vec<Word>, UsageError> {
    let mut words = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let from = Some((file.to_owned(), at + 1));
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let end = word_end(rest).ok_or_else(|| UsageError::Quote { file: file.to_owned(), line: at + 1 })?;
            words.push(Word { text: rest[..end].to_owned(), is_quoted: true, from: from.clone() });
            rest = rest[end..].trim_start();
        }
    }
    Ok(words)
}

fn word_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, char) in text.char_indices() {
        match char {
            '"' => quoted = !quoted,
            char if char.is_whitespace() && !quoted => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

fn unquoted(text: &str) -> String {
    let (mut meant, mut quoted) = (String::with_capacity(text.len()), false);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => meant.extend(chars.next()),
            '"' => quoted = !quoted,
            char => meant.push(char),
        }
    }
    meant
}
