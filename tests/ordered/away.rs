//! Layers that are taken away, held or gone; standbys that are away; daemons that end.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::material::Random;
use crate::roots::Roots;
use crate::support::{Mount, PATIENCE, Suspended, seed, shell, wait_until};

/// A process that uses a root; it ends when this is dropped.
struct User(Child);

impl Drop for User {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_layer_is_taken_away_and_put_back() {
    let ground = Roots::new(2, "");
    shell(&ground.source(1), "echo 1 > a; echo 1 > b");
    ground.mirror();
    let user = User(Command::new("sleep").arg("600").current_dir(ground.source(0)).spawn().unwrap());
    let busy = ground.alpha.run(&["unmount", "mail"]).expect(3);
    assert!(busy.stderr.contains(&format!("sleep (process {})", user.0.id())), "{busy:?}");
    // All stay, and what came meanwhile is seen.
    shell(&ground.source(1), "echo 2 > a");
    ground.point();
    ground.assert_equal();
    drop(user);
    ground.alpha.run(&["unmount", "mail"]).expect(0);
    let status = wait_until_held(&ground);
    assert!(status["trouble"].as_str().unwrap().contains("standin mount mail"), "{status}");
    assert_eq!(status["layer"]["mounted"], json!(false));
    assert!(ground.alpha.run(&["status", "mail"]).expect(0).stdout.contains("NOT MOUNTED"));
    shell(&ground.source(1), "echo unseen > b; echo new > c");
    ground.alpha.run(&["mount", "mail"]).expect(0);
    ground.alpha.run(&["mount", "mail"]).expect(0);
    ground.point();
    ground.assert_equal();
    assert!(ground.target(1).join("c").exists());
}

fn wait_until_held(ground: &Roots) -> serde_json::Value {
    wait_until("it is held", PATIENCE, || ground.status()["state"] == json!("held"));
    ground.status()
}

#[test]
fn a_daemon_ends_in_order_and_goes_on_without_comparing_data() {
    let mut ground = Roots::new(1, "");
    shell(&ground.source(0), "for i in {1..20}; do echo $i > $i; done");
    ground.mirror();
    shell(&ground.source(0), "echo more >> 1");
    ground.point();
    let (ended, source) = (AtomicBool::new(false), ground.source(0));
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !ended.load(SeqCst) {
                // From the end of the daemon on, by the bare directory.
                drop(fs::write(source.join("busy"), format!("{:?}", Instant::now())));
            }
        });
        ground.alpha.stop();
        ended.store(true, SeqCst);
        writing.join().unwrap();
    });
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(source.to_str().unwrap()), "the layer is away");
    shell(&source, "echo while stopped > 2; rm 3");
    ground.alpha.start();
    ground.point();
    ground.assert_equal();
    assert_eq!(ground.status()["layer"]["left"], json!(null), "{}", ground.status());
}

#[test]
fn a_daemon_that_ends_while_somebody_uses_a_root_leaves_errors() {
    let mut ground = Roots::new(1, "");
    ground.mirror();
    let mut open = File::create(ground.source(0).join("open")).unwrap();
    open.write_all(b"kept").unwrap();
    ground.alpha.stop();
    assert!(ground.alpha.log().contains("whoever uses it gets errors"), "{}", ground.alpha.log());
    assert!(open.write_all(b"lost").is_err());
    assert!(fs::write(ground.source(0).join("new"), "lost").is_err());
    drop(open);
    ground.alpha.start();
    shell(&ground.source(0), "echo again > again");
    ground.point();
    ground.assert_equal();
}

#[test]
fn a_standby_that_hangs_keeps_nobody_waiting_for_long() {
    let ground = Roots::new(1, "");
    ground.mirror();
    let file = File::create(ground.source(0).join("f")).unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    ground.point();
    let still = Suspended::new(ground.beta.pid());
    let (mut longest, began) = (Duration::ZERO, Instant::now());
    let mut writes = 0_u64;
    while began.elapsed() < Duration::from_secs(4) {
        let one = Instant::now();
        file.write_all_at(&[writes as u8; 4096], (writes % 500) * 4096).unwrap();
        longest = longest.max(one.elapsed());
        writes += 1;
    }
    drop(still);
    println!("{writes} writes, the longest took {longest:?}; {}", ground.status()["layer"]);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    ground.point();
    ground.assert_equal();
}

#[test]
fn what_applications_wait_for_is_switched_live() {
    let mut ground = Roots::new(1, "acknowledge = \"durable\"\non_disconnect = \"block\"");
    let proxy = ground.over_a_line();
    ground.mirror();
    let file = File::create(ground.source(0).join("f")).unwrap();
    let sync = |what: u8| {
        let began = Instant::now();
        file.write_all_at(&[what; 100], 0).unwrap();
        file.sync_all().map(|()| began.elapsed())
    };
    ground.point();
    println!("a sync takes {:?}", sync(1).unwrap());
    proxy.cut();
    thread::scope(|scope| {
        let held = scope.spawn(|| sync(2));
        wait_until("the cut is known", PATIENCE, || ground.status()["peer"]["path"].is_null());
        thread::park_timeout(Duration::from_millis(300));
        assert!(!held.is_finished(), "it is held as long as the standby is away");
        let settings = fs::read_to_string(ground.alpha.config()).unwrap();
        fs::write(ground.alpha.config(), settings.replace("\"block\"", "\"continue\"")).unwrap();
        ground.alpha.run(&["reload"]).expect(0);
        wait_until("it goes on", PATIENCE, || held.is_finished());
        held.join().unwrap().unwrap();
    });
    assert!(ground.alpha.run(&["status", "mail"]).expect(0).stdout.contains("NOT MET"));
    proxy.mend();
    ground.point();
    ground.assert_equal();
}

#[test]
fn what_cannot_be_noted_is_refused_and_nothing_else_is() {
    let mut ground = Roots::new(1, "");
    ground.mirror();
    ground.alpha.stop();
    // The state directory on a disk that runs full.
    let (state, aside) = (ground.alpha.state_dir(), ground.dir.path().join("aside"));
    fs::rename(&state, &aside).unwrap();
    fs::create_dir(&state).unwrap();
    let disk = Mount::tmpfs(&state, "8M");
    shell(&aside, &format!("cp -a . {}", state.display()));
    ground.alpha.start();
    let hot = File::create(ground.source(0).join("hot")).unwrap();
    hot.write_all_at(&[1; 100], 0).unwrap();
    ground.point();
    shell(&state, "dd if=/dev/zero of=full bs=4096 status=none || true; dd if=/dev/zero of=full2 bs=1 status=none || true");
    // What is in the record may change; new places would come into it, and at the latest the ninth page of them has no room.
    hot.write_all_at(&[2; 100], 0).unwrap();
    let name = |n: u32| ground.source(0).join(format!("d{n}"));
    let refused = (0..2000).find_map(|n| fs::create_dir(name(n)).and_then(|()| fs::write(name(n).join("x"), "x")).err());
    let refused = refused.expect("there is no room to note it");
    println!("{refused}");
    hot.write_all_at(&[3; 100], 0).unwrap();
    fs::remove_file(state.join("full")).unwrap();
    fs::remove_file(state.join("full2")).unwrap();
    fs::write(ground.source(0).join("after"), "there is room").unwrap();
    drop(hot);
    ground.point();
    ground.assert_equal();
    ground.alpha.stop();
    disk.unmount();
}

#[test]
fn daemons_that_are_killed_at_any_moment_under_load_agree_afterwards() {
    let mut random = Random::new(seed());
    let mut ground = Roots::new(2, "");
    ground.mirror();
    for kill in 0..6 {
        let (ended, sources) = (AtomicBool::new(false), [ground.source(0), ground.source(1)]);
        thread::scope(|scope| {
            for (index, source) in sources.iter().enumerate() {
                let ended = &ended;
                scope.spawn(move || {
                    let mut random = Random::new(kill * 2 + index as u64);
                    while !ended.load(SeqCst) {
                        let name = |random: &mut Random| source.join(format!("{}", random.below(40)));
                        // Of a daemon that is dead, errors.
                        match random.below(6) {
                            0 => drop(fs::rename(name(&mut random), name(&mut random))),
                            1 => drop(fs::remove_file(name(&mut random))),
                            2 => drop(fs::create_dir(source.join(format!("d{}", random.below(5))))),
                            3 => drop(fs::rename(source.join("d1"), source.join("d2"))),
                            4 => drop(fs::write(source.join("d1").join(format!("{}", random.below(9))), "in a directory")),
                            _ => drop(fs::write(name(&mut random), vec![random.below(256) as u8; random.below(60_000) as usize])),
                        }
                    }
                });
            }
            thread::park_timeout(Duration::from_micros(random.below(1_500_000)));
            match kill % 3 {
                0 => ground.alpha.kill(),
                1 => ground.beta.kill(),
                _ => {
                    ground.alpha.kill();
                    ground.beta.kill();
                }
            }
            ended.store(true, SeqCst);
        });
        if kill % 3 != 1 {
            ground.alpha.start();
        }
        if kill % 3 != 0 {
            ground.beta.start();
        }
        assert_eq!(ground.point()["consistent"], json!(true));
        ground.assert_equal();
        println!("kill {kill}: {}", ground.status()["layer"]);
    }
}
