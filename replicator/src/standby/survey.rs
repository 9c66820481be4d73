//! A survey: what differs between source and replica, found without writing anything. It serves dry runs and verifications.
//!
//! Its parts are those of a mirror: the [`Survey`] is what the [`Reception`](super::receive::Reception) is there, shared by the
//! [`SurveyJoin`] and any number of [`CompareLane`](super::compare::CompareLane)s. Memory is the files asked for, which are few at a time,
//! one directory for each level, and one note for each object with several names.
//!
//! Hard links: a name that shares its object here with other names than on the source counts as an object of another kind.
//! Beneath a directory that is in the way of something else, nothing is listed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::Peekable;
use std::sync::{Condvar, Mutex, PoisonError};

use standin_common::entry::{Entry, Kind};
use standin_common::id::RootIndex;
use standin_common::message::{Comparison, Difference, Finding, FromStandby, JoinSummary, Position, Purpose, RootKind, Want};
use standin_common::path::RelPath;

use super::receive::{ReceiveError, failed, lock};
use crate::mirror::{self, Action, How, MOST_WANTED};
use crate::rules::Rules;
use crate::volume::{Object, ObjectKind, Volume};
use crate::walk::{Step, Walk};

/// Findings or wants in one message.
const BATCH: usize = 256;

#[derive(Debug, Default)]
struct Table {
    wanted: BTreeMap<u64, Position>,
    last_file: u64,
    summary: JoinSummary,
    ended: bool,
    /// Whether both walks went to their ends.
    joined: bool,
    /// Whether something differed, or was not compared.
    differs: bool,
}

/// One dry run or verification.
#[derive(Debug)]
pub struct Survey<'a, V> {
    volumes: &'a [V],
    rules: &'a [Rules],
    how: How,
    /// What the roots of the source are.
    kinds: &'a [RootKind],
    /// Whether the files of both sides are read and compared.
    reads: bool,
    /// Whether files that a mirror would send count as wanted although they are not asked for.
    foretells: bool,
    table: Mutex<Table>,
    arrived: Condvar,
}

impl<'a, V: Volume> Survey<'a, V> {
    /// Of the roots of a replica, which nothing else writes to meanwhile; `kinds` are those of the source.
    pub fn new(volumes: &'a [V], rules: &'a [Rules], kinds: &'a [RootKind], how: How, purpose: Purpose) -> Self {
        let foretells = purpose != Purpose::Verify;
        let reads = !foretells || how.comparison == Comparison::Checksum;
        Self { volumes, rules, how, kinds, reads, foretells, table: Mutex::default(), arrived: Condvar::new() }
    }

    pub(super) fn volume(&self, root: RootIndex) -> Result<&'a V, ReceiveError> {
        let volume = self.volumes.get(usize::from(root.0));
        volume.ok_or(ReceiveError::Protocol("it named a root that the set does not have"))
    }

    /// Whether a root is a block device on either side.
    fn has_device(&self, root: RootIndex) -> bool {
        let index = usize::from(root.0);
        self.kinds.get(index) == Some(&RootKind::Device)
            || self.volumes.get(index).is_some_and(|volume| volume.kind() == RootKind::Device)
    }

    pub(super) fn wanted(&self, file: u64) -> Result<Position, ReceiveError> {
        let at = lock(&self.table).wanted.get(&file).cloned();
        at.ok_or(ReceiveError::Protocol("it sent a file that was not asked for"))
    }

    /// A file was compared, or is gone.
    pub(super) fn done(&self, file: u64) {
        lock(&self.table).wanted.remove(&file);
        self.arrived.notify_all();
    }

    /// A file differs, or is not there to be compared any more.
    pub(super) fn differs(&self) {
        lock(&self.table).differs = true;
    }

    /// Whether everything was compared, and is the same.
    pub fn is_equal(&self) -> bool {
        let table = lock(&self.table);
        self.reads && table.joined && table.wanted.is_empty() && !table.differs && !table.ended
    }

    /// What was found so far.
    pub fn summary(&self) -> JoinSummary {
        lock(&self.table).summary
    }

    /// Files asked for that were not compared yet.
    pub fn under_way(&self) -> usize {
        lock(&self.table).wanted.len()
    }

    /// Ends the survey: whoever waits is woken with an error.
    pub fn end(&self) {
        lock(&self.table).ended = true;
        self.arrived.notify_all();
    }

    fn count(&self, count: impl FnOnce(&mut JoinSummary)) {
        count(&mut lock(&self.table).summary);
    }

    fn is_full(&self) -> bool {
        self.under_way() >= MOST_WANTED
    }

    /// Notes that a file is asked for; waits while too many are under way.
    fn want(&self, at: Position, size: u64) -> Result<Want, ReceiveError> {
        let mut table = lock(&self.table);
        while table.wanted.len() >= MOST_WANTED && !table.ended {
            table = self.arrived.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
        if table.ended {
            return Err(ReceiveError::Ended);
        }
        table.last_file += 1;
        let file = table.last_file;
        table.wanted.insert(file, at.clone());
        Ok(Want { file, at, size, whole: false })
    }
}

/// Where a survey's messages to the source go. An error ends the survey.
pub type Tell<'t> = dyn FnMut(FromStandby) -> Result<(), ReceiveError> + 't;

/// The merge join of a survey.
pub struct SurveyJoin<'s, 'a, V: Volume> {
    survey: &'s Survey<'a, V>,
    root: Option<RootIndex>,
    replica: Option<Peekable<Walk<'a, V>>>,
    /// First names of the source's objects with several: the inode on the standby, unless that belongs to another object.
    links: HashMap<RelPath, Option<u64>>,
    /// Inodes with several names on the standby that an object of the source has.
    claimed: HashSet<u64>,
    findings: Vec<Finding>,
    wants: Vec<Want>,
}

impl<'s, 'a, V: Volume> SurveyJoin<'s, 'a, V> {
    /// Begins with the first root.
    pub fn new(survey: &'s Survey<'a, V>) -> Self {
        Self {
            survey,
            root: None,
            replica: None,
            links: HashMap::new(),
            claimed: HashSet::new(),
            findings: Vec::new(),
            wants: Vec::new(),
        }
    }

    /// Takes the next entries of the source; says what is found as it is found, since the replica may have any number of orphans.
    pub fn entries(&mut self, root: RootIndex, entries: Vec<Entry>, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        if self.root != Some(root) {
            if self.root.is_some_and(|before| before >= root) {
                return Err(ReceiveError::Protocol("its roots are out of order"));
            }
            self.finish_root(tell)?;
            let volume = self.survey.volume(root)?;
            let rules = self.survey.rules.get(usize::from(root.0));
            let rules = rules.ok_or(ReceiveError::Protocol("it named a root that the set does not have"))?;
            self.replica = Some(Walk::new(volume, None, rules).peekable());
            self.root = Some(root);
            self.links.clear();
            self.claimed.clear();
        }
        for entry in entries {
            self.join(entry, tell)?;
        }
        self.flush(tell)
    }

    /// The source's walk is over; says what is left to say.
    pub fn end(&mut self, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        self.finish_root(tell)?;
        self.flush(tell)?;
        lock(&self.survey.table).joined = true;
        tell(FromStandby::Joined(self.survey.summary()))
    }

    fn flush(&mut self, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        if !self.findings.is_empty() {
            tell(FromStandby::Findings(std::mem::take(&mut self.findings)))?;
        }
        if !self.wants.is_empty() {
            tell(FromStandby::Wants(std::mem::take(&mut self.wants)))?;
        }
        Ok(())
    }

    fn find(&mut self, path: &RelPath, difference: Difference, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        self.survey.differs();
        self.findings.push(Finding { at: self.position(path), difference });
        if self.findings.len() >= BATCH { self.flush(tell) } else { Ok(()) }
    }

    fn position(&self, path: &RelPath) -> Position {
        Position { root: self.root.unwrap_or(RootIndex(0)), path: path.clone() }
    }

    fn finish_root(&mut self, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        self.pass_orphans(|_| true, tell)
    }

    /// Passes over what the replica has next, as long as the source does not have it.
    fn pass_orphans(&mut self, orphan: impl Fn(&RelPath) -> bool, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        while let Some(step) = self.next_if(&orphan)? {
            self.survey.count(|summary| summary.orphans += 1);
            self.find(&step.path, Difference::Orphan, tell)?;
        }
        Ok(())
    }

    fn next_if(&mut self, wanted: impl Fn(&RelPath) -> bool) -> Result<Option<Step>, ReceiveError> {
        let Some(replica) = &mut self.replica else { return Ok(None) };
        let next = replica.next_if(|step| match step {
            Ok(step) => wanted(&step.path),
            Err(_) => true,
        });
        match next.transpose() {
            Ok(None) => Ok(None),
            Ok(step) => {
                self.survey.count(|summary| summary.standby_objects += 1);
                Ok(step)
            }
            Err(error) => Err(failed("reading the replica", &error.path)(error.source)),
        }
    }

    fn join(&mut self, entry: Entry, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        self.pass_orphans(|path| *path < entry.path, tell)?;
        let here = self.next_if(|path| *path == entry.path)?.map(|step| step.object);
        if entry.kind != Kind::Directory && here.as_ref().is_some_and(|here| here.kind == ObjectKind::Directory) {
            while self.next_if(|path| path.starts_with(&entry.path))?.is_some() {}
        }
        if let Kind::Hardlink { to } = &entry.kind {
            return self.join_link(&entry.path, to, here.as_ref(), tell);
        }
        let belongs_elsewhere = self.claim(&entry, here.as_ref());
        let compared = match (&entry.kind, &here) {
            (Kind::File { size }, Some(here)) if self.survey.reads && here.kind == ObjectKind::File => Some((*size, here)),
            _ => None,
        };
        let difference = match compared {
            Some((_, here)) => {
                let same = self.root.is_some_and(|root| self.survey.has_device(root))
                    || mirror::same_attributes(&entry.attrs, &here.attrs, self.survey.how.owners);
                (!same).then_some(Difference::Attributes)
            }
            None => self.decide(&entry, here.as_ref()),
        };
        if belongs_elsewhere && difference != Some(Difference::OtherKind) {
            self.find(&entry.path, Difference::OtherKind, tell)?;
        }
        if let Some(difference) = difference {
            self.find(&entry.path, difference, tell)?;
        }
        match compared {
            Some((size, _)) => self.want(&entry.path, size, tell),
            None => Ok(()),
        }
    }

    /// How an object differs that is not read.
    fn decide(&mut self, entry: &Entry, here: Option<&Object>) -> Option<Difference> {
        let action = mirror::decide(entry, here, self.survey.how);
        let counts = match action {
            Action::Same => false,
            // A directory's time changes with every name in it.
            Action::Attributes => entry.kind != Kind::Directory,
            Action::Make | Action::Send | Action::Compare => true,
        };
        let foretells = self.survey.foretells;
        self.survey.count(|summary| match &entry.kind {
            Kind::File { size } if counts && foretells => {
                summary.wanted_files += 1;
                summary.wanted_bytes += size;
            }
            Kind::File { .. } => {}
            _ => summary.changed_objects += u64::from(counts),
        });
        match (action, here.map(|here| &here.kind)) {
            (Action::Same, _) => None,
            (Action::Attributes, _) => Some(Difference::Attributes),
            (_, None) => Some(Difference::Missing),
            (Action::Send | Action::Compare, Some(ObjectKind::File)) => Some(Difference::Data),
            _ => Some(Difference::OtherKind),
        }
    }

    /// Notes which object of the source an object here with several names belongs to; whether it is another one already.
    fn claim(&mut self, entry: &Entry, here: Option<&Object>) -> bool {
        let here = here.filter(|here| here.kind != ObjectKind::Directory);
        let elsewhere = here.is_some_and(|here| here.names > 1 && !self.claimed.insert(here.stamp.inode));
        if entry.linked {
            let inode = here.filter(|_| !elsewhere).map(|here| here.stamp.inode);
            self.links.insert(entry.path.clone(), inode);
        }
        elsewhere
    }

    fn join_link(
        &mut self,
        path: &RelPath,
        to: &RelPath,
        here: Option<&Object>,
        tell: &mut Tell<'_>,
    ) -> Result<(), ReceiveError> {
        let kept = self.links.get(to).copied().flatten();
        let difference = match here {
            Some(here) if here.kind != ObjectKind::Directory && kept == Some(here.stamp.inode) => return Ok(()),
            Some(_) => Difference::OtherKind,
            None => Difference::Missing,
        };
        self.survey.count(|summary| summary.changed_objects += 1);
        self.find(path, difference, tell)
    }

    fn want(&mut self, path: &RelPath, size: u64, tell: &mut Tell<'_>) -> Result<(), ReceiveError> {
        // What would be waited for must have been asked for.
        if self.wants.len() >= BATCH || self.survey.is_full() {
            self.flush(tell)?;
        }
        let want = self.survey.want(self.position(path), size)?;
        self.wants.push(want);
        self.survey.count(|summary| {
            summary.wanted_files += 1;
            summary.wanted_bytes += size;
        });
        Ok(())
    }
}
