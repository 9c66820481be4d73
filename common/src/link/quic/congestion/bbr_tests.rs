//! The controller on simulated lines.

use super::super::line_sim::{Control, Line, PACKET, Simulation};
use super::*;

impl Control for Bbr {
    fn sent(&mut self, now: Instant, bytes: u64) {
        self.on_sent(now, bytes);
    }

    fn acked(&mut self, now: Instant, sent: &[Instant], in_flight: u64) {
        sent.iter().for_each(|sent| self.on_acked(now, *sent, PACKET));
        self.on_batch(now, in_flight, false);
        if std::env::var("TRACE").is_ok() {
            println!(
                "T {:p} {:?} {:?} rate {:.2} now {:.2} least {:?} mean {:?} most {} most_now {} allowed {} window {} inflight {}",
                self.sampler_addr(),
                now,
                self.mode,
                self.rate.max() / 125e3,
                self.rate_now / 125e3,
                self.least_rtt.get().unwrap(),
                self.mean_rtt.unwrap(),
                self.most as i64 / 1450,
                self.most_now as i64 / 1450,
                self.allowed / 1450,
                self.window / 1450,
                in_flight / 1450
            );
        }
    }

    fn lost(&mut self, now: Instant, newest: Instant, bytes: u64) {
        self.on_lost(now, newest, bytes, false);
    }

    fn window(&self) -> u64 {
        self.window
    }
}
impl Bbr {
    fn sampler_addr(&self) -> *const Self {
        self
    }
}

fn bbr(seed: u64) -> impl FnOnce(Instant) -> Box<dyn Control> {
    move |now| Box::new(Bbr::new(now, PACKET, 10 * 6500, seed))
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

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn fills() {
    for (mbits, rtt) in [(100.0, 80), (300.0, 30), (1000.0, 10), (20.0, 200)] {
        for buffers in [0.1, 0.5, 1.0, 4.0] {
            for loss in [0.0, 0.001, 0.01] {
                let mut simulation = Simulation::new(Line::of(mbits, rtt, buffers, loss), 7);
                simulation.join(bbr(7));
                let counts = simulation.run(20 * SECOND)[0];
                println!(
                    "  share {:.3} caused {:.4}",
                    (counts.delivered * PACKET) as f64 / (simulation.line.bytes_per_sec * 20.0),
                    counts.overflowed as f64 / counts.sent as f64
                );
            }
        }
    }
}

#[test]
fn sharing() {
    for (mbits, rtt) in [(100.0, 80), (300.0, 30), (100.0, 20)] {
        for buffers in [0.3, 1.0, 3.0] {
            for first in [true, false] {
                let mut simulation = Simulation::new(Line::of(mbits, rtt, buffers, 0.0), 7);
                if first {
                    simulation.join(bbr(7));
                    simulation.run(5 * SECOND);
                    simulation.join(cubic);
                } else {
                    simulation.join(cubic);
                    simulation.run(5 * SECOND);
                    simulation.join(bbr(7));
                }
                for _ in 0..3 {
                    println!("  ours first {first}: {:.2?}", simulation.shares(20 * SECOND));
                }
            }
        }
        let mut simulation = Simulation::new(Line::of(mbits, rtt, 1.0, 0.0), 7);
        simulation.join(bbr(7));
        simulation.run(5 * SECOND);
        simulation.join(bbr(9));
        for _ in 0..3 {
            println!("  two of ours: {:.2?}", simulation.shares(20 * SECOND));
        }
    }
}
