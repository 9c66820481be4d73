//! What only the replica has: orphans, and what is in the way of something that the source has.

use standin_common::entry::{Entry, Kind};
use standin_common::message::{Difference, Finding, FromStandby, OrphanPolicy};
use standin_common::path::RelPath;
use standin_common::scope::Depth;

use super::Join;
use crate::journal::Op;
use crate::scopes::{Beneath, Scopes};
use crate::standby::excluded;
use crate::standby::receive::{ORPHANS, ReceiveError, failed};
use crate::standby::resume::Before;
use crate::store::Store;
use crate::volume::{Object, ObjectKind, Volume};
use crate::walk::{Step, Walk};

impl<V: Volume, S: Store> Join<'_, '_, V, S> {
    /// What is done with it says the set: nothing, a word, or it goes.
    pub(super) fn orphan(&mut self, step: Step) -> Result<(), ReceiveError> {
        self.reception.count(|summary| summary.orphans += 1);
        match self.reception.opening().orphans {
            OrphanPolicy::Keep => Ok(()),
            OrphanPolicy::Report => {
                let at = self.position(&step.path);
                self.out.push(FromStandby::Findings(vec![Finding { at, difference: Difference::Orphan }]));
                Ok(())
            }
            OrphanPolicy::Remove => self.take_out(step, Some(ORPHANS)),
        }
    }

    /// Takes an object out of the replica, on behalf of `file`.
    fn take_out(&mut self, step: Step, file: Option<u64>) -> Result<(), ReceiveError> {
        self.leave_orphans(Some(&step.path))?;
        self.leave_directories(Some(&step.path))?;
        let at = self.position(&step.path);
        match self.reception.resumed(&at) {
            Some(Before::Parked { as_orphan }) if !as_orphan || file == Some(ORPHANS) => {}
            _ if step.object.kind == ObjectKind::Directory => {
                self.leaving.push((step.path, file));
                return Ok(());
            }
            Some(Before::Sealed(Some(received))) => self.reception.take_out_instead(received, &at, file)?,
            Some(Before::Sealed(None) | Before::Directory) => return Err(self.reception.begin_anew()),
            // Those that were parked as orphans may stay after all.
            _ => self.note(file, &step.path, Op::Park(self.reception.park_side(&at)))?,
        }
        self.touch();
        Ok(())
    }

    /// Removes directories of the replica whose contents were all taken out.
    pub(super) fn leave_orphans(&mut self, next: Option<&RelPath>) -> Result<(), ReceiveError> {
        while let Some((path, file)) = self.leaving.pop_if(|(path, _)| next.is_none_or(|next| !next.starts_with(path))) {
            // Twice is not once if something else was put in its place in between.
            if !self.reception.was_removed(&self.position(&path), file) {
                self.note(file, &path, Op::RemoveDirectory)?;
            }
            self.touch();
        }
        Ok(())
    }

    /// Whether a directory is in the way of something else and holds what the rules exclude, which is not ours to take out.
    pub(super) fn is_blocked(&mut self, entry: &Entry, here: Option<&Object>) -> Result<bool, ReceiveError> {
        let in_the_way = here.is_some_and(|here| here.kind == ObjectKind::Directory) && entry.kind != Kind::Directory;
        let rules = self.rules_of(self.current_root())?;
        if !in_the_way || rules.is_empty() || !excluded::is_in(self.reception.volume(self.current_root())?, &entry.path, rules)? {
            return Ok(false);
        }
        let text =
            "a directory is in its place on the standby, and holds objects that the rules exclude: move it away".to_owned();
        self.out.push(FromStandby::Problem { at: self.position(&entry.path), text });
        Ok(true)
    }

    /// Takes out all that a directory holds.
    fn empty(&mut self, directory: &RelPath) -> Result<(), ReceiveError> {
        let scopes = self.scopes_of(self.current_root())?;
        let is_met_whole = |scopes: &Scopes| scopes.beneath(directory).is_ok_and(|beneath| beneath == Beneath::All);
        let whole = scopes.is_none_or(is_met_whole);
        while let Some(step) = self.next_if(|path| path.starts_with(directory))? {
            if whole {
                self.take_out(step, None)?;
            }
        }
        if whole {
            return Ok(());
        }
        // It was a directory yet when it was said where to look, so the round is to meet a part of it, or itself.
        let mut beneath = Scopes::default();
        beneath.push(directory.clone(), Depth::Subtree).map_err(|_| ReceiveError::Protocol("its scopes are out of order"))?;
        let (volume, rules) = (self.reception.volume(self.current_root())?, self.rules_of(self.current_root())?);
        for step in Walk::new(volume, None, rules).within(Some(&beneath)) {
            let step = step.map_err(|error| failed("reading the replica", &error.path)(error.source))?;
            if step.path.starts_with(directory) && step.path != *directory {
                self.take_out(step, None)?;
            }
        }
        Ok(())
    }

    /// Takes out a directory that is in the way of something else; says whether there was one.
    pub(super) fn make_way(&mut self, entry: &Entry, here: Option<Object>) -> Result<(Option<Object>, bool), ReceiveError> {
        match here {
            Some(here) if here.kind == ObjectKind::Directory && entry.kind != Kind::Directory => {
                self.leaving.push((entry.path.clone(), None));
                self.empty(&entry.path)?;
                self.leave_orphans(None)?;
                Ok((None, true))
            }
            here => Ok((here, false)),
        }
    }
}
