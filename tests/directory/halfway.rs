//! Runs of the program that are killed, met by an administrator, or left by the controller, half-way.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use standin_failover::directory::Dn;

use crate::forest::{FLEETING, Forest, Organization, PASSWORD, assert_same_dump, dump, mailbox_dn, store_of};
use crate::live::{Desk, desk, desk_of};
use crate::support::{Done, PATIENCE, seed, wait_for};

/// Long enough that something can come in between.
pub(crate) const LONGER: Organization = Organization { mailboxes: 96, strangers: 3 };

/// A run of the program that a test watches through its journal.
pub(crate) struct Running {
    child: Child,
    journal: PathBuf,
}

impl Running {
    /// Starts it, and waits for its journal, which is the only one that is newer than `before`.
    fn start(desk: &Desk, mut command: Command, journal: Option<PathBuf>) -> Self {
        let before = journals(desk);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let new = || journals(desk).difference(&before).next().cloned();
        let journal = wait_for("the run has a journal", PATIENCE, || journal.clone().or_else(new));
        Self { child, journal }
    }

    /// Starts a run of a plan.
    pub(crate) fn apply(desk: &Desk, plan: &str) -> Self {
        Self::start(desk, command(desk, &["directory", "apply", plan, "--no-verify", "--failed", &failed(desk)]), None)
    }

    /// Starts an undo or a resume of the newest run.
    pub(crate) fn again(desk: &Desk, word: &str) -> Self {
        let journal = journals(desk).pop_last();
        Self::start(desk, command(desk, &["directory", word, "--failed", &failed(desk), "--json"]), journal)
    }

    /// Lines of the journal with this record, of one way.
    fn records(&self, record: &str, way: &str) -> Vec<Value> {
        records(&self.journal).into_iter().filter(|line| line["record"] == record && line["way"] == way).collect()
    }

    /// Waits until so many steps have ended.
    fn wait_for_steps(&mut self, way: &str, steps: usize) {
        let mut looks = 0;
        while self.records("result", way).len() < steps {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && looks < 120_000, "{ended:?} before {steps} steps were done");
            looks += 1;
            std::thread::sleep(Duration::from_micros(500)); // poll
        }
    }

    /// Waits until it has ended all steps, and looks at what it wrote from there.
    pub(crate) fn wait_for_end(&self, way: &str) {
        wait_for("the run has ended its writes", PATIENCE, || (!self.records("ended", way).is_empty()).then_some(()));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Stops it where it is, as the scheduler may at any time, and waits until it stands.
    fn hold(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_for("the program stands still", PATIENCE, || fs::read_to_string(&stat).unwrap().contains(") T ").then_some(()));
    }

    /// Holds it after so many steps while something happens.
    pub(crate) fn lose_after(&mut self, steps: usize, happens: impl FnOnce()) {
        self.wait_for_steps("forward", steps);
        self.hold();
        happens();
        self.signal(Signal::CONT);
    }

    /// Kills it. Whether it still ran.
    fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        self.child.wait().unwrap().code().is_none()
    }

    /// Its end, which must be a good one, and its journal.
    pub(crate) fn end_of_journal(self) -> PathBuf {
        let journal = self.journal.clone();
        self.end().expect(0);
        journal
    }

    pub(crate) fn end(self) -> Done {
        let output = self.child.wait_with_output().unwrap();
        Done {
            command: self.journal.display().to_string(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn command(desk: &Desk, words: &[&str]) -> Command {
    let mut command = desk.bare_program();
    command.env("STANDIN_DIRECTORY_PASSWORD", PASSWORD).args(words).args(["--user", crate::forest::ADMINISTRATOR]);
    command
}

pub(crate) fn failed(desk: &Desk) -> String {
    desk.file("FailedExUsers.log").to_str().unwrap().to_owned()
}

fn journals(desk: &Desk) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(desk.file("state/directory")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|ending| ending == "journal")).collect()
}

/// Whole lines of a journal, each a hash and JSON.
fn records(journal: &std::path::Path) -> Vec<Value> {
    let text = String::from_utf8_lossy(&fs::read(journal).unwrap()).into_owned();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line.split_once(' ').unwrap().1).unwrap()).collect()
}

/// A plan of the failover, in a file; how many objects it changes.
pub(crate) fn planned(desk: &Desk) -> (String, usize) {
    let file = desk.file("plan.json").to_str().unwrap().to_owned();
    let plan = desk.directory(&["plan", "EX1", "EX2", "--out", &file, "--json"]).expect(0).json();
    (file, usize::try_from(plan["changes"].as_u64().unwrap()).unwrap())
}

/// Knuth's linear congruence (MMIX): enough to meet every place in the long run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

#[test]
fn killed_at_any_place_the_program_resumes_to_the_same_end_and_undoes_to_the_same_beginning() {
    let Some(desk) = desk() else { return };
    let mut random = Random(seed());
    let before = dump(&desk.forest, &FLEETING);
    let (plan, steps) = planned(&desk);
    let word = |word: &str| desk.directory(&[word, "--no-verify", "--failed", &failed(&desk)]).expect(0);
    let mut after = None;
    let mut killed = 0;
    for round in 0..8 {
        let at = 1 + random.below(steps - 2);
        let mut run = Running::apply(&desk, &plan);
        run.wait_for_steps("forward", at);
        killed += usize::from(run.kill());
        if round % 2 == 0 {
            let told = word("resume").stdout;
            assert!(told.contains("were done before"), "killed at {at} of {steps}: {told}");
            let now = dump(&desk.forest, &FLEETING);
            assert_same_dump(after.get_or_insert_with(|| now.clone()), &now);
            // And on the way back.
            let mut back = Running::again(&desk, "undo");
            back.wait_for_steps("back", 1 + random.below(steps - 2));
            killed += usize::from(back.kill());
        } else {
            // The old command line takes another run for what it is.
            let other = desk.old("-failback -s EX1 -t EX2").expect(5);
            assert!(other.stderr.contains("stopped half-way"), "{}", other.stderr);
        }
        word("undo");
        assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    }
    println!("killed {killed} times in the middle");
    assert!(killed >= 6, "{killed}");
    assert!(after.is_some_and(|after| after != before));
}

#[test]
fn an_administrator_at_work_meanwhile_is_told_of_and_not_overwritten() {
    let Some(desk) = desk_of(&LONGER) else { return };
    let (plan, _) = planned(&desk);
    let mut run = Running::apply(&desk, &plan);
    run.wait_for_steps("forward", 6);
    run.hold();
    // Two mailboxes that the program has not come to; it planned both.
    let written: Value = serde_json::from_str(&fs::read_to_string(&plan).unwrap()).unwrap();
    let sent: BTreeSet<u64> = run
        .records("intent", "forward")
        .iter()
        .flat_map(|line| line["steps"].as_array().unwrap().clone())
        .filter_map(|step| step["change"].as_u64())
        .collect();
    let changes = written["changes"].as_array().unwrap();
    let is_free = |number: &usize| !sent.contains(&(*number as u64)) && changes[*number]["kind"] == "mailbox";
    let free: Vec<&str> =
        (0..changes.len()).rev().filter(is_free).map(|number| changes[number]["object"].as_str().unwrap()).collect();
    assert!(free.len() > 2, "{} of {} are sent", sent.len(), changes.len());
    let elsewhere = store_of("EX10", 0).dn;
    for object in &free[..2] {
        desk.rehome(object, &elsewhere);
    }
    run.signal(Signal::CONT);
    let done = run.end().expect(1);
    let list = fs::read_to_string(failed(&desk)).unwrap();
    for object in &free[..2] {
        assert!(done.stdout.contains(&format!("failed: {object}: ")) && done.stdout.contains("EX10"), "{}", done.stdout);
        assert!(list.contains(&format!("failed\tfb.test\t{object}\t")), "{list}");
        assert_eq!(desk.home_of(object), elsewhere.parse::<Dn>().unwrap());
    }
    assert_eq!(list.lines().filter(|line| line.starts_with("failed\t")).count(), 2, "{list}");
    // An undo leaves alone what is the administrator's, and takes back all else.
    desk.directory(&["undo", "--no-verify", "--failed", &failed(&desk)]).expect(0);
    assert_eq!(desk.home_of(free[0]), elsewhere.parse::<Dn>().unwrap());
    let others = (0..LONGER.mailboxes).filter(|number| !free[..2].contains(&mailbox_dn(*number).as_str()));
    for number in others.step_by(9) {
        assert_eq!(desk.home_of(&mailbox_dn(number)), store_of("EX1", number).dn.parse::<Dn>().unwrap());
    }
}

#[test]
fn a_writer_that_is_gone_half_way_leaves_a_list_and_the_rest_is_done_later() {
    let Some(mut desk) = desk_of(&LONGER) else { return };
    // A back link is in another file of Samba's than the link; killed between the two, it has the one and not the other.
    let without: Vec<&str> = FLEETING.iter().copied().chain(["homeMDBBL"]).collect();
    let before = dump(&desk.forest, &without);
    let (_, steps) = planned(&desk);
    let mut program = desk.bare_program();
    program.env("STANDIN_DIRECTORY_PASSWORD", PASSWORD).args(["exchfailover", "-failover", "-s", "EX1", "-t", "EX2"]);
    program.args(["-u", "administrator", "--json", "-l"]).arg(desk.file("run.log"));
    let mut run = Running::start(&desk, program, None);
    run.lose_after(steps / 4, || {
        let Forest { controllers, room, .. } = &mut desk.forest;
        controllers[0].stop(room);
    });
    let report = run.end().expect(5).json();
    let count = |key: &str| report[key].as_array().unwrap().len();
    let left = count("in_doubt") + count("not_tried");
    assert_eq!(report["written"].as_u64().unwrap() as usize + left, steps, "{report:#}");
    assert!(left > 0 && count("failed") == 0, "{report:#}");
    let list = fs::read_to_string(failed(&desk)).unwrap();
    let objects: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(objects.len(), left, "{list}");
    assert!(objects.iter().all(|line| line.split('\t').count() == 4 && line.split('\t').nth(1) == Some("fb.test")), "{list}");
    // While it is away nothing happens; then the rest is done, and all can be taken back.
    let away = desk.old("--resume").expect(4);
    assert!(away.stderr.contains("dc1.fb.test"), "{}", away.stderr);
    let Forest { controllers, room, .. } = &mut desk.forest;
    controllers[0].start(room);
    let resumed = desk.old("--resume --json").expect(0).json();
    assert!(resumed["written"].as_u64().unwrap() as usize <= left && resumed["left_out"] == 0, "{resumed:#}");
    assert!(
        resumed["verified"].as_array().unwrap().iter().all(|one| one["behind"].as_array().unwrap().is_empty()),
        "{resumed:#}"
    );
    assert!(!desk.file("FailedExUsers.log").exists());
    desk.old("--undo").expect(0);
    assert_same_dump(&before, &dump(&desk.forest, &without));
}
