//! Capture `ordered`: layers over the roots, points that are one moment of all of them, and applications that wait for the standby.
//! Needs root and FUSE.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use serde_json::json;

mod away;
mod cuts;
mod database;
mod links;
#[path = "../../src/demo/material/mod.rs"]
mod material;
mod mdbox;
mod postgres;
mod roots;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod turned;
mod verified;

use roots::Roots;
use support::shell;

#[test]
fn what_is_written_through_the_layer_arrives() {
    let ground = Roots::new(1, "");
    shell(&ground.source(0), "mkdir d; for i in {1..30}; do echo $i > d/$i; done; head -c 3000000 /dev/urandom > large");
    ground.mirror();
    ground.assert_equal();
    for change in [
        "echo more >> d/1; rm d/2; mv d/3 d/4; mkdir -p e/f; echo new > e/f/new; ln large linked; chmod 600 d/5",
        "dd if=/dev/urandom of=large bs=4096 count=3 seek=100 conv=notrunc status=none; mv e g; truncate -s 10 d/6; setfattr -n user.x -v 1 d/7",
        "mv g/f h; rmdir g; echo x > h/x; rm linked; ln -s d link; mkfifo pipe; touch -d 2001-01-01 d/8; cp -a d copied",
    ] {
        shell(&ground.source(0), change);
        let made = ground.point();
        assert_eq!(made["consistent"], json!(true), "{change}: {made}");
        ground.assert_equal();
    }
    let layer = &ground.status()["layer"];
    println!("{layer}");
    assert_eq!(layer["mounted"], json!(true));
    assert!(layer["holds"].as_u64() >= Some(1) && layer["stream"]["operations"].as_u64() > Some(100), "{layer}");
}

/// Writes a number to the same place in two roots, A before B, until it is told to end; returns the last.
fn count_in_both(a: &Path, b: &Path, ended: &AtomicBool) -> u64 {
    let (a, b) = (File::create(a.join("n")).unwrap(), File::create(b.join("n")).unwrap());
    let mut number = 0_u64;
    while !ended.load(SeqCst) {
        number += 1;
        a.write_all_at(&number.to_le_bytes(), 0).unwrap();
        b.write_all_at(&number.to_le_bytes(), 0).unwrap();
    }
    number
}

fn number(root: &Path) -> u64 {
    fs::read(root.join("n")).ok().and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[test]
fn a_point_is_one_moment_of_both_roots() {
    let ground = Roots::new(2, "history_points = 20");
    ground.mirror();
    let ended = AtomicBool::new(false);
    let (a, b) = (ground.source(0), ground.source(1));
    thread::scope(|scope| {
        let writing = scope.spawn(|| count_in_both(&a, &b, &ended));
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..6 {
                let made = ground.point();
                assert_eq!(made["consistent"], json!(true), "{made}");
            }
            for _ in 0..5 {
                let base = tempfile::tempdir().unwrap();
                let (replicas, point) = ground.promoted(base.path());
                let (a, b) = (number(&replicas[0]), number(&replicas[1]));
                println!("point {}: {a} and {b}", point["number"]);
                assert!(a == b || a == b + 1, "{a} and {b} at {point}");
            }
        }));
        ended.store(true, SeqCst);
        println!("{} written; {}", writing.join().unwrap(), ground.status()["layer"]);
        looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    ground.point();
    ground.assert_equal();
}
