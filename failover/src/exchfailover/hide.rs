//! A command line without the password that it should not have had.

use super::options::Secret;
use super::words::Word;

/// The same words with `-u USER` in the place of `-u USER:PASSWORD`, and the password; `None` where there is none.
pub fn without_password(words: &[String]) -> Option<(Vec<String>, Secret)> {
    let after_account = |at: usize| at > 0 && Word::typed(&words[at - 1]).option() == Some("u");
    let at = (0..words.len()).rev().find(|at| after_account(*at) && words[*at].contains(':'))?;
    let (user, password) = words[at].split_once(':')?;
    let mut shown = words.to_vec();
    shown[at] = user.to_owned();
    // Of several accounts the last one counts; the others' passwords must go, too.
    for at in (0..at).filter(|at| after_account(*at)) {
        shown[at] = shown[at].split(':').next().unwrap_or_default().to_owned();
    }
    Some((shown, Secret::new(password)))
}
