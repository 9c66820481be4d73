//! Telling a stream what is recorded, from some moment on.
//!
//! The standby knows no object by its id when a stream begins. So before an operation names an object for the first time, it is told
//! where that is, with what leads there: the [`Places`] know, since they heard of every name until then.

use std::sync::Arc;

use standin_common::id::RootIndex;

use super::places::{Places, Untold};
use super::{ObjectId, Operation, Place};

/// Takes the operations of all roots, in one order.
pub trait Tells: Send + Sync {
    /// Takes an operation; returns how many there were.
    fn tell(&self, root: RootIndex, operation: &Operation<'_>) -> u64;
    /// How many there were.
    fn told(&self) -> u64;
    /// Waits a moment if more comes than goes. Called before a change, with nothing held.
    fn brake(&self);
    /// Not everything can be told any more, for this reason.
    fn end(&self, why: &str);
}

/// A stream that is told.
pub(super) struct Telling {
    /// Counts streams, from 1.
    pub number: u64,
    /// The position at which it began.
    pub offset: u64,
    pub to: Arc<dyn Tells>,
}

/// What becomes of an operation once the standby knows what it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is told.
    Tell,
    /// The standby has no use for it.
    Skip,
}

impl Telling {
    /// Tells what has to be known before an operation; that itself is not told yet, nor heard by `places`.
    pub(super) fn prepare(&self, places: &mut Places, root: RootIndex, operation: &Operation<'_>) -> Way {
        match *operation {
            Operation::Known { .. } => return Way::Skip,
            Operation::Root { .. } => {
                self.to.end("a layer was put in place anew");
                return Way::Skip;
            }
            Operation::Forgotten { object } => {
                let told = places.is_told(object, self.number);
                places.told_now(object, 0);
                return if told { Way::Tell } else { Way::Skip };
            }
            Operation::Sync { .. } => return Way::Tell,
            _ => {}
        }
        let (objects, names) = named(operation);
        for object in objects.into_iter().flatten() {
            match places.untold(object, self.number) {
                Untold::At(untold) => {
                    for (object, (parent, name)) in untold {
                        self.to.tell(root, &Operation::Known { object, at: Place { parent, name: &name } });
                    }
                }
                // A file that had lost its names when the stream began: nobody will ever ask for it, unless it gets one.
                Untold::Nameless if !names => return Way::Skip,
                Untold::Nameless => {
                    self.to.end("a file that had no name when the stream began got one");
                    return Way::Skip;
                }
                Untold::Astray => {
                    self.to.end("a file changed that lost the name by which it was known, and has another: it has to be found");
                    return Way::Skip;
                }
            }
        }
        Way::Tell
    }

    /// Tells an operation; returns its position.
    pub(super) fn tell(&self, root: RootIndex, operation: &Operation<'_>) -> u64 {
        self.offset + self.to.tell(root, operation)
    }
}

/// The objects that an operation names, but for one that it makes; and whether names change by it.
fn named(operation: &Operation<'_>) -> ([Option<ObjectId>; 4], bool) {
    match *operation {
        Operation::Make { at, .. } => ([at.map(|at| at.parent), None, None, None], true),
        Operation::Link { object, at, .. } | Operation::Remove { object, at, .. } => {
            ([Some(at.parent), Some(object), None, None], true)
        }
        Operation::Rename { object, from, to, replaced, .. } => {
            ([Some(from.parent), Some(to.parent), Some(object), replaced], true)
        }
        Operation::Exchange { object, other, from, to, .. } => {
            ([Some(from.parent), Some(to.parent), Some(object), Some(other)], true)
        }
        Operation::Write { object, .. }
        | Operation::Truncate { object, .. }
        | Operation::Allocate { object, .. }
        | Operation::SetMode { object, .. }
        | Operation::SetOwner { object, .. }
        | Operation::SetTimes { object, .. }
        | Operation::SetXattr { object, .. }
        | Operation::RemoveXattr { object, .. } => ([Some(object), None, None, None], false),
        Operation::Root { .. } | Operation::Known { .. } | Operation::Forgotten { .. } | Operation::Sync { .. } => {
            ([None; 4], false)
        }
    }
}
