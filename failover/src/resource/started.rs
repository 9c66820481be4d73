//! What starts leave: processes of commands that started something of a group, found by a mark in their environment.
//!
//! A command that starts something may outlive the daemon that ran it, and what it started may outlive the command that should stop it. Their
//! processes inherit the mark, so whoever has to stop everything finds them without a list that would have to be right at every moment.
//! What takes its environment away, as some servers do, is not found: then their own commands have to stop them.

#[cfg_attr(target_os = "linux", path = "started/linux.rs")]
mod platform;

use std::io;
use std::path::Path;

use standin_common::id::ResourceName;

/// The variable that is the mark.
const VARIABLE: &str = "STANDIN_STARTED_BY";

/// The mark of one group on one node, as no other group, node or daemon on this machine has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

/// A process that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    id: i32,
    /// Its process group, by the number of who leads it.
    group: i32,
    /// Its session.
    session: i32,
}

impl Process {
    /// Whether it is a command that is still starting something: those lead a group, and no session.
    fn is_command(&self) -> bool {
        self.id == self.group && self.id != self.session
    }
}

impl Mark {
    /// Of the group that keeps its state in this directory.
    ///
    /// # Errors
    /// Where the directory cannot be looked at.
    pub fn of(directory: &Path) -> io::Result<Self> {
        platform::identity(directory).map(Self)
    }

    /// What a command that starts this resource gets into its environment.
    pub fn variable(&self, resource: &ResourceName) -> (String, String) {
        (VARIABLE.to_owned(), self.value(resource.as_str()))
    }

    fn value(&self, resource: &str) -> String {
        format!("{}/{resource}", self.0)
    }

    /// Whether commands are at work that start something, whoever runs them.
    pub fn is_starting(&self) -> bool {
        self.all().iter().any(Process::is_command)
    }

    /// Ends those commands at once, each with its process group. Returns how many there were.
    pub fn end_starts(&self) -> usize {
        let commands: Vec<Process> = self.all().into_iter().filter(Process::is_command).collect();
        commands.iter().for_each(|command| platform::kill_group(command.group));
        commands.len()
    }

    /// Kills what starts of this resource left. Returns how many processes that were.
    pub fn kill(&self, resource: &ResourceName) -> usize {
        let left = platform::processes(&format!("{VARIABLE}={}", self.value(resource.as_str())), true);
        left.iter().for_each(|process| platform::kill(process.id));
        left.len()
    }

    fn all(&self) -> Vec<Process> {
        platform::processes(&format!("{VARIABLE}={}", self.value("")), false)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::resource::command::Limited;

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < until, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(10)); // poll
        }
    }

    #[test]
    fn what_a_start_runs_and_leaves_is_found_and_nothing_else_is() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mark, other) = (Mark::of(dir.path()).unwrap(), Mark::of(other.path()).unwrap());
        let server: ResourceName = "server".parse().unwrap();
        let longer: ResourceName = "server-2".parse().unwrap();
        // It leaves a service in a session of its own, and goes on.
        let words = ["/bin/sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & sleep 1000"].map(str::to_owned);
        let variables = [mark.variable(&server)];
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let deadline = Instant::now() + Duration::from_secs(60);
                Limited { words: &words, variables: &variables, deadline, is_cancelled: &|| false }.run(&mut |_| {}).unwrap()
            });
            wait_until("the script runs", || mark.is_starting() && mark.all().len() >= 3);
            assert!(!other.is_starting() && other.end_starts() == 0, "of another group");
            assert_eq!(mark.end_starts(), 1);
            running.join().unwrap();
        });
        wait_until("the script ended", || !mark.is_starting());
        assert_eq!(mark.all().len(), 1, "what it left runs on");
        assert_eq!((mark.kill(&longer), other.kill(&server)), (0, 0), "of another resource, of another group");
        assert_eq!(mark.kill(&server), 1);
        wait_until("it is gone", || mark.all().is_empty());
    }

    #[test]
    fn what_has_ended_is_not_there_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark::of(dir.path()).unwrap();
        let (name, value) = mark.variable(&"server".parse().unwrap());
        let sleep = Command::new("sleep").arg("1000").env(name, value).stdin(Stdio::null()).spawn();
        let mut sleep: Child = sleep.unwrap();
        wait_until("it runs", || mark.all().len() == 1);
        assert!(!mark.is_starting(), "it leads no group");
        sleep.kill().unwrap();
        // Nobody asked for its end: it is a zombie.
        wait_until("it ended", || mark.all().is_empty());
        sleep.wait().unwrap();
    }
}
