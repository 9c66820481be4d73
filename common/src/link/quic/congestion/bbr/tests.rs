//! The controller on simulated lines, alone and with others.

use super::*;
use crate::link::quic::congestion::line_sim::{Control, Line, PACKET, Simulation};
use crate::link::quic::tuning::INITIAL_WINDOW;

const SEED: u64 = 7;
const SECOND: Duration = Duration::from_secs(1);

impl Control for Bbr {
    fn sent(&mut self, now: Instant, bytes: u64) {
        self.on_sent(now, bytes);
    }

    fn acked(&mut self, now: Instant, sent: &[Instant], in_flight: u64) {
        sent.iter().for_each(|sent| self.on_acked(now, *sent, PACKET));
        self.on_batch(now, in_flight, false);
    }

    fn lost(&mut self, now: Instant, newest: Instant, bytes: u64) {
        self.on_lost(now, newest, bytes, false);
    }

    fn window(&self) -> u64 {
        self.window
    }
}

fn bbr(seed: u64) -> impl FnOnce(Instant) -> Box<dyn Control> {
    move |now| Box::new(Bbr::new(now, PACKET, INITIAL_WINDOW, seed))
}

/// CUBIC (RFC 9438) without what it does for short lines.
struct Cubic {
    window: f64,
    most: f64,
    threshold: f64,
    epoch: Option<Instant>,
    recovering_since: Option<Instant>,
}

fn cubic(_: Instant) -> Box<dyn Control> {
    Box::new(Cubic { window: 10.0, most: 0.0, threshold: f64::INFINITY, epoch: None, recovering_since: None })
}

impl Control for Cubic {
    fn sent(&mut self, _: Instant, _: u64) {}

    fn acked(&mut self, now: Instant, sent: &[Instant], _: u64) {
        let packets = sent.len() as f64;
        if self.window < self.threshold {
            self.window += packets;
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let rtt = (now - sent[sent.len() - 1]).as_secs_f64();
        let k = (self.most * 0.3 / 0.4).cbrt();
        let target = 0.4 * ((now - epoch).as_secs_f64() + rtt - k).powi(3) + self.most;
        self.window += (target.clamp(self.window, self.window * 1.5) - self.window) / self.window * packets;
    }

    fn lost(&mut self, now: Instant, newest: Instant, _: u64) {
        if self.recovering_since.is_some_and(|since| newest <= since) {
            return;
        }
        self.recovering_since = Some(now);
        self.epoch = None;
        self.most = if self.window < self.most { self.window * 0.85 } else { self.window };
        self.window = (self.window * 0.7).max(2.0);
        self.threshold = self.window;
    }

    fn window(&self) -> u64 {
        self.window as u64 * PACKET + PACKET
    }
}

/// Rate in Mbit/s and round-trip time in ms.
const LINES: [(f64, u64); 4] = [(100.0, 80), (300.0, 30), (1000.0, 10), (20.0, 200)];

#[test]
fn a_line_is_filled_whatever_it_loses_and_little_is_lost_by_filling_it() {
    for (mbits, round_trip) in LINES {
        for (loss, least) in [(0.0, 0.95), (0.001, 0.95), (0.01, 0.91)] {
            let mut simulation = Simulation::new(Line::of(mbits, round_trip, 1.0, loss), SEED);
            simulation.join(bbr(SEED));
            let counts = simulation.run(20 * SECOND)[0];
            let share = (counts.delivered * PACKET) as f64 / (simulation.line.bytes_per_sec * 20.0);
            let caused = counts.overflowed as f64 / counts.sent as f64;
            println!("  share {share:.3}, caused {caused:.4}");
            assert!(share > least, "{share}");
            assert!(caused < 0.01, "{caused}");
        }
    }
}

#[test]
fn short_queues_do_not_make_it_lose_much_more() {
    for (mbits, round_trip) in LINES {
        for buffers in [0.1, 0.5] {
            let mut simulation = Simulation::new(Line::of(mbits, round_trip, buffers, 0.0), SEED);
            simulation.join(bbr(SEED));
            // What the startup costs is paid once.
            simulation.run(10 * SECOND);
            let counts = simulation.run(60 * SECOND)[0];
            let share = (counts.delivered * PACKET) as f64 / (simulation.line.bytes_per_sec * 60.0);
            let caused = counts.overflowed as f64 / counts.sent as f64;
            println!("  share {share:.3}, caused {caused:.4}");
            // The pacer bursts for 2 ms, which on the fastest of these lines is more than the queue.
            assert!(share > 0.75, "{share}");
            assert!(caused < 0.01, "{caused}");
        }
    }
}

#[test]
fn with_cubic_nobody_is_starved() {
    for (mbits, round_trip) in [(100.0, 80), (300.0, 30), (100.0, 20)] {
        for buffers in [1.0, 3.0] {
            for ours_first in [true, false] {
                let mut simulation = Simulation::new(Line::of(mbits, round_trip, buffers, 0.0), SEED);
                if ours_first {
                    simulation.join(bbr(SEED));
                    simulation.run(5 * SECOND);
                    simulation.join(cubic);
                } else {
                    simulation.join(cubic);
                    simulation.run(5 * SECOND);
                    simulation.join(bbr(SEED));
                }
                let shares = simulation.shares(60 * SECOND);
                println!("  ours first: {ours_first}, shares {shares:.2?}");
                // A quarter on all but the shortest line, on which probes come after fewer seconds than CUBIC's.
                assert!(shares.iter().all(|share| *share > 0.2), "{shares:?}");
            }
        }
    }
}

#[test]
fn two_of_ours_share() {
    for (mbits, round_trip) in [(100.0, 80), (300.0, 30), (100.0, 20)] {
        let mut simulation = Simulation::new(Line::of(mbits, round_trip, 1.0, 0.0), SEED);
        simulation.join(bbr(SEED));
        simulation.run(5 * SECOND);
        simulation.join(bbr(SEED + 1));
        let shares = simulation.shares(60 * SECOND);
        println!("  {shares:.2?}");
        assert!(shares.iter().all(|share| *share > 0.25), "{shares:?}");
    }
}

#[test]
fn a_line_that_changes_is_followed() {
    for loss in [0.0, 0.01] {
        let mut simulation = Simulation::new(Line::of(100.0, 80, 1.0, loss), SEED);
        simulation.join(bbr(SEED));
        simulation.run(10 * SECOND);
        for (mbits, settle, least) in [(20.0, 5, 0.85), (200.0, 12, 0.85), (50.0, 5, 0.85)] {
            simulation.line.bytes_per_sec = mbits * 125_000.0;
            simulation.run(settle * SECOND);
            let share = simulation.shares(10 * SECOND)[0];
            println!("  {mbits} Mbit/s: {share:.3}");
            assert!(share > least, "{share} of {mbits} Mbit/s");
        }
        // Another way, three times as long.
        simulation.line.round_trip *= 3;
        simulation.run(20 * SECOND);
        let share = simulation.shares(10 * SECOND)[0];
        println!("  longer: {share:.3}");
        assert!(share > 0.85, "{share}");
    }
}

/// With fewer packets under way than the peer gathers before it acknowledges, each round trip would take the peer's whole patience, and
/// that slow rate would be believed for ever.
#[test]
fn a_short_line_that_is_believed_slow_is_filled_all_the_same() {
    let line = Line { round_trip: Duration::from_micros(100), ..Line::of(1000.0, 1, 4.0, 0.0) };
    let mut simulation = Simulation::new(line, SEED);
    simulation.join(|now| {
        let mut bbr = Bbr::new(now, PACKET, 0, SEED);
        bbr.mode = Mode::Cruise;
        (bbr.full, bbr.full_now) = (true, true);
        bbr.rate.add(4.0 * PACKET as f64 / 0.025);
        bbr.least_rtt.add(now, line.round_trip);
        bbr.mean_rtt = Some(Duration::from_millis(25));
        bbr.allowed = bbr.least_window();
        (bbr.most, bbr.window) = (bbr.allowed, bbr.allowed);
        Box::new(bbr)
    });
    simulation.run(10 * SECOND);
    let share = simulation.shares(5 * SECOND)[0];
    println!("  share {share:.3}");
    assert!(share > 0.8, "{share}");
}

#[test]
fn a_line_is_filled_soon() {
    for (mbits, round_trip) in LINES {
        for loss in [0.0, 0.01] {
            let mut simulation = Simulation::new(Line::of(mbits, round_trip, 1.0, loss), SEED);
            simulation.join(bbr(SEED));
            let counts = simulation.run(10 * Duration::from_millis(round_trip))[0];
            let holds = simulation.line.bytes_per_sec * simulation.line.round_trip.as_secs_f64();
            let missed = 10.0 - (counts.delivered * PACKET) as f64 / holds;
            println!("  {missed:.2} round trips missed of 10, {} packets lost by filling it", counts.overflowed);
            // The first of them until anything can arrive.
            assert!(missed < 3.3, "{missed}");
        }
    }
}
