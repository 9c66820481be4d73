//! Runs, undos, deaths and lost controllers against Samba.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use standin_failover::directory::ldap::LdapDirectory;
use standin_failover::directory::{self, Change, Directory, Modify};
use standin_failover::execute::journal::{StepId, Trouble};
use standin_failover::execute::{
    ExecuteError, Journal, JournalError, Manner, Only, Report, SystemClock, Tools, compare, failed, residents, run, undo, verify,
};

use crate::forest::{self, DOMAIN_DN, FLEETING, Forest, Organization, assert_same_dump, dump, of_the_third};
use crate::plans::{dn, failback, failover};
use crate::support::{SMALL, connect, forest as start};

type Work = fn(&mut Journal, &Tools<'_>, &Only) -> Result<Report, ExecuteError>;

/// Takes a journal forward or back, telling `progress` how many steps are done.
fn go(
    work: Work,
    journal: &mut Journal,
    directory: &LdapDirectory,
    manner: &Manner,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Report {
    let clock = SystemClock::default();
    let interrupt = AtomicBool::new(false);
    let tools = Tools { directory, clock: &clock, manner, interrupt: &interrupt, progress };
    work(journal, &tools, &Only::Everything).unwrap()
}

fn quiet(_: usize, _: usize) {}

fn manner() -> Manner {
    Manner { lost: Duration::from_secs(2), seed: 1, ..Manner::default() }
}

#[test]
fn five_thousand_mailboxes_there_and_back_leave_no_trace() {
    let Some(forest) = start(&Organization { mailboxes: 5000, strangers: 50 }) else { return };
    let directory = connect(&forest);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (before, third) = (dump(&forest, &FLEETING), of_the_third(&forest));
    assert!(third.len() > 50, "{}", third.len());
    let plan = failover(&directory);
    let mut journal = Journal::create(&path, plan.clone(), residents(&directory, &plan).unwrap(), 1).unwrap();
    let begun = Instant::now();
    let there = go(run, &mut journal, &directory, &manner(), &quiet);
    let took = begun.elapsed();
    assert!(there.is_complete() && there.written == plan.changes.len(), "{there:?}");
    println!("{} objects in {took:.1?}: {:.0} a second", there.written, there.written as f64 / took.as_secs_f64());
    let clock = SystemClock::default();
    let interrupt = AtomicBool::new(false);
    let tools = Tools { directory: &directory, clock: &clock, manner: &manner(), interrupt: &interrupt, progress: &quiet };
    let begun = Instant::now();
    let shown = verify(&journal, &tools, Duration::from_secs(60)).unwrap();
    println!("read back in {:.1?}", begun.elapsed());
    assert!(
        shown.iter().all(|one| one.is_complete()) && shown.iter().map(|one| one.agrees).sum::<usize>() == plan.changes.len(),
        "{shown:?}"
    );
    let moved = directory::read(&directory, &dn(&forest::mailbox_dn(4711)), &["homeMDB".into()]).unwrap().unwrap();
    assert_eq!(moved.dn_of("homeMDB"), Some(dn(&forest::store_of("EX2", 4711).dn)));
    assert_same_dump(&third, &of_the_third(&forest));
    // A new mailbox on the standby is told, and no other.
    let stranger = Modify {
        dn: dn(&format!("CN=Stranger EX1 1,OU=Staff,{DOMAIN_DN}")),
        changes: vec![Change {
            attribute: "homeMDB".into(),
            delete: vec![forest::store_of("EX10", 5001).dn.into()],
            add: vec![forest::store_of("EX2", 1).dn.into()],
        }],
    };
    directory.modify(&stranger).unwrap();
    let comparison = compare(&journal, &directory).unwrap();
    assert_eq!(comparison.appeared, [(dn(&forest::store_of("EX2", 1).dn), stranger.dn.clone())]);
    assert_eq!((comparison.as_written, comparison.differing.len(), comparison.gone.len()), (plan.changes.len(), 0, 0));
    directory.modify(&stranger.inverse()).unwrap();
    let begun = Instant::now();
    let back = go(undo, &mut journal, &directory, &manner(), &quiet);
    println!("taken back in {:.1?}", begun.elapsed());
    assert!(back.is_complete() && back.written == plan.changes.len(), "{back:?}");
    assert_same_dump(&before, &dump(&forest, &FLEETING));
}

#[test]
fn a_failback_leaves_nothing_behind_but_what_is_expected() {
    let Some(forest) = start(&SMALL) else { return };
    let directory = connect(&forest);
    let dir = tempfile::tempdir().unwrap();
    // The stores that were taken over, and those that take back, may be overwritten by what was replicated: that stays.
    let without: Vec<&str> = FLEETING.iter().copied().chain(["msExchPatchMDB"]).collect();
    let (before, third) = (dump(&forest, &without), of_the_third(&forest));
    let there = failover(&directory);
    let mut journal = Journal::create(&dir.path().join("there"), there.clone(), vec![], 1).unwrap();
    assert!(go(run, &mut journal, &directory, &manner(), &quiet).is_complete());
    assert!(failover_is_done(&directory));
    let back = failback(&directory, &there);
    let mut journal = Journal::create(&dir.path().join("back"), back, vec![], 2).unwrap();
    let report = go(run, &mut journal, &directory, &manner(), &quiet);
    assert!(report.is_complete(), "{report:?}");
    assert_same_dump(&before, &dump(&forest, &without));
    assert_same_dump(&third, &of_the_third(&forest));
}

/// Whether every mailbox is on EX2.
fn failover_is_done(directory: &LdapDirectory) -> bool {
    (0..SMALL.mailboxes).all(|number| {
        let read =
            directory::read(directory, &dn(&forest::mailbox_dn(number)), &["homeMDB".into(), "msExchHomeServerName".into()]);
        let entry = read.unwrap().unwrap();
        let home = dn(&forest::store_of("EX2", number).dn);
        entry.dn_of("homeMDB") == Some(home) && entry.text("msExchHomeServerName") == Some(&forest::server_legacy_dn("EX2"))
    })
}

/// The program that is killed: this test, started again with a journal to go on with.
#[test]
fn child() {
    let (Ok(path), Ok(work)) = (std::env::var("LIVE_JOURNAL"), std::env::var("LIVE_WORK")) else { return };
    let settings = std::env::var("LIVE_AUTHORITIES").unwrap();
    let directory = crate::support::connect_as_child(Path::new(&settings));
    let mut journal = Journal::open(Path::new(&path)).unwrap();
    let work: Work = if work == "undo" { undo } else { run };
    let manner = Manner { at_once: 8, ..manner() };
    go(work, &mut journal, &directory, &manner, &|done, _| println!("progress {done}"));
}

/// Starts the child, and kills it with SIGKILL when it tells that so many steps are done. How many it told.
fn killed_at(forest: &Forest, path: &Path, work: &str, steps: usize) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "execute::child", "--nocapture", "--test-threads=1"])
        .env("LIVE_JOURNAL", path)
        .env("LIVE_WORK", work)
        .env("LIVE_AUTHORITIES", &forest.certificates.file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some((_, number)) = line.split_once("progress ") {
            told = number.trim().parse().unwrap();
            if told == steps {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    told
}

#[test]
fn killed_at_any_step_a_run_is_resumed_or_undone() {
    let Some(forest) = start(&SMALL) else { return };
    let directory = connect(&forest);
    let dir = tempfile::tempdir().unwrap();
    let before = dump(&forest, &FLEETING);
    let plan = failover(&directory);
    let steps = plan.changes.len();
    let mut after = None;
    // Every third step, or as often as it says: each takes two seconds.
    let every = std::env::var("STANDIN_KILL_EVERY").map_or(3, |text| text.parse().unwrap());
    for (number, at) in (1..steps).step_by(every).enumerate() {
        let path = dir.path().join(format!("journal-{at}"));
        drop(Journal::create(&path, plan.clone(), vec![], 1).unwrap());
        let told = killed_at(&forest, &path, "run", at);
        assert!(told >= at && told < steps, "killed at {at}, told {told} of {steps}");
        if number % 2 == 0 {
            let resumed = go(run, &mut Journal::open(&path).unwrap(), &directory, &manner(), &quiet);
            assert!(resumed.is_complete(), "{at}: {resumed:?}");
            let now = dump(&forest, &FLEETING);
            assert_same_dump(after.get_or_insert_with(|| now.clone()), &now);
            killed_at(&forest, &path, "undo", at);
        }
        let back = go(undo, &mut Journal::open(&path).unwrap(), &directory, &manner(), &quiet);
        assert!(back.is_complete(), "{at}: {back:?}");
        assert_same_dump(&before, &dump(&forest, &FLEETING));
    }
}

#[test]
fn an_administrator_at_work_is_not_overwritten() {
    let Some(forest) = start(&SMALL) else { return };
    let directory = connect(&forest);
    let administrator = connect(&forest);
    let dir = tempfile::tempdir().unwrap();
    let plan = failover(&directory);
    let place = |number: usize| plan.changes.iter().position(|change| change.object == dn(&forest::mailbox_dn(number))).unwrap();
    // The last three mailboxes of the plan get another store when the run has begun.
    let mut last: Vec<usize> = (0..SMALL.mailboxes).collect();
    last.sort_by_key(|number| std::cmp::Reverse(place(*number)));
    let other = forest::store_of("EX10", 0).dn;
    let changed = Mutex::new(Vec::new());
    let interfere = |_: usize, _: usize| {
        let mut changed = changed.lock().unwrap();
        if !changed.is_empty() {
            return;
        }
        for number in &last[..3] {
            let home = forest::store_of("EX1", *number).dn;
            let change = Change { attribute: "homeMDB".into(), delete: vec![home.into()], add: vec![other.as_str().into()] };
            administrator.modify(&Modify { dn: dn(&forest::mailbox_dn(*number)), changes: vec![change] }).unwrap();
            changed.push(StepId::Change(place(*number)));
        }
    };
    let mut journal = Journal::create(&dir.path().join("journal"), plan.clone(), vec![], 1).unwrap();
    let report = go(run, &mut journal, &directory, &Manner { at_once: 1, ..manner() }, &interfere);
    let mut expected = changed.into_inner().unwrap();
    expected.sort();
    let mut found: Vec<StepId> = report.failed.iter().map(|failure| failure.step).collect();
    found.sort();
    assert_eq!(found, expected, "{report:?}");
    assert!(
        report.failed.iter().all(|failure| failure.trouble == Trouble::Changed && failure.why.contains("EX10")),
        "{report:?}"
    );
    assert_eq!(report.written, plan.changes.len() - 3);
    let text = failed::text(&plan, &report);
    assert_eq!(text.lines().filter(|line| line.starts_with("failed\tfb.test\tCN=")).count(), 3, "{text}");
    for number in &last[..3] {
        let entry = directory::read(&directory, &dn(&forest::mailbox_dn(*number)), &["homeMDB".into(), "homeMTA".into()])
            .unwrap()
            .unwrap();
        assert_eq!((entry.dn_of("homeMDB"), entry.dn_of("homeMTA")), (Some(dn(&other)), Some(dn(&forest::mta_dn("EX1")))));
    }
}

#[test]
fn one_object_without_rights_fails_alone_and_names_itself() {
    let Some(forest) = start(&SMALL) else { return };
    let directory = connect(&forest);
    let dir = tempfile::tempdir().unwrap();
    let plan = failover(&directory);
    forest.forbid_writing(&forest::mailbox_dn(7));
    let path = dir.path().join("journal");
    let mut journal = Journal::create(&path, plan.clone(), vec![], 1).unwrap();
    let report = go(run, &mut journal, &directory, &manner(), &quiet);
    assert_eq!((report.written, report.failed.len()), (plan.changes.len() - 1, 1), "{report:?}");
    let StepId::Change(number) = report.failed[0].step else { panic!() };
    assert_eq!(plan.changes[number].object, dn(&forest::mailbox_dn(7)));
    assert_eq!(report.failed[0].trouble, Trouble::Rights);
    assert!(report.failed[0].why.contains("insufficientAccessRights"), "{}", report.failed[0].why);
    let file = dir.path().join("FailedExUsers.log");
    failed::write(&file, &plan, &report).unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().contains(&forest::mailbox_dn(7)));
    // The same user by name, once more; then everything is undone but what was never done.
    let only = Only::user(&directory, &forest::mailbox_upn(7)).unwrap();
    assert_eq!(only, Only::Objects(vec![dn(&forest::mailbox_dn(7))]));
    let back = go(undo, &mut journal, &directory, &manner(), &quiet);
    assert!(back.is_complete() && back.written == plan.changes.len() - 1, "{back:?}");
}

#[test]
fn a_controller_that_is_lost_half_way_is_replaced_or_waited_for() {
    let Some(mut forest) = start(&SMALL) else { return };
    forest.join();
    let directory = connect(&forest);
    let dir = tempfile::tempdir().unwrap();
    let plan = failover(&directory);
    let steps = plan.changes.len();
    for (round, other_writer) in [false, true].into_iter().enumerate() {
        let path: PathBuf = dir.path().join(format!("journal-{round}"));
        let mut journal = Journal::create(&path, plan.clone(), vec![], 1).unwrap();
        let lost = AtomicBool::new(false);
        let shared = Mutex::new(&mut forest);
        let lose = |done: usize, _: usize| {
            if done >= steps / 2 && !lost.swap(true, Ordering::SeqCst) {
                let mut forest = shared.lock().unwrap();
                let Forest { controllers, room, .. } = &mut **forest;
                controllers[0].stop(room);
            }
        };
        let report = go(run, &mut journal, &directory, &Manner { other_writer, at_once: 2, ..manner() }, &lose);
        assert!(lost.into_inner());
        assert_eq!(report.is_complete(), other_writer, "{report:?}");
        let Forest { controllers, room, .. } = &mut forest;
        controllers[0].start(room);
        if !other_writer {
            assert!(report.failed.is_empty() && !report.in_doubt.is_empty(), "{report:?}");
            let resumed = go(run, &mut journal, &directory, &manner(), &quiet);
            assert!(resumed.is_complete(), "{resumed:?}");
        }
        // Nothing is replicated by itself here: the other controller is behind until it is told to catch up.
        let clock = SystemClock::default();
        let interrupt = AtomicBool::new(false);
        let tools = Tools { directory: &directory, clock: &clock, manner: &manner(), interrupt: &interrupt, progress: &quiet };
        let behind = verify(&journal, &tools, Duration::ZERO).unwrap();
        assert!(behind.iter().any(|one| !one.behind.is_empty()), "{behind:?}");
        forest.replicate(0, 1);
        forest.replicate(1, 0);
        let shown = verify(&journal, &tools, Duration::from_secs(20)).unwrap();
        assert!(shown.len() == 4 && shown.iter().all(|one| one.is_complete()), "{shown:?}");
        let back = go(undo, &mut journal, &directory, &manner(), &quiet);
        if other_writer {
            assert!(
                back.failed.is_empty() || back.failed.iter().all(|failure| failure.trouble == Trouble::Elsewhere),
                "{back:?}"
            );
        }
        assert!(back.is_complete(), "{back:?}");
        forest.replicate(0, 1);
        forest.replicate(1, 0);
    }
}

/// A small file system in memory.
struct Small(PathBuf);

impl Small {
    fn resize(&self, option: &str) {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", option, "standin-test"]).arg(&self.0);
        forest::finish(&mut command);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_journal_without_room_stops_the_run_and_it_is_resumed_when_there_is_some() {
    let Some(forest) = start(&SMALL) else { return };
    let directory = connect(&forest);
    let plan = failover(&directory);
    let before = dump(&forest, &FLEETING);
    let dir = tempfile::tempdir().unwrap();
    let small = Small(dir.path().to_owned());
    let header_bytes = serde_json::to_vec(&plan).unwrap().len();
    // Less than a page beyond the plan: too little for what the steps leave in the journal.
    small.resize(&format!("size={}", (header_bytes / 4096 + 1) * 4096));
    let path = dir.path().join("journal");
    let mut journal = Journal::create(&path, plan.clone(), vec![], 1).unwrap();
    let clock = SystemClock::default();
    let interrupt = AtomicBool::new(false);
    let tools = Tools { directory: &directory, clock: &clock, manner: &manner(), interrupt: &interrupt, progress: &quiet };
    let error = run(&mut journal, &tools, &Only::Everything).unwrap_err();
    assert!(matches!(&error, ExecuteError::Journal(JournalError::Disk(_))), "{error}");
    assert!(error.to_string().contains("No space") && error.to_string().contains("journal"), "{error}");
    assert!(run(&mut journal, &tools, &Only::Everything).is_err(), "a journal that failed takes nothing more");
    drop(journal);
    assert!(Journal::create(&path, plan.clone(), vec![], 1).is_err());
    small.resize("remount,size=4m");
    let mut journal = Journal::open(&path).unwrap();
    let resumed = go(run, &mut journal, &directory, &manner(), &quiet);
    assert!(resumed.is_complete(), "{resumed:?}");
    let back = go(undo, &mut journal, &directory, &manner(), &quiet);
    assert!(back.is_complete() && back.written == plan.changes.len(), "{back:?}");
    assert_same_dump(&before, &dump(&forest, &FLEETING));
}
