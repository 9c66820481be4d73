//! A PostgreSQL server of a test's or a bench's own.

use std::path::PathBuf;
use std::process::Command;

use crate::support::Done;

/// One whose data is in a directory; its socket is there, too.
pub(crate) struct Postgres {
    pub(crate) data: PathBuf,
    pub(crate) port: String,
}

impl Postgres {
    pub(crate) fn program(name: &str) -> PathBuf {
        let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed").flatten().collect();
        found.sort_by_key(std::fs::DirEntry::file_name);
        found.pop().unwrap().path().join("bin").join(name)
    }

    pub(crate) fn run(program: &str, arguments: &[&str]) -> Done {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(Self::program(program)).args(arguments).current_dir("/");
        Done::of(command)
    }

    pub(crate) fn start(&self) {
        let options = format!("-p {} -c listen_addresses= -c unix_socket_directories={}", self.port, self.data.display());
        let log = self.data.join("server.log");
        Self::run(
            "pg_ctl",
            &["-D", self.data.to_str().unwrap(), "-w", "-t", "60", "-l", log.to_str().unwrap(), "-o", &options, "start"],
        )
        .expect(0);
    }

    pub(crate) fn stop(&self, how: &str) {
        Self::run("pg_ctl", &["-D", self.data.to_str().unwrap(), "-w", "-m", how, "stop"]).expect(0);
    }

    pub(crate) fn ask(&self, sql: &str) -> Done {
        Self::run(
            "psql",
            &["-h", self.data.to_str().unwrap(), "-p", &self.port, "-qAt", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-c", sql],
        )
    }
}
