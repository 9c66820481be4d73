//! The grammar of RFC 4514, and the quoted values of RFC 1779 that some programs still write.

use super::super::AttributeName;

/// The components of a name, as text, split at the commas that are neither escaped nor quoted.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    split(text, b',')
}

/// Where `piece`, a slice of `text`, begins in it.
pub(super) fn offset(text: &str, piece: &str) -> usize {
    piece.as_ptr() as usize - text.as_ptr() as usize
}

fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = if text.trim_matches(' ').is_empty() { None } else { Some(text) };
    std::iter::from_fn(move || {
        let whole = rest?;
        match end_of(whole, separator) {
            Some(at) => {
                rest = Some(&whole[at + 1..]);
                Some(&whole[..at])
            }
            None => {
                rest = None;
                Some(whole)
            }
        }
    })
}

fn end_of(text: &str, separator: u8) -> Option<usize> {
    let (mut escaped, mut quoted) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The parts of one component, unescaped.
pub(super) fn parts(piece: &str) -> Result<Vec<(AttributeName, String)>, &'static str> {
    let mut parts = Vec::with_capacity(1);
    for part in split(piece, b'+') {
        let (attribute, value) = part.split_once('=').ok_or("a component has no \"=\"")?;
        let attribute = attribute.trim_matches(' ');
        if attribute.is_empty() || !attribute.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
            return Err("a component does not begin with an attribute and \"=\"");
        }
        parts.push((AttributeName::new(attribute), unescaped(value)?));
    }
    if parts.is_empty() {
        return Err("a component is empty");
    }
    Ok(parts)
}

/// The value that an escaped one means. The form `#hex` (BER) is kept as it is.
fn unescaped(text: &str) -> Result<String, &'static str> {
    let text = trim(text);
    let (text, quoted) = match text.strip_prefix('"') {
        Some(rest) => (rest.strip_suffix('"').ok_or("a quoted value does not end in a quote")?, true),
        None => (text, false),
    };
    if !text.contains(['\\', '"']) {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut value = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1), bytes.get(at + 2)) {
            (b'\\', Some(high), Some(low)) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                value.push(hex(*high) << 4 | hex(*low));
                at += 3;
            }
            (b'\\', Some(special), _) if special.is_ascii_punctuation() || *special == b' ' => {
                value.push(*special);
                at += 2;
            }
            (b'\\', ..) => return Err("a backslash stands before something that needs none"),
            (b'"', ..) if !quoted => return Err("a quote stands in the middle of a value"),
            (byte, ..) => {
                value.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(value).map_err(|_| "a value is not UTF-8")
}

/// Without spaces around, but with a last one that is escaped.
pub(super) fn trim(text: &str) -> &str {
    let text = text.trim_start_matches(' ');
    let bare = text.trim_end_matches(' ');
    let backslashes = bare.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 && bare.len() < text.len() { &text[..bare.len() + 1] } else { bare }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit.to_ascii_lowercase() - b'a') + 10,
    }
}

/// A value as it must be written (RFC 4514 section 2.4); control characters as hex, as Active Directory does.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, char) in value.chars().enumerate() {
        match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.extend(['\\', char]),
            '#' if at == 0 => text.push_str("\\#"),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            char if char.is_ascii_control() => text.push_str(&format!("\\{:02X}", u32::from(char))),
            char => text.push(char),
        }
    }
    text
}

/// What all spellings of a component have in common.
pub(super) fn key_of(parts: &[(AttributeName, String)]) -> String {
    let mut keys: Vec<String> = parts.iter().map(|(attribute, value)| part_key(attribute, value)).collect();
    keys.sort_unstable();
    keys.join("+")
}

fn part_key(attribute: &AttributeName, value: &str) -> String {
    let mut key = String::with_capacity(attribute.as_str().len() + 1 + value.len());
    key.extend(attribute.as_str().chars().map(|char| char.to_ascii_lowercase()));
    key.push('=');
    let mut gap = false;
    for char in value.trim_matches(' ').chars() {
        if char == ' ' {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) {
            key.push(' ');
        }
        match char {
            ',' | '+' | '\\' | '=' => key.push_str(&format!("\\{:02x}", u32::from(char))),
            char if char.is_ascii() => key.push(char.to_ascii_lowercase()),
            char => key.extend(char.to_lowercase()),
        }
    }
    key
}
