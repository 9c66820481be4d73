//! Makes the volume: `store/` (mailbox database), `log/` (transaction logs), `queue/` (messages under way), `odd/` (everything else
//! that a file system can hold).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::mail::MailMaker;
use super::mailbox::{self, MAILBOX};
use super::odd;
use super::random::Random;
use super::{MaterialError, at};

/// Length of a transaction log, in bytes.
pub(crate) const LOG_LEN: usize = 1024 * 1024;
const QUEUE_MIN_LEN: u64 = 1024;
const QUEUE_MAX_LEN: u64 = 64 * 1024;
/// Mean of the lengths of queue files, in bytes, as [`Random::between_by_magnitude`] makes them.
const QUEUE_MEAN_LEN: u64 = 14 * 1024;
const QUEUE_FILES_PER_GIB: u64 = 5_000;
const GIB: u64 = 1024 * 1024 * 1024;

/// How large a volume is, and which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// About how many bytes its files have, holes apart.
    pub(crate) size_bytes: u64,
    /// Which one of that size.
    pub(crate) seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { size_bytes: GIB, seed: 1 }
    }
}

/// What a volume has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Messages in the mailbox database.
    pub(crate) messages: u64,
    /// Transaction logs.
    pub(crate) logs: u64,
    /// Queue files.
    pub(crate) queue_files: u64,
    /// Objects of `odd/`: links, holes, names, attributes, …
    pub(crate) odd_objects: u64,
}

impl Shape {
    fn queue_files(&self) -> u64 {
        (u128::from(self.size_bytes) * u128::from(QUEUE_FILES_PER_GIB) / u128::from(GIB)).clamp(100, 200_000) as u64
    }

    fn mailbox_bytes(&self) -> u64 {
        self.size_bytes / 10 * 6
    }

    fn logs(&self) -> u64 {
        let rest = self.size_bytes.saturating_sub(self.mailbox_bytes() + self.queue_files() * QUEUE_MEAN_LEN);
        (rest / LOG_LEN as u64).max(4)
    }
}

/// Makes a volume in the directory `root`, which is made if it is not there.
pub(crate) fn generate(root: &Path, shape: &Shape) -> Result<Contents, MaterialError> {
    for directory in ["store", "log", "queue", "odd"] {
        let path = root.join(directory);
        at("make directory", &path, fs::create_dir_all(&path))?;
    }
    let (messages, files) = std::thread::scope(|scope| {
        let mailbox = scope.spawn(|| mailbox::fill(&root.join(MAILBOX), shape.mailbox_bytes(), shape.seed));
        let files = generate_files(root, shape);
        let messages = mailbox.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (messages, files)
    });
    let (logs, queue_files, odd_objects) = files?;
    let contents = Contents { messages: messages?, logs, queue_files, odd_objects };
    let mut random = Random::new(shape.seed ^ 4);
    set_time(&root.join(MAILBOX), &mut random)?;
    for directory in ["store", "log", "queue", "odd"] {
        set_time(&root.join(directory), &mut random)?;
    }
    Ok(contents)
}

fn generate_files(root: &Path, shape: &Shape) -> Result<(u64, u64, u64), MaterialError> {
    let mut maker = MailMaker::new(shape.seed ^ 1);
    let mut buffer = Vec::with_capacity(2 * LOG_LEN);
    for number in 0..shape.logs() {
        write_log(root, number, &mut maker, &mut buffer)?;
    }
    for bucket in 0..=u8::MAX {
        let path = root.join("queue").join(format!("{bucket:02x}"));
        at("make directory", &path, fs::create_dir_all(&path))?;
    }
    for number in 0..shape.queue_files() {
        write_queue_file(root, number, &mut maker, &mut buffer)?;
    }
    for bucket in 0..=u8::MAX {
        set_time(&root.join("queue").join(format!("{bucket:02x}")), maker.random())?;
    }
    let odd_objects = odd::make(&root.join("odd"), shape.seed ^ 2)?;
    Ok((shape.logs(), shape.queue_files(), odd_objects))
}

/// Where the log of this number is.
pub(crate) fn log_path(root: &Path, number: u64) -> PathBuf {
    root.join("log").join(format!("E00{number:05X}.log"))
}

/// Where the queue file of this number is.
pub(crate) fn queue_path(root: &Path, number: u64) -> PathBuf {
    let name = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    root.join("queue").join(format!("{:02x}", name & 0xff)).join(format!("{name:016X}.eml"))
}

/// Writes a transaction log.
pub(crate) fn write_log(root: &Path, number: u64, maker: &mut MailMaker, buffer: &mut Vec<u8>) -> Result<(), MaterialError> {
    maker.log(buffer, LOG_LEN);
    write_file(&log_path(root, number), buffer, maker.random())
}

/// Writes a queue file.
pub(crate) fn write_queue_file(
    root: &Path,
    number: u64,
    maker: &mut MailMaker,
    buffer: &mut Vec<u8>,
) -> Result<(), MaterialError> {
    let len = maker.random().between_by_magnitude(QUEUE_MIN_LEN, QUEUE_MAX_LEN) as usize;
    buffer.clear();
    if number.is_multiple_of(4) {
        maker.base64(buffer, len)
    } else {
        maker.text(buffer, len)
    }
    buffer.truncate(len);
    write_file(&queue_path(root, number), buffer, maker.random())
}

/// Writes a file and gives it a time of the seed's.
pub(crate) fn write_file(path: &Path, data: &[u8], random: &mut Random) -> Result<(), MaterialError> {
    let mut file = at("make", path, File::create(path))?;
    at("write", path, file.write_all(data))?;
    at("set the time of", path, file.set_modified(random.time()))
}

fn set_time(path: &Path, random: &mut Random) -> Result<(), MaterialError> {
    at("set the time of", path, File::open(path).and_then(|file| file.set_modified(random.time())))
}
