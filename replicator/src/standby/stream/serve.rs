//! A session over a stream of a link.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use standin_common::link::LinkError;
use standin_common::link::talk::Talk;
use standin_common::scope::Reason;
use standin_common::stream::StreamNews;

use super::session::{Session, StreamError};
use crate::os::step_back;
use crate::store::Store;
use crate::volume::Volume;

/// How often it is looked whether a point is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often what nobody waits for is made durable.
const SYNC_EVERY: Duration = Duration::from_millis(40);

impl<V: Volume, S: Store> Session<'_, V, S> {
    /// Receives until the link fails or the source ends the stream, making points when they are due, and one of all that came at the end.
    ///
    /// The answer to the opening was sent; `reason` tells for what each point is made. If folding fails, the session ends; what is durable stays.
    pub fn serve(&self, (send, mut receive): Talk, reason: &(dyn Fn() -> Reason + Sync)) -> Result<(), StreamError> {
        let send = Mutex::new(send);
        let tell = |news: StreamNews| send.lock().unwrap_or_else(PoisonError::into_inner).send(&news, &[]);
        let (over, ended) = mpsc::channel::<()>();
        let (synced, no_more) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let folding = scope.spawn(|| {
                // An application may be waiting for what is received meanwhile; nobody waits for this.
                step_back();
                self.fold_when_due(ended, &tell, reason).inspect_err(|error| {
                    self.end();
                    // Another way than by this stream has to be found, or it is told what hinders that, too.
                    let _ = tell(StreamNews::Over(error.to_string()));
                })
            });
            // Besides, since folding may take long.
            scope.spawn(|| self.sync_now_and_then(no_more, &tell));
            let received = self.receive(&mut receive, &mut |news| tell(news));
            drop(over);
            drop(synced);
            // Why nothing could be folded says more than that nothing is received any more.
            folding.join().unwrap_or_else(|_| Err(StreamError::Over("folding it failed".to_owned())))?;
            received
        })?;
        send.lock().unwrap_or_else(PoisonError::into_inner).finish().map_err(StreamError::from)
    }

    /// Until the end; of an error, whoever receives hears again.
    fn sync_now_and_then(&self, ended: mpsc::Receiver<()>, tell: &(dyn Fn(StreamNews) -> Result<(), LinkError> + Sync)) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(SYNC_EVERY) {
            if self.is_behind() {
                match self.sync() {
                    Ok(news) => drop(tell(news)),
                    Err(error) => {
                        tracing::error!(%error, "the log of the stream cannot be made durable");
                        self.end();
                        return;
                    }
                }
            }
        }
    }

    fn fold_when_due(
        &self,
        ended: mpsc::Receiver<()>,
        tell: &(dyn Fn(StreamNews) -> Result<(), LinkError> + Sync),
        reason: &(dyn Fn() -> Reason + Sync),
    ) -> Result<(), StreamError> {
        let fold = || -> Result<(), StreamError> {
            let news = self.fold(reason())?.news();
            news.map_or(Ok(()), |news| tell(news).or_else(gone))
        };
        loop {
            let due = self.due(Instant::now()).unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
            match ended.recv_timeout(due) {
                Err(RecvTimeoutError::Timeout) if self.due(Instant::now()) == Some(Duration::ZERO) => fold()?,
                Err(RecvTimeoutError::Timeout) => {}
                _ => return fold(),
            }
        }
    }
}

/// Of a link that failed, whoever receives tells.
fn gone(_: LinkError) -> Result<(), StreamError> {
    Ok(())
}
