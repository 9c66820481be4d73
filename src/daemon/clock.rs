//! The clock on the wall, by which timetables go.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use standin_config::LocalTime;

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The time in the zone of this machine.
pub(super) fn local_time() -> LocalTime {
    let now = jiff::Zoned::now();
    // Neither is ever negative.
    let day = u32::from(now.weekday().to_monday_zero_offset().unsigned_abs());
    LocalTime::new(day, u32::from(now.hour().unsigned_abs()) * 60 + u32::from(now.minute().unsigned_abs()))
}

/// Tells the time again and again, until `end` is dropped.
pub(super) fn run(end: &mpsc::Receiver<()>, tell: impl Fn(LocalTime)) {
    while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        tell(local_time());
    }
}
