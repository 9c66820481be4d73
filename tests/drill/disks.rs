//! Drills of sets whose roots are block devices and image files: the clone is the point, bit by bit, and a file system in it is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::material::Random;
use super::support::{Done, LoopDevice, Mount, Node, Pair, pair, seed, shell};
use serde_json::Value;

const MIB: u64 = 1 << 20;

const GROUP: &str = r#"
[groups.disks]
nodes = { alpha = 1, beta = 10 }
addresses = 0
drill = ["/bin/sh", "-eu", "{dir}/look"]

[[groups.disks.resources]]
name = "store"
kind = "volume"
set = "mail"
"#;

/// Two nodes with a set of these roots, mirrored, and a group online on alpha.
struct Disks {
    alpha: Node,
    beta: Node,
    targets: Vec<PathBuf>,
    // In this order, they go after the daemons.
    _devices: Vec<LoopDevice>,
    _mount: Option<Mount>,
    dir: tempfile::TempDir,
}

impl Disks {
    fn new(dir: tempfile::TempDir, roots: &[(PathBuf, PathBuf)], devices: Vec<LoopDevice>, mount: Option<Mount>) -> Self {
        let (mut alpha, mut beta) = (Node::init(dir.path(), "alpha"), Node::init(dir.path(), "beta"));
        pair(&alpha, &beta);
        let written = roots.iter().map(|(path, target)| format!("[[sets.mail.roots]]\npath = {path:?}\ntarget = {target:?}\n"));
        let set = format!(
            "[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"\nhistory_points = 3\n{}{}",
            written.collect::<String>(),
            GROUP.replace("{dir}", dir.path().to_str().unwrap())
        );
        fs::write(dir.path().join("look"), "exit 0\n").unwrap();
        for node in [&mut alpha, &mut beta] {
            node.add_settings(&set);
            node.start();
        }
        let targets = roots.iter().map(|(_, target)| target.clone()).collect();
        let disks = Self { alpha, beta, targets, _devices: devices, _mount: mount, dir };
        disks.mirror();
        disks.alpha.run(&["online", "disks"]).expect(0);
        disks
    }

    /// Makes the replica what the source is; the point.
    fn mirror(&self) -> u64 {
        self.alpha.run(&["mirror", "start", "mail", "--wait"]).expect(0);
        Pair::status_of(&self.beta)["point"]["number"].as_u64().unwrap()
    }

    fn look(&self, script: &str) {
        fs::write(self.dir.path().join("look"), script).unwrap();
    }

    fn drill(&self, more: &[&str]) -> Done {
        self.alpha.run(&[&["--json", "drill", "disks"], more].concat())
    }

    /// What is left of clones anywhere.
    fn left(&self) -> Vec<PathBuf> {
        let state = self.beta.state_dir().join("sets/mail/drill");
        let beside = self.targets.iter().map(|target| target.parent().unwrap().to_owned());
        let entries = beside.chain([state]).flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
        let is_left = |path: &PathBuf| path.to_string_lossy().contains("drill") && !path.ends_with("look");
        entries.map(|entry| entry.path()).filter(is_left).collect()
    }
}

/// Whether loop devices can be made here, for a test that can do nothing without.
fn can_loop() -> bool {
    super::support::can_run(&["losetup", "mkfs.ext4", "e2fsck", "debugfs"])
}

/// A file of this size that takes no room.
fn sparse(path: &Path, bytes: u64) {
    File::create(path).and_then(|file| file.set_len(bytes)).unwrap();
}

/// Puts a file system with one mail into a device or image, or other words into the mail that is there.
fn mail_into(dir: &Path, disk: &Path, mail: &str, fresh: bool) {
    let disk = disk.display();
    let make = if fresh { format!("mkfs.ext4 -q -F {disk};") } else { String::new() };
    // Without a mount, so that nothing of it is in somebody else's memory.
    shell(
        dir,
        &format!(
            "{make} echo '{mail}' >mail; debugfs -w -R 'rm mail' {disk} 2>/dev/null; debugfs -w -R 'write mail mail' {disk}"
        ),
    );
}

/// The check command: the file systems are whole, and this is the mail in both.
fn looks_for(mail: &str) -> String {
    format!(
        "test $STANDIN_KIND = device; test $STANDIN_KIND_MAIL_0 = device; test $STANDIN_KIND_MAIL_1 = file\n\
         for clone in $STANDIN_CLONE_MAIL_0 $STANDIN_CLONE_MAIL_1; do\n\
         test -f $clone; e2fsck -fn $clone; debugfs -R 'cat mail' $clone | grep -x '{mail}'\n\
         done\n"
    )
}

#[test]
fn a_drill_of_devices_and_images_finds_their_file_systems_whole() {
    if !can_loop() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["disk", "there", "image"] {
        sparse(&at(name), 48 * MIB);
    }
    let devices: Vec<LoopDevice> =
        ["disk", "there"].iter().map(|name| LoopDevice::of(&at(name)).expect("a loop device")).collect();
    let (disk, image) = (devices[0].0.clone(), at("image"));
    for source in [&disk, &image] {
        mail_into(dir.path(), source, "the first", true);
    }
    let roots = [(disk.clone(), devices[1].0.clone()), (image.clone(), at("image.replica"))];
    let disks = Disks::new(dir, &roots, devices, None);
    disks.look(&looks_for("the first"));
    let done = disks.drill(&[]).expect(0).json();
    println!("{done:#}");
    assert_eq!(done["sets"][0]["kinds"], serde_json::json!(["device", "file"]));
    let first = done["sets"][0]["point"].as_u64().unwrap();
    assert_eq!(disks.left(), Vec::<PathBuf>::new());
    for source in [&disk, &image] {
        mail_into(disks.dir.path(), source, "the second", false);
    }
    let second = disks.mirror();
    disks.look(&looks_for("the second"));
    let done = disks.drill(&["--keep"]).expect(0).json();
    assert_eq!(done["sets"][0]["point"], second);
    for (root, source) in [&disk, &image].into_iter().enumerate() {
        let clone = done["sets"][0]["roots"][root].as_str().unwrap();
        shell(disks.dir.path(), &format!("cmp {clone} {}", source.display()));
    }
    let text = disks.alpha.run(&["group", "report", "disks", "--drill"]).expect(0).stdout;
    assert!(text.contains("root-0, a file with what the block device holds"), "{text}");
    // Back in time, in the clone only.
    disks.look(&looks_for("the first"));
    disks.drill(&["--point", &first.to_string()]).expect(0);
    shell(disks.dir.path(), &format!("cmp {} {}; cmp image image.replica", disk.display(), roots[0].1.display()));
    disks.alpha.run(&["verify", "mail"]).expect(0);
}

/// Changes a few places of a device or image, some to zeros.
fn change(random: &mut Random, disk: &Path, size: u64) {
    let file = File::options().write(true).open(disk).unwrap();
    for _ in 0..20 {
        let mut data = vec![0; 1 + random.below(200_000) as usize];
        if random.below(3) > 0 {
            random.fill(&mut data);
        }
        file.write_all_at(&data, random.below(size - data.len() as u64)).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn while_points_are_made_a_clone_of_disks_is_one_of_them() {
    const SIZE: u64 = 96 * MIB;
    if !can_loop() {
        return;
    }
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["disk", "there", "image"] {
        sparse(&at(name), SIZE);
    }
    let devices: Vec<LoopDevice> =
        ["disk", "there"].iter().map(|name| LoopDevice::of(&at(name)).expect("a loop device")).collect();
    let (disk, image) = (devices[0].0.clone(), at("image"));
    let roots = [(disk.clone(), devices[1].0.clone()), (image.clone(), at("image.replica"))];
    let sums = |dir: &Path| shell(dir, &format!("cksum <{}; cksum <{}", disk.display(), image.display()));
    let disks = Disks::new(dir, &roots, devices, None);
    disks.look("cksum <$STANDIN_CLONE_MAIL_0; cksum <$STANDIN_CLONE_MAIL_1\n");
    let (points, ends) = (Mutex::new(BTreeMap::new()), AtomicBool::new(false));
    let drills: Vec<Value> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::SeqCst) {
                for source in [&disk, &image] {
                    change(&mut random, source, SIZE);
                }
                let point = disks.mirror();
                points.lock().unwrap().insert(point, sums(disks.dir.path()));
            }
        });
        let drills = (0..6).map(|_| disks.drill(&[]));
        let drills: Vec<Done> = drills.collect();
        ends.store(true, Ordering::SeqCst);
        drills.into_iter().map(|done| done.expect(0).json()).collect()
    });
    let (points, mut compared) = (points.into_inner().unwrap(), 0);
    println!("{} points were made", points.len());
    for drill in &drills {
        let (set, said) = (&drill["sets"][0], drill["check"]["said"].to_string());
        println!("point {}, cloned in {} ms, replication waited {} ms", set["point"], set["took_ms"], set["paused_ms"]);
        // Of the first one, from before, the sums are not known.
        if let Some(sums) = points.get(&set["point"].as_u64().unwrap()) {
            compared += 1;
            assert!(sums.lines().all(|sum| said.contains(sum)), "{drill:#}\n{sums}");
        }
    }
    assert!(compared > 0 && points.len() > 2, "{compared} of {} points", points.len());
    assert_eq!(disks.left(), Vec::<PathBuf>::new());
    disks.alpha.run(&["verify", "mail"]).expect(0);
}

#[test]
fn a_clone_of_an_image_shares_its_data_where_the_file_system_can() {
    if !can_loop() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mounted = dir.path().join("mounted");
    let mount = Mount::btrfs(&mounted, &dir.path().join("btrfs"), 256 * MIB).expect("a loop device");
    let image = dir.path().join("image");
    sparse(&image, 150 * MIB);
    shell(dir.path(), "head -c 120M /dev/urandom | dd of=image conv=notrunc bs=1M status=none");
    let target = mounted.join("image.replica");
    // The state directory is elsewhere, where nothing can be shared.
    let disks = Disks::new(dir, &[(image, target.clone())], Vec::new(), Some(mount));
    disks.look("cksum <$STANDIN_CLONE; echo spoilt | dd of=$STANDIN_CLONE conv=notrunc status=none\n");
    let done = disks.drill(&["--keep"]).expect(0).json();
    let set = &done["sets"][0];
    println!("cloned in {} ms, replication waited {} ms", set["took_ms"], set["paused_ms"]);
    assert_eq!(set["shared"], true, "{done:#}");
    let clone = set["roots"][0].as_str().unwrap();
    assert!(clone.starts_with(mounted.join(".image.replica.standin-drill").to_str().unwrap()), "{clone}");
    assert!(done["check"]["said"].to_string().contains(shell(disks.dir.path(), "cksum <image").trim()), "{done:#}");
    shell(disks.dir.path(), &format!("cmp image {}", target.display()));
    shell(disks.dir.path(), &format!("rm -r {}", mounted.join(".image.replica.standin-drill").display()));
    disks.drill(&[]).expect(0);
    assert!(!mounted.join(".image.replica.standin-drill").exists());
    disks.alpha.run(&["verify", "mail"]).expect(0);
}

#[test]
fn a_clone_of_a_device_takes_the_room_of_what_is_in_it() {
    if !can_loop() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // The state directory of the standby has room for little.
    let mount = Mount::tmpfs(&at("beta"), "200m");
    for name in ["disk", "there"] {
        sparse(&at(name), 512 * MIB);
    }
    let devices: Vec<LoopDevice> =
        ["disk", "there"].iter().map(|name| LoopDevice::of(&at(name)).expect("a loop device")).collect();
    let fill = |mib: u32| {
        format!(
            "head -c {mib}M /dev/urandom | dd of={} bs=1M seek=100 oflag=sync iflag=fullblock status=none",
            devices[0].0.display()
        )
    };
    let (little, much) = (fill(4), fill(50));
    shell(dir.path(), &little);
    let roots = [(devices[0].0.clone(), devices[1].0.clone())];
    let disks = Disks::new(dir, &roots, devices, Some(mount));
    disks.look("test $(stat -c %s $STANDIN_CLONE) = 536870912; test $(stat -c %b $STANDIN_CLONE) -lt 20000\n");
    disks.drill(&[]).expect(0);
    shell(disks.dir.path(), &much);
    disks.mirror();
    shell(disks.dir.path(), "head -c $(($(df --output=avail -B1 beta | tail -1) - 100000000)) /dev/zero >beta/filler");
    let refused = disks.drill(&[]).expect(3).json();
    let why = refused["troubles"].to_string();
    println!("{why}");
    assert!(why.contains("a copy of the replica needs 114"), "{why}");
    assert_eq!(disks.left(), Vec::<PathBuf>::new());
}
