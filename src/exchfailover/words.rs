//! The words of the command line: as text, and without a password that others could see.

use std::ffi::OsString;

use standin_failover::credentials::Secret;
use standin_failover::exchfailover::without_password;

use super::NAME;
use crate::directory::{PASSWORD_VARIABLE, Stop, start_again};

/// The words as text, and the password that came with them from before [`hide_password`].
pub(super) fn read(words: Vec<OsString>) -> Result<(Vec<String>, Option<Secret>), Stop> {
    let odd = |word: OsString| Stop::usage(format!("{} is no text: write it in UTF-8", word.display()));
    let words = words.into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>().map_err(odd)?;
    Ok((words, std::env::var(PASSWORD_VARIABLE).ok().map(Secret::new)))
}

/// Everybody on the machine can read a command line, so a password must not stay on it: the program starts itself again with the
/// password in its environment, which only its own account can read. Comes back only where there is none, or where that fails.
pub(super) fn hide_password(words: &[String]) -> Result<(), Stop> {
    let Some((shown, password)) = without_password(words) else { return Ok(()) };
    let error = start_again(NAME, &shown, (PASSWORD_VARIABLE, password.reveal()));
    eprintln!("{NAME}: the password stays on the command line, where others can see it: {error}");
    Ok(())
}
