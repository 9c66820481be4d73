//! A clock that never goes back, is set by nobody, and goes on while the machine sleeps: what leases are counted by.

#[cfg_attr(target_os = "linux", path = "uptime/linux.rs")]
mod platform;

/// Milliseconds since the machine was started, sleep included.
pub fn now_ms() -> u64 {
    platform::now_ms()
}

/// Names this start of the machine: what was remembered with another one is of no use.
///
/// # Errors
/// Where the system does not tell.
pub fn boot() -> std::io::Result<String> {
    platform::boot()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_on() {
        let (boot, before) = (super::boot().unwrap(), super::now_ms());
        assert!(before > 0 && super::now_ms() >= before);
        assert!(!boot.is_empty() && boot == super::boot().unwrap());
    }
}
