//! Texts put together for people.

/// A text as a sentence: with a full stop, unless it ends as one already. Errors have none, and may end with a question.
pub fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_once() {
        for (text, ended) in [("it is so", "it is so."), ("it is so.", "it is so."), ("is it so?", "is it so?"), ("so! ", "so!")]
        {
            assert_eq!(sentence(text), ended);
        }
    }
}
