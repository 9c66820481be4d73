//! Reading LDIF, as the tools of the trade write it: `ldifde` (`changetype: add`, CRLF, UTF-16 with `-u`), `ldapsearch` (`search:`, `result:`,
//! `ref:`), and Samba's (`# record 1`).

use std::io::{BufRead, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::{DirectoryError, Dn};

/// No line of an export is longer, folded lines joined; what is longer is no export. In bytes.
const LONGEST_LINE_BYTES: usize = 64 << 20;

/// One object of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line where it begins, from 1.
    pub line: usize,
    /// The object's name.
    pub dn: Dn,
    /// Attributes and values, in the order of the file.
    pub values: Vec<(String, Vec<u8>)>,
}

/// Reads records one after the other.
pub struct Reader<R> {
    file: String,
    input: Input<R>,
    /// The next physical line, already read, and its number.
    next: Option<Vec<u8>>,
    line: usize,
}

/// A logical line and its number, from 1.
type Line = (usize, Vec<u8>);

/// Text of one byte for each character or more, or UTF-16 that was made so when it was opened.
enum Input<R> {
    Bytes(R),
    Converted(std::io::Cursor<Vec<u8>>),
}

impl<R: BufRead> Reader<R> {
    /// Begins to read; `file` is its name in messages.
    ///
    /// # Errors
    /// [`DirectoryError::Unreachable`] where it can not be read.
    pub fn new(file: &str, mut input: R) -> Result<Self, DirectoryError> {
        let unreadable = |error: std::io::Error| DirectoryError::Unreachable { server: file.to_owned(), why: error.to_string() };
        let begin = input.fill_buf().map_err(unreadable)?;
        let input = match begin {
            [0xff, 0xfe, ..] => {
                let mut bytes = Vec::new();
                input.read_to_end(&mut bytes).map_err(unreadable)?;
                let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
                Input::Converted(std::io::Cursor::new(String::from_utf16_lossy(&units).into_bytes()))
            }
            [0xef, 0xbb, 0xbf, ..] => {
                input.consume(3);
                Input::Bytes(input)
            }
            _ => Input::Bytes(input),
        };
        let mut reader = Self { file: file.to_owned(), input, next: None, line: 0 };
        reader.advance()?;
        Ok(reader)
    }

    /// The next object; `None` at the end.
    ///
    /// # Errors
    /// [`DirectoryError::Protocol`] with the line for what is no export.
    pub fn next_record(&mut self) -> Result<Option<Record>, DirectoryError> {
        loop {
            let Some(lines) = self.paragraph()? else { return Ok(None) };
            if let Some(record) = self.record(lines)? {
                return Ok(Some(record));
            }
        }
    }

    fn wrong(&self, line: usize, why: impl Into<String>) -> DirectoryError {
        DirectoryError::Protocol { server: format!("{}, line {line}", self.file), why: why.into() }
    }

    /// Reads the next physical line into `next`.
    fn advance(&mut self) -> Result<Option<Vec<u8>>, DirectoryError> {
        let mut line = Vec::new();
        let limit = LONGEST_LINE_BYTES as u64;
        let read = match &mut self.input {
            Input::Bytes(input) => input.take(limit).read_until(b'\n', &mut line),
            Input::Converted(input) => input.take(limit).read_until(b'\n', &mut line),
        };
        let count = read.map_err(|error| DirectoryError::Unreachable { server: self.file.clone(), why: error.to_string() })?;
        if count == LONGEST_LINE_BYTES {
            return Err(self.wrong(self.line + 1, "a line is far too long for an export"));
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        let before = std::mem::replace(&mut self.next, (count > 0).then_some(line));
        self.line += usize::from(before.is_some());
        Ok(before)
    }

    /// Logical lines up to an empty one, folded ones joined, comments left out, with their numbers.
    fn paragraph(&mut self) -> Result<Option<Vec<Line>>, DirectoryError> {
        let mut lines: Vec<Line> = Vec::new();
        let mut in_comment = false;
        let mut bytes = 0;
        while let Some(line) = self.advance()? {
            match line.first() {
                None if lines.is_empty() => in_comment = false,
                None => return Ok(Some(lines)),
                Some(b' ') if in_comment => {}
                Some(b' ') => match lines.last_mut() {
                    Some((_, whole)) => whole.extend_from_slice(&line[1..]),
                    None => return Err(self.wrong(self.line, "a continued line continues nothing")),
                },
                Some(b'#') => in_comment = true,
                Some(_) => {
                    in_comment = false;
                    bytes += line.len();
                    lines.push((self.line, line));
                }
            }
            if bytes > LONGEST_LINE_BYTES {
                return Err(self.wrong(self.line, "an object is far too long for an export"));
            }
        }
        Ok((!lines.is_empty()).then_some(lines))
    }

    /// The object that a paragraph describes; `None` for what tools write around objects.
    fn record(&self, lines: Vec<Line>) -> Result<Option<Record>, DirectoryError> {
        let mut lines = lines.into_iter().peekable();
        // The version may stand in a paragraph with the first object.
        lines.next_if(|(_, line)| line.to_ascii_lowercase().starts_with(b"version:"));
        let Some((at, first)) = lines.next() else { return Ok(None) };
        let (name, value) = self.pair(at, &first)?;
        if ["search", "result", "ref", "control"].iter().any(|word| name.eq_ignore_ascii_case(word)) {
            return Ok(None);
        }
        if !name.eq_ignore_ascii_case("dn") {
            return Err(self.wrong(at, format!("an object begins with \"dn:\", this one with \"{name}:\"")));
        }
        let text = String::from_utf8(value).map_err(|_| self.wrong(at, "the object's name is not UTF-8"))?;
        let dn = text.parse().map_err(|error: super::super::DnError| self.wrong(at, error.to_string()))?;
        let mut values = Vec::new();
        for (number, line) in lines {
            let (name, value) = self.pair(number, &line)?;
            if name.eq_ignore_ascii_case("changetype") {
                if !value.eq_ignore_ascii_case(b"add") {
                    let kind = String::from_utf8_lossy(&value).into_owned();
                    let why =
                        format!("this is a change file (changetype: {kind}), not an export of a directory; give the export");
                    return Err(self.wrong(number, why));
                }
                continue;
            }
            values.push((name, value));
        }
        Ok(Some(Record { line: at, dn, values }))
    }

    fn pair(&self, number: usize, line: &[u8]) -> Result<(String, Vec<u8>), DirectoryError> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| self.wrong(number, "a line has no \":\""))?;
        let name = std::str::from_utf8(&line[..colon]).ok().filter(|name| !name.is_empty() && name.is_ascii());
        let name = name.ok_or_else(|| self.wrong(number, "a line does not begin with an attribute"))?;
        let rest = &line[colon + 1..];
        let value = match rest.first() {
            Some(b':') => STANDARD
                .decode(rest[1..].trim_ascii())
                .map_err(|error| self.wrong(number, format!("{name} is not base64: {error}")))?,
            Some(b'<') => return Err(self.wrong(number, format!("{name} is kept in another file, which is not read"))),
            // Only spaces fill (RFC 2849, `FILL`): a tab belongs to the value.
            _ => rest.iter().copied().skip_while(|byte| *byte == b' ').collect(),
        };
        Ok((name.to_owned(), value))
    }
}
