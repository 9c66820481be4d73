//! Who hears of operations.

use std::io;

use super::{ObjectId, Operation, Place};

/// How far a history goes: what [`Recorder::record`] gave for an operation stands for it and all before it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What is about to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Data of a file.
    Data {
        /// The file.
        object: ObjectId,
        /// First byte.
        start: u64,
        /// After the last byte; `u64::MAX` where it is open.
        end: u64,
    },
    /// Attributes of an object: mode, owner, times, extended attributes.
    Attributes {
        /// The object.
        object: ObjectId,
    },
    /// Names in a directory.
    Names {
        /// The directory.
        directory: ObjectId,
    },
}

/// Hears of every operation, from many threads at once.
///
/// The layer calls, for each change: [`enter`](Self::enter) with nothing held, [`before`](Self::before), then it performs the change, then
/// [`record`](Self::record), then [`leave`](Self::leave); the middle three
/// while no other change of the same objects can come between (`ARCHITECTURE.md`, "The layer"), so none of them may wait for long nor for
/// another operation of the layer. A change that fails is not recorded. When somebody waits for durability, the layer records a
/// [`Operation::Sync`], and then, with nothing held, syncs the directory beneath and calls [`flushed`](Self::flushed).
pub trait Recorder: Send + Sync {
    /// Called with nothing held before a change is begun. It may wait: so a recorder keeps everything as it is for a moment.
    fn enter(&self) {}

    /// Called once for each [`enter`](Self::enter), when the change was recorded or did not take place.
    fn leave(&self) {}

    /// Called besides [`before`](Self::before) of the names in a directory: this name is about to come, go, or mean something else.
    fn before_name(&self, at: Place<'_>) -> io::Result<()> {
        let _ = at;
        Ok(())
    }

    /// Called besides those when a directory, with all beneath it, is about to get this name.
    fn before_move(&self, to: Place<'_>) -> io::Result<()> {
        let _ = to;
        Ok(())
    }

    /// Called right before the [`Operation::Remove`] or [`Operation::Rename`] is recorded that took the last name of an object: whoever has it
    /// open goes on with it, and nobody finds it. An object that loses a name without this has others, whether they were told or not.
    fn nameless(&self, object: ObjectId) {
        let _ = object;
    }

    /// Called before a change reaches the directory beneath, so that what may differ is durably noted. Of an error, whoever wanted the
    /// change is told, and nothing was changed.
    fn before(&self, touch: Touch) -> io::Result<()>;

    /// Takes an operation that has taken effect. What it lends is only lent for the call. A recorder that cannot keep it has to
    /// remember that by itself: the change was made.
    fn record(&self, operation: Operation<'_>) -> Position;

    /// Called when a change was made that cannot be told, because the directory beneath fails to say what came of it. What was touched has
    /// to be compared, and what is recorded from now on has no meaning before that.
    fn missed(&self, touch: Touch);

    /// Returns when everything up to the position is as durable as the set's acknowledgement asks. An error becomes the error of
    /// the fsync that waits.
    fn flushed(&self, position: Position) -> io::Result<()>;

    /// Whether there is any file that may be read past the layer, where the kernel knows how.
    fn has_passthrough(&self) -> bool {
        false
    }

    /// Whether that is so of this one, which is known: it is hardly ever written to again.
    fn is_passthrough(&self, object: ObjectId) -> bool {
        let _ = object;
        false
    }

    /// Called with nothing held after names changed, before whoever did it is told. A recorder for which names are to be durable at
    /// once waits here as in [`flushed`](Self::flushed).
    fn named(&self, position: Position) -> io::Result<()> {
        let _ = position;
        Ok(())
    }
}

/// Counts operations, and keeps nothing: what a layer costs by itself.
#[derive(Debug, Default)]
pub struct Forgetful {
    heard: std::sync::atomic::AtomicU64,
}

impl Recorder for Forgetful {
    fn before(&self, _: Touch) -> io::Result<()> {
        Ok(())
    }

    fn record(&self, _: Operation<'_>) -> Position {
        Position(self.heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }

    fn missed(&self, _: Touch) {}

    fn flushed(&self, _: Position) -> io::Result<()> {
        Ok(())
    }
}
