//! What always holds, whatever happened.

use std::sync::Arc;

use standin_common::id::PointNumber;
use standin_common::path::RelPath;
use standin_replicator::sim::{Disk, SimVolume};
use standin_replicator::standby::replica::Replica;

use super::contents::{Contents, contents, difference};
use super::world::{KEEP, Shown, SimReplica, World};

impl World {
    /// A clone of the standby can be promoted at every kept point, the newest is no older than what was acknowledged, and what is
    /// there is what the point shows.
    pub fn check(&mut self) -> Result<(), String> {
        if let Some(promoted) = self.promoted {
            let found = self.volumes.clone();
            return self.compare(&found, promoted);
        }
        let (clone, volumes) = self.clone_standby()?;
        let numbers: Vec<_> = clone.state().points.iter().map(|point| point.number).collect();
        let newest = numbers.last().copied();
        if newest < self.acknowledged {
            if !self.hurt {
                return Err(format!("point {:?} was acknowledged, the newest is {newest:?}", self.acknowledged));
            }
            self.acknowledged = newest;
        }
        let Some((newest, others)) = numbers.split_last() else { return Ok(()) };
        self.promote_and_compare(&clone, &volumes, *newest)?;
        for other in others {
            let (clone, volumes) = self.clone_standby()?;
            self.promote_and_compare(&clone, &volumes, *other)?;
        }
        Ok(())
    }

    fn clone_standby(&self) -> Result<(SimReplica, Vec<SimVolume>), String> {
        let disk = Disk::new(1);
        let volumes: Vec<_> = self.volumes.iter().map(|volume| volume.snapshot(disk.clone())).collect();
        let opened = Replica::open(volumes.clone(), self.store.snapshot(disk), KEEP);
        Ok((opened.map_err(|error| format!("the replica does not open: {error}"))?, volumes))
    }

    fn promote_and_compare(&mut self, clone: &SimReplica, volumes: &[SimVolume], at: PointNumber) -> Result<(), String> {
        clone.promote(Some(at)).map_err(|error| format!("point {at} cannot be promoted: {error}"))?;
        self.compare(volumes, at)
    }

    fn compare(&mut self, volumes: &[SimVolume], at: PointNumber) -> Result<(), String> {
        let found = volumes.iter().map(contents).map(|found| self.without_strangers(found));
        let found: Vec<_> = found.collect::<Result<_, _>>()?;
        let shown = self.points.get_mut(&at).ok_or_else(|| format!("point {at} was never made"))?;
        let expected = match shown {
            Shown::State(state) => state,
            Shown::OneByOne(first) => first.get_or_insert_with(|| Arc::new(found.clone())),
        };
        for (root, (found, expected)) in found.iter().zip(expected.iter()).enumerate() {
            if let Some(what) = difference(found, expected) {
                return Err(format!("root {root} at point {at}: {what}"));
            }
        }
        Ok(())
    }

    fn without_strangers(&self, contents: Contents) -> Result<Contents, String> {
        if !self.strangers {
            return Ok(contents);
        }
        let theirs = RelPath::new("strangers").map_err(|error| error.to_string())?;
        let (strangers, rest): (Contents, Contents) =
            contents.into_iter().partition(|item| item.path.starts_with(&theirs) || item.path.as_bytes() == b"1");
        let data: Vec<_> = strangers.iter().map(|item| &item.data[..]).collect();
        if data != [&b"one"[..], b"", b"two"] {
            return Err("what the rules exclude was touched".to_owned());
        }
        Ok(rest)
    }
}
