//! Mirrors of real directories, files and devices by the built program: what arrives, what is said, and what is left alone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::{Value, json};

#[path = "../src/demo/material/mod.rs"]
mod material;
mod support;

use material::{Random, Shape, change, generate};
use support::{LoopDevice, Mount, Node, Pair, assert_same, copy_tree, is_root, pair, seed, shell};

const MIB: usize = 1024 * 1024;

/// A tree that [`Pair`] mirrors with more than the material has: kinds and links that will be exchanged.
const KINDS: &str = r#"
days=0; mkdir kinds && cd kinds
echo file > was-file; mkdir was-dir; echo in > was-dir/in; ln -s was-file was-link; mkfifo was-pipe
ln -s /etc was-way; touch was-wall
mkdir -p one/deep two/deep; echo 1 > one/deep/file; echo 2 > two/deep/file; touch -d '2 days ago' two/deep/file
for group in a b c; do echo $group > $group; touch -d "$((++days)) days ago" $group; ln $group $group.second; ln $group $group.third; done
echo alone > alone; echo alike > alike
head -c 300000 /dev/urandom > punched; head -c 300000 /dev/urandom > truncated; head -c 5000 /dev/urandom > extended
truncate -s 20M sparse; setfacl -m u:1001:rw alone 2>/dev/null || true
mkdir listed; setfacl -d -m u:1002:rx listed 2>/dev/null || true
setfattr -n user.gone -v x alike; setfattr -n user.other -v x alike
chmod 6755 was-file; chmod 3775 listed
"#;

/// Everything changes its kind, its links or its extent.
const EXCHANGE: &str = r#"
cd kinds
rm was-file; mkdir was-file; echo in > was-file/in
rm -r was-dir; ln -s /etc was-dir
rm was-link; echo file > was-link; chmod 4711 was-link
rm was-pipe; mkdir -p was-pipe/deep/er
rm was-way was-wall; mkdir -p was-way/deep/er was-wall/deep/er; touch was-way/ssh was-way/deep/file; ln -s /usr was-way/X11
mv one tmp; mv two one; mv tmp two
cp -p a.second tmp; mv tmp a.second
rm b; cp -p c b; ln -f c.third b.third
ln -f alone alike
rm c.second; mkfifo c.second; ln c.second c.pipe
fallocate -p -o 8192 -l 100000 punched; truncate -s 12345 truncated; truncate -s 6M extended
printf data | dd of=sparse bs=1 seek=7000000 conv=notrunc status=none
setfacl -b alone 2>/dev/null || true; setfacl -k listed; setfattr -n user.new -v y alone; touch -d '1999-01-01 00:00:00.123456789' listed
chmod 0 was-link
"#;

#[test]
fn every_kind_of_object_arrives_and_changes() {
    let pair = Pair::new("");
    let seed = seed();
    let contents = generate(&pair.source, &Shape { size_bytes: 24 << 20, seed }).unwrap();
    shell(&pair.source, KINDS);
    let first = pair.mirror(&[]);
    assert_eq!((&first["point"], &first["consistent"], &first["problem_count"]), (&json!(1), &json!(true), &json!(0)), "{first}");
    pair.assert_equal();
    assert_eq!(material::compare(&pair.source, &pair.target), Vec::<String>::new());

    change(&pair.source, &contents, seed).unwrap();
    shell(&pair.source, EXCHANGE);
    let second = pair.mirror(&["--difference"]);
    assert_eq!(second["point"], json!(2), "{second}");
    pair.assert_equal();
    assert_eq!(material::compare(&pair.source, &pair.target), Vec::<String>::new());
    assert!(second["data_bytes"].as_u64().unwrap() < first["data_bytes"].as_u64().unwrap() / 2, "{second}");

    // Other data with the same size and time is seen by its change time, which cannot be set.
    let file = pair.source.join("kinds/extended");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let writable = File::options().write(true).open(&file).unwrap();
    writable.write_all_at(b"not told", 1 << 20).unwrap();
    writable.set_modified(time).unwrap();
    assert_eq!(pair.mirror(&[])["wanted_files"], json!(1));
    pair.assert_equal();
    assert_eq!(pair.mirror(&["--checksum"])["point"], json!(4));
    pair.assert_equal();

    // A directory that is renamed, and everything again.
    shell(&pair.source, "mv kinds others; mv others/one/deep others/moved; touch others/moved/file");
    let full = pair.mirror(&["--full"]);
    assert_eq!(full["wanted_bytes"], full["bytes"], "{full}");
    pair.assert_equal();
    assert_eq!(pair.mirror(&[])["changed_objects"], json!(0));
}

#[test]
fn sockets_and_devices_are_reported_and_left() {
    let pair = Pair::new("");
    fs::write(pair.source.join("file"), b"data").unwrap();
    let _socket = UnixListener::bind(pair.source.join("a socket")).unwrap();
    let report = pair.mirror(&[]);
    assert_eq!(report["problem_count"], json!(1), "{report}");
    assert_eq!(report["problems"][0]["path"], json!("a socket"));
    assert!(report["problems"][0]["text"].as_str().unwrap().contains("socket"), "{report}");
    let names: Vec<_> = fs::read_dir(&pair.target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
}

/// Everything that a write to a tree would change: inode, change time, size.
fn stamps(path: &Path) -> Vec<String> {
    let text = shell(path, "find . -printf '%p %i %C@ %s %n\\n' | sort");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_dry_run_lists_and_changes_nothing() {
    // The standby looks after its replica at times of its own, and notes it in the same directory.
    let pair = Pair::new("scrub = \"off\"\n");
    shell(&pair.source, "mkdir a; echo 1 > a/same; echo 2 > a/data; echo 3 > a/mode; ln -s x a/link; echo 4 > a/orphan");
    pair.mirror(&[]);
    shell(&pair.source, "echo other > a/data; chmod 600 a/mode; rm a/link; mkdir a/link; rm a/orphan; echo new > a/new");
    let state = pair.beta.state_dir().join("sets");
    let before = (stamps(&pair.target), stamps(&state));
    let report = pair.mirror(&["--dry-run"]);
    let found = report["findings"].as_array().unwrap();
    let mut found: Vec<_> =
        found.iter().map(|found| (found["path"].as_str().unwrap(), found["difference"].as_str().unwrap())).collect();
    found.retain(|(path, _)| *path != "a");
    found.sort();
    let expected =
        [("a/data", "data"), ("a/link", "other_kind"), ("a/mode", "data"), ("a/new", "missing"), ("a/orphan", "orphan")];
    assert_eq!(found, expected, "{report}");
    assert_eq!(before, (stamps(&pair.target), stamps(&state)));
    assert_eq!(report["point"], Value::Null);
    assert_eq!(pair.mirror(&[])["point"], json!(2));
    pair.assert_equal();
}

#[test]
fn verify_finds_exact_ranges_and_repairs() {
    let pair = Pair::new("");
    let mut random = Random::new(seed());
    let mut data = vec![0; 3 * MIB + 100];
    random.fill(&mut data);
    fs::write(pair.source.join("large"), &data).unwrap();
    fs::write(pair.source.join("small"), &data[..5000]).unwrap();
    pair.mirror(&[]);
    let equal = pair.alpha.json(&["verify", "mail"]);
    assert_eq!((&equal["finding_count"], &equal["bytes"]), (&json!(0), &json!(data.len() + 5000)));

    let list = equal["hashes"][0].as_str().unwrap();
    assert_eq!(shell(&pair.target, &format!("b3sum --check --quiet {list}; wc -l < {list}")), "2\n");

    let large = File::options().write(true).open(pair.target.join("large")).unwrap();
    let time = large.metadata().unwrap().modified().unwrap();
    for offset in [0, 20_480, 28_671, 1_000_000, data.len() as u64 - 1] {
        large.write_all_at(&[!data[offset as usize]], offset).unwrap();
    }
    large.set_modified(time).unwrap();
    fs::write(pair.target.join("extra"), b"").unwrap();
    let found = pair.alpha.run(&["--json", "verify", "mail"]).expect(5).json();
    let of = |name: &str| found["findings"].as_array().unwrap().iter().find(|found| found["path"] == name).unwrap();
    let ranges = json!([[0, 4096], [20_480, 28_672], [999_424, 1_003_520], [3_145_728, 3_145_828]]);
    assert_eq!((&of("large")["ranges"], &of("large")["difference"]), (&ranges, &json!("data")), "{found}");
    assert_eq!(of("extra")["difference"], json!("orphan"));
    assert!(found["findings"].as_array().unwrap().iter().all(|found| found["path"] != "small"));

    pair.alpha.run(&["verify", "mail", "--repair"]).expect(0);
    pair.alpha.run(&["verify", "mail"]).expect(0);
    pair.assert_equal();
}

#[test]
fn a_single_file_is_a_root() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("mailbox.db");
    let mut data = vec![0; 2 * MIB];
    Random::new(1).fill(&mut data);
    fs::write(&source, &data).unwrap();
    let pair = Pair::of(dir, source, "");
    pair.mirror(&[]);
    assert!(fs::read(&pair.target).unwrap() == data);
    data.truncate(MIB + 77);
    data[4096..8192].fill(7);
    fs::write(&pair.source, &data).unwrap();
    let report = pair.mirror(&[]);
    assert!(report["data_bytes"].as_u64().unwrap() < 200_000, "{report}");
    assert!(fs::read(&pair.target).unwrap() == data);
    assert_eq!(fs::metadata(&pair.source).unwrap().mtime_nsec(), fs::metadata(&pair.target).unwrap().mtime_nsec());
    pair.alpha.run(&["verify", "mail"]).expect(0);
}

#[test]
fn a_set_has_directories_files_and_devices() {
    if !is_root("a set with a block device") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    shell(
        dir.path(),
        "mkdir tree other; echo a > tree/a; echo b > other/b; head -c 9M /dev/urandom > disk; truncate -s 9M there",
    );
    shell(dir.path(), "head -c 1M /dev/urandom > image");
    let (Some(disk), Some(there)) = (LoopDevice::of(&at("disk")), LoopDevice::of(&at("there"))) else {
        return println!("no loop devices here: not run");
    };
    let (mut alpha, mut beta) = (Node::init(dir.path(), "alpha"), Node::init(dir.path(), "beta"));
    pair(&alpha, &beta);
    let roots = [
        (at("tree"), at("replica/tree")),
        (at("other"), at("replica/other")),
        (disk.0.clone(), there.0.clone()),
        (at("image"), at("image.replica")),
    ];
    let roots = roots.map(|(path, target)| format!("[[sets.mail.roots]]\npath = {path:?}\ntarget = {target:?}\n"));
    fs::create_dir(at("replica")).unwrap();
    for node in [&mut alpha, &mut beta] {
        node.add_settings(&format!("[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"\n{}", roots.concat()));
        node.start();
    }
    let check = || {
        alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        assert_same(&at("tree"), &at("replica/tree"));
        assert_same(&at("other"), &at("replica/other"));
        shell(dir.path(), &format!("cmp {} {}; cmp image image.replica", disk.0.display(), there.0.display()));
    };
    check();
    shell(
        dir.path(),
        &format!(
            "echo c > tree/c; mv other/b other/d; echo x >> image; printf xyz | dd of={} bs=1 seek=5000000",
            disk.0.display()
        ),
    );
    check();
    alpha.run(&["verify", "mail"]).expect(0);
    drop((alpha, beta));
}

#[test]
fn ten_thousand_orphans_go_in_one_mirror() {
    let pair = Pair::new("max_orphans = \"100%\"");
    shell(&pair.source, "mkdir keep old; echo x > keep/x; for i in {1..10}; do mkdir old/$i; touch old/$i/{1..999}; done");
    pair.mirror(&[]);
    shell(&pair.source, "rm -r old");
    let report = pair.mirror(&[]);
    // 10 × 999 files, their 10 directories, and `old`.
    assert_eq!((&report["orphans"], &report["orphans_left"]), (&json!(10_001), &json!(0)), "{report}");
    pair.assert_equal();
    println!("10,001 orphans removed in {} s", report["seconds"]);
}

#[test]
fn orphans_are_removed_reported_or_kept_as_asked() {
    let pair = Pair::new("orphans = \"keep\"");
    shell(&pair.source, "touch stays; touch gone-{1..30}");
    pair.mirror(&[]);
    shell(&pair.source, "rm gone-*");
    let left = |report: &Value| (report["orphans"].as_u64().unwrap(), report["orphans_left"].as_u64().unwrap());
    assert_eq!(left(&pair.mirror(&[])), (30, 30));
    let reported = pair.mirror(&["--orphans", "report"]);
    assert_eq!((left(&reported), reported["finding_count"].as_u64()), ((30, 30), Some(30)), "{reported}");
    for limit in ["29", "50%"] {
        let too_many = pair.try_mirror(&["--orphans", "remove", "--max-orphans", limit]).expect(3);
        assert!(too_many.stderr.contains("30 orphans were left"), "{too_many:?}");
        assert!(too_many.json()["point"].is_u64(), "the point is made all the same: {too_many:?}");
        assert_eq!(fs::read_dir(&pair.target).unwrap().count(), 31);
    }
    assert_eq!(left(&pair.mirror(&["--orphans", "remove", "--max-orphans", "30"])), (30, 0));
    pair.assert_equal();
}

#[test]
fn a_few_changed_pages_cost_little_more_than_themselves() {
    const FILE: u64 = 256 << 20;
    let pair = Pair::new("");
    let mut random = Random::new(seed());
    let mut piece = vec![0; MIB];
    let path = pair.source.join("database");
    let file = File::create(&path).unwrap();
    for offset in (0..FILE).step_by(MIB) {
        random.fill(&mut piece);
        file.write_all_at(&piece, offset).unwrap();
    }
    pair.mirror(&[]);
    let mut page = vec![0; 4096];
    let pages = FILE / 4096;
    let mut changed = std::collections::BTreeSet::new();
    while (changed.len() as u64) < pages / 100 {
        let number = random.below(pages);
        random.fill(&mut page);
        file.write_all_at(&page, number * 4096).unwrap();
        changed.insert(number);
    }
    let report = pair.mirror(&[]);
    let (sent, changed) = (report.pointer("/wire/sent_bytes").unwrap().as_u64().unwrap(), changed.len() as u64 * 4096);
    println!("changed {changed} bytes, sent {sent}: {:.3} times, in {} s", sent as f64 / changed as f64, report["seconds"]);
    assert!(sent * 10 < changed * 13 + FILE / 50, "sent {sent} bytes for {changed}: {report}");
    assert_eq!(report["data_bytes"].as_u64(), Some(changed), "{report}");
    shell(pair.dir.path(), "cmp source/database target/database");
}

#[test]
fn what_was_there_before_the_first_mirror_is_proven_not_trusted() {
    let pair = Pair::new("max_orphans = \"100%\"");
    shell(
        &pair.source,
        "mkdir d; head -c 1M /dev/urandom > d/same; echo right > d/wrong; ln d/same d/linked; echo x > y; mkdir -p e/f; echo x > e/f/g; ln -s y z",
    );
    copy_tree(&pair.source, &pair.target);
    shell(
        &pair.target,
        "touch -r d/wrong t; echo wrnog > d/wrong; touch -r t d/wrong; rm t; echo o > orphan; rm y; mkdir y; touch y/in",
    );
    symlink("/etc", pair.target.join("out")).unwrap();
    let report = pair.mirror(&[]);
    assert!(report["data_bytes"].as_u64().unwrap() < 100_000, "what is equal is not sent: {report}");
    pair.assert_equal();
}

#[test]
fn a_difference_beyond_the_journal_is_guarded_by_clones() {
    if !is_root("a replica on btrfs") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, mounted) = (dir.path().join("source"), dir.path().join("mounted"));
    fs::create_dir(&source).unwrap();
    let Some(mount) = Mount::btrfs(&mounted, &dir.path().join("image"), 400 << 20) else {
        return println!("no loop devices here: not run");
    };
    // More than the journal takes changes, and the old point has to be there all the time.
    let pair = Pair::at(dir, source, mounted.join("target"), "journal_limit = \"64 MiB\"");
    shell(&pair.source, "head -c 100000000 /dev/urandom > large; echo 1 > small");
    pair.mirror(&[]);
    shell(
        &pair.source,
        "cp large ../before; head -c 90000000 /dev/urandom | dd of=large conv=notrunc bs=1M status=none; echo 2 > small",
    );
    assert_eq!(pair.mirror(&[])["point"], json!(2));
    shell(pair.dir.path(), "cmp source/large mounted/target/large; grep -qx 2 mounted/target/small");
    pair.beta.run(&["promote", "mail", "--point", "1"]).expect(0);
    shell(pair.dir.path(), "cmp before mounted/target/large; grep -qx 1 mounted/target/small");
    drop((pair, mount));
}

/// `touch -r`, `cp -p`, and every program that sets a time back: size and time are as before, the data is not.
#[test]
fn data_that_changed_behind_its_time_is_found() {
    let mut pair = Pair::new("");
    shell(&pair.source, "for i in {1..20}; do head -c 300000 /dev/urandom > $i; done; head -c 100 /dev/urandom > small");
    pair.mirror(&[]);
    let behind = "for i in 7 small; do touch -r $i ../time; head -c 50 /dev/urandom | dd of=$i conv=notrunc status=none; touch -r ../time $i; done";
    shell(&pair.source, behind);
    let report = pair.mirror(&[]);
    assert_eq!((&report["wanted_files"], &report["consistent"]), (&json!(2), &json!(true)), "{report}");
    pair.assert_equal();
    // Also after a daemon that was killed, and of what it had mirrored nothing is read again.
    pair.alpha.kill();
    shell(&pair.source, behind);
    pair.alpha.start();
    let report = pair.mirror(&[]);
    assert_eq!(report["wanted_files"], json!(2), "{report}");
    pair.assert_equal();
    assert_eq!(pair.mirror(&[])["wanted_files"], json!(0));
}
