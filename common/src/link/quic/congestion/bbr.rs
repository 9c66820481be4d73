//! How much may be under way: a model of the line instead of a fear of loss (BBRv3, draft-ietf-ccwg-bbr).
//!
//! The model is the rate at which the line delivers ([`TwoPeriods`]) and its round-trip time with empty queues ([`LeastRtt`]); their
//! product is what the line holds. *Startup* doubles what is under way until the rate grows no more, *drain* empties the queue that
//! this made. Then a cycle of some seconds: *cruise* at the rate, *refill* for a round trip, *up* by a quarter to see whether there is
//! more, *down* until the queue is gone. If the least round-trip time was not seen for seconds, *probe the RTT* halves what is under
//! way for a moment. Loss beyond 2 % of a round trip while probing bounds what may be under way from then on (`most`), at other times
//! for the rest of the cycle (`rate_now`, `most_now`); less than that is the line's own and changes nothing.
//!
//! Where this differs from the draft, and why:
//!
//! - quinn takes one figure, a window, and sends at 1.25 windows a round trip. So a rate is kept by the window `rate × round-trip time`,
//!   the mean of all packets and not quinn's own estimate, which leaves out the time that the peer waits to acknowledge.
//! - The draft lowers its short-term bounds after any loss; a line that loses 1 % by itself would be given up bit by bit. And 2 % of a
//!   few packets is soon lost by chance, so chance is allowed for.
//! - After a probe that lost too much the next one waits longer: CUBIC on the same line loses by our probes, too.
//! - A round-trip time within 3 % of the least says that the queue is empty, so the RTT is not probed then.
//!
//! Without I/O and clock. Told what was sent, acknowledged and lost, [`Bbr::window`] says how much may be under way.

#[cfg(test)]
mod tests;
mod window;

use std::time::{Duration, Instant};

use super::filter::{Aggregation, LeastRtt, TwoPeriods};
use super::sampler::{Lost, Sample, Sampler};

/// The share of a round trip's bytes whose loss says that too much is under way.
const MOST_LOSS: f64 = 0.02;
/// How many standard deviations beyond that: a probe looks often, and what it finds holds for long; a round is looked at once.
const PROBE_DOUBT: f64 = 1.5;
const ROUND_DOUBT: f64 = 1.0;
/// In how many pieces it must be lost to end the startup.
const STARTUP_LOSSES: u32 = 6;
/// What is left after such a loss.
const BETA: f64 = 0.7;
/// A rate that grew less in three rounds is all that there is.
const GROWTH: f64 = 1.25;
const FULL_ROUNDS: u32 = 3;
/// How long the least round-trip time holds without being seen.
const LEAST_RTT: Duration = Duration::from_secs(5);
/// How long its probe lasts.
const PROBE_RTT: Duration = Duration::from_millis(200);
/// Time between probes for more: this, and up to a second.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Rounds between probes for more, at most: Reno on the same line would lose a packet about then.
const PROBE_ROUNDS: u64 = 63;
/// After probes that lost too much, the next waits twice as long each time, so often at most: such loss is another's as well.
const MOST_LOSSY_PROBES: u32 = 2;
/// Without a bound.
const UNBOUNDED: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    ProbeRtt {
        /// When it ends, once little enough is under way.
        until: Option<Instant>,
    },
}

/// What samples are about, which come a round trip after what they tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// Nothing new.
    Nothing,
    /// The probe for more has begun, not yet its samples.
    ProbeBegan,
    /// The probe for more.
    Probe,
    /// The last of the probe.
    ProbeEnded,
}

#[derive(Debug, Clone)]
pub(super) struct Bbr {
    datagram: u64,
    mode: Mode,
    sampler: Sampler,

    // Rounds: one ends when something is acknowledged that was sent after it began.
    round_ends: u64,
    round_starts: bool,
    round_lost: u64,
    round_losses: u32,
    round_delivered_from: u64,
    /// Sending began after nothing was under way.
    restarted: bool,

    // The model.
    rate: TwoPeriods,
    least_rtt: LeastRtt,
    mean_rtt: Option<Duration>,
    /// The most that may be under way, by the last probe that lost too much.
    most: u64,
    /// Whether that is what held the sender back.
    at_bound: bool,
    /// Bounds for the rest of the cycle.
    rate_now: f64,
    most_now: u64,
    /// Of the round: the highest rate and the most delivered.
    rate_latest: f64,
    delivered_latest: u64,
    aggregation: Aggregation,

    // Whether the rate still grows.
    full: bool,
    full_now: bool,
    full_rate: f64,
    full_rounds: u32,

    // The cycle.
    telling: Telling,
    probing: bool,
    cycle_began: Instant,
    probe_wait: Duration,
    rounds_since_probe: u64,
    up_rounds: u32,
    /// How many probes in a row lost too much.
    lossy_probes: u32,
    random: u64,

    /// What may be under way before anything is known.
    first_window: u64,
    /// What had been delivered when the sender was idle last.
    busy_from: u64,
    /// The window but for the rate.
    allowed: u64,
    before_probe_rtt: u64,
    window: u64,
}

impl Bbr {
    /// `window` is what may be under way before anything is known, in bytes; `seed` decides when it is probed for more.
    pub(super) fn new(now: Instant, datagram: u64, window: u64, seed: u64) -> Self {
        Self {
            datagram,
            mode: Mode::Startup,
            sampler: Sampler::new(now),
            round_ends: 0,
            round_starts: false,
            round_lost: 0,
            round_losses: 0,
            round_delivered_from: 0,
            at_bound: false,
            restarted: false,
            rate: TwoPeriods::default(),
            least_rtt: LeastRtt::new(LEAST_RTT),
            mean_rtt: None,
            most: UNBOUNDED,
            rate_now: f64::INFINITY,
            most_now: UNBOUNDED,
            rate_latest: 0.0,
            delivered_latest: 0,
            aggregation: Aggregation::new(now),
            full: false,
            full_now: false,
            full_rate: 0.0,
            full_rounds: 0,
            telling: Telling::Nothing,
            probing: false,
            cycle_began: now,
            probe_wait: PROBE_WAIT,
            rounds_since_probe: 0,
            up_rounds: 0,
            lossy_probes: 0,
            random: seed | 1,
            first_window: window,
            busy_from: 0,
            allowed: window,
            before_probe_rtt: 0,
            window,
        }
    }

    /// Bytes that may be under way.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Bytes a second that the line is believed to deliver; 0 before anything is known.
    pub(super) fn rate(&self) -> f64 {
        self.rate.max().min(self.rate_now)
    }

    /// The largest datagram has this many bytes from now on.
    pub(super) fn set_datagram(&mut self, bytes: u64) {
        self.datagram = bytes;
    }

    /// Bytes were sent.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64) {
        if self.sampler.in_flight == 0 {
            self.aggregation.restart(now);
            self.restarted = true;
            self.busy_from = self.sampler.delivered;
        }
        self.sampler.on_sent(now, bytes, self.mean_rtt.unwrap_or_default());
    }

    /// A packet of a batch was acknowledged.
    pub(super) fn on_acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.sampler.on_acked(now, sent, bytes);
    }

    /// The batch is complete: so many bytes are under way, and the sender is or is not short of data.
    pub(super) fn on_batch(&mut self, now: Instant, in_flight: u64, short_of_data: bool) {
        let Some(sample) = self.sampler.on_batch(now, in_flight, short_of_data) else { return };
        self.at_bound = self.window >= self.most && !short_of_data;
        self.count_round(&sample);
        self.learn(now, &sample);
        self.check_full(&sample);
        self.move_on(now, &sample);
        self.set_window(&sample);
        self.restarted = false;
        if self.round_starts {
            self.begin_round();
        }
    }

    /// Packets are taken for lost, the newest of them sent then. `dead`: nothing at all has come through for long.
    pub(super) fn on_lost(&mut self, now: Instant, sent: Instant, bytes: u64, dead: bool) {
        self.round_lost += bytes;
        self.round_losses += 1;
        let lost = self.sampler.on_lost(sent, bytes);
        if dead {
            // The model stays; what it allows is reached again as fast as in the startup.
            self.allowed = self.least_window();
            self.window = self.allowed;
        } else if let Some(lost) = lost
            && self.is_too_much(lost.lost, lost.sent_in_flight, PROBE_DOUBT)
        {
            match self.mode {
                Mode::Startup if self.round_losses >= STARTUP_LOSSES => self.drain(),
                _ if self.probing => self.too_much(now, &lost),
                _ => {}
            }
        }
    }

    /// The startup lost too much. What else is sent in this round would overflow as well, so its end is not waited for (the draft does).
    fn drain(&mut self) {
        self.full = true;
        self.most = self.holds(1.0).max(self.delivered_latest);
        self.mode = Mode::Drain;
    }

    fn count_round(&mut self, sample: &Sample) {
        self.round_starts = sample.prior_delivered >= self.round_ends;
        if self.round_starts {
            self.round_ends = self.sampler.delivered;
            self.rounds_since_probe += 1;
            if self.round_lost_too_much() {
                self.lower_bounds();
            }
        }
        self.rate_latest = self.rate_latest.max(sample.rate.unwrap_or(0.0));
        self.delivered_latest = self.delivered_latest.max(sample.delivered);
    }

    fn round_lost_too_much(&self) -> bool {
        let delivered = self.sampler.delivered - self.round_delivered_from;
        self.is_too_much(self.round_lost, delivered + self.round_lost, ROUND_DOUBT)
    }

    /// Whether so many bytes were lost of all that a line that loses the share [`MOST_LOSS`] by chance would hardly do that: more than
    /// expected by so many standard deviations.
    fn is_too_much(&self, lost: u64, all: u64, doubt: f64) -> bool {
        let expected = MOST_LOSS * all as f64;
        lost as f64 > expected + doubt * (expected * self.datagram as f64).sqrt()
    }

    fn begin_round(&mut self) {
        self.round_lost = 0;
        self.round_losses = 0;
        self.round_delivered_from = self.sampler.delivered;
        self.rate_latest = 0.0;
        self.delivered_latest = 0;
    }

    /// A round lost too much though nothing was probed: somebody else came, or the line became slower.
    fn lower_bounds(&mut self) {
        if matches!(self.mode, Mode::Startup | Mode::Refill | Mode::Up) {
            return;
        }
        let (rate, most) = (self.rate(), self.most_now.min(self.allowed));
        self.rate_now = self.rate_latest.max(rate * BETA);
        self.most_now = self.delivered_latest.max((most as f64 * BETA) as u64);
    }

    fn forget_bounds(&mut self) {
        self.rate_now = f64::INFINITY;
        self.most_now = UNBOUNDED;
    }

    fn learn(&mut self, now: Instant, sample: &Sample) {
        let expired = self.least_rtt.is_old(now);
        self.least_rtt.add(now, sample.rtt);
        // Whoever was idle had no queue.
        if expired && !self.restarted && !matches!(self.mode, Mode::ProbeRtt { .. }) {
            self.before_probe_rtt = self.allowed;
            self.mode = Mode::ProbeRtt { until: None };
        }
        // Over a quarter of what is under way, about.
        let weight = sample.acked as f64 / (sample.acked as f64 + self.sampler.in_flight as f64 / 4.0);
        let mean = self.mean_rtt.unwrap_or(sample.mean_rtt).as_secs_f64();
        self.mean_rtt = Some(Duration::from_secs_f64(mean + (sample.mean_rtt.as_secs_f64() - mean) * weight));

        let least = self.least_rtt.get().unwrap_or_default();
        if let Some(rate) = sample.rate.filter(|rate| !sample.limited || *rate > self.rate.max()) {
            // A sample over less than a round trip tells of bursts, not of the line.
            if Duration::from_secs_f64(sample.delivered as f64 / rate) >= least {
                self.rate.add(rate);
            }
        }
        let starts = self.round_starts && self.full;
        self.aggregation.add(now, sample.acked, self.rate(), self.allowed, starts);
        self.learn_of_probe(sample);
    }

    /// What the samples of a probe say comes a round after it began, and lasts for a round after it ended.
    fn learn_of_probe(&mut self, sample: &Sample) {
        match self.telling {
            Telling::ProbeBegan if self.round_starts => self.telling = Telling::Probe,
            Telling::ProbeEnded if self.round_starts => {
                self.probing = false;
                self.telling = Telling::Nothing;
                if !sample.limited {
                    self.rate.advance();
                }
            }
            _ => {}
        }
        if self.most == UNBOUNDED || self.is_too_much(sample.lost, sample.sent_in_flight, PROBE_DOUBT) {
            return;
        }
        self.most = self.most.max(sample.sent_in_flight);
        if self.mode == Mode::Up {
            self.raise_most(sample.acked);
        }
    }

    /// While the bound is used up without loss, it grows, by one datagram in the first round, two in the second, four in the third.
    fn raise_most(&mut self, acked: u64) {
        if self.round_starts {
            self.up_rounds = (self.up_rounds + 1).min(30);
        }
        if self.at_bound {
            let step = (self.datagram << self.up_rounds).min(self.allowed);
            self.most += (acked as f64 * step as f64 / self.allowed as f64) as u64;
        }
    }

    /// A probe lost too much.
    fn too_much(&mut self, now: Instant, lost: &Lost) {
        self.probing = false;
        if !lost.limited {
            self.most = lost.sent_in_flight.max((self.target() as f64 * BETA) as u64);
        }
        if self.mode == Mode::Up {
            self.lossy_probes = (self.lossy_probes + 1).min(MOST_LOSSY_PROBES);
            self.go_down(now);
        }
    }

    fn check_full(&mut self, sample: &Sample) {
        if self.full_now || !self.round_starts || sample.limited {
            return;
        }
        if sample.rate.is_some_and(|rate| rate >= self.full_rate * GROWTH) {
            self.full_rate = sample.rate.unwrap_or_default();
            self.full_rounds = 0;
            return;
        }
        self.full_rounds += 1;
        self.full_now = self.full_rounds >= FULL_ROUNDS;
        self.full |= self.full_now;
    }

    fn look_for_growth_from(&mut self, rate: f64) {
        self.full_now = false;
        self.full_rate = rate;
        self.full_rounds = 0;
    }

    fn move_on(&mut self, now: Instant, sample: &Sample) {
        let in_flight = self.sampler.in_flight;
        match self.mode {
            Mode::Startup => {
                if self.round_starts && self.round_losses >= STARTUP_LOSSES && self.round_lost_too_much() {
                    self.drain();
                } else if self.full {
                    self.mode = Mode::Drain;
                }
            }
            Mode::Drain if in_flight <= self.holds(1.0) => self.go_down(now),
            Mode::Down | Mode::Cruise if self.is_time_to_probe(now) => {
                self.forget_bounds();
                self.up_rounds = 0;
                self.mode = Mode::Refill;
                self.round_ends = self.sampler.delivered;
            }
            Mode::Down if in_flight <= self.holds(1.0).min(self.with_headroom()) => self.mode = Mode::Cruise,
            Mode::Refill if self.round_starts => {
                self.probing = true;
                self.telling = Telling::ProbeBegan;
                self.cycle_began = now;
                self.look_for_growth_from(sample.rate.unwrap_or_default());
                self.mode = Mode::Up;
                self.round_ends = self.sampler.delivered;
            }
            Mode::Up if self.at_bound => {
                self.look_for_growth_from(sample.rate.unwrap_or_default());
            }
            Mode::Up if self.full_now => {
                self.lossy_probes = 0;
                self.go_down(now);
            }
            Mode::ProbeRtt { until } => self.probe_rtt(now, until),
            _ => {}
        }
    }

    fn probe_rtt(&mut self, now: Instant, until: Option<Instant>) {
        match until {
            None if self.sampler.in_flight <= self.probe_rtt_window() => {
                self.mode = Mode::ProbeRtt { until: Some(now + PROBE_RTT.max(self.mean_rtt.unwrap_or_default())) };
            }
            Some(until) if now >= until => {
                self.least_rtt.refresh(now);
                self.allowed = self.allowed.max(self.before_probe_rtt);
                self.forget_bounds();
                if self.full {
                    self.go_down(now);
                    self.mode = Mode::Cruise;
                } else {
                    self.mode = Mode::Startup;
                }
            }
            _ => {}
        }
    }

    fn go_down(&mut self, now: Instant) {
        self.mode = Mode::Down;
        self.telling = Telling::ProbeEnded;
        self.cycle_began = now;
        self.round_ends = self.sampler.delivered;
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.probe_wait = PROBE_WAIT + Duration::from_millis((self.random >> 33) % 1000);
        self.rounds_since_probe = (self.random >> 32) & 1;
    }

    fn is_time_to_probe(&self, now: Instant) -> bool {
        let (wait, rounds) = (self.probe_wait * (1 << self.lossy_probes), PROBE_ROUNDS << self.lossy_probes);
        let reno_rounds = (self.target() / self.datagram.max(1)).min(rounds);
        now.saturating_duration_since(self.cycle_began) > wait || self.rounds_since_probe >= reno_rounds
    }
}
