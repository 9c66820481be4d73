//! A password in memory.

use std::fmt;

use zeroize::Zeroizing;

/// A password. Never printed, and its memory is overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a text as a secret.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself, for the one who must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// For a field of a message: `#[serde(with = "secret::sent")]`. A [`Secret`] itself can not be written anywhere by accident; who sends
/// one says so, and over a connection that nobody else reads.
pub mod sent {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Secret;

    /// Writes the secret itself.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.reveal())
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_printed_and_sent_only_where_that_is_said() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Message {
            #[serde(with = "sent")]
            password: Secret,
        }
        let message = Message { password: Secret::new("hunter2".into()) };
        assert_eq!(format!("{message:?}"), "Message { password: (secret) }");
        let bytes = postcard::to_stdvec(&message).unwrap();
        assert_eq!(postcard::from_bytes::<Message>(&bytes).unwrap().password.reveal(), "hunter2");
    }
}
