//! A mirror without a link, for tests and for measuring.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, RootIndex};
use standin_common::message::{Comparison, FromStandby, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, RootKind, Want};
use standin_common::scope::Reason;
use standin_replicator::mirror::How;
use standin_replicator::rules::Rules;
use standin_replicator::sim::SimWire;
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{self, Packing};
use standin_replicator::standby::join::Join;
use standin_replicator::standby::lane::Lane;
use standin_replicator::standby::receive::Reception;
use standin_replicator::standby::replica::Replica;
use standin_replicator::store::Store;
use standin_replicator::volume::Volume;

/// Makes a replica what a source is, at a point of this mirror.
pub(crate) fn mirror<V: Volume, W: Volume, S: Store>(replica: &Replica<V, S>, source: W, mirror: MirrorId) {
    let opening = MirrorOpening {
        set: "mail".parse().unwrap(),
        generation: Generation(1),
        mirror,
        definition: [0; 32],
        roots: vec![RootKind::Directory],
        purpose: Purpose::Mirror,
        comparison: Comparison::Difference,
        orphans: OrphanPolicy::Remove,
        orphan_limit: OrphanLimit::Percent(100),
        base: None,
    };
    let reception = Reception::begin(replica, opening, u64::MAX).unwrap();
    let rules = [Rules::everything()];
    let mut join = Join::new(&reception, How { comparison: Comparison::Difference, owners: true }, &rules);
    let mut messages = Vec::new();
    let long_after = || -> SystemTime { UNIX_EPOCH + Duration::from_secs(1 << 40) };
    for met in Entries::new(&source, None, &rules[0], long_after) {
        // What is met besides is never replicated.
        let Met::Entry(entry) = met else { continue };
        messages.extend(join.entries(RootIndex(0), vec![entry]).unwrap());
    }
    messages.extend(join.end().unwrap());
    let source = [source];
    let (mut sending, mut receiving) = (lane::Lane::new(&source, Packing { level: None }), Lane::new(&reception));
    let (mut wire, mut answers) = (SimWire::default(), VecDeque::new());
    let wants =
        messages.into_iter().filter_map(|message| if let FromStandby::Wants(wants) = message { Some(wants) } else { None });
    wants.flatten().for_each(|want: Want| sending.start(want, &mut wire).unwrap());
    while sending.under_way() > 0 || !wire.0.is_empty() {
        while let Some((message, payload)) = wire.0.pop_front() {
            answers.extend(receiving.take(message, &payload).unwrap());
        }
        match answers.pop_front() {
            Some(answer) => drop(sending.answer(answer, &mut wire).unwrap()),
            None => drop(sending.scan(&mut wire).unwrap()),
        }
    }
    reception.commit(Time::default(), true, 0, 0, Reason::Mirror).unwrap();
    replica.settle().unwrap();
}
