//! What the model makes of the window.

use super::{Bbr, Mode, UNBOUNDED};
use crate::link::quic::congestion::sampler::Sample;

/// What cruising leaves free for others, of the most that may be under way.
const HEADROOM: f64 = 0.15;
/// The window in multiples of what the line holds.
const WINDOW_GAIN: f64 = 2.0;
const UP_WINDOW_GAIN: f64 = 2.25;
const PROBE_RTT_WINDOW_GAIN: f64 = 0.5;
/// The rate in multiples of the line's.
const DRAIN_GAIN: f64 = 0.5;
const DOWN_GAIN: f64 = 0.9;
const UP_GAIN: f64 = 1.25;
/// What is kept below the line's rate, so that queues rather shrink than grow.
const MARGIN: f64 = 0.995;
/// What processors and timers need under way besides what the line holds, as time and in bytes.
const HOST_DELAY: f64 = 0.002;
const MOST_HOST_BYTES: f64 = 2e6;
/// The least window, in datagrams: twice what the peer gathers before it acknowledges (`ACKNOWLEDGE_EACH`), and some.
const LEAST_DATAGRAMS: u64 = 20;

impl Bbr {
    /// Bytes that the line holds, times `gain`; what is known at the beginning if nothing is.
    pub(super) fn holds(&self, gain: f64) -> u64 {
        match self.least_rtt.get() {
            Some(rtt) if self.rate.max() > 0.0 => ((gain * self.rate() * rtt.as_secs_f64()) as u64).max(self.least_window()),
            _ => self.window,
        }
    }

    pub(super) fn target(&self) -> u64 {
        self.holds(1.0).min(self.allowed)
    }

    pub(super) fn with_headroom(&self) -> u64 {
        if self.most == UNBOUNDED { UNBOUNDED } else { ((self.most as f64 * (1.0 - HEADROOM)) as u64).max(self.least_window()) }
    }

    pub(super) fn least_window(&self) -> u64 {
        LEAST_DATAGRAMS * self.datagram
    }

    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.holds(PROBE_RTT_WINDOW_GAIN)
    }

    pub(super) fn set_window(&mut self, sample: &Sample) {
        let gain = if self.mode == Mode::Up { UP_WINDOW_GAIN } else { WINDOW_GAIN };
        let for_host = (self.rate() * HOST_DELAY).min(MOST_HOST_BYTES) as u64;
        let useful = self.holds(gain) + self.aggregation.bytes() + for_host;
        if self.full {
            self.allowed = (self.allowed + sample.acked).min(useful);
        } else if self.allowed < useful.max(self.by_first_window()) {
            self.allowed += sample.acked;
        }
        let bound = match self.mode {
            Mode::Startup | Mode::Drain => UNBOUNDED,
            Mode::Down | Mode::Refill | Mode::Up => self.most,
            Mode::Cruise => self.with_headroom(),
            Mode::ProbeRtt { .. } => self.with_headroom().min(self.probe_rtt_window()),
        };
        self.allowed = self.allowed.min(bound.min(self.most_now)).max(self.least_window());
        self.window = self.allowed.min(self.for_rate()).max(self.least_window());
    }

    /// The window by what came through of the first one since the sender was idle: until all of that did, its rate says nothing.
    fn by_first_window(&self) -> u64 {
        let delivered = self.sampler.delivered - self.busy_from;
        if delivered <= self.first_window { self.first_window + delivered } else { 0 }
    }

    /// The window that makes the rate.
    pub(super) fn for_rate(&self) -> u64 {
        let gain = match self.mode {
            Mode::Startup => return UNBOUNDED,
            Mode::Drain => DRAIN_GAIN,
            Mode::Down => DOWN_GAIN,
            Mode::Up => UP_GAIN,
            Mode::Cruise | Mode::Refill | Mode::ProbeRtt { .. } => 1.0,
        };
        (gain * MARGIN * self.rate() * self.mean_rtt.unwrap_or_default().as_secs_f64()) as u64
    }
}
