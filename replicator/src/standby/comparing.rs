//! The standby's half of a dry run or verification over a link: as [`super::session`], but nothing is written.

use std::thread;

use standin_common::link::talk::{Receiver, Talk};
use standin_common::message::{FromSource, FromStandby, MirrorAnswer, MirrorOpening, Refusal};

use super::compare::CompareLane;
use super::receive::ReceiveError;
use super::replica::Replica;
use super::session::{Arrivals, SessionError};
use super::state::Phase;
use super::survey::{Survey, SurveyJoin};
use super::telling::{Telling, serve_lane};
use super::values::Values;
use crate::mirror::How;
use crate::rules::Rules;
use crate::store::Store;
use crate::volume::Volume;

/// Compares the replica with what the source says, to its end; returns whether all of it was read and is the same. Nothing else uses
/// the replica meanwhile.
pub fn compare<V: Volume, S: Store>(
    replica: &Replica<V, S>,
    rules: &[Rules],
    opening: &MirrorOpening,
    (mut send, receive): Talk,
    lanes: &Arrivals,
    stopping: &(dyn Fn() + Sync),
) -> Result<bool, SessionError> {
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
        send.finish()?;
        return Ok(false);
    }
    let owners = replica.volumes().iter().all(|volume| volume.abilities().owners);
    let objects = state.points.last().map_or(0, |point| point.objects);
    send.send(&MirrorAnswer::Ready { after: None, first: false, owners, objects }, &[])?;
    let how = How { comparison: opening.comparison, owners };
    let survey = Survey::new(replica.volumes(), rules, &opening.roots, how, opening.purpose);
    let session = Comparing { survey: &survey, values: replica.values(), telling: Telling::new(send, stopping) };
    session.run(receive, lanes);
    session.telling.into_failure().map_or(Ok(()), Err)?;
    Ok(survey.is_equal())
}

struct Comparing<'s, 'a, V> {
    survey: &'s Survey<'a, V>,
    values: &'s Values,
    telling: Telling<'s>,
}

impl<V: Volume> Comparing<'_, '_, V> {
    fn run(&self, receive: Receiver, lanes: &Arrivals) {
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(mut lane) = lanes.next() {
                    // The source is told why before its stream ends.
                    scope.spawn(move || {
                        let mut comparing = CompareLane::new(self.survey).checking(self.values);
                        let served = serve_lane(&mut lane, |message, payload| comparing.take(message, payload));
                        served.unwrap_or_else(|error| self.fail(error));
                    });
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
            self.telling.tell(&message).map_err(|error| {
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
                FromSource::Unreadable(_) => {
                    self.survey.differs();
                    Ok(())
                }
                FromSource::WalkEnd => join.end(&mut tell),
                FromSource::Scopes(_) => Err(ReceiveError::Protocol("it sent scopes of what is compared whole")),
                FromSource::Commit { .. } => Err(ReceiveError::Protocol("it committed what was only compared")),
            };
        }
        match (ended, lost) {
            (_, Some(lost)) => Err(lost),
            (Err(error), None) => Err(error.into()),
            (Ok(()), None) => self.telling.finish(),
        }
    }

    fn fail(&self, error: SessionError) {
        self.survey.end();
        self.telling.fail(error);
    }
}
