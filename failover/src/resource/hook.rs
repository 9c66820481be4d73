//! Commands of the user's that belong to no resource: who is told of an alert, what keeps a lost node from going on.

use std::time::{Duration, Instant};

use standin_common::id::{GroupName, NodeName};

use super::Trouble;
use super::command::{Ended, Limited};
pub use super::command::{Missing, missing};

/// How long what keeps a lost node from going on may take.
pub const FENCE_LIMIT: Duration = Duration::from_secs(120);

/// Runs what keeps a lost node from going on: `STANDIN_LOST` in its environment. Its lines are told to `line`.
///
/// # Errors
/// Why it failed: then nobody knows whether the lost node goes on.
pub fn fence(
    words: &[String],
    (group, node): (&GroupName, &NodeName),
    lost: &NodeName,
    limit: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<(), Trouble> {
    let variables = [("STANDIN_GROUP", group.as_str()), ("STANDIN_NODE", node.as_str()), ("STANDIN_LOST", lost.as_str())];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut told = |text: &str| {
        tracing::info!(%group, "fence: {text}");
        line(text);
    };
    run(words, &variables, limit, "fence", &mut told).map_err(|trouble| Trouble {
        mend: format!("whether {lost} still serves is not known, so nothing was taken over; {}", trouble.mend),
        ..trouble
    })
}

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
