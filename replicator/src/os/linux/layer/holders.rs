//! Who keeps a layer from being taken away.

use std::fs;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::mount::Mounted;

/// The processes that have something open in the mount, work in it, or have it mapped: `name (process id)`.
pub(super) fn of(mounted: &Mounted) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let processes =
        processes.flatten().filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    processes.filter(|process| holds(&process.path(), mounted)).map(|process| name(&process.path())).collect()
}

/// Nothing of the mount is asked for its attributes: only the kernel is asked to which mount things belong.
fn holds(process: &Path, mounted: &Mounted) -> bool {
    let within = |path: &Path| {
        statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID).is_ok_and(|found| found.stx_mnt_id == mounted.id)
    };
    let infos = fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten();
    let mut infos = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let id = mounted.id.to_string();
    within(&process.join("cwd"))
        || within(&process.join("root"))
        || infos.any(|info| info.lines().any(|line| line.strip_prefix("mnt_id:").is_some_and(|found| found.trim() == id)))
        || maps(process, &mounted.device)
}

/// Mappings have the device as two hexadecimal numbers, proc_pid_maps(5).
fn maps(process: &Path, device: &str) -> bool {
    let numbers =
        device.split_once(':').and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    let Some((major, minor)) = numbers else { return false };
    let device = format!("{major:02x}:{minor:02x}");
    let maps = fs::read(process.join("maps")).unwrap_or_default();
    maps.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b' ').nth(3) == Some(device.as_bytes()))
}

fn name(process: &Path) -> String {
    let id = process.file_name().unwrap_or_default().to_string_lossy();
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    format!("{} (process {id})", name.trim())
}
