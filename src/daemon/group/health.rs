//! Looks after a group while it is online here: asks, starts again, and says when it has failed. What is decided is in
//! [`standin_failover::group::health`].

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::{NodeName, ResourceName};
use standin_config::group::{Failover, Kind};
use standin_failover::group::decide::Wish;
use standin_failover::group::facts::Facts;
use standin_failover::group::health::{Health, Next};
use standin_failover::resource::{Condition, Resource};

use super::asked::Ask;
use super::desk::Desk;

/// How soon the end of the daemon, or of a run, is noticed.
const TICK: Duration = Duration::from_millis(500);
/// Between looks for what is online here though the group is elsewhere.
const STRAYS: Duration = Duration::from_secs(30);
/// Between attempts to give a failed group away.
const AGAIN: Duration = Duration::from_secs(60);

type Answer = (ResourceName, Result<(), String>);

/// Looks after it until the daemon ends.
pub(super) fn run(desk: &Arc<Desk>) {
    let mut watch = Watch::new(desk);
    let (told, answers) = mpsc::channel();
    while !desk.is_ending() {
        let now = Instant::now();
        let is_looked_after = desk.is_looked_after();
        watch.turn(is_looked_after, now);
        if desk.take_forgiven() {
            watch.forgive();
        }
        if is_looked_after {
            watch.health.due(now).into_iter().for_each(|name| look(desk, name, &told));
            watch.give_away(now);
        }
        watch.look_for_strays(now);
        let pause = watch.health.pause(is_looked_after, now);
        match answers.recv_timeout(pause.min(TICK)) {
            Ok(answer) => watch.hear(answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

struct Watch<'a> {
    desk: &'a Arc<Desk>,
    health: Health,
    was_looked_after: bool,
    /// Whether nobody could take it when it had failed.
    stays: bool,
    /// When it was last looked for what should not be online here, or need not be.
    looked: Instant,
    /// When it was last tried to give a failed group away.
    tried: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(desk: &'a Arc<Desk>) -> Self {
        let health = Health::new(desk.written(), desk.local().group(), Instant::now());
        Self { desk, health, was_looked_after: false, stays: false, looked: Instant::now(), tried: None }
    }

    /// Whoever comes online, or is resumed after a pause, begins anew; a failure is remembered until then, so that a group which was given away
    /// is not given back at once.
    fn turn(&mut self, is_looked_after: bool, now: Instant) {
        if is_looked_after != self.was_looked_after {
            self.health.rest(now);
            if is_looked_after {
                self.health.begin_anew();
                self.tried = None;
                self.desk.tell_failure(None);
            }
        }
        self.was_looked_after = is_looked_after;
    }

    fn forgive(&mut self) {
        self.health.forgive();
        (self.tried, self.stays) = (None, false);
        self.desk.tell_failure(None);
    }

    fn hear(&mut self, (name, answer): Answer) {
        let now = Instant::now();
        // What was stopped meanwhile on purpose is not ill.
        if !self.desk.is_looked_after() || self.desk.local().state().down.contains(&name) {
            return self.health.skip(&name, now);
        }
        let group = &self.desk.written().name;
        match self.health.hear(&name, answer, now) {
            Next::Nothing => {}
            Next::Tell(what) => tracing::warn!(%group, "{what}"),
            Next::Fail(why) => tracing::error!(%group, "the group has failed here: {why}"),
            Next::Restart { what, why } => self.restart(&what, &why),
        }
        self.tell_failure();
    }

    /// Says whether it has failed, and whether anybody else could take it.
    fn tell_failure(&mut self) {
        let failure = self.health.failure();
        self.stays &= failure.is_some();
        let everywhere = if self.stays { "; no other node answers on which it has not failed, too" } else { "" };
        self.desk.tell_failure(failure.map(|why| format!("{why}{everywhere}")));
    }

    fn restart(&mut self, what: &[ResourceName], why: &str) {
        let group = &self.desk.written().name;
        let names = what.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::warn!(%group, "started again: {names}, as {why}");
        match self.desk.local().restart(what, &|| self.desk.is_ending() || self.desk.is_paused()) {
            Ok(()) => tracing::info!(%group, "{names}: online again"),
            Err(failed) => tracing::error!(%group, "{names}: not started again: {}", failed.why),
        }
        self.health.restarted(what, Instant::now());
    }

    /// What is online here though the group is elsewhere: two may be at work on the same things. It is left to a person, since nobody knows who
    /// started it.
    fn look_for_strays(&mut self, now: Instant) {
        let local = self.desk.local();
        let state = local.state();
        let is_elsewhere = state.claim.is_none() && state.online.as_ref().is_some_and(|node| node != local.node());
        if !is_elsewhere {
            self.looked = now;
            return self.desk.tell_stray(None);
        }
        if now.saturating_duration_since(self.looked) < STRAYS {
            return;
        }
        self.looked = now;
        let written = self.desk.written();
        let shows = |name: &ResourceName| {
            let kind = written.resource(name).map(|resource| &resource.kind);
            matches!(kind, Some(Kind::Address(_) | Kind::Service(_) | Kind::Share(_)))
        };
        let all = local.resources().iter().filter(|(name, _)| shows(name));
        let online = all.filter(|(_, resource)| matches!(resource.condition(), Ok(Condition::Online)));
        let names: Vec<&str> = online.map(|(name, _)| name.as_str()).collect();
        // A cutover may have begun meanwhile.
        if local.state() == state {
            let elsewhere = state.online.map_or(String::new(), |node| node.to_string());
            let words = format!(
                "{} online on {} though the group is online on {elsewhere}: stop it here by hand",
                names.join(", "),
                local.node()
            );
            self.desk.tell_stray((!names.is_empty()).then_some(words));
        }
    }

    /// A group that has failed here goes to the next node, if the settings let it go by itself. Where all nodes answer that is a handoff as
    /// any other, which loses nothing, or is refused.
    fn give_away(&mut self, now: Instant) {
        let is_soon = self.tried.is_some_and(|tried| now.saturating_duration_since(tried) < AGAIN);
        if self.health.failure().is_none() || is_soon || self.desk.written().failover != Failover::Automatic {
            return;
        }
        self.tried = Some(now);
        let group = &self.desk.written().name;
        let Some(to) = next_node(self.desk, &self.desk.facts()) else {
            self.stays = true;
            return tracing::error!(%group, "it has failed here, and no other node answers on which it has not failed, too");
        };
        tracing::warn!(%group, "it has failed here, and is handed to {to}");
        if let Err(refused) = self.desk.ask(None, Ask::Begin(Wish::Handoff { to, force: false })) {
            tracing::error!(%group, "it cannot be handed over: {}", refused.text);
        }
    }
}

/// The first node by priority that answers, is not this one, is not paused, and on which the group has not failed.
pub(super) fn next_node(desk: &Desk, facts: &Facts) -> Option<NodeName> {
    let here = desk.local().node();
    let may = |node: &&NodeName| {
        *node != here && facts.view(node).is_some_and(|view| view.failed.is_none() && view.paused_unix_ms.is_none())
    };
    desk.local().group().by_priority().into_iter().find(may).cloned()
}

/// Looks at one resource, on a thread of its own: one that hangs holds nothing else up. Probes and commands have their own limits.
fn look(desk: &Arc<Desk>, name: ResourceName, told: &Sender<Answer>) {
    let Some(resource) = desk.local().resources().get(&name).cloned() else { return };
    let is_check = desk.written().resource(&name).is_some_and(|written| matches!(written.kind, Kind::Check(_)));
    let telling = told.clone();
    let looked = name.clone();
    let looking = thread::Builder::new().name("look".to_owned()).spawn(move || {
        // Whether anybody still listens makes no difference.
        let _ = telling.send((looked, seen(&*resource, is_check)));
    });
    if let Err(error) = looking {
        // It says nothing about the resource.
        tracing::error!(resource = %name, %error, "cannot start a thread to look at it");
        let _ = told.send((name, Ok(())));
    }
}

fn seen(resource: &dyn Resource, is_check: bool) -> Result<(), String> {
    match resource.condition() {
        Ok(Condition::Online) => Ok(()),
        // Its start has not asked yet.
        Ok(Condition::Offline) if is_check => Ok(()),
        Ok(condition) => Err(condition.to_string()),
        Err(trouble) => Err(trouble.to_string()),
    }
}
