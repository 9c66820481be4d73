//! `CLOCK_BOOTTIME` (clock_gettime(2)), and the random name that the kernel gives to each start (random(4)).

use rustix::time::{ClockId, clock_gettime};

pub(super) fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is negative on this clock.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

pub(super) fn boot() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
