//! A source that is followed while it changes all the time, and daemons that are killed, stopped and cut off all the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::material::Random;
use crate::operations::{self, State};
use crate::support::{PATIENCE, Pair, Proxy, copy_standby, seed, wait_until};

/// How often something is killed or cut, unless `STANDIN_KILLS` says otherwise.
const KILLS: u64 = 24;
/// Pauses between operations.
const PAUSE: Duration = Duration::from_millis(2);

fn kills() -> u64 {
    std::env::var("STANDIN_KILLS").map_or(KILLS, |text| text.parse().expect("STANDIN_KILLS is a number"))
}

/// The nodes, of which the source reaches the standby over a line that can be cut.
struct Story {
    pair: Pair,
    proxy: Proxy,
    random: Random,
    seed: u64,
    consistent: u64,
    promoted: u64,
}

impl Story {
    fn begin() -> Self {
        let seed = seed();
        let mut pair =
            Pair::new("capture = \"watch\"\nmax_orphans = \"100%\"\nhistory_points = 5\n[sets.mail.points]\ninterval = \"1s\"");
        let proxy = pair.over_a_line();
        State::prepare(&pair.source);
        pair.mirror(&[]);
        Self { pair, proxy, random: Random::new(seed), seed, consistent: 0, promoted: 0 }
    }

    fn point(&self) -> u64 {
        Pair::status_of(&self.pair.beta)["point"]["number"].as_u64().unwrap_or(0)
    }

    /// Waits until rounds come through again.
    fn go_on(&self) {
        let before = self.point();
        wait_until("points are made again", PATIENCE, || self.point() > before);
    }

    /// Kills or cuts something at any moment, looks at what the standby has, and lets it go on.
    fn strike(&mut self) {
        let moment = Duration::from_micros(self.random.below(300_000));
        thread::park_timeout(moment);
        match self.random.below(6) {
            0 | 1 => {
                self.pair.beta.kill();
                self.look();
                self.pair.beta.start();
            }
            2 | 3 => {
                self.pair.alpha.kill();
                self.pair.alpha.start();
            }
            4 => {
                self.pair.alpha.kill();
                self.pair.beta.kill();
                self.look();
                self.pair.alpha.start();
                self.pair.beta.start();
            }
            _ => {
                self.proxy.cut();
                let status = || Pair::status_of(&self.pair.alpha);
                wait_until("the cut is noticed", PATIENCE, || status()["peer"]["path"].is_null());
                self.proxy.mend();
            }
        }
        self.go_on();
    }

    /// Promotes a copy of what a killed standby left, at a point that is kept, and compares.
    fn look(&mut self) {
        let base = tempfile::tempdir().unwrap();
        let (mut copy, replica) = copy_standby(&self.pair.beta, &self.pair.target, base.path());
        copy.start();
        let points = copy.json(&["points", "mail"])["points"].as_array().unwrap().clone();
        let number = self.random.pick(&points)["number"].to_string();
        let newest = self.random.below(2) == 0;
        let promoted = if newest { copy.json(&["promote", "mail"]) } else { copy.json(&["promote", "mail", "--point", &number]) };
        let consistent = promoted["point"]["consistent"] == json!(true);
        operations::check(self.seed, &replica, consistent);
        self.promoted += 1;
        self.consistent += u64::from(consistent);
    }
}

#[test]
fn whatever_is_killed_or_cut_each_point_is_what_it_says_and_all_arrives() {
    let mut story = Story::begin();
    let (source, aside) = (story.pair.source.clone(), operations::aside(&story.pair.source));
    let (ended, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let seed = story.seed;
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut state = State::new(seed);
            while !ended.load(Relaxed) {
                state.next(Some((&source, &aside)));
                done.store(state.done, Relaxed);
                // Now and then a moment of calm, in which a point can be consistent.
                thread::park_timeout(if state.done.is_multiple_of(200) { Duration::from_millis(300) } else { PAUSE });
            }
        });
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (0..kills()).for_each(|_| story.strike())));
        ended.store(true, Relaxed);
        writing.join().unwrap();
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let made = super::point(&story.pair);
    assert_eq!(made["consistent"], json!(true), "{made}");
    story.pair.assert_equal();
    story.pair.beta.kill();
    let base = tempfile::tempdir().unwrap();
    let (mut copy, replica) = copy_standby(&story.pair.beta, &story.pair.target, base.path());
    copy.start();
    copy.json(&["promote", "mail"]);
    assert!(operations::check(seed, &replica, true) <= done.load(Relaxed));
    println!(
        "{} operations, {} kills and cuts, {} copies promoted, {} of them at consistent points",
        done.load(Relaxed),
        kills(),
        story.promoted,
        story.consistent
    );
}
