//! The witness of a group, as the settings of this node reach it, and whether it is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use standin_config::group::Group as Written;
use standin_failover::group::state::GroupState;
use standin_failover::witness::{Door, Witness, WitnessError, Word, build};

use super::asked::Checked;
use crate::daemon::peer::Context;
use crate::directory::Access;

/// The witness of a group, if it has one. Nobody is asked yet.
pub(super) fn open(context: &Arc<Context>, written: &Written) -> Result<Option<Arc<dyn Witness>>, String> {
    let Some(settings) = &written.witness else { return Ok(None) };
    let context = context.clone();
    // One controller, with the account and the certificates of `[directory]`, as they are by then.
    let door: Door = Box::new(move |controller| {
        let access = Access { servers: vec![controller.to_owned()], ..Access::default() }.or(Some(&context.settings()));
        access.unattended_way().map_err(|stop| stop.why)
    });
    let witness = build(settings, &written.name, door).map_err(|why| format!("witness: {why}"))?;
    Ok(Some(witness.into()))
}

/// Whether the witness answers, soon enough for the lease, what it says, and whether this node may write there: the same word once more, which
/// changes nothing.
pub(super) fn check(witness: &dyn Witness, state: &GroupState, group: &str, lease: Duration) -> Checked {
    let begun = Instant::now();
    let found = |grade: &str, what: String, mend: String| Checked {
        of: "witness".to_owned(),
        grade: grade.to_owned(),
        what: format!("{}: {what}", witness.place()),
        mend,
    };
    let word = match witness.read() {
        Err(error) => return found("fail", error.to_string(), mend(&error).to_owned()),
        Ok(None) => {
            let mend = format!("`standin online {group}` where the group is writes it");
            return found("warn", "it answers, and nobody was written there yet".to_owned(), mend);
        }
        Ok(Some(word)) => word,
    };
    match witness.swap(Some(&word), &word) {
        // Who has the group counts up: that it could be read and refused is as good.
        Ok(()) | Err(WitnessError::Changed(_)) => {}
        Err(error) => {
            let cannot = if matches!(error, WitnessError::Unreachable(_)) {
                "took nothing that was written"
            } else {
                "may not be written to by this node"
            };
            return found("fail", format!("it names {word}, and {cannot}: {error}"), mend(&error).to_owned());
        }
    }
    // Who serves counts up each third of a lease, and needs the answer before the rest is over.
    let took = begun.elapsed();
    if took > lease / 3 {
        let (took, lease) = (took.as_secs_f64(), lease.as_secs_f64());
        let what = format!("it names {word}, and takes {took:.1} s to be read and written: too long for a lease of {lease} s");
        return found(
            "fail",
            what,
            format!("look why it is so slow, or write a `lease` of {} s or more on all nodes", (took * 4.0).ceil()),
        );
    }
    match stale(&word, state) {
        None => found("ok", format!("it names {word}, and this node may write there"), String::new()),
        Some(why) => found("warn", format!("it names {word}, and {why}"), format!("`standin online {group}` tells it")),
    }
}

/// What this node knows better, if it does.
fn stale(word: &Word, state: &GroupState) -> Option<String> {
    let online = state.online.as_ref().filter(|online| state.claim.is_none() && **online != word.holder)?;
    Some(format!("this node knows it on {online} since generation {}", state.generation))
}

fn mend(error: &WitnessError) -> &'static str {
    match error {
        WitnessError::Unreachable(_) => {
            "look whether it runs and can be reached from here; without it nothing goes over by itself, and a failover needs --without-witness"
        }
        _ => "give this node's account what the error names; README, \"A witness\", has the commands",
    }
}

#[cfg(test)]
mod tests {
    use standin_common::id::Generation;
    use standin_failover::witness::MemoryWitness;

    use super::*;

    fn state(online: &str, generation: u64) -> GroupState {
        let online = Some(online.parse().unwrap());
        GroupState { generation: Generation(generation), seen: Generation(generation), online, ..GroupState::default() }
    }

    #[test]
    fn what_the_witness_says_is_compared_with_what_this_node_knows() {
        let witness = MemoryWitness::default();
        let lease = Duration::from_secs(3);
        let grade = |state: &GroupState| check(&witness, state, "mail", lease).grade;
        assert_eq!(grade(&state("alpha", 3)), "warn", "nobody was written there yet");
        let word = Word { generation: Generation(3), holder: "alpha".parse().unwrap(), renewals: 4 };
        witness.swap(None, &word).unwrap();
        let checked = check(&witness, &state("alpha", 3), "mail", lease);
        assert_eq!((checked.grade.as_str(), checked.mend.as_str()), ("ok", ""));
        assert_eq!(checked.what, "memory: it names alpha since generation 3, and this node may write there");
        let checked = check(&witness, &state("beta", 4), "mail", lease);
        assert_eq!((checked.grade.as_str(), checked.mend.as_str()), ("warn", "`standin online mail` tells it"));
        assert!(checked.what.ends_with("and this node knows it on beta since generation 4"), "{checked:?}");
        assert_eq!(witness.read(), Ok(Some(word)), "nothing was changed");
        let checked = check(&witness, &state("alpha", 3), "mail", Duration::ZERO);
        assert_eq!(checked.grade, "fail");
        assert!(checked.what.contains("too long for a lease of 0 s"), "{checked:?}");
    }
}
