//! What one step does next: a machine without clock, directory and journal.
//!
//! Whoever drives it asks [`Attempt::begin`] and does what it says; the result of a write goes into [`Attempt::wrote`], that of a read
//! into [`Attempt::read`], the end of a pause into [`Attempt::waited`], until one of them says [`Next::End`].

use std::time::Duration;

use standin_common::link::backoff::Backoff;

use super::journal::Trouble;
use super::{Manner, Standing};
use crate::directory::{DirectoryError, Dn};

/// How often a write is sent once more that was refused for a value which the object has by now.
const OVERTAKEN: u32 = 3;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send the write, to the object under this name if it is another than planned.
    Write(Option<Dn>),
    /// Read the object.
    Read,
    /// Wait, then call [`Attempt::waited`].
    Wait(Duration),
    /// The writer is lost for too long: let another write, then call [`Attempt::other_writer`].
    OtherWriter,
    /// Nothing more.
    End(Verdict),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This run wrote it.
    Written,
    /// It was as it should be already.
    Already,
    /// It was not written, for certain.
    Failed(Trouble, String),
    /// It was sent and not answered, and cannot be read now. The run cannot go on.
    InDoubt(String),
    /// It was not sent, and nothing else will fare better: the run cannot go on.
    Stopped(String),
}

/// One step on its way.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// A write was sent of which nobody knows whether it arrived, by this process or one before it.
    unclear: bool,
    /// What the server last said to a write that it refused.
    refusal: Option<(Trouble, String)>,
    /// What is tried again after a pause.
    waiting_for: Next,
    /// When the trouble that is being waited out began.
    trouble_since: Option<Duration>,
    moved: Option<Dn>,
    /// How often it was refused for a value that the object had when it was read.
    overtaken: u32,
    may_switch: bool,
    busy: Duration,
    lost: Duration,
    pauses: Backoff,
}

impl Attempt {
    /// A step that is about to be written. `intended`: an earlier run may have written it already.
    pub fn new(manner: &Manner, intended: bool, seed: u64) -> Self {
        let pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), manner.seed ^ seed);
        Self {
            unclear: intended,
            refusal: None,
            waiting_for: Next::Read,
            trouble_since: None,
            moved: None,
            overtaken: 0,
            may_switch: manner.other_writer,
            busy: manner.busy,
            lost: manner.lost,
            pauses,
        }
    }

    /// The first thing to do: write, since that fails without harm where it is done or not wanted any more.
    pub fn begin(&mut self) -> Next {
        Next::Write(None)
    }

    /// The write was answered, or not, at this time.
    pub fn wrote(&mut self, result: Result<(), DirectoryError>, now: Duration) -> Next {
        let error = match result {
            Ok(()) => return Next::End(Verdict::Written),
            Err(error) => error,
        };
        let why = error.to_string();
        match error {
            DirectoryError::Changed { .. } => self.refused(Trouble::Changed, why),
            DirectoryError::NoSuchObject { .. } => self.refused(Trouble::Gone, why),
            DirectoryError::Refused { .. } => self.refused(Trouble::Refused, why),
            DirectoryError::Rights { .. } if self.unclear => self.refused(Trouble::Rights, why),
            DirectoryError::Rights { .. } => Next::End(Verdict::Failed(Trouble::Rights, why)),
            DirectoryError::Busy { .. } => self.later(Next::Write(self.moved.clone()), self.busy, &error, now),
            DirectoryError::Unreachable { .. } => {
                self.unclear = true;
                self.later(Next::Write(self.moved.clone()), self.lost, &error, now)
            }
            // What can not be understood may have been a yes.
            DirectoryError::Protocol { .. } => Next::End(Verdict::InDoubt(why)),
            DirectoryError::Credentials { .. } | DirectoryError::Untrusted { .. } => self.hopeless(why),
        }
    }

    /// The object was read, or could not be, at this time. Where its name has changed, `now_named` is the new one.
    pub fn read(&mut self, result: Result<(Standing, Option<Dn>), DirectoryError>, now: Duration) -> Next {
        let (standing, now_named) = match result {
            Ok(found) => found,
            Err(error @ DirectoryError::Busy { .. }) => return self.later(Next::Read, self.busy, &error, now),
            Err(error @ DirectoryError::Unreachable { .. }) => return self.later(Next::Read, self.lost, &error, now),
            Err(error) => return self.unknown(error.to_string()),
        };
        self.trouble_since = None;
        match standing {
            Standing::New if self.unclear => Next::End(Verdict::Written),
            Standing::New => Next::End(Verdict::Already),
            Standing::Other(why) => {
                let why = format!("somebody changed it meanwhile: {why}; it was left as it is");
                Next::End(Verdict::Failed(Trouble::Changed, why))
            }
            Standing::Gone => Next::End(Verdict::Failed(Trouble::Gone, "it does not exist any more".to_owned())),
            Standing::Old => match (now_named, self.refusal.take()) {
                // Under its new name it can be written, once.
                (Some(name), Some((Trouble::Gone, _))) if self.moved.is_none() => {
                    self.moved = Some(name);
                    Next::Write(self.moved.clone())
                }
                // Between the write and the read, a request of a run that died may have reached the object at last.
                (_, Some((Trouble::Changed, _))) if self.overtaken < OVERTAKEN => {
                    self.overtaken += 1;
                    self.waiting_for = Next::Write(self.moved.clone());
                    Next::Wait(self.pauses.pause())
                }
                (_, Some((trouble, why))) => Next::End(Verdict::Failed(trouble, why)),
                (_, None) => Next::Write(self.moved.clone()),
            },
        }
    }

    /// The pause is over.
    pub fn waited(&mut self) -> Next {
        self.waiting_for.clone()
    }

    /// Whoever ordered the run wants it to end now.
    pub fn give_up(&self) -> Next {
        self.hopeless("it was told to end".to_owned())
    }

    /// Another controller writes from now on, or none can.
    pub fn other_writer(&mut self, result: Result<(), String>) -> Next {
        match result {
            Ok(()) => {
                self.trouble_since = None;
                self.pauses.reset();
                self.waiting_for.clone()
            }
            Err(why) => self.unknown(why),
        }
    }

    /// The write was refused: the object tells whether it is done already, by us or by others, or what is in the way.
    fn refused(&mut self, trouble: Trouble, why: String) -> Next {
        self.trouble_since = None;
        self.refusal = Some((trouble, why));
        Next::Read
    }

    fn later(&mut self, what: Next, patience: Duration, error: &DirectoryError, now: Duration) -> Next {
        let since = *self.trouble_since.get_or_insert(now);
        self.waiting_for = what;
        if now.saturating_sub(since) < patience {
            return Next::Wait(self.pauses.pause());
        }
        match error {
            DirectoryError::Unreachable { .. } if self.may_switch => Next::OtherWriter,
            DirectoryError::Busy { .. } if !self.unclear => {
                Next::End(Verdict::Failed(Trouble::Busy, format!("{error} (for {patience:?})")))
            }
            _ => self.unknown(error.to_string()),
        }
    }

    fn hopeless(&self, why: String) -> Next {
        if self.unclear { self.unknown(why) } else { Next::End(Verdict::Stopped(why)) }
    }

    fn unknown(&self, why: String) -> Next {
        Next::End(Verdict::InDoubt(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn manner() -> Manner {
        Manner { busy: Duration::from_secs(60), lost: Duration::from_secs(30), ..Manner::default() }
    }

    fn object() -> Dn {
        "CN=a,DC=b".parse().unwrap()
    }

    fn lost() -> DirectoryError {
        DirectoryError::Unreachable { server: "dc1".into(), why: "gone".into() }
    }

    fn changed() -> DirectoryError {
        DirectoryError::Changed { object: object(), why: String::new() }
    }

    #[test]
    fn a_stale_write_is_told_apart_by_reading() {
        let end = |intended, standing| {
            let mut attempt = Attempt::new(&manner(), intended, 1);
            assert_eq!(attempt.begin(), Next::Write(None));
            assert_eq!(attempt.wrote(Err(changed()), START), Next::Read);
            attempt.read(Ok((standing, None)), START)
        };
        assert_eq!(end(false, Standing::New), Next::End(Verdict::Already));
        assert_eq!(end(true, Standing::New), Next::End(Verdict::Written), "who intended it and finds it did it");
        assert!(matches!(end(true, Standing::Other("x".into())), Next::End(Verdict::Failed(Trouble::Changed, _))));
        assert!(matches!(end(false, Standing::Gone), Next::End(Verdict::Failed(Trouble::Gone, _))));
    }

    #[test]
    fn a_write_that_was_overtaken_is_sent_once_more_but_not_for_ever() {
        let mut attempt = Attempt::new(&manner(), true, 1);
        let mut next = attempt.begin();
        for _ in 0..OVERTAKEN {
            assert_eq!((next, attempt.wrote(Err(changed()), START)), (Next::Write(None), Next::Read));
            let Next::Wait(_) = attempt.read(Ok((Standing::Old, None)), START) else { panic!("it waits") };
            next = attempt.waited();
        }
        let done = attempt.clone().wrote(Ok(()), START);
        assert_eq!((&next, done), (&Next::Write(None), Next::End(Verdict::Written)));
        // Refused for another reason than a change.
        assert_eq!(attempt.wrote(Err(changed()), START), Next::Read);
        let end = attempt.read(Ok((Standing::Old, None)), START);
        assert!(matches!(end, Next::End(Verdict::Failed(Trouble::Changed, _))));
    }

    #[test]
    fn a_lost_answer_is_not_a_lost_write() {
        let mut attempt = Attempt::new(&manner(), false, 1);
        attempt.begin();
        let Next::Wait(pause) = attempt.wrote(Err(lost()), START) else { panic!("it waits") };
        assert!(pause <= Duration::from_millis(100));
        assert_eq!(attempt.waited(), Next::Write(None));
        assert_eq!(attempt.wrote(Err(changed()), START), Next::Read);
        assert_eq!(attempt.read(Ok((Standing::New, None)), START), Next::End(Verdict::Written));
    }

    #[test]
    fn patience_ends_with_another_writer_or_in_doubt() {
        for may_switch in [true, false] {
            let mut attempt = Attempt::new(&Manner { other_writer: may_switch, ..manner() }, false, 1);
            let mut now = START;
            let mut next = attempt.wrote(Err(lost()), now);
            while let Next::Wait(pause) = next {
                now += pause;
                assert_eq!(attempt.waited(), Next::Write(None));
                next = attempt.wrote(Err(lost()), now);
            }
            assert!(now - START >= Duration::from_secs(30) && now - START < Duration::from_secs(36), "{now:?}");
            if !may_switch {
                assert!(matches!(next, Next::End(Verdict::InDoubt(_))));
                continue;
            }
            assert_eq!(next, Next::OtherWriter);
            assert_eq!(attempt.other_writer(Ok(())), Next::Write(None));
            assert_eq!(attempt.wrote(Ok(()), now), Next::End(Verdict::Written));
        }
    }

    #[test]
    fn a_busy_server_is_given_time_and_credentials_are_not_tried_again() {
        let busy = || DirectoryError::Busy { server: "dc1".into(), why: "busy".into() };
        let mut attempt = Attempt::new(&manner(), false, 1);
        assert!(matches!(attempt.wrote(Err(busy()), START), Next::Wait(_)));
        let end = attempt.wrote(Err(busy()), START + Duration::from_secs(60));
        assert!(matches!(end, Next::End(Verdict::Failed(Trouble::Busy, _))));
        let refused = || DirectoryError::Credentials { server: "dc1".into(), why: "expired".into() };
        let stopped = Attempt::new(&manner(), false, 1).wrote(Err(refused()), START);
        assert!(matches!(stopped, Next::End(Verdict::Stopped(_))));
        let doubtful = Attempt::new(&manner(), true, 1).wrote(Err(refused()), START);
        assert!(matches!(doubtful, Next::End(Verdict::InDoubt(_))));
    }

    #[test]
    fn an_object_that_was_moved_is_written_under_its_new_name_once() {
        let gone = || DirectoryError::NoSuchObject { object: object() };
        let name: Dn = "CN=a,OU=new,DC=b".parse().unwrap();
        let mut attempt = Attempt::new(&manner(), false, 1);
        assert_eq!(attempt.wrote(Err(gone()), START), Next::Read);
        assert_eq!(attempt.read(Ok((Standing::Old, Some(name.clone()))), START), Next::Write(Some(name.clone())));
        assert_eq!(attempt.wrote(Err(gone()), START), Next::Read);
        let end = attempt.read(Ok((Standing::Old, Some(name))), START);
        assert!(matches!(end, Next::End(Verdict::Failed(Trouble::Gone, _))));
    }
}
