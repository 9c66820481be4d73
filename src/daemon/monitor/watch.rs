//! The monitor of one group: what is known and decided.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use standin_common::id::{Generation, NodeName};
use standin_config::Settings;
use standin_config::group::{Failover, Group, Witness};
use standin_failover::group::facts::LastHeard;
use standin_failover::monitor::alert::About;
use standin_failover::monitor::gate::Gate;
use standin_failover::monitor::{Act, Answer, Beat, Moment, Monitor, Rule, Setting};
use standin_failover::resource::hook;
use standin_failover::witness::Word;

use super::alerts::Alerting;
use super::kept::{AT_NO_TIME, Files, Kept};
use super::own::own;
use super::stop::{Possession, Stopped};
use super::witness::Asking;
use super::{guard, now, spawn};
use crate::daemon::group::Desk;

/// How often this node looks after what it knows of itself, at most.
const LOOK: Duration = Duration::from_millis(250);
/// How long the decision waits at most: a machine that slept shows only at the next look.
const DECIDE: Duration = Duration::from_millis(100);
/// Between attempts to start again what was stopped.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a look at everything may take: the lease is no shorter than two seconds.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// Without a witness nothing has a lease; this is how long services may take that must stop at once.
const USUAL_LEASE_MS: u64 = 10_000;

/// See the module.
pub(in crate::daemon) struct Watch {
    pub(super) here: NodeName,
    pub(super) written: Group,
    pub(super) desk: Arc<Desk>,
    pub(super) rule: Rule,
    pub(super) gate: Arc<Gate>,
    pub(super) files: Files,
    pub(super) kept: Mutex<Kept>,
    pub(super) alerting: Alerting,
    asking: Option<Asking>,
    /// Held, not read: the guard sees by it that a daemon is there.
    _alive: File,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// What is being stopped is not started.
    stopping: AtomicBool,
    /// Held while it is written down until when this node may serve.
    remembering: Mutex<()>,
}

pub(super) struct Inner {
    pub(super) monitor: Monitor,
    pub(super) ends: bool,
}

/// How long a renewal at the group's witness counts.
fn lease_ms(group: &Group) -> u64 {
    group.witness.as_ref().map_or(USUAL_LEASE_MS, Witness::lease_ms)
}

/// The spans of a group.
pub(super) fn rule_of(written: &Group) -> Rule {
    Rule::new(written.heartbeat_ms, written.misses, lease_ms(written))
}

/// Whether nodes decide about a group by themselves.
fn is_automatic(group: &Group) -> bool {
    group.failover == Failover::Automatic && group.witness.is_some()
}

impl Watch {
    /// Over a group of this node's settings.
    pub(super) fn open(settings: &Settings, written: &Group, desk: &Arc<Desk>) -> Result<Arc<Self>, String> {
        let here = settings.node.name.clone();
        let directory: PathBuf = settings.node.state_dir.join("groups").join(written.name.as_str());
        let files = Files::new(&directory).map_err(|error| error.to_string())?;
        let kept = files.read()?;
        if !is_automatic(written) {
            files.let_be().map_err(|error| error.to_string())?;
        }
        let alive = guard::alive(&directory).map_err(|error| error.to_string())?;
        let rule = rule_of(written);
        let automatic = is_automatic(written);
        let by_priority = written.by_priority().into_iter().cloned().collect();
        let setting = Setting { here: here.clone(), by_priority, automatic, rule };
        let gate = Arc::new(Gate::default());
        desk.local().start_through(gate.clone());
        let at = now();
        // Where nothing was ever remembered, this group was not automatic before, and nobody else can have taken it.
        let remembered = files.right().filter(|until| *until != AT_NO_TIME).unwrap_or(at.after(rule.lease_ms));
        // A right is remembered for what runs on; what does not is started with a new one.
        let possession = possession(desk, written);
        // Nobody is left who would end what a daemon before this one was starting. What it had started goes on.
        let was_starting = files.read_right().is_some_and(|right| right.starting);
        if was_starting && possession.mark.end_starts() > 0 {
            tracing::warn!(group = %written.name, "a start that outlived its daemon was killed");
        }
        let is_any_left = possession.is_any_left(LOOK_TIME);
        let remembered = if is_any_left { remembered } else { Moment::default() };
        if is_any_left {
            // A run that is not finished may have begun it: then it stops when the right ends, like all else.
            gate.remember();
        }
        let monitor = Monitor::new(setting, own(&here, written, desk, &kept, &gate), at, remembered);
        gate.set(monitor.gate());
        let witness = desk.local().witness().cloned().filter(|_| automatic);
        let asking = witness.map(Asking::new);
        let alerting = Alerting::new(here.clone(), written);
        let watch = Arc::new(Self {
            here,
            written: written.clone(),
            desk: desk.clone(),
            rule,
            gate,
            files,
            kept: Mutex::new(kept),
            alerting,
            asking,
            _alive: alive,
            inner: Mutex::new(Inner { monitor, ends: false }),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            remembering: Mutex::default(),
        });
        let told = Arc::downgrade(&watch);
        watch.gate.announce_by(move || told.upgrade().map_or(Ok(()), |watch| watch.remember()));
        Ok(watch)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the settings have the group.
    pub(super) fn settings(&self) -> &Group {
        &self.written
    }

    /// Whether nodes decide about it by themselves.
    pub(in crate::daemon) fn is_automatic(&self) -> bool {
        is_automatic(&self.written)
    }

    /// Whether another node is one of the group's.
    pub(super) fn has_peer(&self, peer: &NodeName) -> bool {
        *peer != self.here && self.written.nodes.contains_key(peer)
    }

    /// Whether a node has not been heard for as long as makes it count as lost.
    pub(in crate::daemon) fn is_silent(&self, node: &NodeName) -> bool {
        self.lock().monitor.is_silent(node, now())
    }

    /// Whether a heartbeat of a node came within the last moments.
    pub(in crate::daemon) fn has_heard_within(&self, node: &NodeName, span: Duration) -> bool {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.lock().monitor.heard_ms(node, now()).is_some_and(|heard| heard < ms)
    }

    /// Whether nothing may be started here without the witness's word or the promises of all other nodes.
    pub(in crate::daemon) fn needs_right(&self) -> bool {
        self.is_automatic() && self.kept().stands_down
    }

    /// When a node was heard last, if it was since this daemon runs.
    pub(in crate::daemon) fn last_heard(&self, node: &NodeName) -> Option<LastHeard> {
        let slack_ms = if self.is_automatic() { self.rule.lease_ms } else { self.rule.heartbeat_ms };
        let ms = self.lock().monitor.heard_ms(node, now())?;
        Some(LastHeard { ms, slack_ms })
    }

    /// How long it takes yet until whom the witness names would have counted up, if it could.
    pub(in crate::daemon) fn until_counted_up(&self, word: &Word) -> Duration {
        let still_ms = self.lock().monitor.still_ms(word, now());
        Duration::from_millis((self.rule.tick_ms() * 3 / 2).saturating_sub(still_ms))
    }

    /// Whether this node takes the group over by itself, now or once it has waited for long enough.
    pub(in crate::daemon) fn is_about_to_take_over(&self) -> bool {
        self.lock().monitor.is_about_to_take_over(now())
    }

    /// Whether the witness, or all other nodes, leave the group to this node now.
    pub(in crate::daemon) fn has_right(&self) -> bool {
        self.is_automatic() && now() < self.lock().monitor.right_until()
    }

    pub(super) fn has_path(&self, peer: &NodeName, path: &str) {
        self.lock().monitor.has_path(peer, path);
    }

    /// What this node says.
    pub(super) fn beat(&self) -> Beat {
        self.lock().monitor.beat(now())
    }

    /// A heartbeat of a peer; what to answer, if it is one of the group's nodes.
    pub(super) fn heard(&self, peer: &NodeName, beat: &Beat) -> Option<Answer> {
        let answer = self.has_peer(peer).then(|| self.lock().monitor.heard(now(), peer, beat));
        self.changed.notify_all();
        answer
    }

    /// A peer answered what was sent then.
    pub(super) fn answered(&self, peer: &NodeName, path: &str, sent: Moment, answer: &Answer) {
        self.lock().monitor.answered(now(), peer, path, sent, answer);
        self.changed.notify_all();
    }

    /// Starts its threads.
    pub(super) fn start(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, String> {
        let (deciding, looking) = (self.clone(), self.clone());
        let mut threads = vec![
            spawn("decide", move || deciding.decide_all())?,
            spawn("look", move || looking.look_all())?,
            self.alerting.start()?,
        ];
        if let Some(asking) = &self.asking {
            let watch = self.clone();
            threads.push(asking.start(move |tell| {
                tell(&mut watch.lock().monitor);
                watch.changed.notify_all();
            })?);
        }
        Ok(threads)
    }

    /// Ends them.
    pub(super) fn end(&self) {
        self.lock().ends = true;
        self.changed.notify_all();
        self.alerting.end();
        if let Some(asking) = &self.asking {
            asking.end();
        }
        // What was taken offline just before is not the guard's to stop.
        self.know_own();
        if let Err(why) = self.remember() {
            tracing::warn!(group = %self.written.name, "{why}");
        }
    }

    /// Looks what this node's own part is now. Returns where the group is, and of which generation.
    fn know_own(&self) -> (Option<NodeName>, Generation) {
        let kept = self.kept().clone();
        let mut own = own(&self.here, &self.written, &self.desk, &kept, &self.gate);
        own.stopping = self.stopping.load(Ordering::SeqCst);
        if (own.gave_up || (!own.serves && !own.claiming)) && !self.gate.is_starting() {
            self.gate.forget();
        }
        let place = (own.online.clone(), own.seen);
        self.lock().monitor.own(own);
        place
    }

    fn decide_all(self: &Arc<Self>) {
        let is_down = self.lock().monitor.is_down();
        if is_down && self.possession().is_any_left(LOOK_TIME) {
            self.stand_down("the right that it had ended while the daemon was away");
        }
        loop {
            let mut inner = self.lock();
            if inner.ends {
                return;
            }
            let at = now();
            let next = inner.monitor.next(at);
            self.gate.set(inner.monitor.gate());
            drop(inner);
            for act in next.acts {
                self.act(act);
            }
            let pause = Duration::from_millis(next.wake.since(now())).min(DECIDE);
            // Whatever woke it, it looks again.
            drop(self.changed.wait_timeout(self.lock(), pause));
        }
    }

    fn act(self: &Arc<Self>, act: Act) {
        match act {
            Act::Read | Act::Swap(_) => {
                if let Some(asking) = &self.asking {
                    asking.ask(act);
                }
            }
            Act::StandDown(why) => self.stand_down(&why),
            Act::Resume => {
                tracing::warn!(group = %self.written.name, "this node has the right to serve again: it starts what was stopped");
                self.aside(|watch| {
                    watch.start_again();
                });
            }
            Act::TakeOver { from, answers } => self.aside(move |watch| {
                let done = watch.take_over(&from, answers);
                match &done {
                    Ok(()) => watch.raise(About::TookOver, &format!("{} took over from {from} by itself", watch.here)),
                    Err(why) => {
                        let text = format!("{} tried to take over from {from} by itself, and did not: {why}", watch.here);
                        watch.raise(About::NotTakenOver, &text);
                    }
                }
                watch.lock().monitor.took_over(now(), done);
                watch.changed.notify_all();
            }),
        }
    }

    /// Does what takes long on a thread of its own.
    fn aside(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let watch = self.clone();
        if let Err(why) = spawn("cutover", move || work(&watch)) {
            self.raise(About::NotTakenOver, &format!("nothing was done by itself: {why}"));
            self.lock().monitor.took_over(now(), Err(why));
        }
    }

    fn possession(&self) -> Possession<'_> {
        possession(&self.desk, &self.written)
    }

    /// Has the guard, and the next daemon, know until when this node may serve, and whether it does. Before anything is started by a right the
    /// guard must know of it; so what is under way counts, and is looked at by whoever writes last.
    fn remember(&self) -> Result<(), String> {
        if !self.is_automatic() {
            return Ok(());
        }
        let _held = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, serves) = {
            let inner = self.lock();
            (inner.monitor.gate(), inner.monitor.serves())
        };
        let starting = self.gate.is_starting();
        let serves = serves || starting || self.gate.has_passed();
        // Switched off, it is over at no time.
        let done = self.files.remember(until.unwrap_or(AT_NO_TIME), serves, starting);
        done.map_err(|error| format!("until when this node may serve cannot be remembered, so nothing is started by it: {error}"))
    }

    /// Starts what was stopped, again and again as long as it may.
    fn start_again(&self) {
        let mut told = None;
        while self.may_start_again() {
            // A run of another node starts it itself, or leaves it to this one.
            let done = if self.desk.is_of_others() { None } else { Some(self.desk.start_again()) };
            let words = done.as_ref().map(|done| match done {
                Ok(()) => "it serves again".to_owned(),
                Err(why) => format!("it does not start again: {why}"),
            });
            if let Some(words) = words.filter(|words| told.as_ref() != Some(words)) {
                self.raise(About::StoodDown, &format!("{} stopped, as its right had ended; {words}", self.here));
                told = Some(words);
            }
            if matches!(done, Some(Ok(()))) {
                return;
            }
            drop(self.changed.wait_timeout_while(self.lock(), AGAIN, |inner| !inner.ends));
        }
    }

    fn may_start_again(&self) -> bool {
        let inner = self.lock();
        !inner.ends && !inner.monitor.is_down() && inner.monitor.serves()
    }

    fn take_over(&self, from: &NodeName, answers: bool) -> Result<(), String> {
        tracing::warn!(group = %self.written.name, %from, "this node takes over by itself");
        if let Some(fence) = self.written.fence.as_ref().filter(|_| !answers) {
            let done = hook::fence(fence, (&self.written.name, &self.here), from, hook::FENCE_LIMIT, &mut |_| {});
            done.map_err(|trouble| {
                format!("{trouble}; when it is mended, `standin monitor ack {}` has it tried again", self.written.name)
            })?;
        }
        self.desk.take_over(answers)
    }

    /// Stops everything at once, and returns when nothing is left or the allowance is used up; then it goes on trying on the side.
    fn stand_down(self: &Arc<Self>, why: &str) {
        tracing::warn!(group = %self.written.name, why, "this node stops what it has of the group");
        self.stopping.store(true, Ordering::SeqCst);
        self.gate.set(Some(Moment::default()));
        self.desk.cancel();
        let Stopped { any, left } = self.possession().stop(&self.gate, self.rule.allowance_ms);
        let text = format!("{} stopped what it had of the group: {why}", self.here);
        if left.is_empty() {
            self.stopped();
            // In a cutover that takes longer than a lease after everything stopped here, its right ends and nobody need be told.
            if any {
                self.raise(About::StoodDown, &text);
            }
            return;
        }
        self.raise(About::StoodDown, &format!("{text}. NOT STOPPED IN TIME: {}; end it by hand at once", left.join(", ")));
        self.aside(|watch| {
            while !watch.possession().stop(&watch.gate, watch.rule.allowance_ms).left.is_empty() {
                if watch.lock().ends {
                    return;
                }
            }
            watch.stopped();
        });
    }

    fn stopped(&self) {
        self.gate.forget();
        self.stopping.store(false, Ordering::SeqCst);
    }

    /// Another node is source of what the group has here: it stops, if it is not stopped already.
    pub(super) fn give_way(self: &Arc<Self>, why: &str) {
        if self.desk.local().state().online.as_ref() != Some(&self.here) || !self.possession().is_any_left(LOOK_TIME) {
            return;
        }
        tracing::error!(group = %self.written.name, why, "this node stops what it has of the group");
        let Stopped { left, .. } = self.possession().stop(&self.gate, self.rule.allowance_ms);
        let left = if left.is_empty() { String::new() } else { format!(". NOT STOPPED: {}", left.join(", ")) };
        self.raise(About::StoodDown, &format!("{} stopped what it had of the group: {why}{left}", self.here));
        self.desk.nudge();
    }

    fn look_all(self: &Arc<Self>) {
        let mut before = None;
        let pause = LOOK.min(Duration::from_millis(self.written.heartbeat_ms));
        loop {
            if self.lock().ends {
                return;
            }
            let place = self.know_own();
            let mut troubles = self.lock().monitor.troubles(now());
            troubles.extend([About::Failed, About::NotFinished, About::Stray].into_iter().zip(self.desk.troubles()));
            if let Err(why) = self.remember() {
                tracing::warn!(group = %self.written.name, "{why}");
            }
            if before.as_ref().is_some_and(|before| *before != place) {
                // It was answered by a cutover.
                self.answer_lost();
            }
            before = Some(place);
            self.tell(troubles);
            self.changed.notify_all();
            let inner = self.lock();
            let ended = self.changed.wait_timeout_while(inner, pause, |inner| !inner.ends);
            if ended.unwrap_or_else(PoisonError::into_inner).0.ends {
                return;
            }
        }
    }
}

/// What the group has here.
fn possession<'a>(desk: &'a Desk, written: &'a Group) -> Possession<'a> {
    Possession { resources: desk.local().resources(), written, mark: desk.local().mark() }
}
