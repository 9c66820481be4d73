//! The settings of a group, resource by resource.

use super::machines::FLOATING;

/// The settings of the group `mail`, at home on alpha.
pub(crate) struct Group(String);

impl Group {
    /// A group without resources; `keys` is for further keys of it.
    pub(crate) fn new(keys: &str) -> Self {
        Self(format!("\n[groups.mail]\nnodes = {{ alpha = 1, beta = 10 }}\n{keys}\n"))
    }

    /// The set `mail`, as `store`.
    pub(crate) fn store(self) -> Self {
        self.resource("store", "volume", &[], "set = \"mail\"")
    }

    /// The floating address, as `address`.
    pub(crate) fn address(self) -> Self {
        self.resource("address", "address", &[], &format!("address = \"{FLOATING}/24\"\ninterface = \"eth0\""))
    }

    /// A service by three scripts of a shell: what starts it, what stops it, and what says whether it runs (exit code 0, or 3 if not).
    pub(crate) fn service<S: AsRef<str>>(self, name: &str, needs: &[&str], scripts: &[S; 3], rest: &str) -> Self {
        let [start, stop, state] = scripts.each_ref().map(|script| sh(script.as_ref()));
        self.resource(name, "service", needs, &format!("start = {start}\nstop = {stop}\nstate = {state}\n{rest}"))
    }

    /// The users, whose server is EX1 on alpha and EX2 on beta; `rest` may name the phase.
    pub(crate) fn users(self, name: &str, needs: &[&str], rest: &str) -> Self {
        self.resource(name, "directory", needs, &format!("servers = {{ alpha = \"EX1\", beta = \"EX2\" }}\n{rest}"))
    }

    /// Any resource; `rest` is the keys of its kind.
    pub(crate) fn resource(mut self, name: &str, kind: &str, needs: &[&str], rest: &str) -> Self {
        self.0 += &format!("\n[[groups.mail.resources]]\nname = \"{name}\"\nkind = \"{kind}\"\nneeds = {needs:?}\n{rest}\n");
        self
    }

    /// As it stands in a settings file.
    pub(crate) fn text(self) -> String {
        self.0
    }
}

/// The value of a key that is a command line: a script of a shell.
pub(crate) fn sh(script: &str) -> String {
    format!("[\"/bin/sh\", \"-c\", {script:?}]")
}

/// What succeeds while the process runs whose number is in a file. One that was killed may stay as a zombie where nobody asks for its end.
pub(crate) fn runs(pid_file: &str) -> String {
    format!("grep -qs '^State:.[^ZX]' /proc/$(tr -d ' ' <{pid_file})/status")
}
