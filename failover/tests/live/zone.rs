//! Names of a zone that is in the directory: changed there, and told by the controller's own DNS server.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io, sync::Mutex};

use standin_config::Settings;
use standin_failover::directory::Directory;
use standin_failover::resource::{Condition, Memo, Step, build_in_directory};

use crate::forest::{DOMAIN, Forest, address};
use crate::support::{SMALL, connect, forest};

struct TestStep {
    deadline: Instant,
    lines: Mutex<Vec<String>>,
    memo: Mutex<Option<Memo>>,
}

impl Step for TestStep {
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn tell(&self, line: fmt::Arguments<'_>) {
        self.lines.lock().unwrap().push(line.to_string());
    }

    fn keep(&self, memo: Memo) -> io::Result<()> {
        *self.memo.lock().unwrap() = Some(memo);
        Ok(())
    }

    fn memo(&self) -> Option<Memo> {
        self.memo.lock().unwrap().clone()
    }

    fn variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// What the controller's DNS server says.
fn answers(forest: &Forest, name: &str, kind: &str) -> String {
    forest.room.run("dig", &[&format!("@{}", address(1)), "+short", name, kind]).trim().to_owned()
}

#[test]
fn names_in_the_directory_move_there_and_back() {
    let Some(forest) = forest(&SMALL) else { return };
    forest.name_host("mail", "10.0.0.1");
    let name = format!("mail.{DOMAIN}");
    assert_eq!(answers(&forest, &name, "A"), "10.0.0.1");
    let text = format!(
        "[node]\nname = \"alpha\"\nstate_dir = \"/s\"\n[peers.beta]\naddresses = [\"10.0.0.2\"]\n[directory]\ncontrollers = [\"dc1\"]\n\
         [groups.mail]\nnodes = {{ alpha = 1, beta = 10 }}\naddresses = 0\n[[groups.mail.resources]]\nname = \"it\"\nkind = \"dns\"\n\
         names = \"{name}\"\nzone = \"{DOMAIN}\"\ndirectory = true\nttl = \"30 s\"\n\
         addresses = {{ alpha = \"10.0.0.1\", beta = [\"10.1.0.2\", \"2001:db8::2\"] }}\n"
    );
    let settings = Settings::parse(&text, "test").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let settings = &settings.groups.values().next().unwrap().resources[0];
    let directory: Arc<dyn Directory> = Arc::new(connect(&forest));
    let on = |node: &str| build_in_directory(settings, &node.parse().unwrap(), directory.clone()).unwrap();
    let (alpha, beta) = (on("alpha"), on("beta"));
    assert_eq!((alpha.condition().unwrap(), beta.condition().unwrap()), (Condition::Online, Condition::Offline));
    let step = TestStep { deadline: Instant::now() + Duration::from_secs(60), lines: Mutex::default(), memo: Mutex::default() };
    beta.start(&step).unwrap();
    beta.start(&step).unwrap();
    assert_eq!((answers(&forest, &name, "A").as_str(), answers(&forest, &name, "AAAA").as_str()), ("10.1.0.2", "2001:db8::2"));
    assert_eq!((alpha.condition().unwrap(), beta.condition().unwrap()), (Condition::Offline, Condition::Online));
    let told = step.lines.lock().unwrap().clone();
    assert!(told.contains(&format!("{name} A 10.1.0.2, before: 10.0.0.1")), "{told:?}");
    beta.restore(&step).unwrap();
    assert_eq!((answers(&forest, &name, "A").as_str(), answers(&forest, &name, "AAAA").as_str()), ("10.0.0.1", ""));
}
