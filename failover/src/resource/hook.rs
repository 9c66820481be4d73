//! Commands of the user's that belong to no resource: who is told of an alert, what keeps a lost node from going on.

use std::time::{Duration, Instant};

use super::Trouble;
use super::command::{Ended, Limited};
pub use super::command::{Missing, missing};

/// Runs a command to its end, or kills it with all its processes when time is up. Its lines are told to `line`.
///
/// # Errors
/// [`Trouble`] where it does not end with 0 in time. `what` says what it is for.
pub fn run(
    words: &[String],
    variables: &[(String, String)],
    limit: Duration,
    what: &str,
    line: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let limited = Limited { words, variables, deadline: Instant::now() + limit, is_cancelled: &|| false };
    let program = words.first().map_or("", String::as_str);
    match limited.run(line) {
        Ok(Ended::Code(0)) => Ok(()),
        Ok(ended) => Err(Trouble::new(what, format!("{program}: {ended}"), "run it by hand to see why")),
        Err(error) => Err(Trouble::new(
            what,
            format!("{program} cannot be started: {error}"),
            "look that it is on this node, and executable",
        )),
    }
}
