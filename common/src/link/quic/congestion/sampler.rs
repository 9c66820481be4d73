//! What acknowledgements tell of a line: how fast it delivers, how long that takes, how much it loses (draft-ietf-ccwg-bbr, 4.1).
//!
//! A record is kept of each moment in which something was sent. What was delivered between then and its acknowledgement, by the time
//! that took, is a sample of the rate. quinn names a packet by the moment in which it was sent, so that is the key.
//!
//! Without I/O and clock. Told of everything sent, acknowledged and lost, it answers once for each batch of acknowledgements.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Records are kept for so many round trips, for what is acknowledged late or lost.
const KEPT_ROUNDS: u32 = 8;
/// And at least so long: a side that sends acknowledgements only hears nothing about them.
const KEPT: Duration = Duration::from_millis(200);

/// What was sent in one moment, and how things stood then.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_at: Instant,
    lost: u64,
    in_flight: u64,
    limited: bool,
}

/// What a batch of acknowledgements tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Bytes a second, if the batch tells.
    pub(super) rate: Option<f64>,
    /// Bytes that were delivered in the time of the sample.
    pub(super) delivered: u64,
    /// What had been delivered in all when the newest packet of the batch was sent.
    pub(super) prior_delivered: u64,
    /// Bytes that were taken for lost since that packet was sent.
    pub(super) lost: u64,
    /// Bytes under way when that packet had been sent.
    pub(super) sent_in_flight: u64,
    /// Whether the sender could have sent more and had nothing: the line may be faster than the rate.
    pub(super) limited: bool,
    /// Bytes acknowledged by the batch.
    pub(super) acked: u64,
    /// The round-trip time of the newest packet.
    pub(super) rtt: Duration,
    /// The mean round-trip time of all packets of the batch: that of the newest, and what the peer waited for more to acknowledge.
    pub(super) mean_rtt: Duration,
}

/// What is known of a lost packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    /// Bytes taken for lost since it was sent, itself included.
    pub(super) lost: u64,
    /// Bytes under way when it had been sent.
    pub(super) sent_in_flight: u64,
    /// Whether the sender had nothing more to send then.
    pub(super) limited: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Sampler {
    sent: VecDeque<Sent>,
    /// Bytes delivered in all, and when the last of them were.
    pub(super) delivered: u64,
    delivered_at: Instant,
    /// When the newest packet that was delivered had been sent.
    first_at: Instant,
    /// Bytes lost in all.
    pub(super) lost: u64,
    /// Bytes under way.
    pub(super) in_flight: u64,
    /// Until so much is delivered, the sender was short of data.
    limited_until: Option<u64>,
    batch: Batch,
}

/// Acknowledgements that came together.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    newest: Option<Sent>,
    acked: u64,
    /// Sum of bytes × seconds.
    waited: f64,
}

impl Sampler {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            sent: VecDeque::new(),
            delivered: 0,
            delivered_at: now,
            first_at: now,
            lost: 0,
            in_flight: 0,
            limited_until: None,
            batch: Batch::default(),
        }
    }

    /// Something was sent. Records older than a few of these round trips are dropped.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, rtt: Duration) {
        if self.in_flight == 0 {
            self.first_at = now;
            self.delivered_at = now;
        }
        self.in_flight += bytes;
        match self.sent.back_mut() {
            Some(last) if last.at >= now => last.in_flight = self.in_flight,
            _ => self.sent.push_back(Sent {
                at: now,
                delivered: self.delivered,
                delivered_at: self.delivered_at,
                first_at: self.first_at,
                lost: self.lost,
                in_flight: self.in_flight,
                limited: self.limited_until.is_some_and(|until| self.delivered <= until),
            }),
        }
        let keep = KEPT.max(rtt * KEPT_ROUNDS);
        while self.sent.front().is_some_and(|first| now.saturating_duration_since(first.at) > keep) {
            self.sent.pop_front();
        }
    }

    /// A packet of a batch was acknowledged.
    pub(super) fn on_acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.delivered += bytes;
        self.batch.acked += bytes;
        self.batch.waited += bytes as f64 * now.saturating_duration_since(sent).as_secs_f64();
        if self.batch.newest.is_none_or(|newest| newest.at < sent) {
            self.batch.newest = self.record(sent).or(self.batch.newest);
        }
    }

    /// The batch is complete: so much is under way now, and the sender has or has not more to send.
    pub(super) fn on_batch(&mut self, now: Instant, in_flight: u64, short_of_data: bool) -> Option<Sample> {
        let batch = std::mem::take(&mut self.batch);
        self.in_flight = in_flight;
        if self.limited_until.is_some_and(|until| self.delivered > until) {
            self.limited_until = None;
        }
        if short_of_data {
            self.limited_until = Some(self.delivered + in_flight);
        }
        if batch.acked > 0 {
            self.delivered_at = now;
        }
        let newest = batch.newest?;
        self.first_at = self.first_at.max(newest.at);
        let delivered = self.delivered - newest.delivered;
        let interval =
            newest.at.saturating_duration_since(newest.first_at).max(now.saturating_duration_since(newest.delivered_at));
        Some(Sample {
            rate: (!interval.is_zero()).then(|| delivered as f64 / interval.as_secs_f64()),
            delivered,
            prior_delivered: newest.delivered,
            lost: self.lost - newest.lost,
            sent_in_flight: newest.in_flight,
            limited: newest.limited,
            acked: batch.acked,
            rtt: now.saturating_duration_since(newest.at),
            mean_rtt: Duration::from_secs_f64(batch.waited / batch.acked as f64),
        })
    }

    /// Packets are taken for lost, the newest of them sent then.
    pub(super) fn on_lost(&mut self, sent: Instant, bytes: u64) -> Option<Lost> {
        self.lost += bytes;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        let record = self.record(sent)?;
        Some(Lost { lost: self.lost - record.lost, sent_in_flight: record.in_flight, limited: record.limited })
    }

    fn record(&self, sent: Instant) -> Option<Sent> {
        let at = self.sent.binary_search_by_key(&sent, |record| record.at).ok()?;
        self.sent.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn the_rate_is_what_was_delivered_in_a_round_trip() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut sampler = Sampler::new(start);
        let mut samples = Vec::new();
        // 1000 bytes each 10 ms, acknowledged 100 ms later.
        for step in 0..40 {
            if step >= 10 {
                sampler.on_acked(at(step * 10), at((step - 10) * 10), 1000);
                samples.extend(sampler.on_batch(at(step * 10), 9000, false));
            }
            sampler.on_sent(at(step * 10), 1000, RTT);
        }
        let last = samples.last().unwrap();
        assert!((last.rate.unwrap() - 100_000.0).abs() < 1.0, "{last:?}");
        assert_eq!((last.delivered, last.sent_in_flight, last.rtt, last.mean_rtt), (10_000, 10_000, RTT, RTT));
    }

    #[test]
    fn what_was_sent_when_data_was_short_says_so_and_old_records_go() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut sampler = Sampler::new(start);
        sampler.on_sent(at(0), 1000, RTT);
        sampler.on_acked(at(100), at(0), 1000);
        assert!(!sampler.on_batch(at(100), 0, true).unwrap().limited);
        sampler.on_sent(at(200), 1000, RTT);
        sampler.on_acked(at(300), at(200), 1000);
        assert!(sampler.on_batch(at(300), 0, false).unwrap().limited);
        sampler.on_sent(at(400), 1000, RTT);
        let lost = sampler.on_lost(at(400), 1000).unwrap();
        assert_eq!((lost.lost, lost.sent_in_flight, lost.limited), (1000, 1000, false));
        sampler.on_sent(at(2000), 1000, RTT);
        assert!(sampler.on_lost(at(400), 0).is_none());
        assert_eq!(sampler.sent.len(), 1);
    }
}
