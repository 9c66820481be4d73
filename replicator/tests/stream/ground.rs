//! A standby on a simulated machine, and a stream to it.

use std::collections::BTreeMap;

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, PointNumber, RootIndex};
use standin_common::path::RelPath;
use standin_common::stream::{Batch, StreamAnswer, StreamNews, StreamOpening};
use standin_replicator::capture::ordered::decode;
use standin_replicator::rules::Rules;
use standin_replicator::sim::{Disk, Random, SimStore, SimVolume};
use standin_replicator::standby::replica::Replica;
use standin_replicator::standby::stream::{Folded, Limits, Session, StreamError, recover};
use standin_replicator::volume::{Place, Volume};

use crate::mirror::mirror;
use crate::model::{Contents, Model};
use crate::program::Program;

pub(crate) const MIRROR: MirrorId = MirrorId(77);
pub(crate) const STREAM: MirrorId = MirrorId(4711);
const KEEP: usize = 3;
pub(crate) type SimReplica = Replica<SimVolume, SimStore>;

pub(crate) fn contents(volume: &SimVolume) -> Contents {
    // Looking is no operation of the machine.
    let volume = volume.snapshot(Disk::new(0));
    let inode = |path: &RelPath| volume.object(&Place::Tree(path)).unwrap().unwrap().stamp.inode;
    let mut firsts = BTreeMap::new();
    let all = volume.contents().into_iter().map(|(path, kind, attrs, data)| {
        let first = firsts.entry(inode(&path)).or_insert_with(|| path.clone()).clone();
        (path, kind, attrs, data, first)
    });
    all.collect()
}

pub(crate) fn opening(kept: u64, newest: u64) -> StreamOpening {
    StreamOpening {
        set: "mail".parse().unwrap(),
        generation: Generation(1),
        definition: [0; 32],
        stream: STREAM,
        base: MIRROR,
        kept,
        newest,
    }
}

/// A program, and what it was after each operation.
pub(crate) struct Told {
    pub operations: Vec<Vec<u8>>,
    /// What the source was after so many.
    pub states: Vec<Contents>,
}

/// A source that does something, is mirrored, and then goes on so that everything is told.
pub(crate) fn told(seed: u64, before: u64, steps: u64) -> (Model, Told) {
    let mut program = Program::new(seed, RootIndex(0));
    program.begin();
    (0..before).for_each(|_| program.step());
    program.begin();
    let begun = program.model.clone();
    let mut states = vec![program.model.contents(); program.operations.len() + 1];
    for _ in 0..steps {
        let state = states.last().unwrap().clone();
        program.step();
        let now = program.model.contents();
        // What an operation needs to have told changes nothing.
        states.resize(program.operations.len(), state);
        states.resize(program.operations.len() + 1, now);
        states.truncate(program.operations.len() + 1);
    }
    (begun, Told { operations: program.operations, states })
}

/// The standby.
#[derive(Clone)]
pub(crate) struct Ground {
    pub disk: Disk,
    pub volume: SimVolume,
    pub store: SimStore,
}

impl Ground {
    /// Whose replica is what the model is, at a point.
    pub(crate) fn of(model: &Model, seed: u64) -> Self {
        let disk = Disk::new(seed ^ 0xd15c);
        let ground = Self { volume: SimVolume::new(disk.clone()), store: SimStore::new(disk.clone()), disk };
        let source = SimVolume::new(Disk::new(0));
        model.fill(&source);
        mirror(&ground.open(), source, MIRROR);
        assert!(contents(&ground.volume) == model.contents(), "the mirror is wrong");
        ground
    }

    pub(crate) fn open(&self) -> SimReplica {
        Replica::open(vec![self.volume.clone()], self.store.clone(), KEEP).expect("a replica opens after any crash")
    }

    pub(crate) fn crash(&mut self) {
        self.disk.plan(None);
        self.volume = self.volume.after_crash();
        self.store = self.store.after_crash();
    }

    /// The same on a machine of its own.
    pub(crate) fn copy(&self, seed: u64) -> Self {
        let disk = Disk::new(seed);
        Self { volume: self.volume.snapshot(disk.clone()), store: self.store.snapshot(disk.clone()), disk }
    }
}

/// A stream that is sent, as far as it is.
pub(crate) struct Sending<'r> {
    pub session: Session<'r, SimVolume, SimStore>,
    pub at: u64,
}

impl<'r> Sending<'r> {
    pub(crate) fn open(replica: &'r SimReplica, rules: &'r [Rules], told: &Told) -> Result<Self, StreamError> {
        let opening = opening(0, told.operations.len() as u64);
        let (session, answer) = Session::open(replica, rules, &opening, Limits::default())?.expect("it is not refused");
        let StreamAnswer::Ready { after } = answer else { panic!("{answer:?}") };
        Ok(Self { session, at: after })
    }

    /// Sends so many operations in one batch.
    pub(crate) fn send(&mut self, told: &Told, count: u64) -> Result<(), StreamError> {
        let end = (self.at + count).min(told.operations.len() as u64);
        if end > self.at {
            let payload = told.operations[self.at as usize..end as usize].concat();
            let batch =
                Batch { first: self.at + 1, count: (end - self.at) as u32, at: Time { secs: end as i64, nanos: 0 }, point: None };
            for (number, encoded) in (batch.first..).zip(decode(&payload)) {
                println!("{number}: {:?}", encoded.unwrap().operation);
            }
            self.session.take(&batch, &payload)?;
            self.at = end;
        }
        Ok(())
    }

    /// What is acknowledged as durable.
    pub(crate) fn sync(&self) -> Result<u64, StreamError> {
        match self.session.sync()? {
            StreamNews::Reached { durable, .. } => Ok(durable),
            other => panic!("{other:?}"),
        }
    }
}

/// Says what differs.
pub(crate) fn assert_same(what: &str, found: &Contents, expected: &Contents) {
    let names = |contents: &Contents| contents.iter().map(|(path, ..)| path.to_string()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let what = format!("{what}: {}", found.0);
        assert_eq!((&found.1, &found.2, &found.4), (&expected.1, &expected.2, &expected.4), "{what}");
        assert!(found.3 == expected.3, "data of {what}: {} bytes, {} expected", found.3.len(), expected.3.len());
    }
}

/// Promotes clones at all kept points, each of which is what the source was at the position that it was made of.
pub(crate) fn check_history(ground: &Ground, positions: &BTreeMap<PointNumber, u64>, told: &Told, random: &mut Random) {
    let points: Vec<_> = ground.open().state().points.iter().map(|point| point.number).collect();
    for point in points {
        let Some(position) = positions.get(&point) else { continue };
        let clone = ground.copy(random.number());
        clone.open().promote(Some(point)).unwrap();
        let what = format!("promoted at {point}, operation {position}");
        assert_same(&what, &contents(&clone.volume), &told.states[*position as usize]);
    }
}

/// As a promotion does: everything that is durable is in what is promoted.
pub(crate) fn promote_newest(ground: &Ground, rules: &[Rules]) -> Option<Folded> {
    let replica = ground.open();
    let folded = recover(&replica, rules).unwrap();
    replica.promote(None).unwrap();
    folded
}
