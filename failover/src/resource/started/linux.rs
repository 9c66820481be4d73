//! Processes by their environment, as proc(5) shows it: what it was when the program was started.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::Process;

/// Device and inode: two directories of one machine never share them, whatever mount namespaces call them.
pub(super) fn identity(directory: &Path) -> io::Result<String> {
    let known = fs::metadata(directory)?;
    Ok(format!("{:x}.{:x}", known.dev(), known.ino()))
}

/// Those that have this entry in their environment, or one that begins so. What ended meanwhile, and zombies, have none.
pub(super) fn processes(entry: &str, whole: bool) -> Vec<Process> {
    let wanted = entry.as_bytes();
    let matches = |known: &[u8]| if whole { known == wanted } else { known.starts_with(wanted) };
    let own = std::process::id().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = all.filter_map(|one| one.file_name().into_string().ok()).filter(|name| *name != own);
    let has_it =
        |name: &String| fs::read(format!("/proc/{name}/environ")).is_ok_and(|all| all.split(|byte| *byte == 0).any(matches));
    let numbers = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    numbers.filter(has_it).filter_map(|name| stat(&fs::read_to_string(format!("/proc/{name}/stat")).ok()?)).collect()
}

/// From `/proc/PID/stat`: the name of the program, in brackets, may hold anything.
fn stat(text: &str) -> Option<Process> {
    let (id, rest) = text.split_once(' ')?;
    let mut rest = rest.rsplit_once(')')?.1.split_whitespace().skip(2).map(str::parse);
    Some(Process { id: id.parse().ok()?, group: rest.next()?.ok()?, session: rest.next()?.ok()? })
}

/// One that is gone already is as it should be.
pub(super) fn kill(process: i32) {
    if let Some(process) = Pid::from_raw(process) {
        let _ = kill_process(process, Signal::KILL);
    }
}

/// As [`kill`], with all of its group.
pub(super) fn kill_group(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}
