//! What only Linux tells about processes, and what only it mounts.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Asks a process of ours to end, with SIGTERM.
pub(crate) fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    kill_process(pid, signal).expect("a child can be signalled until it was waited for");
}

/// A process that stands still, all its threads, until this is dropped.
pub(crate) struct Suspended(u32);

impl Suspended {
    /// Stops a process of ours.
    pub(crate) fn new(pid: u32) -> Self {
        signal(pid, Signal::STOP);
        let suspended = Self(pid);
        wait_until("all threads stand still", PATIENCE, || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            threads.flatten().all(|thread| {
                // A thread that has ended meanwhile stands still, too.
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" T"))
            })
        });
        suspended
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

/// The most memory a process ever had, in KiB (`VmHWM` of proc(5)); `None` once it is gone.
pub(crate) fn peak_rss_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The same of the processes of this program that are or descend from `root` now, but not from `except`: the largest.
pub(crate) fn peak_rss_kib_of_tree(root: u32, except: Option<u32>, program: &str) -> Option<u64> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let numbers = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in numbers {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut waiting = vec![root];
    let mut largest = None;
    while let Some(pid) = waiting.pop() {
        if Some(pid) == except {
            continue;
        }
        if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == program) {
            largest = largest.max(peak_rss_kib(pid));
        }
        waiting.extend(children.get(&pid).into_iter().flatten());
    }
    largest
}

/// Field 4 of `/proc/PID/stat`, counted after the name, which may hold anything but ends with the last parenthesis.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether this is run as root, which may mount; says that a test does nothing if it is not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("{test} needs root: not run");
    }
    root
}

/// A mounted file system, unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A file system in memory.
    pub(crate) fn tmpfs(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "standin-test", at.to_str().unwrap()]);
        Self(at.to_owned())
    }

    /// An ext4 in an image file, which holds few extended attributes; `None` if the system has no loop devices for it.
    pub(crate) fn ext4(at: &Path, image: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        fs::File::create(image).and_then(|file| file.set_len(bytes)).unwrap();
        run("mkfs.ext4", &["-q", "-O", "^ea_inode", image.to_str().unwrap()]);
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image).arg(at).status().unwrap();
        mounted.success().then(|| Self(at.to_owned()))
    }

    /// A file system that an image has already.
    pub(crate) fn image(at: &Path, image: &Path) -> Self {
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Self(at.to_owned())
    }

    /// A btrfs in an image file, which can clone files; `None` if the system has no loop devices for it.
    pub(crate) fn btrfs(at: &Path, image: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        fs::File::create(image).and_then(|file| file.set_len(bytes)).unwrap();
        run("mkfs.btrfs", &["-q", image.to_str().unwrap()]);
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image).arg(at).status().unwrap();
        mounted.success().then(|| Self(at.to_owned()))
    }
}

impl Mount {
    /// Unmounts it, which nothing must hinder.
    pub(crate) fn unmount(self) {
        run("umount", &[self.0.to_str().unwrap()]);
        std::mem::forget(self);
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, size: &str) {
        run("mount", &["-o", &format!("remount,size={size}"), self.0.to_str().unwrap()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a daemon of a test that failed may still be in it.
        run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

/// A block device made of a file, gone when dropped.
pub(crate) struct LoopDevice(pub(crate) PathBuf);

impl LoopDevice {
    /// Of this image; `None` if the system has no such devices.
    pub(crate) fn of(image: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(image).output().unwrap();
        output.status.success().then(|| Self(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        run("losetup", &["--detach", self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}
