//! The scrub of this node's replicas: slowly in the background when it is due, and at once and fast when it is ordered.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standin_common::id::SetName;
use standin_replicator::report::{LastScrub, ScrubProgress};
use standin_replicator::standby::scrub::{self, Checked, Finding, Pace};

use super::standby::{OsReplica, Partial, StandbySet, now};

/// How often it is looked for what is to be done.
const TICK: Duration = Duration::from_secs(1);
/// How long a replica that is being moved is left alone.
const MOMENT: Duration = Duration::from_millis(50);
/// How fast it reads in the background, in bytes per second.
const RATE: u64 = 32 * 1024 * 1024;

/// Wakes and ends the thread.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    rung: bool,
    ended: bool,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was ordered.
    pub(super) fn ring(&self) {
        self.lock().rung = true;
        self.changed.notify_all();
    }

    /// The daemon ends.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits so long, or until it rings; `false` at the end.
    fn wait(&self, limit: Duration) -> bool {
        let waiting = |state: &mut Rung| !(state.rung || state.ended);
        let mut state = self.changed.wait_timeout_while(self.lock(), limit, waiting).unwrap_or_else(PoisonError::into_inner).0;
        state.rung = false;
        !state.ended
    }
}

/// Scrubs what is ordered or due of the replicas that there are, until the bell ends.
pub(super) fn run(standbys: &dyn Fn() -> Vec<Arc<StandbySet>>, bell: &Bell) {
    let is_ordered = || standbys().iter().any(|standby| standby.scrubs.is_ordered());
    while bell.wait(TICK) {
        let now = standbys();
        now.iter().for_each(|standby| forget_mended(standby));
        let ordered = now.iter().find(|standby| standby.scrubs.is_ordered());
        let due = || now.iter().find(|standby| is_due(standby));
        if let Some(standby) = ordered {
            scrub(standby, &mut Paced { standby, bell, hurry: None, next: Instant::now() });
        } else if let Some(standby) = due() {
            scrub(standby, &mut Paced { standby, bell, hurry: Some(&is_ordered), next: Instant::now() });
        }
    }
}

fn forget_mended(standby: &StandbySet) {
    if let Some(replica) = standby.opened() {
        // What cannot be looked at is not mended.
        standby.scrubs.forget(|at, size| scrub::is_mended(&*replica, at, size).unwrap_or(false));
    }
}

fn is_due(standby: &StandbySet) -> bool {
    let scrubbable = standby.opened().is_some_and(|replica| scrub::is_due_to(&*replica));
    scrubbable && standby.scrubs.is_due(standby.set().scrub_ms.map(Duration::from_millis), now())
}

/// How fast one scrub goes.
struct Paced<'a> {
    standby: &'a StandbySet,
    bell: &'a Bell,
    /// In the background: whether it is to make way for what is ordered.
    hurry: Option<&'a dyn Fn() -> bool>,
    /// When more may be read.
    next: Instant,
}

impl Paced<'_> {
    /// Whether it may go on, after a pause.
    fn pause(&self, until: Instant) -> bool {
        loop {
            if self.bell.has_ended() || self.hurry.is_some_and(|is_ordered| is_ordered()) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.bell.wait(left);
        }
    }
}

/// When the next bytes may be read, so many having been read since `last` might be. What was lost by waiting is not made up for.
fn next_at(last: Instant, now: Instant, bytes: u64) -> Instant {
    let span = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / RATE);
    last.checked_add(span).unwrap_or(now).max(now)
}

impl Pace for Paced<'_> {
    fn went(&mut self, bytes: u64) -> bool {
        self.standby.scrubs.progress(|progress| progress.done_bytes += bytes);
        if self.hurry.is_some() {
            self.next = next_at(self.next, Instant::now(), bytes);
        }
        self.pause(self.next)
    }

    fn wait(&mut self) -> bool {
        self.pause(Instant::now() + MOMENT)
    }
}

fn scrub(standby: &StandbySet, pace: &mut Paced<'_>) {
    let ordered = pace.hurry.is_none();
    let began = Instant::now();
    let Partial { mut after, mut done } = standby.scrubs.begin(ordered);
    let before = done.seconds;
    let mut whole = true;
    if let Some(replica) = standby.opened() {
        let mut wrong = None;
        whole = files(standby, &replica, pace, (&mut after, &mut done), &mut wrong);
        if let Some(Finding { at, .. }) = wrong {
            // What was mended meanwhile shows by what is kept of it.
            forget_mended(standby);
            scrub::doubt_all(&*replica, &at);
        }
    }
    done.seconds = before + began.elapsed().as_secs_f64();
    let set = standby.set();
    if !whole {
        // What was ordered by somebody who waits is not gone on with by itself.
        return standby.scrubs.interrupted((!ordered).then_some(Partial { after, done }));
    }
    done.at = now();
    let LastScrub { files, bytes, changed_files, wrong_files, .. } = done;
    tracing::info!(set = %set.name, files, bytes, changed_files, wrong_files, "scrubbed");
    standby.scrubs.ended(done, ordered);
}

/// Checks the files that are left; returns whether that went to its end.
fn files(
    standby: &StandbySet,
    replica: &OsReplica,
    pace: &mut Paced<'_>,
    (after, done): (&mut String, &mut LastScrub),
    wrong: &mut Option<Finding>,
) -> bool {
    let set = standby.set().name.clone();
    let mut listed = scrub::files(replica).unwrap_or_else(|error| {
        tracing::error!(%set, %error, "the kept values of groups cannot be read: nothing is scrubbed");
        Vec::new()
    });
    let (all, bytes) = (listed.len() as u64, listed.iter().map(|file| file.size).sum());
    listed.retain(|file| file.name > *after);
    let (done_files, done_bytes) = (all - listed.len() as u64, done.bytes);
    standby.scrubs.progress(|progress| *progress = ScrubProgress { files: all, bytes, done_files, done_bytes });
    for file in listed {
        match scrub::check(replica, &file, pace) {
            Checked::Ended => return !scrub::is_due_to(replica),
            Checked::Changed => done.changed_files += 1,
            Checked::Right => {
                done.files += 1;
                done.bytes += file.size;
            }
            Checked::Wrong(found) => {
                tell(&set, &found);
                standby.scrubs.found(&found, now());
                done.files += 1;
                done.bytes += file.size;
                done.wrong_files += 1;
                wrong.get_or_insert(found);
            }
        }
        *after = file.name;
        standby.scrubs.progress(|progress| progress.done_files += 1);
    }
    true
}

fn tell(set: &SetName, Finding { at, first_byte, groups, unreadable, .. }: &Finding) {
    let unreadable = unreadable.as_deref().unwrap_or("no");
    tracing::error!(
        %set, root = at.root.0, path = %at.path, first_byte, groups, unreadable,
        "scrub: the file is not on this disk as it was received; `standin status --explain` says what to do"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_keeps_its_rate_and_does_not_make_up_for_pauses() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(next_at(start, start, RATE), start + second);
        assert_eq!(next_at(start, start + second / 2, RATE / 4), start + second / 2);
        assert_eq!(next_at(start + second, start, RATE), start + second * 2);
    }

    #[test]
    fn a_bell_wakes_and_ends() {
        let bell = Bell::default();
        bell.ring();
        assert!(bell.wait(Duration::from_secs(60)));
        bell.end();
        assert!(!bell.wait(Duration::from_secs(60)) && bell.has_ended());
    }
}
