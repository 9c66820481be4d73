//! How much a stream may remove before a person is asked, as of a mirror. Pure.

use standin_common::message::OrphanLimit;

use crate::capture::ordered::Operation;

/// Counts the objects that went since the last point, less those that came.
#[derive(Debug)]
pub(super) struct Removals {
    limit: OrphanLimit,
    objects: u64,
    gone: u64,
}

impl Removals {
    /// Of a replica with so many objects.
    pub(super) fn new(limit: OrphanLimit, objects: u64) -> Self {
        Self { limit, objects, gone: 0 }
    }

    /// A point was made, with so many objects.
    pub(super) fn pointed(&mut self, objects: u64) {
        (self.objects, self.gone) = (objects, 0);
    }

    /// Takes an operation; whether it is one too many.
    pub(super) fn hear(&mut self, operation: &Operation<'_>) -> bool {
        match operation {
            Operation::Make { at: Some(_), .. } | Operation::Link { .. } => self.gone = self.gone.saturating_sub(1),
            Operation::Remove { .. } | Operation::Rename { replaced: Some(_), .. } => self.gone += 1,
            _ => return false,
        }
        self.limit.exceeded(self.gone, self.objects)
    }
}

#[cfg(test)]
mod tests {
    use standin_common::entry::Time;

    use super::*;
    use crate::capture::ordered::{Kind, Made, ObjectId, Place};

    const AT: Place<'static> = Place { parent: ObjectId { inode: 1, handle: 1 }, name: b"x" };
    const OBJECT: ObjectId = ObjectId { inode: 2, handle: 2 };
    const REMOVE: Operation<'static> = Operation::Remove { object: OBJECT, at: AT, directory: Time { secs: 0, nanos: 0 } };

    #[test]
    fn what_comes_and_goes_is_no_loss() {
        let mut removals = Removals::new(OrphanLimit::Percent(50), 40);
        let made = Made { mode: 0, uid: 0, gid: 0, modified: Time::default() };
        let make = Operation::Make { object: OBJECT, at: Some(AT), kind: Kind::File, made, directory: Time::default() };
        for _ in 0..100 {
            assert!(!removals.hear(&make) && !removals.hear(&REMOVE));
        }
    }

    #[test]
    fn more_than_the_share_between_two_points_is_too_much() {
        let mut removals = Removals::new(OrphanLimit::Percent(50), 40);
        assert_eq!((0..30).find(|_| removals.hear(&REMOVE)), Some(20));
        removals.pointed(40);
        assert!(!removals.hear(&REMOVE));
        assert!(Removals::new(OrphanLimit::Count(0), 40).hear(&REMOVE));
    }
}
