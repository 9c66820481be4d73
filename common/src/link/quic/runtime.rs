//! The one thread that drives the sockets, and the only place where asynchronous code runs.
//!
//! Threads that call the link wait with [`Handle::block_on`]: the future is polled by the caller, woken by the driving thread. That
//! is sound as long as the driving thread runs, so everything that could be waited for holds the [`Runtime`].

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::error::local;
use crate::link::{CloseCode, LinkError};

/// How long the last words to peers may take.
const FAREWELL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Runtime {
    handle: Handle,
    endpoints: Mutex<Vec<quinn::Endpoint>>,
    stop: Option<oneshot::Sender<Vec<quinn::Endpoint>>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    pub(super) fn start() -> Result<Self, LinkError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|why| local("start the link")(&why))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Vec<quinn::Endpoint>>();
        let drive = move || {
            runtime.block_on(async {
                // An error says that the sender is gone, which is as good a reason to stop.
                for endpoint in stopped.await.unwrap_or_default() {
                    endpoint.close(CloseCode::STOPPING.0.into(), b"the node stops");
                    let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(drive)
            .map_err(|why| local("start the link's thread")(&why))?;
        Ok(Self { handle, endpoints: Mutex::default(), stop: Some(stop), thread: Some(thread) })
    }

    /// Waits for a future on the caller's thread. Never to be called within asynchronous code.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// The runtime's tasks, for what must be started within it.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Takes an endpoint into care: its peers are told when the runtime ends.
    pub(super) fn keep(&self, endpoint: quinn::Endpoint) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).push(endpoint);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let endpoints = std::mem::take(&mut *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(stop) = self.stop.take() {
            // The thread can be gone only by a panic, which was reported where it happened.
            let _ = stop.send(endpoints);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
