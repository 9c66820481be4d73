//! The real file system of the platform that this was built for.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{OsDirectory, OsFile, OsVolume, confine, mount_point, mounts_beneath};

/// Temporary.
pub fn watch(_: &[&std::path::Path]) -> std::io::Result<Box<dyn crate::capture::Watcher + Sync>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
compile_error!("only the Linux file system is written so far: this platform needs its own os/<platform> beside os/linux");
