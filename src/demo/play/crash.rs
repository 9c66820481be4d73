//! The standby dies in the middle of a mirror.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use standin_replicator::report::{MirrorReport, SetReport};

use super::{Changed, DemoError, Play, SEED, WRITE_PAUSE, at, order, show, trees, unexpected};
use crate::cli::bar::Bar;
use crate::control::Answer;
use crate::demo::material::{self, MAILBOX, MailMaker, MailboxState, Writer};

/// Length of a new log, in bytes.
const LOG_LEN: usize = 1024 * 1024;
/// This part of the volume's size is written anew.
const SHARE: u64 = 10;
/// The mirror is held back so that it takes about so long, in seconds: there must be a middle to die in.
const SECONDS: u64 = 4;
/// It dies when what was sent and what of that is durable make so much together, as a part of what changed: more than may be would then be
/// sent if what is durable were sent again.
const MIDDLE: f64 = 1.2;
/// What may be sent besides, as a part of what changed: blocks are sent whole.
const MOST_BESIDES: f64 = 0.1;

impl Play {
    /// Returns what the mailbox has at the point that is made in the end.
    pub(super) fn crash(&mut self) -> Result<MailboxState, DemoError> {
        self.tell.heading("The standby is killed in the middle of a mirror");
        let expected = self.tell.during("writing new logs and messages", || self.more_mail())?;
        let changed = self.changed()?;
        let before = (self.newest_point()?.number, trees::digest(&self.replica)?);
        let (send, progress) = channel();
        let request = order(Some((changed.bytes / SECONDS).max(1)))?;
        let quiet = self.options.quiet;
        let (report, durable_bytes) = thread::scope(|scope| {
            let (alpha, beta) = (&self.alpha, &mut self.beta);
            let waiting = scope.spawn(move || {
                let bar = Bar::new(quiet, None);
                alpha.ask(&request, &mut |report: &SetReport| {
                    bar.show(report);
                    tell_progress(&send, report);
                })
            });
            let killed = the_middle(&progress, changed);
            if let Some(Middle { sent_bytes, durable_bytes }) = killed {
                beta.kill()?;
                let (sent, durable) = (show::size(sent_bytes), show::size(durable_bytes));
                self.tell.line(&format!(
                    "kill -9 after {sent} of {}, of which it has made {durable} durable",
                    show::size(changed.bytes)
                ));
                let held = trees::digest(&self.replica)? == before.1;
                self.tell.check(held, format!("the replica on disk is untouched, at point {}", before.0));
                beta.start()?;
                let (points, at) = beta.points()?;
                let held = points.last().map(|point| point.number) == Some(before.0) && at == Some(before.0);
                self.tell.check(held, format!("the standby is started again and is at point {}", before.0));
            }
            self.tell.check(killed.is_some(), "it was killed in the middle");
            match waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))? {
                Answer::Mirrored(report) => Ok((report, killed.map_or(0, |middle| middle.durable_bytes))),
                _ => Err(unexpected()),
            }
        })?;
        self.after_the_crash(changed, durable_bytes, &report)?;
        Ok(expected)
    }

    fn after_the_crash(&mut self, changed: Changed, durable_bytes: u64, report: &MirrorReport) -> Result<(), DemoError> {
        self.told("killed, resumed", changed, report);
        let newest = self.newest_point()?;
        let done = report.point == Some(newest.number) && report.resumed > 0;
        self.tell.check(done, format!("the mirror went on by itself and made point {}", newest.number));
        let changed_bytes = changed.bytes.max(1) as f64;
        // At most everything was sent before, and what was not durable is sent again.
        let most = 2.0 * changed_bytes - durable_bytes as f64 + MOST_BESIDES * changed_bytes;
        let sent = report.data_bytes as f64;
        self.tell.check(
            sent < most,
            format!("what was durable was not sent again: {:.2} times what changed was sent in all", sent / changed_bytes),
        );
        self.tell.check(newest.consistent, "the point is consistent");
        Ok(())
    }

    /// New logs and messages; then the mail server pauses again.
    fn more_mail(&self) -> Result<MailboxState, DemoError> {
        let writer = Writer::start(&self.volume, SEED + 1, WRITE_PAUSE)?;
        let mut maker = MailMaker::new(SEED + 2);
        let mut buffer = Vec::new();
        let directory = self.volume.join("log");
        for number in 0..(self.options.size_bytes / SHARE / LOG_LEN as u64).max(1) {
            maker.log(&mut buffer, LOG_LEN);
            let path = directory.join(format!("E01{number:05X}.log"));
            at("write", &path, File::create_new(&path).and_then(|mut file| file.write_all(&buffer)))?;
        }
        writer.stop()?;
        // Looking into the database may touch it, so it is done before the mirror.
        Ok(material::check_mailbox(&self.volume.join(MAILBOX))?)
    }
}

/// How far the mirror is when the standby dies.
#[derive(Debug, Clone, Copy)]
struct Middle {
    sent_bytes: u64,
    durable_bytes: u64,
}

/// For whoever waits to kill the standby.
fn tell_progress(send: &Sender<Middle>, report: &SetReport) {
    if let Some(progress) = &report.mirror {
        // Nobody listens once the standby was killed.
        let _ = send.send(Middle { sent_bytes: progress.data_bytes, durable_bytes: progress.durable_bytes });
    }
}

/// Waits for the middle of the mirror. `None` if it ended before.
fn the_middle(progress: &Receiver<Middle>, changed: Changed) -> Option<Middle> {
    let enough = (changed.bytes as f64 * MIDDLE) as u64;
    progress.iter().find(|middle| middle.sent_bytes + middle.durable_bytes >= enough)
}
