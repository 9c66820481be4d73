//! Files with several names: whoever has one open writes to it by whatever name is left.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::roots::Roots;
use crate::streams::{operations, wait_for_stream};
use crate::support::{PATIENCE, shell, wait_until};

const SAFE: &str = "acknowledge = \"durable\"\non_disconnect = \"block\"";
/// In several directories, before the layer is there.
const LINKED: &str = "mkdir -p d/e f; for n in 1 2 3 4 5; do echo one > a$n; ln a$n d/e/b$n; ln a$n f/c$n; done";

/// Opens a file as whoever goes on with it.
fn opened(path: &Path) -> File {
    OpenOptions::new().append(true).open(path).unwrap()
}

/// Everything that is written from now on is told to a stream that has not heard of any file.
fn another_stream(ground: &Roots) {
    let before = operations(ground);
    ground.mirror();
    wait_until("another stream runs", PATIENCE, || operations(ground).is_some_and(|now| Some(now) < before || now <= 1));
}

/// Writes and syncs: when this returns, the standby has it.
fn write(mut file: &File, text: &str) {
    file.write_all(text.as_bytes()).unwrap();
    file.sync_all().unwrap();
}

/// What the standby has under a name.
fn arrived(ground: &Roots, path: &str) -> String {
    fs::read_to_string(ground.target(0).join(path)).unwrap()
}

#[test]
fn what_is_written_by_the_name_that_is_left_arrives_with_a_stream() {
    let ground = Roots::filled(1, SAFE, LINKED);
    let source = ground.source(0);
    ground.mirror();
    wait_for_stream(&ground);
    // Told by one name, open by another, in another directory; the first goes by its removal, or as another file takes its place.
    shell(&source, "chmod 640 a1 a2 a3 a4 a5; ln a4 d/later");
    let files: Vec<_> = ["d/e/b1", "f/c2", "d/e/b3", "d/later", "a5"].iter().map(|path| opened(&source.join(path))).collect();
    shell(
        &source,
        "rm a1 f/c1; echo other > other; mv other a2; rm d/e/b2; mv f/c3 g3; rm a3; rm a4 f/c4 d/e/b4; mv a5 f/moved; rm f/moved f/c5",
    );
    another_stream(&ground);
    for (file, name) in files.iter().zip(["d/e/b1", "f/c2", "d/e/b3", "d/later", "d/e/b5"]) {
        write(file, "two, synced\n");
        // What is acknowledged is in the next point, whatever is done after it.
        ground.point();
        assert_eq!(arrived(&ground, name), "one\ntwo, synced\n", "{name}");
    }
    shell(&source, "chmod 600 d/e/b1 f/c2; echo three >> d/later");
    let made = ground.point();
    assert_eq!(made["consistent"], true, "{made}");
    ground.assert_equal();
    assert_eq!(fs::metadata(ground.target(0).join("d/e/b1")).unwrap().mode() & 0o777, 0o600);
    ground.alpha.run(&["verify", "mail"]).expect(0);
}

#[test]
fn what_is_written_by_the_name_that_is_left_arrives_with_rounds() {
    // Orphans are not removed: so there are no streams.
    let ground = Roots::filled(1, &format!("{SAFE}\norphans = \"report\""), LINKED);
    let source = ground.source(0);
    ground.mirror();
    ground.point();
    shell(&source, "chmod 640 a1 a2");
    let (first, second) = (opened(&source.join("d/e/b1")), opened(&source.join("a2")));
    shell(&source, "rm a1 f/c1 a2 f/c2");
    ground.point();
    write(&first, "two, synced\n");
    write(&second, "two, synced\n");
    ground.point();
    for name in ["d/e/b1", "d/e/b2"] {
        assert_eq!(arrived(&ground, name), "one\ntwo, synced\n", "{name}");
    }
}
