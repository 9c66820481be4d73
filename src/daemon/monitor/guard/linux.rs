//! Starting this very program once more, in a process group of its own, so that what ends the daemon does not end its guard.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use standin_common::id::GroupName;

pub(super) fn start(config: &Path, group: &GroupName) -> io::Result<Child> {
    // The program that runs, though the file may have been replaced since (proc(5)).
    let mut command = Command::new("/proc/self/exe");
    command.arg0("standin").arg("--config").arg(config).args(["guard", group.as_str()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).spawn()
}
