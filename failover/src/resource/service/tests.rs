use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::platform::Systemctl;
use super::*;
use crate::resource::tests::TestStep;

/// Keeps each unit's state in a file, writes down what it is told, and does what its unit's name says.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$1"; verb=$2; for unit; do :; done
case "$verb" in
show)
    case "$unit" in missing*) echo LoadState=not-found; exit 0;; masked*) echo LoadState=masked; exit 0;; esac
    echo LoadState=loaded
    if test -e "$unit.active"; then echo ActiveState=active; else echo ActiveState=inactive; fi
    if test -e "$unit.enabled"; then echo UnitFileState=enabled; else echo UnitFileState=disabled; fi ;;
start)
    echo "start $unit" >> log
    case "$unit" in
    fails*) echo "Job for $unit failed."; exit 1;;
    hangs*) trap '' TERM; sleep 1000 & wait; wait;;
    esac
    touch "$unit.active" ;;
stop) echo "stop $unit" >> log; case "$unit" in stays*) exit 0;; esac; rm -f "$unit.active" ;;
enable) echo "enable $unit" >> log; touch "$unit.enabled" ;;
disable) echo "disable $unit" >> log; rm -f "$unit.enabled" ;;
esac
"#;

struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        executable(&dir.path().join("systemctl"), SYSTEMCTL);
        Self { dir }
    }

    fn services(&self, services: &[&str], optional: &[&str]) -> SystemServices<Systemctl> {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let directory = self.dir.path().display().to_string();
        let program = vec![self.dir.path().join("systemctl").display().to_string(), directory];
        let manager = Systemctl { program };
        SystemServices { manager, services: texts(services), optional: texts(optional), start_up: StartUp::Group }
    }

    fn set(&self, file: &str) {
        fs::write(self.dir.path().join(file), "").unwrap();
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn step() -> TestStep {
    TestStep::new(Duration::from_secs(60))
}

#[test]
fn they_start_in_order_and_stop_in_reverse_and_again_changes_nothing() {
    let ground = Ground::new();
    let services = ground.services(&["a.service", "odd name@x.service", "c.service"], &[]);
    assert_eq!(services.condition().unwrap(), Condition::Offline);
    services.start(&step()).unwrap();
    services.start(&step()).unwrap();
    assert_eq!(services.condition().unwrap(), Condition::Online);
    services.stop(&step()).unwrap();
    services.stop(&step()).unwrap();
    let order = ["start a.service", "start odd name@x.service", "start c.service"];
    let back = ["stop c.service", "stop odd name@x.service", "stop a.service"];
    assert_eq!(ground.log(), [order, back].concat());
    assert_eq!(services.condition().unwrap(), Condition::Offline);
}

#[test]
fn the_group_goes_on_without_optional_ones_only() {
    let ground = Ground::new();
    let services =
        ground.services(&["a.service", "fails.service", "missing.service", "c.service"], &["fails.service", "missing.service"]);
    let step = step();
    services.start(&step).unwrap();
    assert_eq!(services.condition().unwrap(), Condition::Online);
    assert!(
        step.lines().iter().any(|line| line.contains("Job for fails.service failed.") && line.contains("optional")),
        "{:?}",
        step.lines()
    );
    let core = ground.services(&["fails.service", "b.service"], &[]);
    let trouble = core.start(&step).unwrap_err().to_string();
    assert!(trouble.starts_with("service fails.service: ") && trouble.contains("it ended with 1"), "{trouble}");
    assert!(!ground.log().iter().any(|line| line == "start b.service"));
    for name in ["missing.service", "masked.service"] {
        let trouble = ground.services(&[name], &[]).condition().unwrap_err();
        assert!(!trouble.mend.is_empty(), "{trouble}");
    }
}

#[test]
fn one_that_hangs_is_given_up_in_time_and_one_that_stays_is_told() {
    let ground = Ground::new();
    let begun = Instant::now();
    let short = TestStep::new(Duration::from_millis(300));
    let trouble = ground.services(&["hangs.service"], &[]).start(&short).unwrap_err().to_string();
    assert!(trouble.contains("did not end in time and was killed"), "{trouble}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    ground.set("stays.service.active");
    ground.set("a.service.active");
    let both = ground.services(&["a.service", "stays.service"], &[]);
    let trouble = both.stop(&TestStep::new(Duration::from_millis(300))).unwrap_err().to_string();
    assert!(trouble.contains("online, when it should be offline"), "{trouble}");
    // Though one stays, the other was stopped.
    assert_eq!(both.condition().unwrap(), Condition::Partly("a.service is offline, stays.service is online".to_owned()));
}

#[test]
fn what_started_with_the_system_starts_with_the_group_and_can_be_given_back() {
    let ground = Ground::new();
    ground.set("a.service.enabled");
    let services = ground.services(&["a.service", "b.service"], &[]);
    assert_eq!(services.check().iter().filter(|finding| finding.grade == crate::preflight::Grade::Warn).count(), 1);
    let full = step().on_full_disk();
    let trouble = services.start(&full).unwrap_err().to_string();
    assert!(trouble.contains("nothing was changed") && ground.log().is_empty(), "{trouble}: {:?}", ground.log());
    let first = step();
    services.start(&first).unwrap();
    assert_eq!(ground.log()[0], "disable a.service");
    // The step is repeated after a crash: what was kept stays.
    let memo = first.memo().unwrap();
    services.start(&first).unwrap();
    assert_eq!(first.memo().unwrap(), memo);
    services.restore(&first).unwrap();
    assert_eq!(ground.log().last().unwrap(), "enable a.service");
}

#[test]
fn a_service_by_commands_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("up").display().to_string();
    let shell = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let service = |start: &str, stop: &str| CommandService {
        name: "x".parse().unwrap(),
        start: shell(start),
        stop: shell(stop),
        state: shell(&format!("test -e {file} || exit 3")),
        always: Vec::new(),
    };
    // It comes after its command ended.
    let late = service(&format!("(sleep 0.3; touch {file}) >/dev/null 2>&1 &"), &format!("rm {file}"));
    late.start(&step()).unwrap();
    assert_eq!(late.condition().unwrap(), Condition::Online);
    late.start(&step()).unwrap();
    late.stop(&step()).unwrap();
    late.stop(&step()).unwrap();
    let told = CommandService {
        state: shell("test \"$STANDIN_NODE\" = beta || exit 3"),
        always: vec![("STANDIN_NODE".to_owned(), "beta".to_owned())],
        ..service("true", "true")
    };
    assert_eq!(told.condition().unwrap(), Condition::Online, "it is told also where it only looks");
    let never = service("true", "true");
    let trouble = never.start(&TestStep::new(Duration::from_millis(300))).unwrap_err().to_string();
    assert!(trouble.contains("the command ended well, but then offline"), "{trouble}");
    let gone = CommandService { start: vec!["/no/such".to_owned()], ..service("true", "true") };
    assert_eq!(gone.check().len(), 1);
    assert!(gone.start(&step()).unwrap_err().to_string().contains("/no/such"));
}

#[test]
fn in_haste_it_is_stopped_before_anything_is_asked_and_nobody_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("up").display().to_string();
    let shell = |script: &str| ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let service = |stop: &str, state: &str| CommandService {
        name: "x".parse().unwrap(),
        start: shell("true"),
        stop: shell(stop),
        state: shell(state),
        always: Vec::new(),
    };
    let hasty = || TestStep::new(Duration::from_millis(700)).in_haste(Duration::from_millis(100));
    let (up, begun) = (dir.path().join("up"), Instant::now());
    std::fs::write(&up, "").unwrap();
    // What says how it stands hangs: it is stopped all the same, and that nobody knows is said.
    let blind = service(&format!("rm {file}"), "trap '' TERM; sleep 1000");
    let trouble = blind.stop(&hasty()).unwrap_err().to_string();
    assert!(!up.exists() && trouble.contains("did not end in time"), "{trouble}");
    // What stops it hangs.
    let stuck = service("trap '' TERM; sleep 1000", "exit 0");
    let trouble = stuck.stop(&hasty()).unwrap_err().to_string();
    assert!(trouble.contains("did not end in time"), "{trouble}");
    // The usual care waits for three seconds more, each time.
    assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
}
