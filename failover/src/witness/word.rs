//! What a witness keeps, as text: one line of JSON, the same in every kind of witness.
//!
//! `{"form":1,"generation":3,"holder":"beta","renewals":17}`: numbers are whole and below 2^64, keys come in this order and each once. What
//! is written here always has that very spelling; what is read may have spaces.

use serde::{Deserialize, Serialize};
use standin_common::id::{Generation, NodeName};

/// The only form so far.
const FORM: u32 = 1;

/// Longer texts are not read: a word has at most 150 bytes.
const LONGEST: usize = 1024;

/// What the witness of a group keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The generation of the group at which the holder got it.
    pub generation: Generation,
    /// Who may have the group online.
    pub holder: NodeName,
    /// Counted up by the holder while it serves and is well.
    pub renewals: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    form: u32,
    generation: u64,
    holder: NodeName,
    renewals: u64,
}

/// Why a text is no word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// It is too long to be one.
    #[error("what stands there has {0} bytes, which no word has")]
    Long(usize),
    /// It is not of the form, and why.
    #[error("what stands there is no word of this program ({0})")]
    Shape(String),
    /// Another release wrote it.
    #[error("what stands there has form {0}, and this program knows form 1: bring all nodes to the same release")]
    Form(u32),
}

impl Word {
    /// As text.
    pub fn text(&self) -> String {
        let Self { generation, holder, renewals } = self;
        // A node's name has no character that JSON would write otherwise.
        format!(r#"{{"form":{FORM},"generation":{generation},"holder":"{holder}","renewals":{renewals}}}"#)
    }

    /// From text that anybody may have written.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn parse(text: &[u8]) -> Result<Self, WordError> {
        #[derive(Deserialize)]
        struct Any {
            form: u32,
        }
        if text.len() > LONGEST {
            return Err(WordError::Long(text.len()));
        }
        let shape = |error: serde_json::Error| WordError::Shape(error.to_string());
        if let Ok(Any { form }) = serde_json::from_slice(text)
            && form != FORM
        {
            return Err(WordError::Form(form));
        }
        let Written { generation, holder, renewals, .. } = serde_json::from_slice(text).map_err(shape)?;
        Ok(Self { generation: Generation(generation), holder, renewals })
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} since generation {}", self.holder, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(generation: u64, holder: &str, renewals: u64) -> Word {
        Word { generation: Generation(generation), holder: holder.parse().unwrap(), renewals }
    }

    #[test]
    fn a_word_has_one_spelling() {
        let text = r#"{"form":1,"generation":3,"holder":"beta","renewals":17}"#;
        assert_eq!(word(3, "beta", 17).text(), text);
        assert_eq!(Word::parse(text.as_bytes()), Ok(word(3, "beta", 17)));
        let spaced = "{ \"form\": 1,\n \"renewals\": 17, \"holder\": \"beta\", \"generation\": 3 }";
        assert_eq!(Word::parse(spaced.as_bytes()), Ok(word(3, "beta", 17)));
    }

    #[test]
    fn what_is_no_word_is_not_taken_for_one() {
        let cases = [
            "",
            "null",
            "{}",
            "beta",
            r#"[1,3,"beta",17"#,
            r#"{"form":1,"generation":3,"holder":"beta"}"#,
            r#"{"form":1,"generation":-3,"holder":"beta","renewals":17}"#,
            r#"{"form":1,"generation":3.0,"holder":"beta","renewals":17}"#,
            r#"{"form":1,"generation":"3","holder":"beta","renewals":17}"#,
            r#"{"form":1,"generation":18446744073709551616,"holder":"beta","renewals":17}"#,
            r#"{"form":1,"generation":3,"generation":4,"holder":"beta","renewals":17}"#,
            r#"{"form":1,"generation":3,"holder":"beta","renewals":17,"more":1}"#,
            r#"{"form":1,"generation":3,"holder":"../beta","renewals":17}"#,
            r#"{"form":1,"generation":3,"holder":"","renewals":17}"#,
            r#"{"form":1,"generation":3,"holder":"be\u0000ta","renewals":17}"#,
            r#"{"form":1,"generation":3,"holder":"beta","renewals":17}{}"#,
        ];
        for text in cases {
            assert!(
                matches!(Word::parse(text.as_bytes()), Err(WordError::Shape(_))),
                "{text}: {:?}",
                Word::parse(text.as_bytes())
            );
        }
        assert!(matches!(Word::parse(b"\xff\xfe{}"), Err(WordError::Shape(_))));
        assert_eq!(Word::parse(br#"{"form":2,"whatever":true}"#), Err(WordError::Form(2)));
        assert_eq!(Word::parse(&[b' '; 1025]), Err(WordError::Long(1025)));
        let deep = "[".repeat(1000);
        assert!(Word::parse(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(generation: u64, renewals: u64, holder in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
            let Ok(holder) = holder.parse() else { return Ok(()) };
            let word = Word { generation: Generation(generation), holder, renewals };
            let text = word.text();
            prop_assert_eq!(Word::parse(text.as_bytes()), Ok(word));
            prop_assert!(text.len() < 160, "{}", text);
        }

        #[test]
        fn nothing_that_is_read_panics(text: Vec<u8>) {
            let _ = Word::parse(&text);
        }
    }
}
