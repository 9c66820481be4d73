//! Writes of which the other half may still come.
//!
//! The kernel's FUSE passes one write of an application on in two where it begins within a page that is not in memory as a whole: up to the end
//! of that page, and then the rest (`fuse_fill_write_pages`, as of Linux 6.18). Whoever made one write of a record takes half of it for damage, as
//! Dovecot does with its index logs. So no batch ends between the two, and with it nothing that the standby makes a point of. What looks like a
//! first half may be all of it; then who waits for the standby waits for [`LONGEST`] at most.

use std::time::{Duration, Instant};

use standin_common::id::RootIndex;

use crate::capture::ordered::{ObjectId, Operation};

/// The kernel sends the other half as soon as it is told that the first was written.
pub(super) const LONGEST: Duration = Duration::from_millis(20);
/// The least page of all machines: with larger ones more is waited for, and nothing is torn.
const PAGE: u64 = 4096;

/// Objects whose last write may be a half, and since when.
#[derive(Default)]
pub(super) struct Halves(Vec<((RootIndex, ObjectId), Instant)>);

impl Halves {
    /// Hears of an operation; whether nothing is waited for any more that was before.
    pub(super) fn hear(&mut self, root: RootIndex, operation: &Operation<'_>) -> bool {
        let (object, is_half) = match *operation {
            Operation::Write { object, offset, data, .. } => {
                let end = offset + data.len() as u64;
                (object, !offset.is_multiple_of(PAGE) && end.is_multiple_of(PAGE))
            }
            Operation::Sync { object, .. } | Operation::Truncate { object, .. } => (object, false),
            _ => return false,
        };
        let waited = !self.0.is_empty();
        self.0.retain(|(of, _)| *of != (root, object));
        if is_half {
            self.0.push(((root, object), Instant::now()));
        }
        waited && self.0.is_empty()
    }

    /// Until when another half is waited for, if one is.
    pub(super) fn until(&mut self, now: Instant) -> Option<Instant> {
        self.0.retain(|(_, since)| now < *since + LONGEST);
        self.0.iter().map(|(_, since)| *since + LONGEST).max()
    }
}
