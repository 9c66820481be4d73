//! Asks systemd whether the machine is being shut down.

use std::path::Path;
use std::process::{Command, Stdio};

use super::End;

/// There where systemd is what runs the machine (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

pub(super) fn end() -> End {
    if !Path::new(BOOTED).exists() {
        return End::Machine;
    }
    // `stopping` while the machine is shut down or restarted; it ends with another code than 0 then, so only the word counts.
    let asked = Command::new("systemctl").arg("is-system-running").stdin(Stdio::null()).stderr(Stdio::null()).output();
    match asked {
        Ok(told) if told.stdout.trim_ascii() != b"stopping" => End::Daemon,
        Ok(_) => End::Machine,
        Err(error) => {
            tracing::warn!(%error, "systemctl cannot be asked whether the machine is shut down; taken as such");
            End::Machine
        }
    }
}
