//! What a standby's disk loses beneath files that nobody wrote to is found, told, and mended.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

mod support;

use support::{Mount, PATIENCE, Pair, is_root, shell, wait_until};

const LARGE: u64 = 9 << 20;
const GROUP: u64 = 64 * 1024;
/// What is looked for in the image: it is at byte 5,000,000 of the file and nowhere else.
const MARK: &[u8; 32] = b"a page that the disk will lose..";
const MARK_AT: u64 = 5_000_000;

/// A standby whose replica is on an ext4 in an image.
struct Scene {
    // First, as the directory that it is mounted in goes with the pair.
    mount: Option<Mount>,
    pair: Pair,
    at: PathBuf,
    image: PathBuf,
}

impl Scene {
    /// With one large file and a small one, mirrored; `None` where that cannot be had.
    fn new() -> Option<Self> {
        if !is_root("a scrub of a disk that loses something") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (source, at, image) = (dir.path().join("source"), dir.path().join("disk"), dir.path().join("image"));
        fs::create_dir(&source).unwrap();
        let Some(mount) = Mount::ext4(&at, &image, 64 << 20) else {
            println!("no loop devices: not run");
            return None;
        };
        shell(&source, &format!("head -c {LARGE} /dev/urandom > large; echo small > small"));
        File::options().write(true).open(source.join("large")).unwrap().write_all_at(MARK, MARK_AT).unwrap();
        let pair = Pair::at(dir, source, at.join("replica"), "");
        pair.mirror(&[]);
        Some(Self { mount: Some(mount), pair, at, image })
    }

    /// Changes a byte of the large file in the image, while nothing has it mounted.
    fn damage(&mut self) {
        self.pair.beta.stop();
        self.mount.take().into_iter().for_each(Mount::unmount);
        let offset = find(&self.image, MARK);
        File::options().write(true).open(&self.image).unwrap().write_all_at(b"!", offset + 3).unwrap();
        self.mount = Some(Mount::image(&self.at, &self.image));
        self.pair.beta.start();
    }

    fn status(&self) -> Value {
        Pair::status_of(&self.pair.beta)
    }
}

/// Where in a file some bytes are, which must be in one place only.
fn find(path: &Path, what: &[u8]) -> u64 {
    let mut data = Vec::new();
    File::open(path).unwrap().read_to_end(&mut data).unwrap();
    let found: Vec<_> =
        data.windows(what.len()).enumerate().filter(|(_, window)| *window == what).map(|(at, _)| at as u64).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

#[test]
fn a_byte_that_the_disk_lost_is_found_and_mended() {
    let Some(mut scene) = Scene::new() else { return };
    let clean = scene.pair.beta.json(&["scrub", "mail", "--wait"]);
    assert_eq!(
        (&clean["finding_count"], &clean["last"]["files"], &clean["last"]["bytes"]),
        (&json!(0), &json!(1), &json!(LARGE))
    );
    scene.damage();
    let said = scene.pair.beta.run(&["scrub", "mail", "--wait"]).expect(5).stdout;
    println!("{said}");
    for line in
        ["root 0, large: 1 group of 64 KiB wrong, from byte 4980736 on\n", "1 file WRONG: 1 file, 9.00 MiB read", "--repair"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    let found = scene.status()["scrub"].clone();
    let finding = &found["findings"][0];
    assert_eq!((&finding["path"], &finding["groups"]), (&json!("large"), &json!(1)), "{found}");
    assert_eq!(finding["first_byte"], json!(MARK_AT / GROUP * GROUP));
    let status = scene.status();
    let trouble = status["trouble"].as_str().unwrap();
    for word in ["large", "promotion", "older recovery points", "standin verify mail --repair", "past the file system"] {
        assert!(trouble.contains(word), "{word}: {trouble}");
    }
    let told = scene.pair.beta.run(&["status", "--explain"]).expect(0).stdout;
    assert!(told.contains("1 file WRONG") && told.matches("would be wrong after a promotion").count() == 2, "{told}");
    // It is no obstacle to what is received, does not go by that, and survives a restart.
    scene.pair.beta.run(&["wait", "mail", "--synced", "--timeout", "30s"]).expect(0);
    shell(&scene.pair.source, "echo more > another");
    scene.pair.mirror(&[]);
    scene.pair.beta.stop();
    scene.pair.beta.start();
    assert_eq!(scene.status()["trouble"].as_str(), Some(trouble));
    scene.pair.beta.run(&["scrub", "mail", "--wait"]).expect(5);
    // Mended, it is known to be right at once, and the next scrub reads it again.
    scene.pair.alpha.run(&["verify", "mail"]).expect(5);
    scene.pair.alpha.run(&["verify", "mail", "--repair"]).expect(0);
    for name in ["large", "small", "another"] {
        assert!(fs::read(scene.pair.source.join(name)).unwrap() == fs::read(scene.pair.target.join(name)).unwrap(), "{name}");
    }
    wait_until("the trouble is gone", PATIENCE, || scene.status()["trouble"].is_null());
    let clean = scene.pair.beta.json(&["scrub", "mail", "--wait"]);
    assert_eq!((&clean["finding_count"], &clean["last"]["files"]), (&json!(0), &json!(1)), "{clean}");
}

#[test]
fn it_scrubs_by_itself_when_it_is_due() {
    let Some(mut scene) = Scene::new() else { return };
    let file = scene.pair.beta.state_dir().join("sets/mail/scrub.json");
    wait_until("the set was seen", PATIENCE, || file.exists());
    assert_eq!(scene.status()["scrub"]["last"], json!(null), "not due for days");
    scene.pair.beta.stop();
    let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(kept["since"].is_string(), "{kept}");
    kept["since"] = json!("2020-02-02T02:02:02Z");
    fs::write(&file, kept.to_string()).unwrap();
    scene.pair.beta.start();
    scene.damage();
    wait_until("it is found", PATIENCE, || scene.status()["scrub"]["finding_count"] == 1);
    // What was lost is put back, as it was: that is nothing that a standby can see by itself, but a verification does.
    let large = File::open(scene.pair.source.join("large")).unwrap();
    let mut page = vec![0; 4096];
    large.read_exact_at(&mut page, MARK_AT / 4096 * 4096).unwrap();
    let replica = File::options().write(true).open(scene.pair.target.join("large")).unwrap();
    replica.write_all_at(&page, MARK_AT / 4096 * 4096).unwrap();
    let modified = fs::metadata(scene.pair.source.join("large")).unwrap().modified().unwrap();
    replica.set_modified(modified).unwrap();
    assert!(scene.status()["trouble"].is_string());
    scene.pair.alpha.run(&["verify", "mail"]).expect(0);
    wait_until("the trouble is gone", PATIENCE, || scene.status()["trouble"].is_null());
}

#[test]
fn only_a_standby_that_has_a_point_is_scrubbed() {
    let pair = Pair::new("");
    let refused = pair.beta.run(&["scrub", "mail"]).expect(3);
    assert!(refused.stderr.contains("nothing of the set was received"), "{refused:?}");
    let elsewhere = pair.alpha.run(&["scrub", "mail"]).expect(2);
    assert!(elsewhere.stderr.contains("on beta"), "{elsewhere:?}");
    shell(&pair.source, "echo small > small");
    pair.mirror(&[]);
    let nothing = pair.beta.run(&["scrub", "mail", "--wait"]).expect(0);
    assert!(nothing.stdout.contains("0 files") && nothing.stdout.contains("8 MiB"), "{nothing:?}");
    pair.beta.run(&["scrub", "mail"]).expect(0);
    pair.promote();
    pair.beta.run(&["scrub", "mail"]).expect(3);
}
