//! The real file system of the platform that this was built for.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    Layer, OsDirectory, OsFile, OsVolume, clear_dead_layer, clear_live, confine, cpu_time, free_bytes, len_of, live_since,
    mark_live, mount_point, mounts_beneath, step_back, watch,
};
#[cfg(target_os = "linux")]
pub(crate) use linux::{read_full_at, write_all_at};

#[cfg(not(target_os = "linux"))]
compile_error!("only the Linux file system is written so far: this platform needs its own os/<platform> beside os/linux");
