//! The SHA-256 of a certificate, as people compare it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const LEN: usize = 32;
const GROUP: usize = 4;

/// SHA-256 (FIPS 180-4) of a certificate's DER. Shown as lower-case hex in eight groups of eight joined by `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; LEN]);

/// Why a text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Neither a hex digit nor something that separates groups.
    #[error("a fingerprint has only hex digits, and '-', ':' or spaces between them; {0:?} is not allowed here")]
    Character(char),
    /// Too few or too many digits.
    #[error(
        "a fingerprint has 64 hex digits, this one has {0}: compare it with what `standin pair --show` says on the other node"
    )]
    Digits(usize),
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; LEN];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let separator = if at > 0 && at % GROUP == 0 { "-" } else { "" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Whatever the case, with any separators or none.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; LEN];
        let mut digits = 0;
        for c in text.chars().filter(|c| !(matches!(c, '-' | ':' | '_') || c.is_whitespace())) {
            let digit = c.to_digit(16).ok_or(FingerprintError::Character(c))?;
            if let Some(byte) = bytes.get_mut(digits / 2) {
                // A hex digit fits four bits.
                *byte = *byte << 4 | digit as u8;
            }
            digits += 1;
        }
        if digits == 2 * LEN { Ok(Self(bytes)) } else { Err(FingerprintError::Digits(digits)) }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; LEN]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_ways_of_writing_are_read() {
        let fingerprint = Fingerprint::of(b"abc");
        let text = "ba7816bf-8f01cfea-414140de-5dae2223-b00361a3-96177a9c-b410ff61-f20015ad";
        assert_eq!(fingerprint.to_string(), text);
        for written in
            [text.to_owned(), text.to_uppercase(), text.replace('-', ""), text.replace('-', " : "), format!(" {text}\n")]
        {
            assert_eq!(written.parse(), Ok(fingerprint), "{written:?}");
        }
        assert_eq!(text[1..].parse::<Fingerprint>(), Err(FingerprintError::Digits(63)));
        assert_eq!(format!("{text}0").parse::<Fingerprint>(), Err(FingerprintError::Digits(65)));
        assert_eq!("xyz".parse::<Fingerprint>(), Err(FingerprintError::Character('x')));
    }

    proptest! {
        #[test]
        fn every_form_is_read_back(bytes: [u8; 32]) {
            let fingerprint = Fingerprint::from_bytes(bytes);
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            let json = serde_json::to_string(&fingerprint).unwrap();
            prop_assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
            let wire = postcard::to_stdvec(&fingerprint).unwrap();
            prop_assert_eq!(wire.len(), 32);
            prop_assert_eq!(postcard::from_bytes::<Fingerprint>(&wire).unwrap(), fingerprint);
        }
    }
}
