//! Text that looks and compresses like mail and like the logs of a mail server.

use std::io::Write;

use super::random::Random;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_LINE_LEN: usize = 76;
const TEXT_LINE_LEN: usize = 72;
const WORD_COUNT: usize = 2048;
const NAMES: &[&str] = &[
    "anna", "bruno", "chiara", "dimitri", "elif", "fatima", "georg", "hana", "ivan", "jun", "kofi", "lucia", "mehmet", "noor",
    "olga", "pavel", "quentin", "rosa", "samir", "tomas", "uma", "vera", "wei", "xenia", "yusuf", "zoe",
];
const DOMAINS: &[&str] = &["example.com", "example.net", "mail.example.org", "partner.example", "lists.example.org"];

/// Makes messages and log lines.
pub(crate) struct MailMaker {
    random: Random,
    words: Vec<String>,
}

/// One message.
pub(crate) struct Message {
    /// Address of the sender.
    pub(crate) sender: String,
    /// Address of the receiver.
    pub(crate) receiver: String,
    /// Its subject.
    pub(crate) subject: String,
    /// Seconds since 1970.
    pub(crate) received_secs: i64,
    /// Headers and body as they travel (RFC 5322).
    pub(crate) raw: Vec<u8>,
}

impl MailMaker {
    /// Mail of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let syllables = [
            "an", "ber", "co", "de", "en", "fi", "ge", "ho", "in", "ka", "la", "mo", "ne", "or", "pa", "re", "st", "tu", "ver",
            "zi",
        ];
        let words = (0..WORD_COUNT)
            .map(|index| (0..1 + index.min(400) / 100 + random.below(2) as usize).map(|_| *random.pick(&syllables)).collect())
            .collect();
        Self { random, words }
    }

    /// The maker's own numbers.
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// A message: most are short text, some long, some with an attachment.
    pub(crate) fn message(&mut self) -> Message {
        let sender = self.address();
        let receiver = self.address();
        let subject = (0..3 + self.random.below(5)).map(|_| self.word().to_owned()).collect::<Vec<_>>().join(" ");
        let received_secs = self.random.time().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let mut raw = Vec::with_capacity(16 * 1024);
        let id = self.random.next();
        let head = format!(
            "Received: from mx{}.example.net ([192.0.2.{}])\r\n\tby mail.example.com with ESMTPS id {id:016x}\r\nFrom: <{sender}>\r\n\
             To: <{receiver}>\r\nSubject: {subject}\r\nMessage-ID: <{id:x}@example.net>\r\nMIME-Version: 1.0\r\n\r\n",
            id % 9,
            id % 250
        );
        raw.extend_from_slice(head.as_bytes());
        let kind = self.random.below(100);
        let text_len =
            if kind < 75 { self.random.between_by_magnitude(512, 8 * 1024) } else { 4 * 1024 + self.random.below(24 * 1024) };
        self.text(&mut raw, text_len as usize);
        if kind >= 93 {
            let attachment_len = self.random.between_by_magnitude(16 * 1024, 256 * 1024) as usize;
            raw.extend_from_slice(
                b"\r\n--boundary\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            );
            self.base64(&mut raw, attachment_len);
        }
        Message { sender, receiver, subject, received_secs, raw }
    }

    /// About `len` bytes of text in lines.
    pub(crate) fn text(&mut self, into: &mut Vec<u8>, len: usize) {
        let end = into.len() + len;
        let mut line_start = into.len();
        while into.len() < end {
            let index = self.word_index();
            into.extend_from_slice(self.words[index].as_bytes());
            if into.len() - line_start > TEXT_LINE_LEN {
                into.extend_from_slice(b"\r\n");
                line_start = into.len();
            } else {
                into.push(b' ');
            }
        }
    }

    /// About `len` bytes of base64 (RFC 2045) of nothing in particular.
    pub(crate) fn base64(&mut self, into: &mut Vec<u8>, len: usize) {
        let start = into.len();
        into.resize(start + len, 0);
        self.random.fill(&mut into[start..]);
        for (index, byte) in into[start..].iter_mut().enumerate() {
            *byte = if index % (BASE64_LINE_LEN + 1) == BASE64_LINE_LEN { b'\n' } else { BASE64[usize::from(*byte & 63)] };
        }
    }

    /// Exactly `len` bytes like a transaction log's: records of numbers, text and pieces that do not compress.
    pub(crate) fn log(&mut self, into: &mut Vec<u8>, len: usize) {
        into.clear();
        while into.len() < len {
            let number = self.random.next();
            let written = write!(into, "{:016x} commit tx={} page={} ", number, number % 1_000_000, number % 150_000);
            debug_assert!(written.is_ok(), "memory takes all that is written");
            let text_len = 40 + self.random.below(200) as usize;
            self.text(into, text_len);
            let start = into.len();
            into.resize(start + 100 + self.random.below(200) as usize, 0);
            self.random.fill(&mut into[start..]);
            into.push(b'\n');
        }
        into.truncate(len);
    }

    fn address(&mut self) -> String {
        format!("{}.{}@{}", self.random.pick(NAMES), self.random.below(200), self.random.pick(DOMAINS))
    }

    fn word(&mut self) -> &str {
        let index = self.word_index();
        &self.words[index]
    }

    /// Frequent words are much more frequent, as in any language.
    fn word_index(&mut self) -> usize {
        let number = self.random.next();
        let bits = (number >> 32) % 11 + 1;
        (number & ((1 << bits) - 1)) as usize
    }
}
