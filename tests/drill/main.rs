//! Drills on a running pair under load: the clone is the point, and nothing of the replica, its points, or production is touched.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../src/demo/material/mod.rs"]
mod material;
#[path = "../support/mod.rs"]
mod support;

mod disks;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Done, Mount, Node, PATIENCE, Pair, assert_same, is_root, running_pair, wait_until};

const GROUP: &str = r#"
[groups.mail]
nodes = { alpha = 1, beta = 10 }
addresses = 0
drill = ["/bin/sh", "{dir}/look"]

[[groups.mail.resources]]
name = "store"
kind = "volume"
set = "mail"

[[groups.mail.resources]]
name = "server"
kind = "script"
needs = "store"
start = ["/bin/sh", "{dir}/server", "start"]
stop = ["/bin/sh", "{dir}/server", "stop"]
"#;

/// Two nodes with a group, the daemons running, and a script for each of the group's.
struct Scene {
    pair: Pair,
}

impl Scene {
    /// With the set mirrored and the group online on alpha. `target` is where the replica is, or beside the rest.
    fn new(target: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        for number in 0..40 {
            fs::create_dir_all(source.join(format!("box-{}", number % 4))).unwrap();
            fs::write(source.join(format!("box-{}/{number}", number % 4)), vec![number; 100_000]).unwrap();
        }
        let big = source.join("database");
        fs::write(&big, vec![7; 24 * 1024 * 1024]).unwrap();
        fs::hard_link(&big, source.join("box-0/same")).unwrap();
        let target = target.unwrap_or_else(|| dir.path().join("target"));
        // Mails come and go, and on a slow machine many go between two rounds: that is meant.
        let keys = "capture = \"watch\"\nmax_orphans = \"100%\"";
        let (mut alpha, mut beta) = running_pair(dir.path(), &source, &target, keys);
        fs::write(dir.path().join("server"), format!("echo \"$1 on $STANDIN_NODE\" >>{}/ran\n", dir.path().display())).unwrap();
        fs::write(dir.path().join("look"), "exit 0\n").unwrap();
        for node in [&mut alpha, &mut beta] {
            node.stop();
            node.add_settings(&GROUP.replace("{dir}", dir.path().to_str().unwrap()));
            node.start();
        }
        let scene = Self { pair: Pair { alpha, beta, source, target, dir } };
        scene.pair.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        scene.pair.alpha.run(&["online", "mail"]).expect(0);
        scene
    }

    fn dir(&self) -> &Path {
        self.pair.dir.path()
    }

    fn look(&self, script: &str) {
        fs::write(self.dir().join("look"), script).unwrap();
    }

    /// What the group's script was called with.
    fn ran(&self) -> String {
        fs::read_to_string(self.dir().join("ran")).unwrap_or_default()
    }

    fn drill(&self, more: &[&str]) -> Done {
        self.pair.alpha.run(&[&["--json", "drill", "mail"], more].concat())
    }

    /// What is left of clones anywhere.
    fn left(&self) -> Vec<String> {
        let places = [self.pair.beta.state_dir().join("sets/mail/drill"), self.pair.target.join(".standin/drill")];
        let entries = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten());
        entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
    }

    /// How old the newest point is on the standby, the largest of looks until `done`, in milliseconds; and how many looks.
    fn worst_age_ms(&self, done: &AtomicBool) -> (u64, u64) {
        let (mut worst, mut looks) = (0, 0);
        while !done.load(Ordering::SeqCst) {
            worst = worst.max(age_ms(&self.pair.beta));
            looks += 1;
            std::thread::sleep(Duration::from_millis(50)); // poll
        }
        (worst, looks)
    }
}

/// How old the newest point of the standby is, in milliseconds.
fn age_ms(beta: &Node) -> u64 {
    let point = Pair::status_of(beta)["point"]["at"].clone();
    let at = humantime::parse_rfc3339(point.as_str().unwrap_or_else(|| panic!("no time: {point}"))).unwrap();
    let age = std::time::SystemTime::now().duration_since(at).unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap()
}

/// Sets these when it is dropped, so that threads end however the test does.
struct Ends<'a>([&'a AtomicBool; 3]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ends| ends.store(true, Ordering::SeqCst));
    }
}

/// Writes to the source until it is told to end: a counter in a file, mails that come and go.
fn load(source: &Path, ends: &AtomicBool) -> u64 {
    let mut count = 0_u64;
    while !ends.load(Ordering::SeqCst) {
        count += 1;
        fs::write(source.join("counter"), format!("{count}\n")).unwrap();
        fs::write(source.join(format!("box-1/mail-{count}")), count.to_string().repeat(500)).unwrap();
        if count > 20 {
            // The file system may still be at it elsewhere; a mail is removed once.
            fs::remove_file(source.join(format!("box-1/mail-{}", count - 20))).unwrap();
        }
        std::thread::sleep(Duration::from_millis(10)); // poll: the pace of deliveries
    }
    count
}

#[test]
fn a_drill_under_load_looks_at_a_clone_and_touches_nothing() {
    let scene = Scene::new(None);
    let ran = scene.ran();
    let (ends, quiet, drilled) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ends = Ends([&ends, &quiet, &drilled]);
        let loading = scope.spawn(|| load(&scene.pair.source, &ends));
        let before = scope.spawn(|| scene.worst_age_ms(&quiet));
        let begun = Instant::now();
        wait_until("there is something to compare with", PATIENCE, || begun.elapsed() > Duration::from_secs(4));
        quiet.store(true, Ordering::SeqCst);
        let before = before.join().unwrap();
        let during = scope.spawn(|| scene.worst_age_ms(&drilled));
        // It takes a while, so that it is seen whether replication goes on.
        scene.look("echo \"$STANDIN_EVENT of $STANDIN_GROUP at point $STANDIN_POINT_MAIL\"\ntest \"$STANDIN_CLONE\" = \"$STANDIN_CLONE_MAIL_0\" || exit 9\ncat \"$STANDIN_CLONE/counter\"\ncmp \"$STANDIN_CLONE/database\" \"$STANDIN_CLONE/box-0/same\"\necho spoilt >\"$STANDIN_CLONE/database\"\nsleep 3\n");
        let done = scene.drill(&[]).expect(0).json();
        drilled.store(true, Ordering::SeqCst);
        let during = during.join().unwrap();
        println!(
            "age of the newest point at most: {} ms before ({} looks), {} ms during the drill ({} looks)",
            before.0, before.1, during.0, during.1
        );
        println!("cloned in {} ms, replication waited {} ms", done["sets"][0]["took_ms"], done["sets"][0]["paused_ms"]);
        assert_eq!((&done["end"], &done["node"]), (&"passed".into(), &"beta".into()), "{done:#}");
        let point = done["sets"][0]["point"].as_u64().unwrap();
        let said = done["check"]["said"].to_string();
        assert!(said.contains(&format!("drill of mail at point {point}")), "{said}");
        let steps = done["steps"].to_string();
        assert!(
            steps.contains("beta: start server") && !steps.contains("alpha:"),
            "nothing is done on a node that is lost: {done:#}"
        );
        wait_until("replication went on", PATIENCE, || {
            Pair::status_of(&scene.pair.beta)["point"]["number"].as_u64().is_some_and(|newest| newest > point + 1)
        });
        // One that fails says so, and what it said.
        scene.look("echo \"no mail in $STANDIN_CLONE\"; exit 3\n");
        let failed = scene.drill(&[]).expect(1).json();
        assert_eq!(failed["end"], "failed");
        assert!(failed["check"]["failed"].as_str().unwrap().contains("it ended with 3"), "{failed:#}");
        // Its report is kept, and found from either node.
        let run = failed["run"].as_str().unwrap();
        assert_eq!(scene.pair.beta.json(&["group", "report", "mail", run]), failed);
        assert_eq!(scene.pair.alpha.json(&["group", "report", "mail", "--drill"]), failed);
        let text = scene.pair.alpha.run(&["group", "report", "mail", "--drill"]).expect(0).stdout;
        println!("{text}");
        assert!(text.contains("end       FAILED") && text.contains("no mail in "), "{text}");
        ends.store(true, Ordering::SeqCst);
        println!("{} messages were delivered meanwhile", loading.join().unwrap());
    });
    assert_eq!(scene.left(), Vec::<String>::new());
    assert_eq!(scene.ran(), ran, "no script of production was run");
    scene.pair.alpha.run(&["point", "mail", "--wait"]).expect(0);
    scene.pair.alpha.run(&["verify", "mail"]).expect(0);
    scene.pair.assert_equal();
}

#[test]
fn a_drill_goes_to_an_older_point_and_may_leave_the_clone() {
    let mut scene = Scene::new(None);
    scene.pair.alpha.run(&["point", "mail", "--wait"]).expect(0);
    let old = Pair::status_of(&scene.pair.beta)["point"]["number"].as_u64().unwrap();
    let copy = scene.dir().join("as-it-was");
    support::copy_tree(&scene.pair.source, &copy);
    fs::write(scene.pair.source.join("database"), vec![9; 24 * 1024 * 1024]).unwrap();
    fs::remove_dir_all(scene.pair.source.join("box-2")).unwrap();
    fs::rename(scene.pair.source.join("box-3"), scene.pair.source.join("box-4")).unwrap();
    scene.pair.alpha.run(&["point", "mail", "--wait"]).expect(0);
    let points = || scene.pair.beta.json(&["points", "mail"]);
    let before = points();
    let done = scene.drill(&["--point", &old.to_string(), "--keep"]).expect(0).json();
    let clone = PathBuf::from(done["sets"][0]["roots"][0].as_str().unwrap());
    assert_same(&copy, &clone);
    assert_eq!(points(), before, "the replica's points are as they were");
    scene.pair.assert_equal();
    // What is kept stays over a restart; what a kill left does not.
    scene.look(&format!("touch {}/looking; while test -f {0}/looking; do sleep 0.05; done\n", scene.dir().display()));
    let mut drilling = scene.pair.alpha.command(&["drill", "mail"]).spawn().unwrap();
    wait_until("the drill looks", PATIENCE, || scene.dir().join("looking").exists());
    assert_eq!(scene.left().len(), 2, "{:?}", scene.left());
    scene.pair.beta.kill();
    fs::remove_file(scene.dir().join("looking")).unwrap();
    scene.pair.beta.start();
    // What it says depends on when it asked.
    drilling.wait().unwrap();
    wait_until("what the kill left is gone", PATIENCE, || scene.left().len() == 1);
    assert_same(&copy, &clone);
    let unknown = scene.drill(&["--point", "4711"]).expect(3).json();
    assert!(unknown["troubles"].to_string().contains("4711"), "{unknown:#}");
    scene.look("exit 0\n");
    scene.drill(&[]).expect(0);
    assert_eq!(scene.left().len(), 1);
}

#[test]
fn a_clone_that_has_no_room_is_refused_with_how_much_it_needs() {
    if !is_root("a_clone_that_has_no_room_is_refused_with_how_much_it_needs") {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    // Room for one copy and what it takes to receive it, not for two; nothing is shared there.
    let disk = place.path().join("disk");
    let _mount = Mount::tmpfs(&disk, "110m");
    let scene = Scene::new(Some(disk.join("target")));
    let refused = scene.drill(&[]).expect(3).json();
    let why = refused["troubles"].to_string();
    println!("{why}");
    assert!(why.contains("a copy of the replica needs") && why.contains("MiB"), "{refused:#}");
    assert_eq!(scene.left(), Vec::<String>::new());
}

#[test]
fn a_clone_shares_its_data_where_the_file_system_can() {
    if !is_root("a_clone_shares_its_data_where_the_file_system_can") {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    let Some(_mount) = Mount::btrfs(&disk, &place.path().join("image"), 256 << 20) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "loop devices are needed");
        return println!("not run: no loop devices");
    };
    let scene = Scene::new(Some(disk.join("target")));
    scene.look("cmp \"$STANDIN_CLONE/database\" \"$STANDIN_CLONE/box-0/same\"\n");
    let done = scene.drill(&[]).expect(0).json();
    assert_eq!(done["sets"][0]["shared"], true, "{done:#}");
    println!("cloned in {} ms, replication waited {} ms", done["sets"][0]["took_ms"], done["sets"][0]["paused_ms"]);
    assert_eq!(scene.left(), Vec::<String>::new());
    scene.pair.alpha.run(&["verify", "mail"]).expect(0);
}
