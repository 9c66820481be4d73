//! Commands on Linux: each leads a process group of its own, which is what is killed.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, test_kill_process_group};

use super::{Ended, Limited};

/// How often somebody is asked whether the run is to end.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Whether this process may run a file.
pub(super) fn is_executable(path: &Path) -> bool {
    access(path, Access::EXEC_OK).is_ok()
}

/// `grace` is from the request to end to the end by force.
pub(super) fn run(limited: &Limited<'_>, grace: Duration, output: &mut dyn FnMut(&[u8])) -> io::Result<Ended> {
    let (reader, mut child) = start(limited)?;
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from);
    let ended = ended.and_then(|ended| watch(limited, &reader, &ended, output));
    let how = match ended {
        Ok(None) => return child.wait().map(ended_as),
        Ok(Some(how)) => Ok(how),
        Err(error) => Err(error),
    };
    end(pid, &mut child, grace, &reader, output)?;
    how
}

fn start(limited: &Limited<'_>) -> io::Result<(PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    let (program, arguments) = limited.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(limited.variables.iter().map(|(name, value)| (name, value))).current_dir("/");
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn()?;
    Ok((reader, child))
}

/// Until it ends (`None`), or has to be ended.
fn watch(
    limited: &Limited<'_>,
    reader: &PipeReader,
    ended: &OwnedFd,
    output: &mut dyn FnMut(&[u8]),
) -> io::Result<Option<Ended>> {
    let mut is_open = true;
    loop {
        if Instant::now() >= limited.deadline {
            return Ok(Some(Ended::TimedOut));
        }
        if (limited.is_cancelled)() {
            return Ok(Some(Ended::Cancelled));
        }
        let left = limited.deadline.saturating_duration_since(Instant::now()).min(ASK_EVERY);
        let wait = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut watched = vec![PollFd::new(ended, PollFlags::IN)];
        if is_open {
            watched.push(PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN));
        }
        match poll(&mut watched, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_ended = !watched[0].revents().is_empty();
        if is_open {
            is_open = read_once(reader, output)?;
        }
        if has_ended {
            // What it wrote before its end is in the pipe; what its children write later is theirs.
            while is_open && has_more(reader)? {
                is_open = read_once(reader, output)?;
                if Instant::now() >= limited.deadline {
                    break;
                }
            }
            return Ok(None);
        }
    }
}

fn has_more(reader: &PipeReader) -> io::Result<bool> {
    Ok(rustix::io::ioctl_fionread(reader)? > 0)
}

/// Reads what is there, at most one piece. Returns whether more may come.
fn read_once(mut reader: &PipeReader, output: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    match reader.read(&mut piece) {
        Ok(0) => Ok(false),
        Ok(count) => {
            output(&piece[..count]);
            Ok(true)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Ends the whole group: asked first, then by force.
fn end(pid: Pid, child: &mut Child, grace: Duration, reader: &PipeReader, output: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let until = Instant::now() + grace;
    // The group may be gone by now; that is what is wanted.
    let _ = kill_process_group(pid, Signal::TERM);
    while Instant::now() < until {
        let _ = read_once(reader, output);
        let is_reaped = child.try_wait()?.is_some();
        if is_reaped && test_kill_process_group(pid).is_err() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = kill_process_group(pid, Signal::KILL);
    child.wait()?;
    Ok(())
}

fn ended_as(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}
