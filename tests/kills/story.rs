//! Mirrors of a changing tree with kills in them, and what must be true after each.

use std::fs;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::material::Random;
use crate::support::{Node, PATIENCE, Pair, Suspended, assert_same, copy_standby, copy_tree, rsync_todo, seed, wait_until};
use crate::tree::{self, Numbers};

/// Slow enough that there is a middle.
const LIMIT: &str = "5 MB/s";
/// The first mirror, and so many more of the same set.
const MIRRORS: usize = 4;
/// Kills in one mirror.
const KILLS_AT_ONCE: u64 = 5;
/// Stories at a time.
const AT_ONCE: usize = 2;
/// A moment that does not come in this time does not come.
const LONGEST_MOMENT: Duration = Duration::from_secs(10);
/// Refused, because it would not be safe.
const REFUSED: i32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Standby,
    Source,
    Both,
}

/// When to kill.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When so many more bytes were sent.
    Sent(u64),
    /// After a time, whatever it is at.
    After(Duration),
    /// So long after a journal was committed, while it is being applied.
    Committed(Duration),
}

/// A set's life.
pub(crate) struct Story {
    pair: Pair,
    random: Random,
    numbers: Numbers,
    /// The source as it was at each mirror, and the number of the last point that was made of it.
    states: Vec<(PathBuf, Option<u64>)>,
    /// Kills while a mirror ran.
    kills: usize,
    copies: usize,
    began: Instant,
}

fn number_of(point: &Value) -> u64 {
    point["number"].as_u64().unwrap_or(0)
}

fn runs(node: &Node) -> bool {
    Pair::status_of(node)["state"] != "idle"
}

impl Story {
    /// As many stories as it takes until so many kills hit a mirror; some at a time, as they mostly wait.
    pub(crate) fn until(kills: usize, victims: &[Victim]) {
        let mut random = Random::new(seed());
        let done: Vec<(usize, usize)> = thread::scope(|scope| {
            let start = |_| {
                let random = Random::new(random.next());
                scope.spawn(|| Self::some(kills.div_ceil(AT_ONCE), victims, random))
            };
            let threads: Vec<_> = (0..AT_ONCE).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let sum = |each: fn(&(usize, usize)) -> usize| done.iter().map(each).sum::<usize>();
        println!("{victims:?}: {} kills in mirrors, {} promotions of copies", sum(|done| done.0), sum(|done| done.1));
    }

    fn some(kills: usize, victims: &[Victim], mut random: Random) -> (usize, usize) {
        let mut done = (0, 0);
        while done.0 < kills {
            let mut story = Story::begin(Random::new(random.next()));
            for _ in 0..MIRRORS {
                if done.0 + story.kills < kills {
                    story.mirror(victims);
                }
            }
            done = (done.0 + story.kills, done.1 + story.copies);
        }
        done
    }

    fn begin(mut random: Random) -> Self {
        let pair = Pair::new("max_orphans = \"100%\"\nhistory_points = 3");
        let mut numbers = Numbers::default();
        tree::make(&pair.source, &mut random, &mut numbers);
        fs::create_dir(pair.dir.path().join("states")).unwrap();
        Self { pair, random, numbers, states: Vec::new(), kills: 0, copies: 0, began: Instant::now() }
    }

    /// Changes the source and mirrors it, with kills, to the end.
    fn mirror(&mut self, victims: &[Victim]) {
        if !self.states.is_empty() {
            tree::change(&self.pair.source, &mut self.random, &mut self.numbers);
        }
        let state = self.pair.dir.path().join("states").join(self.states.len().to_string());
        copy_tree(&self.pair.source, &state);
        self.states.push((state, None));
        let before = self.newest_state();
        self.pair.alpha.run(&["mirror", "start", "mail", "--limit", LIMIT]).expect(0);
        for _ in 0..1 + self.random.below(KILLS_AT_ONCE) {
            let moment = self.moment();
            self.wait_for(moment, before);
            let victim = *self.random.pick(victims);
            if !runs(&self.pair.alpha) {
                break;
            }
            self.kills += 1;
            self.kill(victim, moment);
        }
        self.play_on();
    }

    fn play_on(&mut self) {
        let (alpha, beta) = (&self.pair.alpha, &self.pair.beta);
        wait_until("the mirror goes on by itself", PATIENCE, || !runs(alpha));
        wait_until("the standby is at its end", PATIENCE, || Pair::status_of(beta)["state"] == "ready");
        let status = Pair::status_of(alpha);
        assert_eq!(status["trouble"], Value::Null, "{status}");
        assert_eq!(status["point"]["consistent"], true, "nothing changed meanwhile: {status}");
        let newest = number_of(&Pair::status_of(beta)["point"]);
        assert_eq!(number_of(&status["point"]), newest, "{status}");
        self.states.last_mut().unwrap().1 = Some(newest);
        self.pair.assert_equal();
    }

    /// The newest point of the mirror before.
    fn newest_state(&self) -> u64 {
        self.states.iter().rev().find_map(|(_, number)| *number).unwrap_or(0)
    }

    fn moment(&mut self) -> Moment {
        match self.random.below(3) {
            0 => Moment::Sent(self.random.below(1_500_000)),
            1 => Moment::After(Duration::from_millis(self.random.below(900))),
            _ => Moment::Committed(Duration::from_micros(self.random.below(40_000))),
        }
    }

    /// Waits for the moment, or the end of the mirror.
    fn wait_for(&mut self, moment: Moment, before: u64) {
        let began = Instant::now();
        let alpha = &self.pair.alpha;
        let sent = |status: &Value| status["mirror"]["data_bytes"].as_u64().unwrap_or(0);
        match moment {
            Moment::Sent(bytes) => {
                let goal = sent(&Pair::status_of(alpha)) + bytes;
                wait_until("the moment", PATIENCE, || {
                    let status = Pair::status_of(alpha);
                    sent(&status) >= goal || status["state"] == "idle" || began.elapsed() > LONGEST_MOMENT
                });
            }
            Moment::After(time) => wait_until("the moment", PATIENCE, || began.elapsed() > time),
            Moment::Committed(more) => {
                let replica = self.pair.beta.state_dir().join("sets/mail/replica");
                let mut looks = 0;
                while !is_applying(&replica, before) && began.elapsed() < LONGEST_MOMENT {
                    looks += 1;
                    if looks % 512 == 0 && !runs(alpha) {
                        return;
                    }
                    thread::sleep(Duration::from_micros(200)); // poll
                }
                let applying = Instant::now();
                while applying.elapsed() < more {
                    std::hint::spin_loop();
                }
            }
        }
    }

    fn kill(&mut self, victim: Victim, moment: Moment) {
        let acknowledged = number_of(&Pair::status_of(&self.pair.alpha)["point"]);
        let mut victims = match victim {
            Victim::Standby => vec![Victim::Standby],
            Victim::Source => vec![Victim::Source],
            Victim::Both => vec![Victim::Source, Victim::Standby],
        };
        for victim in &victims {
            self.node(*victim).kill();
        }
        println!("{:.1} s: killed {victim:?}, {moment:?}", self.began.elapsed().as_secs_f64());
        // A standby that lives stands still for that, as if it had died at this moment, too.
        let suspended = (victim == Victim::Source).then(|| Suspended::new(self.pair.beta.pid()));
        self.check_copy(acknowledged);
        drop(suspended);
        if self.random.below(2) == 0 {
            victims.reverse();
        }
        for victim in &victims {
            self.node(*victim).start();
        }
        let still = number_of(&Pair::status_of(&self.pair.alpha)["point"]);
        assert!(still >= acknowledged, "the source knew of point {acknowledged}, and now of {still}");
    }

    fn node(&mut self, victim: Victim) -> &mut Node {
        if victim == Victim::Source { &mut self.pair.alpha } else { &mut self.pair.beta }
    }

    /// What the standby has on disk becomes, in a copy, one of the source's states, exactly, and not one from before what it acknowledged.
    fn check_copy(&mut self, acknowledged: u64) {
        self.copies += 1;
        let base = tempfile::tempdir().unwrap();
        let (mut copy, replica) = copy_standby(&self.pair.beta, &self.pair.target, base.path());
        copy.start();
        let kept = copy.json(&["points", "mail"]);
        let kept: Vec<u64> = kept["points"].as_array().unwrap().iter().map(number_of).collect();
        let Some(newest) = kept.last().copied() else {
            assert_eq!(acknowledged, 0, "an acknowledged point is gone");
            copy.run(&["promote", "mail"]).expect(REFUSED);
            return;
        };
        assert!(newest >= acknowledged, "point {acknowledged} was acknowledged, the newest is {newest}");
        // Any of the points that are kept, but mostly the newest.
        let other = self.random.below(3) == 0;
        let goal = if other { *self.random.pick(&kept) } else { newest };
        let promoted =
            if other { copy.json(&["promote", "mail", "--point", &goal.to_string()]) } else { copy.json(&["promote", "mail"]) };
        assert_eq!(number_of(&promoted["point"]), goal, "{promoted}");
        let state = self.state_of(goal);
        let todo = rsync_todo(&state, &replica);
        if !todo.is_empty() {
            let equal: Vec<_> = self.states.iter().filter(|(state, _)| rsync_todo(state, &replica).is_empty()).collect();
            panic!("point {goal} of {kept:?} is not {}, but {equal:?}:\n{todo}", state.display());
        }
        assert_same(&state, &replica);
    }

    /// What the source was at a point.
    fn state_of(&self, point: u64) -> PathBuf {
        let made = self.states.iter().find(|(_, last)| last.is_none_or(|last| point <= last));
        made.expect("a point of a mirror").0.clone()
    }
}

/// Whether a journal of a later point is there, which is so from when it begins to be applied.
fn is_applying(replica: &std::path::Path, before: u64) -> bool {
    let Ok(names) = fs::read_dir(replica) else { return false };
    let number = |name: std::ffi::OsString| name.to_str()?.strip_suffix(".back")?.parse::<u64>().ok();
    names.flatten().filter_map(|name| number(name.file_name())).any(|number| number > before)
}
