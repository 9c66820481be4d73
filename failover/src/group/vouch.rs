//! The steps of a run at the witness: it names the node that the group goes to, or the one again that had it.

use standin_common::id::NodeName;
use standin_common::words::sentence;

use super::run::{Done, Failed, Order};
use crate::witness::Witness;
use crate::witness::raise::{self, Need, Patience, Raise, Raised};

/// Has the witness name a node, at the run's generation.
///
/// # Errors
/// [`Failed`]: the node is not to take over.
pub(super) fn raise(
    witness: &dyn Witness,
    node: &NodeName,
    order: &Order,
    asked: &Raise,
    patience: &Patience<'_>,
) -> Result<Done, Failed> {
    let (place, generation) = (witness.place(), order.claim.generation);
    match raise::raise(witness, generation, node, asked, patience) {
        Ok(Raised::Named) => Ok(told(format!("the witness at {place} names {node}, at generation {generation}"))),
        Ok(Raised::Without(why)) => Ok(by_hand(format!(
            "the witness at {place} does not name {node}, and the run went on without it: {} Mend it, and look with `standin group check {}`",
            sentence(&why),
            order.group
        ))),
        Err(error) => Err(Failed { unchanged: error.is_unchanged(), why: error.to_string() }),
    }
}

/// Has it name the node again that had the group before.
///
/// # Errors
/// [`Failed`] where nothing may go on before it does.
pub(super) fn give_back(
    witness: &dyn Witness,
    order: &Order,
    holder: &NodeName,
    need: Need,
    patience: &Patience<'_>,
) -> Result<Done, Failed> {
    let place = witness.place();
    // Whom a run has named is who carries it out.
    match raise::give_back(witness, order.claim.generation, (&order.claim.runner, holder), patience) {
        Ok(()) => Ok(told(format!("the witness at {place} names {holder} again"))),
        Err(why) => {
            let why = format!("the witness at {place} may not name {holder} again: {why}");
            match need {
                Need::Must => Err(Failed { why, unchanged: false }),
                // Services wait for this, and each node of the group takes part: they know enough without it.
                Need::May | Need::Later => Ok(by_hand(why)),
            }
        }
    }
}

fn told(line: String) -> Done {
    Done { told: vec![line], ..Done::default() }
}

fn by_hand(line: String) -> Done {
    Done { told: vec![line.clone()], by_hand: vec![line], ..Done::default() }
}
