//! The directory as a resource of a group, in its two phases around the start of the services: there and back, killed, and taken back.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::forest::{
    ADMINISTRATOR, DOMAIN, FLEETING, PASSWORD, address, assert_same_dump, dump, mailbox_dn, of_the_third, store_of,
};
use crate::halfway::LONGER;
use crate::live::{Desk, desk, desk_of, without_flags};
use crate::nodes::{file_of, node};
use crate::support::group::{Group, sh};
use crate::support::{Node, PATIENCE, pair, set_of_one, wait_for, wait_until};

/// Two nodes in the forest's network: EX1's and EX2's.
pub(crate) struct Scene {
    pub(crate) alpha: Node,
    pub(crate) beta: Node,
    pub(crate) desk: Desk,
}

impl Scene {
    /// With this group of a node, whose directory it is told, and a set if the group has one.
    pub(crate) fn new(desk: Desk, group: impl Fn(&str) -> Group) -> Self {
        let alpha = node(&desk, "alpha", 7001, ADMINISTRATOR);
        let beta = node(&desk, "beta", 7002, ADMINISTRATOR);
        pair(&alpha, &beta);
        let mut scene = Self { alpha, beta, desk };
        fs::create_dir_all(scene.alpha.dir.join("store")).unwrap();
        fs::write(scene.alpha.dir.join("store/mail"), "a message\n").unwrap();
        let (source, target) = (scene.alpha.dir.join("store"), scene.beta.dir.join("store"));
        let set = set_of_one("mail", &scene.alpha, &scene.beta, &source, &target, "capture = \"watch\"");
        for node in [&mut scene.alpha, &mut scene.beta] {
            let dir = node.dir.display().to_string();
            let password = file_of(node);
            fs::write(&password, format!("{PASSWORD}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&password, mode).unwrap();
            node.add_settings(&set);
            node.add_settings(&group(&dir).text());
            node.start();
        }
        scene
    }

    /// With the set mirrored, and the group online at home.
    fn online(desk: Desk, group: impl Fn(&str) -> Group) -> Self {
        let scene = Self::new(desk, group);
        scene.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        scene.alpha.run(&["online", "mail"]).expect(0);
        scene
    }

    /// The last report of the group, once the run has this end.
    #[track_caller]
    pub(crate) fn wait_for_end(&self, node: &Node, end: &str) -> Value {
        wait_for(&format!("the run is {end}"), PATIENCE, || {
            let done = node.run(&["--json", "group", "report", "mail"]);
            (done.code == Some(0)).then(|| done.json()).filter(|report| report["end"] == end)
        })
    }

    /// Panics unless all users are where the group is.
    #[track_caller]
    fn assert_users_at(&self, server: &str) {
        for mailbox in [0, 5, 17] {
            let home = self.desk.home_of(&mailbox_dn(mailbox)).to_string();
            assert!(home.contains(&format!("CN={server},")), "mailbox {mailbox} is in {home}");
        }
    }
}

/// The journals of a node, the oldest first: name and contents.
fn records(node: &Node) -> Vec<(String, String)> {
    let entries = fs::read_dir(node.state_dir().join("directory")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "journal"));
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    let of = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
    paths.into_iter().map(of).collect()
}

/// Steps that the newest run of a node in the directory has ended.
fn steps_done(node: &Node) -> usize {
    records(node).last().map_or(0, |(_, text)| text.matches("\"record\":\"result\"").count())
}

/// When a step ended and the next began, in milliseconds of the run.
fn times(report: &Value, what: &str) -> (u64, u64) {
    let step = report["steps"].as_array().unwrap().iter().find(|step| step["what"] == what);
    let step = step.unwrap_or_else(|| panic!("no step {what}: {report:#}"));
    let at = step["at_ms"].as_u64().unwrap();
    (at, at + step["took_ms"].as_u64().unwrap())
}

/// The services of a node, which do nothing but be there.
fn whole(dir: &str) -> Group {
    let services = [
        format!("date +%s%N >>{dir}/started; touch {dir}/running"),
        format!("rm -f {dir}/running"),
        format!("test -f {dir}/running && exit 0; exit 3"),
    ];
    Group::new("addresses = 0")
        .store()
        .users("overwrite", &["store"], "phase = \"setup\"")
        .service("services", &["overwrite"], &services, "")
        .users("users", &["services"], "phase = \"all\"")
}

/// The same with a name whose zone is in the directory.
fn named(dir: &str) -> Group {
    let names = format!("names = \"mail.{DOMAIN}\"\nzone = \"{DOMAIN}\"\ndirectory = true\nttl = \"30 s\"");
    let addresses = "addresses = { alpha = \"10.0.0.1\", beta = \"10.0.0.2\" }";
    whole(dir).resource("name", "dns", &["services"], &format!("{names}\n{addresses}"))
}

/// Nothing but users, so that all of it can be taken back, and a script that holds the run up at its end.
fn only_users(dir: &str) -> Group {
    let wait = sh(&format!("while test -f {dir}/gate; do sleep 0.05; done"));
    Group::new("addresses = 0").users("users", &[], "").resource("last", "script", &["users"], &format!("start = {wait}"))
}

#[test]
fn a_group_takes_the_users_with_it_and_brings_them_home() {
    let Some(desk) = desk() else { return };
    desk.forest.name_host("mail", "10.9.9.9");
    let scene = Scene::online(desk, named);
    let forest = &scene.desk.forest;
    let leads_to =
        || forest.room.run("dig", &[&format!("@{}", address(1)), "+short", &format!("mail.{DOMAIN}"), "A"]).trim().to_owned();
    assert_eq!(leads_to(), "10.0.0.1");
    // Each change of a name raises its serial number.
    let steady = || dump(forest, &[without_flags().as_slice(), &["dnsRecord"]].concat());
    let (before, third) = (steady(), of_the_third(forest));
    let dry = scene.alpha.run(&["handoff", "mail", "--to", "beta", "--dry-run"]).expect(0).stdout;
    println!("{dry}");
    assert!(dry.contains("users would change:\nfailover EX1 -> EX2") && dry.contains("24  mailboxes"), "{dry}");
    let check = scene.alpha.run(&["group", "check", "mail"]);
    println!("{}", check.stdout);
    assert!(check.stdout.contains("ok    beta users: pairing: all 12 stores have a counterpart"), "{check:?}");
    assert!(check.stdout.contains("ok    alpha users: directory: it can be reached"), "{check:?}");
    assert_same_dump(&before, &steady());

    let there = scene.alpha.run(&["handoff", "mail", "--to", "beta"]).expect(0);
    println!("{}", there.stdout);
    scene.assert_users_at("EX2");
    assert_eq!(leads_to(), "10.0.0.2");
    let report = scene.wait_for_end(&scene.alpha, "finished");
    let [setup, services, users] = ["start overwrite", "start services", "start users"].map(|what| times(&report, what));
    assert!(setup.1 <= services.0 && services.1 <= users.0, "{report:#}");
    let flags = dump(forest, &FLEETING);
    assert!(flags.iter().any(|object| object.contains("CN=EX2,") && object.contains("msExchPatchMDB: TRUE")));
    assert!(store_of("EX2", 0).dn.contains("CN=EX2,"));
    // What beta wrote, alpha has.
    assert_eq!(records(&scene.alpha), records(&scene.beta));
    assert_eq!(records(&scene.alpha).len(), 2);

    let back = scene.beta.run(&["failback", "mail"]).expect(0);
    println!("{}", back.stdout);
    assert_eq!(leads_to(), "10.0.0.1");
    assert_same_dump(&before, &steady());
    assert_same_dump(&third, &of_the_third(forest));
    assert_eq!(records(&scene.alpha), records(&scene.beta));
    let leaks = crate::support::shell(&scene.desk.file(""), &format!("grep -rlF '{PASSWORD}' alpha beta || true"));
    let mut leaks: Vec<&str> = leaks.lines().collect();
    leaks.sort_unstable();
    assert_eq!(leaks, ["alpha/directory.password", "beta/directory.password"]);
}

#[test]
fn a_node_that_is_killed_while_it_moves_users_goes_on_and_others_take_it_back() {
    let Some(desk) = desk_of(&LONGER) else { return };
    let mut scene = Scene::online(desk, whole);
    let before = dump(&scene.desk.forest, &without_flags());
    let begun = scene.alpha.json(&["handoff", "mail", "--to", "beta", "--no-wait"]);
    assert_eq!(begun["node"], "beta");
    wait_until("some users are moved", PATIENCE, || records(&scene.beta).len() == 2 && steps_done(&scene.beta) > 20);
    scene.beta.kill();
    let done = steps_done(&scene.beta);
    scene.beta.start();
    let report = scene.wait_for_end(&scene.beta, "finished");
    let total = steps_done(&scene.beta);
    println!("killed after {done} of {total} steps");
    assert!(done < total, "it was killed half-way");
    scene.assert_users_at("EX2");
    assert!(report["steps"].to_string().contains("goes on now"), "{report:#}");
    // Home without the node that wrote it: its records are at home.
    wait_until("alpha has the records", PATIENCE, || records(&scene.alpha) == records(&scene.beta));
    scene.alpha.run(&["failback", "mail"]).expect(0);
    assert_same_dump(&before, &dump(&scene.desk.forest, &without_flags()));
}

#[test]
fn users_who_are_half_moved_are_taken_back_with_the_run() {
    let Some(desk) = desk_of(&LONGER) else { return };
    let scene = Scene::new(desk, only_users);
    scene.alpha.run(&["online", "mail"]).expect(0);
    let before = dump(&scene.desk.forest, &FLEETING);
    // In the middle of the users, and after all of them.
    for steps in [20, usize::MAX] {
        fs::write(scene.beta.dir.join("gate"), "").unwrap();
        let known = records(&scene.beta).len();
        scene.alpha.run(&["handoff", "mail", "--to", "beta", "--no-wait"]).expect(0);
        wait_until("some users are moved", PATIENCE, || match steps {
            usize::MAX => {
                let report = scene.alpha.run(&["--json", "group", "report", "mail"]).stdout;
                report.contains("start last") && records(&scene.beta).len() > known
            }
            _ => records(&scene.beta).len() > known && steps_done(&scene.beta) > steps,
        });
        let undone = scene.alpha.run(&["group", "undo", "mail"]).expect(0);
        println!("{}", undone.stdout);
        scene.wait_for_end(&scene.alpha, "taken_back");
        assert_same_dump(&before, &dump(&scene.desk.forest, &FLEETING));
        assert_eq!(records(&scene.alpha), records(&scene.beta));
        fs::remove_file(scene.beta.dir.join("gate")).unwrap();
    }
    // There is nothing in the way of the next one.
    scene.alpha.run(&["handoff", "mail", "--to", "beta"]).expect(0);
    scene.assert_users_at("EX2");
    scene.alpha.run(&["handoff", "mail", "--to", "alpha"]).expect(0);
    assert_same_dump(&dump_without_flags(&before), &dump(&scene.desk.forest, &without_flags()));
}

/// A dump with the flags left out that a failover there and back leaves.
fn dump_without_flags(objects: &[String]) -> Vec<String> {
    let line = |line: &&str| !line.starts_with("msExchPatchMDB:");
    objects.iter().map(|object| object.lines().filter(line).collect::<Vec<_>>().join("\n")).collect()
}

#[test]
fn what_is_missing_for_the_directory_is_said_before_anything_happens() {
    let Some(desk) = desk() else { return };
    let scene = Scene::online(desk, whole);
    fs::remove_file(file_of(&scene.beta)).unwrap();
    let check = scene.alpha.run(&["group", "check", "mail"]).expect(1);
    let line = check.stdout.lines().find(|line| line.starts_with("FAIL  beta users: directory:"));
    let line = line.unwrap_or_else(|| panic!("{check:?}"));
    assert!(line.contains("is not stored on this node") && line.contains("standin directory password"), "{line}");
    for more in [&["--dry-run"][..], &[]] {
        let refused = scene.alpha.run(&[&["handoff", "mail", "--to", "beta"], more].concat()).expect(3);
        let says = |what: &str| refused.stderr.contains(what);
        assert!(says("Nothing was stopped") && says("standin directory password"), "{refused:?}");
    }
}
