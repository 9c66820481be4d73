//! Text that is not TOML: what the parser says, in words for people.

use toml::de::{DeTable, Error};

use crate::problem::{Problems, position, quote};

/// Reads the text. Every line that is not TOML is a problem; `None` if what is left would only mislead.
pub(crate) fn parse<'a>(problems: &Problems<'a>) -> Option<DeTable<'a>> {
    let text = problems.text();
    let (document, mut errors) = DeTable::parse_recoverable(text);
    let start = |error: &Error| error.span().map_or(0, |span| span.start.min(text.len()));
    errors.sort_by_key(|error| position(text, start(error)).0);
    let open_list = errors.iter().any(|error| matches!(Fault::of(error, text), Fault::OpenList));
    let mut last_line = 0;
    let mut usable = true;
    for error in &errors {
        let fault = Fault::of(error, text);
        if open_list && matches!(fault, Fault::NoComma | Fault::OpenList) {
            // From here on the parser takes the rest of the file for the list; the fault is where the list should have ended.
            let end = text[..start(error)].trim_end().len();
            let (wrong, instead) = Fault::OpenList.words(error);
            problems.add(end, "", wrong, instead);
            return None;
        }
        usable &= fault.leaves_the_rest_readable();
        let (line, _) = position(text, start(error));
        // What follows on the same line is mostly a consequence.
        if line != last_line {
            let (wrong, instead) = fault.words(error);
            problems.add(start(error), "", wrong, instead);
        }
        last_line = line;
    }
    usable.then(|| document.into_inner())
}

enum Fault<'t> {
    /// A key or table set twice.
    Duplicate(&'t str),
    /// Text without quotes.
    Unquoted(&'t str),
    /// A backslash in double quotes.
    Backslash,
    /// No comma between two elements of a list.
    NoComma,
    /// A list that goes on to the end of the file.
    OpenList,
    /// Something else has no end.
    Unclosed {
        what: &'static str,
        end: &'static str,
    },
    /// `True`, `FALSE` or the like.
    Boolean,
    /// A key without `=`.
    NoEquals,
    /// No value after `=`.
    NoValue,
    Other,
}

impl<'t> Fault<'t> {
    /// Goes by the parser's message, since it has no kinds; an unknown message is passed on as it is.
    fn of(error: &Error, text: &'t str) -> Self {
        let message = error.message();
        let at = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        let starts = |start: &str| message.starts_with(start);
        match () {
            () if starts("duplicate key") => Self::Duplicate(at),
            () if starts("string values must be quoted") && at.is_empty() => Self::NoValue,
            () if starts("string values must be quoted") => Self::Unquoted(at),
            () if starts("invalid boolean") => Self::Boolean,
            () if starts("key with no value") => Self::NoEquals,
            () if starts("missing escaped value") || starts("too few unicode value digits") => Self::Backslash,
            () if starts("unclosed table") => Self::Unclosed { what: "the table's name", end: "]" },
            () if starts("unclosed array of tables") => Self::Unclosed { what: "the table's name", end: "]]" },
            () if starts("unclosed array") => Self::OpenList,
            () if starts("missing comma between array elements") => Self::NoComma,
            () if starts("unclosed inline table") => Self::Unclosed { what: "the table", end: "}" },
            () if starts("invalid basic string, expected `\"`") => Self::Unclosed { what: "the text", end: "\"" },
            () if starts("invalid literal string, expected `'`") => Self::Unclosed { what: "the text", end: "'" },
            () => Self::Other,
        }
    }

    fn leaves_the_rest_readable(&self) -> bool {
        matches!(self, Self::Duplicate(_))
    }

    fn words(&self, error: &Error) -> (String, String) {
        match self {
            Self::Duplicate(key) => (format!("{} is there twice", quote(key.trim())), "keep one of the two".into()),
            Self::Unquoted(word) => {
                let word = word.trim();
                (format!("{} is text without quotes", quote(word)), format!("write {word:?}"))
            }
            Self::Boolean => ("true and false are in small letters".into(), "write true or false".into()),
            Self::NoEquals => ("there is no = after the key".into(), "write key = value".into()),
            Self::Backslash => {
                let instead = r"write the text in single quotes, where a backslash is just that: 'C:\mail'";
                ("in double quotes a backslash starts an escape such as \\n".into(), instead.into())
            }
            Self::NoComma => ("a comma is missing between two elements of a list".into(), "write it here".into()),
            Self::OpenList => ("the list has no end".into(), "write ] after its last element".into()),
            Self::Unclosed { what, end } => (format!("{what} has no end"), format!("write {end} after it")),
            Self::NoValue => ("there is no value after =".into(), "write one, or remove the key".into()),
            Self::Other => {
                let wrong = format!("this is not TOML: {}", error.message());
                (wrong, "write key = \"text\", key = 1, key = [ … ] or a [table]; see https://toml.io".into())
            }
        }
    }
}
