//! How soon the link's thread gets a processor when there is something for it.
//!
//! On a long line packets, acknowledgements and pacing that come milliseconds late leave it idle, and look like a worse line. On two busy
//! cores the thread had to wait for 4 to 17 ms behind those that read and hash files (300 Mbit/s, 30 ms: 85 to 88 % of the line instead of
//! 92). A higher weight (`nice`) was measured not to help; what does is the least of the kernel's real-time priorities, as DRBD has it for
//! its acknowledgements and corosync for all it does. On a short line there is nothing to win: what comes late there is made up for at
//! once, and a thread that is woken for each packet does less at a time (a copy over the loopback took 7 % longer).

use std::thread::available_parallelism;
use std::time::Duration;

use thread_priority::{Error, ThreadPriority};

/// From this round-trip time on a line is long.
pub(super) const LONG: Duration = Duration::from_millis(2);

/// Asks for the calling thread to run as soon as it can, from now on. It goes on as any other where that is not allowed, and where there
/// is but one processor, of which it would take more than its share. Threads that it starts would inherit it: the link's starts none.
pub(super) fn raise() {
    if available_parallelism().is_ok_and(|processors| processors.get() == 1) {
        return;
    }
    match to_the_front() {
        Ok(()) => tracing::debug!("the link's thread is scheduled in real time, for a long line"),
        Err(error) => {
            let consequence = "packets wait for a processor while others are busy";
            tracing::debug!(%error, consequence, "the link's thread is scheduled as any other: it may not run in real time");
        }
    }
}

/// Needs `CAP_SYS_NICE`, or a limit of real-time priorities (`RLIMIT_RTPRIO`) of 1.
#[cfg(unix)]
fn to_the_front() -> Result<(), Error> {
    use thread_priority::{RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)
}

#[cfg(windows)]
fn to_the_front() -> Result<(), Error> {
    thread_priority::set_current_thread_priority(ThreadPriority::Max)
}
