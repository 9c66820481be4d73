//! The steps of the demo.

mod crash;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use standin_common::message::OrphanPolicy;
use standin_replicator::journal::Point;
use standin_replicator::report::{MirrorReport, SetReport};

use super::material::{self, Contents, MAILBOX, MailboxState, Shape, Writer};
use super::nodes::{self, Node};
use super::stage::Stage;
use super::table::{Outcome, Telling};
use super::trees::{self, Changed};
use super::{DemoError, Options, at};
use crate::cli::bar::Bar;
use crate::cli::show;
use crate::control::client::AskError;
use crate::control::{Answer, FailedKind, MirrorOrder, Request};

const SEED: u64 = 1;
/// The pause of the mail server between two transactions.
const WRITE_PAUSE: Duration = Duration::from_millis(20);
/// One of so many queue files is delivered, and so removed, before the orphans are.
const DELIVERED: usize = 5;
/// What a difference mirror may put on the wire: so many times what changed, and this part of what there is.
const MOST_RATIO: f64 = 1.5;
const MOST_SHARE: f64 = 0.005;

/// Everything that is on the stage.
struct Play {
    options: Options,
    tell: Telling,
    volume: PathBuf,
    replica: PathBuf,
    alpha: Node,
    beta: Node,
}

/// Plays all steps.
pub(super) fn play(stage: &Arc<Stage>, options: Options) -> Result<Outcome, DemoError> {
    let mut tell = Telling::new(options.quiet);
    let (volume, replica) = (stage.base().join("volume"), stage.base().join("replica"));
    tell.line(&format!("Two nodes of Standin on this machine, in {}", stage.base().display()));
    tell.heading("A mail server's volume");
    let shape = Shape { size_bytes: options.size_bytes, seed: SEED };
    let begun = Instant::now();
    let contents = tell.during("writing the volume", || material::generate(&volume, &shape))?;
    tell.line(&format!(
        "a SQLite mailbox of {} messages, {} logs, {} queue files, {} odd objects (links, holes, names, lists), in {}",
        contents.messages,
        contents.logs,
        contents.queue_files,
        contents.odd_objects,
        show::span(begun.elapsed().as_secs_f64())
    ));
    tell.heading("Two nodes: init, pair, run");
    let (alpha, beta) = nodes::set_up(stage, &volume, &replica)?;
    tell.line(&format!("alpha, the source:   {}", alpha.fingerprint));
    tell.line(&format!("beta, the standby:   {}", beta.fingerprint));
    let mut play = Play { options, tell, volume, replica, alpha, beta };
    play.first_mirror()?;
    play.difference(&contents)?;
    let writer = play.orphans()?;
    play.verify(writer)?;
    let expected = play.crash()?;
    play.promote(&expected)?;
    let ended = play.alpha.stop() & play.beta.stop();
    play.tell.check(ended, "both daemons end cleanly when they are told to");
    let kept = options.keep.then(|| stage.base().to_owned());
    Ok(play.tell.end(kept))
}

impl Play {
    fn first_mirror(&mut self) -> Result<(), DemoError> {
        self.tell.heading("First mirror, while the mailbox is being written to");
        let changed = self.changed()?;
        let writer = Writer::start(&self.volume, SEED, WRITE_PAUSE)?;
        let report = self.mirror("first mirror", changed)?;
        self.tell.check(report.point.is_some(), "the standby has a recovery point");
        self.tell.line(&format!("the mail server committed {} transactions meanwhile", writer.stop()?));
        Ok(())
    }

    fn difference(&mut self, contents: &Contents) -> Result<(), DemoError> {
        self.tell.heading("Changes, then a difference mirror");
        let made = self.tell.during("changing the volume", || material::change(&self.volume, contents, SEED))?;
        self.tell.line(&format!(
            "messages: {} rewritten, {} flagged, {} arrived, {} deleted; {} logs rotated; {} queue files new, {} gone, {} renamed",
            made.rewritten,
            made.flagged,
            made.inserted,
            made.deleted,
            made.logs_rotated,
            made.queue_arrived,
            made.queue_gone,
            made.renamed
        ));
        let changed = self.changed()?;
        let report = self.mirror("difference", changed)?;
        // The mail server is at rest meanwhile: what it would write while this is under way would be sent, too.
        let sent = report.wire.sent_bytes + report.wire.received_bytes;
        let most = (changed.bytes as f64 * MOST_RATIO + report.bytes as f64 * MOST_SHARE) as u64;
        let (sent_text, changed_text) = (show::size(sent), show::size(changed.bytes));
        self.tell.check(sent <= most, format!("{sent_text} sent and received for {changed_text} that changed"));
        Ok(())
    }

    fn orphans(&mut self) -> Result<Writer, DemoError> {
        self.tell.heading("Orphans: files that are gone at the source go on the standby, while the mailbox is being written to");
        let writer = Writer::start(&self.volume, SEED, WRITE_PAUSE)?;
        let queue = self.volume.join("queue");
        let gone: Vec<_> = trees::files(&queue)?.into_iter().step_by(DELIVERED).collect();
        for path in &gone {
            at("remove", &queue.join(path), fs::remove_file(queue.join(path)))?;
        }
        self.tell.line(&format!("{} queue files removed", gone.len()));
        let changed = self.changed()?;
        let report = self.mirror("orphans", changed)?;
        let there = gone.iter().filter(|path| self.replica.join("queue").join(path).exists()).count();
        let enough = report.orphans >= gone.len() as u64 && report.orphans_left == 0;
        self.tell.check(there == 0 && enough, format!("{} orphans found on the standby, all removed", report.orphans));
        Ok(writer)
    }

    fn verify(&mut self, writer: Writer) -> Result<(), DemoError> {
        self.tell.heading("The mail server pauses; both sides are read again and compared");
        let commits = writer.stop()?;
        self.tell.line(&format!("the mail server has committed {commits} transactions"));
        let changed = self.changed()?;
        let report = self.mirror("while paused", changed)?;
        self.tell.check(report.consistent, "nothing changed while it was read, and the point says so");
        let Answer::Mirrored(report) = self.ask(&Request::Verify { set: nodes::set()?, timeout_seconds: None })? else {
            return Err(unexpected());
        };
        self.tell.row("verify", Changed::default(), &report);
        let equal = report.finding_count == 0 && report.problem_count == 0;
        self.tell.check(equal, format!("{} read on each side, no difference", show::size(report.bytes)));
        Ok(())
    }

    fn promote(&mut self, expected: &MailboxState) -> Result<(), DemoError> {
        self.tell.heading("The standby is promoted");
        let (points, _) = self.beta.points()?;
        let newest = points.iter().rev().find(|point| point.consistent);
        let Some(newest) = newest else { return Err(DemoError::Check("no point is consistent".to_owned())) };
        let begun = Instant::now();
        let promoted = self.beta.promote(newest.number)?;
        self.tell.line(&format!(
            "at point {}, the newest consistent one of {}, in {}",
            promoted.number,
            points.len(),
            show::span(begun.elapsed().as_secs_f64())
        ));
        let differences = self.tell.during("comparing the trees", || material::compare(&self.volume, &self.replica));
        differences.iter().take(5).for_each(|difference| self.tell.line(difference));
        self.tell.check(
            differences.is_empty(),
            "the tree equals the source's: data, holes, links, modes, owners, times, extended attributes",
        );
        let state = self.tell.during("opening the mailbox", || material::check_mailbox(&self.replica.join(MAILBOX)))?;
        self.tell.check(state.integrity == "ok", "SQLite opens the mailbox and finds it whole");
        let all = state == *expected;
        let what = format!("it has all {} messages and all {} transactions of that point", state.messages, state.last_commit);
        self.tell.check(all, what);
        let refused = match self.order(None) {
            Err(DemoError::Ask { source: AskError::Failed(failed), .. }) => failed.kind == FailedKind::Refused,
            Err(error) => return Err(error),
            Ok(_) => false,
        };
        self.tell.check(refused, "a mirror to the promoted standby is refused");
        Ok(())
    }

    /// What the volume has that the replica has not.
    fn changed(&self) -> Result<Changed, DemoError> {
        self.tell.during("counting what differs", || trees::changed(&self.volume, &self.replica))
    }

    /// Asks alpha, with a progress bar.
    fn ask(&self, request: &Request) -> Result<Answer, DemoError> {
        let bar = Bar::new(self.options.quiet, None);
        self.alpha.ask(request, &mut |report: &SetReport| bar.show(report))
    }

    /// Orders a mirror and waits for its end.
    fn order(&self, limit_bytes_per_second: Option<u64>) -> Result<MirrorReport, DemoError> {
        match self.ask(&order(limit_bytes_per_second)?)? {
            Answer::Mirrored(report) => Ok(report),
            _ => Err(unexpected()),
        }
    }

    fn mirror(&mut self, step: &'static str, changed: Changed) -> Result<MirrorReport, DemoError> {
        let report = self.order(None)?;
        self.told(step, changed, &report);
        Ok(report)
    }

    /// Tells of a mirror that ended.
    fn told(&mut self, step: &'static str, changed: Changed, report: &MirrorReport) {
        self.tell.row(step, changed, report);
        for problem in report.problems.iter().take(3) {
            self.tell.line(&format!("not replicated: {}: {}", problem.path, problem.text));
        }
    }

    fn newest_point(&self) -> Result<Point, DemoError> {
        let (points, _) = self.beta.points()?;
        points.last().cloned().ok_or_else(|| DemoError::Check("the standby has no recovery point".to_owned()))
    }
}

fn order(limit_bytes_per_second: Option<u64>) -> Result<Request, DemoError> {
    Ok(Request::Mirror(MirrorOrder {
        set: nodes::set()?,
        comparison: None,
        orphans: Some(OrphanPolicy::Remove),
        max_orphans: None,
        limit_bytes_per_second,
        dry_run: false,
        wait: true,
        timeout_seconds: None,
    }))
}

fn unexpected() -> DemoError {
    DemoError::Check("the daemon answered something else than was asked".to_owned())
}
