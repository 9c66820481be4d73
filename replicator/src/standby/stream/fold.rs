//! Operations become a recovery point.
//!
//! What operations come to is found in memory, from the log and the replica as it is ([`Tree`], [`After`]); then new objects are staged,
//! the journal is written, what will be true after it is announced ([`Checkpoint`]), and the point is committed and gone to as any other.
//! A crash anywhere leaves the log, from which it is done again, or the point.

use std::collections::BTreeSet;

use standin_common::entry::Time;
use standin_common::scope::Reason;

use super::checkpoint::Checkpoint;
use super::log::{Closed, batches, name};
use super::net::{After, Net};
use super::session::{Folded, StreamError, or_before};
use super::tree::{Fault, Tree};
use super::write::{Sources, Writing, begin};
use crate::capture::ordered::decode;
use crate::journal::{Journal, Point, Record};
use crate::rules::Rules;
use crate::standby::replica::{INCOMING, Replica, ReplicaError};
use crate::standby::state::Phase;
use crate::store::Store;
use crate::volume::Volume;

/// What is folded.
pub(super) struct Window<'w> {
    pub segments: &'w [Closed],
    /// When the last operation was done.
    pub at: Time,
    pub reason: Reason,
    /// Whether a point is made although nothing changed.
    pub in_any_case: bool,
}

/// Makes a point of a window; returns the segments, too, that are needed after it.
pub(super) fn fold<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    rules: &[Rules],
    window: &Window<'_>,
) -> Result<(Folded, BTreeSet<u64>), StreamError> {
    let _guard = replica.start_receiving().ok_or(ReplicaError::Busy)?;
    if !replica.is_settled() {
        replica.settle()?;
    }
    replica.go_to_newest()?;
    let state = replica.state();
    match &state.phase {
        Phase::Settled { .. } => {}
        Phase::Promoted { at } => return Err(ReplicaError::Promoted(*at).into()),
        Phase::Bad { cause, .. } => return Err(ReplicaError::Bad(cause.clone()).into()),
        _ => return Err(ReplicaError::NoPoint.into()),
    }
    let Some(before) = Checkpoint::load(replica.store(), &state)? else {
        return Err(StreamError::Over("the replica has gone to another point".to_owned()));
    };
    let mut tree = Tree::new(replica.volumes(), rules, before.told.clone());
    let (sources, position, over) = perform(replica, window, before.position, &mut tree)?;
    let after = After::of(&mut tree)?;
    let net = after.net(state.next_point().0);
    let told = after.told();
    let next = Checkpoint { position, told, lacks: before.lacks || !net.lacking.is_empty(), ..before };
    let needed = next.needed();
    let lacking = net.lacking.iter().cloned().collect();
    let point = match net.is_nothing() && !window.in_any_case {
        true => {
            next.keep(replica.store())?;
            None
        }
        false => {
            Some(commit(replica, &Writing { volumes: replica.volumes(), tree: &tree, sources: &sources }, net, next, window)?)
        }
    };
    Ok((Folded { point, position, lacking, over }, needed))
}

type Performed<L> = (Sources<L>, u64, Option<String>);

/// Performs a window's operations; returns how far that went, and why no further.
fn perform<'a, V: Volume, S: Store>(
    replica: &Replica<V, S>,
    window: &Window<'_>,
    after: u64,
    tree: &mut Tree<'a, [V]>,
) -> Result<Performed<S::Log>, StreamError> {
    let mut segments = Vec::new();
    let mut position = after;
    let mut over = None;
    for closed in window.segments.iter().filter(|closed| closed.end > after) {
        let journal = Journal::new(replica.store().open_log(&name(closed.start))?);
        for batch in batches(&journal) {
            let (batch, payload, at) = batch?;
            for (number, encoded) in (batch.first..).zip(decode(&payload)) {
                let start = payload.as_ptr() as usize;
                // Where data is in the log, from where it is in the payload.
                let place = |data: &[u8]| at + (data.as_ptr() as usize - start) as u64;
                let encoded = encoded.map_err(|_| Fault::Contradiction("what was an operation is none"));
                match encoded.and_then(|encoded| tree.perform(encoded, place, closed.start)) {
                    Ok(()) => position = number,
                    Err(Fault::Contradiction(why)) => {
                        over = Some(format!("operation {number}: {why}"));
                        break;
                    }
                    Err(fault) => return Err(fault.into()),
                }
            }
            if over.is_some() {
                break;
            }
        }
        segments.push((closed.start, journal));
        if over.is_some() {
            break;
        }
    }
    let known: BTreeSet<u64> = segments.iter().map(|(start, _)| *start).collect();
    let older: BTreeSet<u64> = tree.needed_segments().filter(|start| !known.contains(start)).collect();
    for start in older {
        segments.push((start, Journal::new(replica.store().open_log(&name(start))?)));
    }
    Ok((Sources::new(segments), position, over))
}

/// Makes the point, and takes the replica to it.
fn commit<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    writing: &Writing<'_, '_, V, [V], S::Log>,
    net: Net,
    next: Checkpoint,
    window: &Window<'_>,
) -> Result<Point, StreamError> {
    let state = replica.state();
    let before = state.points.last().ok_or(ReplicaError::NoPoint)?;
    let count = |before: u64, more: i64| before.saturating_add_signed(more);
    let point = Point {
        number: state.next_point(),
        generation: next.generation,
        mirror: next.stream,
        reason: window.reason,
        at: or_before(window.at, before.at),
        consistent: !next.lacks,
        objects: count(before.objects, net.objects),
        bytes: count(before.bytes, net.bytes),
        orphans: before.orphans,
    };
    // Of an attempt before this one.
    replica.discard_incoming()?;
    writing.stage(&net)?;
    let first = Record::Begin { mirror: next.stream, generation: next.generation, from: Some(before.number), to: point.number };
    let mut journal = begin(replica.store(), INCOMING, &first)?;
    writing.journal(&net, &mut journal)?;
    journal.sync()?;
    Checkpoint { point: point.number, ..next }.announce(replica.store())?;
    // If this fails, what was written of it may count all the same.
    let sealed = journal.append(&Record::Commit(point.clone()), &[]).and_then(|_| journal.sync());
    if let Err(error) = sealed {
        replica.settled.store(false, std::sync::atomic::Ordering::Release);
        return Err(error.into());
    }
    replica.settle()?;
    Checkpoint::load(replica.store(), &replica.state())?;
    Ok(point)
}
