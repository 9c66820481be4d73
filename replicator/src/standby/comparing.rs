//! The standby's half of a dry run or verification over a link: as [`super::session`], but nothing is written.

use std::sync::{Mutex, PoisonError};
use std::thread;

use standin_common::link::LinkError;
use standin_common::link::talk::{Receiver, Sender, Talk};
use standin_common::message::{FromSource, FromStandby, LaneDown, MirrorAnswer, MirrorOpening, Refusal};

use super::compare::CompareLane;
use super::receive::ReceiveError;
use super::replica::Replica;
use super::session::{Arrivals, SessionError, refusal};
use super::state::Phase;
use super::survey::{Survey, SurveyJoin};
use crate::mirror::How;
use crate::rules::Rules;
use crate::store::Store;
use crate::volume::Volume;

/// Compares the replica with what the source says, to its end. Nothing else uses the replica meanwhile.
pub fn compare<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    rules: &[Rules],
    opening: &MirrorOpening,
    (mut send, receive): Talk,
    lanes: &Arrivals,
    stopping: &(dyn Fn() + Sync),
) -> Result<(), SessionError> {
    let state = replica.state();
    let guard = replica.start_receiving();
    let refused = match state.phase {
        _ if guard.is_none() => Some(Refusal::Busy),
        Phase::Settled { .. } => None,
        Phase::Promoted { .. } => Some(Refusal::Promoted),
        Phase::Bad { cause, .. } => Some(Refusal::Bad(cause)),
        _ => Some(Refusal::Failed("there is no recovery point to compare with: the first mirror has not finished".to_owned())),
    };
    if let Some(refused) = refused {
        lanes.close();
        send.send(&MirrorAnswer::Refused(refused), &[])?;
        return Ok(send.finish()?);
    }
    let owners = replica.volumes().iter().all(|volume| volume.abilities().owners);
    let objects = state.points.last().map_or(0, |point| point.objects);
    send.send(&MirrorAnswer::Ready { after: None, first: false, owners, objects }, &[])?;
    let how = How { comparison: opening.comparison, owners };
    let survey = Survey::new(replica.volumes(), rules, &opening.roots, how, opening.purpose);
    let session = Comparing { survey: &survey, send: Mutex::new(send), failed: Mutex::new(None), stopping };
    session.run(receive, lanes);
    session.failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

struct Comparing<'s, 'a, V> {
    survey: &'s Survey<'a, V>,
    send: Mutex<Sender>,
    failed: Mutex<Option<SessionError>>,
    stopping: &'s (dyn Fn() + Sync),
}

impl<V: Volume> Comparing<'_, '_, V> {
    fn run(&self, receive: Receiver, lanes: &Arrivals) {
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(mut lane) = lanes.next() {
                    // The cause is told before the lane's streams are dropped, which the source would take for a cut.
                    scope.spawn(move || self.run_lane(&mut lane).unwrap_or_else(|error| self.fail(error)));
                }
            });
            let ended = self.lead(receive);
            lanes.close();
            ended.unwrap_or_else(|error| self.fail(error));
        });
    }

    fn lead(&self, mut receive: Receiver) -> Result<(), SessionError> {
        let mut join = SurveyJoin::new(self.survey);
        let mut lost = None;
        let mut tell = |message: FromStandby| {
            let sent = self.send.lock().unwrap_or_else(PoisonError::into_inner).send(&message, &[]);
            sent.map_err(|error: LinkError| {
                lost = Some(error);
                ReceiveError::Ended
            })
        };
        let mut ended = Ok(());
        while ended.is_ok()
            && let Some((message, _)) = receive.receive::<FromSource>()?
        {
            ended = match message {
                FromSource::Entries { root, entries } => join.entries(root, entries, &mut tell),
                // The source counts it; nothing is removed here anyway.
                FromSource::Unreadable(_) => Ok(()),
                FromSource::WalkEnd => join.end(&mut tell),
                FromSource::Commit { .. } => Err(ReceiveError::Protocol("it committed what was only compared")),
            };
        }
        match (ended, lost) {
            (_, Some(lost)) => Err(lost.into()),
            (Err(error), None) => Err(error.into()),
            (Ok(()), None) => Ok(self.send.lock().unwrap_or_else(PoisonError::into_inner).finish()?),
        }
    }

    fn run_lane(&self, (send, receive): &mut Talk) -> Result<(), SessionError> {
        let mut lane = CompareLane::new(self.survey);
        while let Some((message, payload)) = receive.receive::<LaneDown>()? {
            if let Some(answer) = lane.take(message, payload)? {
                send.send_later(&answer, &[])?;
            }
            if !receive.has_more() {
                send.flush()?;
            }
        }
        Ok(send.finish()?)
    }

    /// Tells the source why this ends; the first error is the one that counts.
    fn fail(&self, error: SessionError) {
        self.survey.end();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some() {
            return;
        }
        if let SessionError::Receive(error) = &error {
            let mut send = self.send.lock().unwrap_or_else(PoisonError::into_inner);
            // If it cannot be told, it is gone, too.
            let _ = send.send(&FromStandby::Stopped(refusal(error)), &[]).and_then(|()| send.finish());
            drop(send);
            (self.stopping)();
        }
        *failed = Some(error);
    }
}
