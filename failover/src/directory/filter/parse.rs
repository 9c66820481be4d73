//! Reading filters as RFC 4515 writes them.

use std::str::FromStr;

use super::super::{AttributeName, Value};
use super::{Filter, FilterError};

/// Filters nested deeper than this are refused, so that no text can exhaust the stack.
const DEEPEST: usize = 64;

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let wrong = |(why, at)| FilterError { text: text.to_owned(), why, at };
        let filter = reader.filter(0).map_err(wrong)?;
        if reader.at != text.len() {
            return Err(wrong(("something follows its end", reader.at)));
        }
        Ok(filter)
    }
}

type Wrong = (&'static str, usize);

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn filter(&mut self, depth: usize) -> Result<Filter, Wrong> {
        if depth > DEEPEST {
            return Err(("it is nested too deeply", self.at));
        }
        self.expect(b'(', "a \"(\" is missing")?;
        let filter = match self.peek() {
            Some(b'&') => Filter::And(self.list(depth)?),
            Some(b'|') => Filter::Or(self.list(depth)?),
            Some(b'!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => self.item()?,
        };
        self.expect(b')', "a \")\" is missing")?;
        Ok(filter)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, Wrong> {
        self.at += 1;
        let mut filters = Vec::new();
        while self.peek() == Some(b'(') {
            filters.push(self.filter(depth + 1)?);
        }
        Ok(filters)
    }

    fn item(&mut self) -> Result<Filter, Wrong> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';')) {
            self.at += 1;
        }
        let attribute = match std::str::from_utf8(&self.bytes[from..self.at]) {
            Ok(name) if !name.is_empty() => AttributeName::new(name),
            _ => return Err(("an attribute is missing", from)),
        };
        let kind = self.peek();
        if matches!(kind, Some(b'<' | b'>')) {
            self.at += 1;
        }
        self.expect(b'=', "a \"=\" is missing after the attribute")?;
        let mut parts = self.parts()?;
        if matches!(kind, Some(b'<' | b'>')) && parts.len() > 1 {
            return Err(("a \"*\" has no meaning after \"<=\" or \">=\"", from));
        }
        let last = parts.pop().unwrap_or_default();
        Ok(match (kind, parts.len()) {
            (Some(b'<'), _) => Filter::AtMost(attribute, last.into()),
            (Some(b'>'), _) => Filter::AtLeast(attribute, last.into()),
            (_, 0) => Filter::Equal(attribute, last.into()),
            (_, 1) if parts[0].is_empty() && last.is_empty() => Filter::Present(attribute),
            _ => {
                let some = |part: Vec<u8>| (!part.is_empty()).then(|| Value::from(part));
                let first = some(parts.remove(0));
                Filter::Substring { attribute, first, middle: parts.into_iter().map(Value::from).collect(), last: some(last) }
            }
        })
    }

    /// The value, in the parts that stars separate.
    fn parts(&mut self) -> Result<Vec<Vec<u8>>, Wrong> {
        let mut parts = vec![Vec::new()];
        while let Some(byte) = self.peek().filter(|byte| *byte != b')') {
            self.at += 1;
            let byte = match byte {
                b'*' => {
                    parts.push(Vec::new());
                    continue;
                }
                b'(' => return Err(("a \"(\" in a value is written \\28", self.at - 1)),
                b'\\' => self.hex_pair()?,
                byte => byte,
            };
            if let Some(part) = parts.last_mut() {
                part.push(byte);
            }
        }
        Ok(parts)
    }

    fn hex_pair(&mut self) -> Result<u8, Wrong> {
        let digits = self.bytes.get(self.at..self.at + 2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let value = value.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        self.at += 2;
        value.ok_or(("two hex digits follow a backslash", self.at.saturating_sub(2)))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), Wrong> {
        if self.peek() != Some(byte) {
            return Err((why, self.at));
        }
        self.at += 1;
        Ok(())
    }
}
