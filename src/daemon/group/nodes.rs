//! The nodes of a group: this one, and those over the link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use standin_common::id::{GroupName, NodeName};
use standin_common::link::quic::Connection;
use standin_common::link::talk::Open;
use standin_common::link::{CloseCode, LinkError};
use standin_common::message::{GroupAnswer, Opening};
use standin_failover::group::facts::{Facts, Seen};
use standin_failover::group::perform::Local;
use standin_failover::group::run::{Done, Failed, Nodes, Order};

use super::asked::{Ask, Told};
use crate::daemon::peer::{Context, PeerError};

/// How long a node may take for what is answered at once.
const ANSWER: Duration = Duration::from_secs(15);
/// How long an address of a node is dialled: whoever orders a failover waits for it. One that lost a packet is there in this time.
const USUALLY: Duration = Duration::from_secs(2);
/// The same of one that has not been heard for long.
const BRIEFLY: Duration = Duration::from_secs(1);
/// How long a node may take longer than a step's limit, to say so.
const GRACE: Duration = Duration::from_secs(10);
/// Between attempts to reach a node.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a node that does not answer is tried again for one step.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks a node something about a group.
///
/// Errors: why there is no answer, in words.
pub(crate) fn ask(context: &Context, node: &NodeName, group: &GroupName, ask: &Ask, limit: Duration) -> Result<Told, String> {
    ask_over(context.dial(node), node, group, ask, limit)
}

/// The same of a node that one can do without: it is not dialled for long.
pub(super) fn ask_briefly(
    context: &Context,
    node: &NodeName,
    group: &GroupName,
    ask: &Ask,
    limit: Duration,
) -> Result<Told, String> {
    ask_over(context.dial_briefly(node, USUALLY), node, group, ask, limit)
}

fn ask_over(
    dialled: Result<Connection, PeerError>,
    node: &NodeName,
    group: &GroupName,
    ask: &Ask,
    limit: Duration,
) -> Result<Told, String> {
    let text = serde_json::to_string(ask).map_err(|error| error.to_string())?;
    let connection = dialled.map_err(|error| error.to_string())?;
    let _deadline = connection.close_after(limit, CloseCode::DONE, "no answer");
    let asked = || -> Result<GroupAnswer, LinkError> {
        let (mut send, mut receive) = Open::open(&connection)?;
        send.send(&Opening::Group { group: group.clone(), ask: text.clone() }, &[])?;
        send.finish()?;
        receive.answer()
    };
    let answer = asked().map_err(|error| format!("{node} does not answer: {error}"))?;
    connection.close(CloseCode::DONE, "all was answered");
    match answer {
        GroupAnswer::Unknown => {
            Err(format!("{node} has no group {group} with this node in its settings: write the same lines on all its nodes"))
        }
        GroupAnswer::Known(text) => serde_json::from_str(&text)
            .map_err(|error| format!("{node} answers what cannot be read ({error}): bring both to the same release")),
    }
}

/// What every node of a group says now, all asked at once. One that was silent before is not waited for as long as others.
pub(super) fn facts(
    context: &Context,
    group: &GroupName,
    local: &Local,
    own: Seen,
    question: &Ask,
    is_silent: &(dyn Fn(&NodeName) -> bool + Sync),
) -> Facts {
    let seen = |node: &NodeName| {
        let longest = if is_silent(node) { BRIEFLY } else { USUALLY };
        seen(context.dial_briefly(node, longest), node, group, question)
    };
    let others: Vec<NodeName> =
        local.group().nodes.iter().map(|member| member.node.clone()).filter(|node| node != local.node()).collect();
    let mut nodes: BTreeMap<NodeName, Seen> = thread::scope(|scope| {
        let seen = &seen;
        let asked = others.iter().map(|node| (node, scope.spawn(move || seen(node))));
        let asked: Vec<_> = asked.collect();
        let lost = || Seen::Away("a fault of this program, see the log".to_owned());
        asked.into_iter().map(|(node, thread)| (node.clone(), thread.join().unwrap_or_else(|_| lost()))).collect()
    });
    nodes.insert(local.node().clone(), own);
    Facts { runner: local.node().clone(), nodes, heard: BTreeSet::new(), last_heard: BTreeMap::new(), witness: None }
}

fn seen(dialled: Result<Connection, PeerError>, node: &NodeName, group: &GroupName, question: &Ask) -> Seen {
    match ask_over(dialled, node, group, question, ANSWER) {
        Ok(Told::View(view)) => Seen::There(view),
        Ok(Told::Refused(refused)) => Seen::Away(refused.text),
        Ok(_) => Seen::Away("it answers something else than was asked: is it of another release?".to_owned()),
        Err(why) => Seen::Away(why),
    }
}

/// For runs that this node carries out.
pub(super) struct Members {
    pub(super) context: Arc<Context>,
    pub(super) local: Arc<Local>,
    /// Whether a node has not been heard for so long that it counts as lost: it is asked once, and not waited for.
    pub(super) is_silent: Box<dyn Fn(&NodeName) -> bool + Send + Sync>,
}

impl Nodes for Members {
    fn perform(&self, node: &NodeName, order: &Order, is_cancelled: &(dyn Fn() -> bool + Sync)) -> Result<Done, Failed> {
        if node == self.local.node() {
            return self.local.perform(order, is_cancelled);
        }
        let until = Instant::now() + PATIENCE.min(Duration::from_millis(order.limit_ms));
        let is_over = || is_cancelled() || Instant::now() >= until || (self.is_silent)(node);
        loop {
            match self.ask(node, order, is_cancelled) {
                Ok(done) => return done,
                // Each step may be repeated, so it is asked for again: perhaps only the answer was lost.
                Err(why) if is_over() => return Err(Failed { why, unchanged: false }),
                Err(why) => tracing::debug!(%node, %why, "asking again"),
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Members {
    /// Asks for a step, and for its end as soon as the run is taken back.
    fn ask(
        &self,
        node: &NodeName,
        order: &Order,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Result<Done, Failed>, String> {
        let question = Ask::Perform(Box::new(order.clone()));
        let limit = Duration::from_millis(order.limit_ms).saturating_add(GRACE);
        let group = &order.group;
        let answer = thread::scope(|scope| {
            let dial = || match (self.is_silent)(node) {
                true => self.context.dial_briefly(node, BRIEFLY),
                false => self.context.dial(node),
            };
            let asking = scope.spawn(move || ask_over(dial(), node, group, &question, limit));
            let mut hurried = false;
            while !asking.is_finished() {
                if is_cancelled() && !hurried {
                    hurried = true;
                    // Where it is not heard, the step ends by its own limit.
                    let _ = ask(&self.context, node, group, &Ask::Hurry(order.claim.run.clone(), order.number), ANSWER);
                }
                thread::sleep(Duration::from_millis(20));
            }
            asking.join().unwrap_or_else(|_| Err("a fault of this program, see the log".to_owned()))
        });
        match answer? {
            Told::Performed(done) => Ok(done),
            Told::Refused(refused) => Ok(Err(Failed { why: refused.text, unchanged: true })),
            _ => Err(format!("{node} answers something else than was asked: is it of another release?")),
        }
    }
}
