//! Threads, as many as there are requests that wait.

use std::fmt;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::caller::Caller;
use super::device::Device;
use super::serve::{Answer, Serving};
use super::under_way::UnderWay;
use super::wire::{BUFFER_LEN, Reply, Request, answer, init_reply, parse, refusal};

/// The most threads. So many fsyncs can wait for a standby; the next request waits for one of them.
const MOST: usize = 256;
/// Threads that are kept though nothing is asked of them. Each has room for the largest request.
const MOST_IDLE: usize = 10;

/// How often it is looked whether a thread has ended.
const LOOK: Duration = Duration::from_millis(1);

/// The threads that serve a mount.
pub(super) struct Pool {
    device: Device,
    serving: Serving,
    /// Threads that wait for a request, or will as soon as they run: never none, unless there are [`MOST`].
    idle: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    running: AtomicUsize,
    under_way: UnderWay,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Pool {
    /// Agrees with the kernel on what both can do, and begins to serve.
    pub(super) fn start(device: Device, mut serving: Serving) -> io::Result<Arc<Self>> {
        let wanted = serving.has_passthrough();
        let has_passthrough = agree(&device, wanted)?;
        match (wanted, has_passthrough) {
            (_, true) => serving.lend_through(device.another()?),
            (true, false) => tracing::warn!("`passthrough` has no effect: it needs Linux 6.9, built with FUSE_PASSTHROUGH"),
            (false, false) => {}
        }
        let (idle, running) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let pool =
            Arc::new(Self { device, serving, idle, threads: Mutex::new(Vec::new()), running, under_way: UnderWay::default() });
        pool.begin()?;
        Ok(pool)
    }

    /// Waits for all threads, after the mount was taken away, for so long at most; `false` if some go on with what they do.
    pub(super) fn end(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let Some(thread) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return true };
            while !thread.is_finished() {
                if Instant::now() >= until {
                    return false;
                }
                std::thread::park_timeout(LOOK); // poll
            }
            // It does not panic: see `work`.
            let _ = thread.join();
        }
    }

    /// A path that leads to the directory beneath.
    pub(super) fn beneath(&self) -> std::path::PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", self.serving.beneath.root().as_raw_fd()).into()
    }

    fn begin(self: &Arc<Self>) -> io::Result<()> {
        let device = Arc::new(self.device.another()?);
        let pool = Arc::clone(self);
        self.running.fetch_add(1, SeqCst);
        self.idle.fetch_add(1, SeqCst);
        let thread = Builder::new().name("layer".to_owned()).spawn(move || {
            // Whatever goes wrong here may have cut off a change from its record. Nothing must go on after that: with the process goes the
            // mount, and whoever uses it gets errors, as after a crash.
            match catch_unwind(AssertUnwindSafe(|| pool.work(&device))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => die(&format!("a thread of the layer failed: {error}")),
                Err(_) => die("a thread of the layer panicked"),
            }
        });
        let thread = thread.inspect_err(|_| {
            self.running.fetch_sub(1, SeqCst);
            self.idle.fetch_sub(1, SeqCst);
        })?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    fn work(self: &Arc<Self>, device: &Arc<Device>) -> io::Result<()> {
        let mut caller = Caller::new()?;
        let mut request = vec![0; BUFFER_LEN];
        let mut data = Vec::new();
        loop {
            let Some(len) = device.receive(&mut request)? else { return Ok(()) };
            let last_idle = self.idle.fetch_sub(1, SeqCst) == 1;
            let more = last_idle && self.running.load(SeqCst) < MOST;
            if let Some(error) = more.then(|| self.begin()).and_then(Result::err) {
                tracing::warn!("cannot start another thread for the layer: {error}");
            }
            self.answer(device, &mut caller, &request[..len], &mut data)?;
            // In one step: of two threads that end, the second must not count the first as one that stays.
            if self.idle.fetch_update(SeqCst, SeqCst, |idle| (idle < MOST_IDLE).then_some(idle + 1)).is_err() {
                self.running.fetch_sub(1, SeqCst);
                return Ok(());
            }
        }
    }

    fn answer(&self, device: &Arc<Device>, caller: &mut Caller, request: &[u8], data: &mut Vec<u8>) -> io::Result<()> {
        let (header, request) = match parse(request) {
            Some(Ok(parsed)) => parsed,
            Some(Err(header)) => {
                return device.send(&[IoSlice::new(refusal(header.unique, Errno::INVAL.raw_os_error()).as_bytes())]);
            }
            None => return Err(io::Error::other("the kernel sent a request without a header")),
        };
        let unique = header.unique;
        if let Request::Interrupt { unique } = request {
            return self.under_way.interrupted(unique);
        }
        self.under_way.begin(unique, header.thread, device);
        let served = self.serving.serve(caller, &header, request, data);
        self.under_way.end(unique);
        match served {
            Ok(Answer::None) => Ok(()),
            Ok(Answer::Data(len)) => send_data(device, unique, &data[..len]),
            Ok(Answer::Bytes(bytes)) => send_data(device, unique, &bytes),
            Ok(given) => device.send(&[IoSlice::new(answer(unique, |reply| fill(reply, &given)).as_bytes())]),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
                device.send(&[IoSlice::new(refusal(unique, errno).as_bytes())])
            }
        }
    }
}

fn die(why: &str) -> ! {
    tracing::error!("{why}; the daemon ends, so that no change goes unrecorded");
    std::process::abort()
}

/// The first request. Returns whether files can be read past us, if that is asked for.
fn agree(device: &Device, passthrough: bool) -> io::Result<bool> {
    let mut buffer = vec![0; BUFFER_LEN];
    let len = device.receive(&mut buffer)?.unwrap_or(0);
    let Some(Ok((header, Request::Init(init)))) = parse(&buffer[..len]) else {
        return Err(io::Error::other("the kernel does not begin with its version"));
    };
    let agreed = init.agree(passthrough).map_err(io::Error::other)?;
    device.send(&[IoSlice::new(init_reply(header.unique, agreed).as_bytes())])?;
    Ok(agreed.has_passthrough())
}

fn send_data(device: &Device, unique: u64, data: &[u8]) -> io::Result<()> {
    let head = super::wire::head(unique, data.len());
    device.send(&[IoSlice::new(&head), IoSlice::new(data)])
}

fn fill(reply: &mut Reply, with: &Answer) {
    match with {
        Answer::None | Answer::Done | Answer::Data(_) | Answer::Bytes(_) => {}
        Answer::Entry(entry) => drop(reply.entry(entry)),
        Answer::Created(entry, opened) => drop(reply.entry(entry).opened(*opened)),
        Answer::Attributes(attributes) => drop(reply.attributes_out(attributes)),
        Answer::Opened(opened) => drop(reply.opened(*opened)),
        Answer::Written(len) | Answer::Needed(len) => drop(reply.u32(*len).u32(0)),
        Answer::Offset(offset) => drop(reply.u64(*offset)),
        Answer::Statistics(statistics) => drop(reply.statistics(statistics)),
    }
}
