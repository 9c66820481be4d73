//! A line that several senders share, simulated: a bounded queue, a rate, a delay, random loss. For tests.
//!
//! Senders do what quinn does: a window, bursts of ten packets spread over the round trip at 1.25 windows each, losses known by three
//! later packets or by time; the receiver acknowledges each eighth packet, a gap, and what waits for 25 ms.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

pub(super) const PACKET: u64 = 1450;
const GATHERED: usize = 8;
const ACK_DELAY: Duration = Duration::from_millis(25);
const CHECK: Duration = Duration::from_millis(5);

/// What decides about a window.
pub(super) trait Control {
    fn sent(&mut self, now: Instant, bytes: u64);
    fn acked(&mut self, now: Instant, sent: &[Instant], in_flight: u64);
    fn lost(&mut self, now: Instant, newest: Instant, bytes: u64);
    fn window(&self) -> u64;
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) bytes_per_sec: f64,
    pub(super) round_trip: Duration,
    pub(super) buffer: f64,
    pub(super) loss: f64,
}

impl Line {
    /// With a buffer of so many of what it holds.
    pub(super) fn of(mbits: f64, round_trip_ms: u64, buffers: f64, loss: f64) -> Self {
        let (bytes_per_sec, round_trip) = (mbits * 125_000.0, Duration::from_millis(round_trip_ms));
        Self { bytes_per_sec, round_trip, buffer: buffers * bytes_per_sec * round_trip.as_secs_f64(), loss }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// By the full queue.
    pub(super) overflowed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send(usize),
    Arrive(usize, u64),
    Waited(usize, u64),
    Acked(usize, usize),
    Check(usize),
}

struct Sender {
    control: Box<dyn Control>,
    next: u64,
    under_way: BTreeMap<u64, Instant>,
    largest_acked: Option<u64>,
    rtt: Duration,
    tokens: f64,
    refilled: Instant,
    wakes: Option<Instant>,
    gathered: Vec<u64>,
    expected: u64,
    acks: Vec<Vec<u64>>,
    counts: Counts,
}

pub(super) struct Simulation {
    pub(super) now: Instant,
    pub(super) line: Line,
    free_at: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    order: u64,
    senders: Vec<Sender>,
    random: u64,
}

impl Simulation {
    pub(super) fn new(line: Line, seed: u64) -> Self {
        println!("{line:?}, seed {seed}");
        let now = Instant::now();
        Self { now, line, free_at: now, events: BinaryHeap::new(), order: 0, senders: Vec::new(), random: seed | 1 }
    }

    /// A sender joins, always with something to send.
    pub(super) fn join(&mut self, control: impl FnOnce(Instant) -> Box<dyn Control>) -> usize {
        self.senders.push(Sender {
            control: control(self.now),
            next: 0,
            under_way: BTreeMap::new(),
            largest_acked: None,
            rtt: self.line.round_trip,
            tokens: 0.0,
            refilled: self.now,
            wakes: None,
            gathered: Vec::new(),
            expected: 0,
            acks: Vec::new(),
            counts: Counts::default(),
        });
        let sender = self.senders.len() - 1;
        self.at(self.now, Event::Send(sender));
        self.at(self.now + CHECK, Event::Check(sender));
        sender
    }

    /// Lets it run, and says what the senders did in that time.
    pub(super) fn run(&mut self, time: Duration) -> Vec<Counts> {
        let (until, before) = (self.now + time, self.counts());
        while let Some(Reverse((at, _, event))) = self.events.peek().copied()
            && at <= until
        {
            self.events.pop();
            self.now = at;
            self.happen(event);
        }
        self.now = until;
        let less = |(now, before): (Counts, Counts)| Counts {
            sent: now.sent - before.sent,
            delivered: now.delivered - before.delivered,
            overflowed: now.overflowed - before.overflowed,
        };
        self.counts().into_iter().zip(before).map(less).collect()
    }

    /// The share of the line of each sender in a run of this time.
    pub(super) fn shares(&mut self, time: Duration) -> Vec<f64> {
        let most = self.line.bytes_per_sec * time.as_secs_f64();
        self.run(time).iter().map(|counts| (counts.delivered * PACKET) as f64 / most).collect()
    }

    fn counts(&self) -> Vec<Counts> {
        self.senders.iter().map(|sender| sender.counts).collect()
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send(sender) => {
                self.senders[sender].wakes = None;
                self.send(sender);
            }
            Event::Arrive(sender, packet) => self.arrive(sender, packet),
            Event::Waited(sender, packet) if self.senders[sender].gathered.first() == Some(&packet) => self.acknowledge(sender),
            Event::Waited(..) => {}
            Event::Acked(sender, ack) => self.acked(sender, ack),
            Event::Check(sender) => {
                self.find_lost(sender, true);
                self.send(sender);
                self.at(self.now + CHECK, Event::Check(sender));
            }
        }
    }

    fn send(&mut self, index: usize) {
        let now = self.now;
        let mut packets = Vec::new();
        let sender = &mut self.senders[index];
        let window = sender.control.window() as f64;
        let capacity = (window * 0.002 / sender.rtt.as_secs_f64()).clamp(10.0 * PACKET as f64, 256.0 * PACKET as f64);
        let earned = window * 1.25 * (now - sender.refilled).as_secs_f64() / sender.rtt.as_secs_f64();
        sender.tokens = (sender.tokens + earned).min(capacity);
        sender.refilled = now;
        while ((sender.under_way.len() as u64 + 1) * PACKET) < sender.control.window() {
            if sender.tokens < PACKET as f64 {
                let wait = sender.rtt.mul_f64((capacity - sender.tokens) / (1.25 * window));
                if sender.wakes.is_none() {
                    sender.wakes = Some(now + wait);
                    self.at(now + wait, Event::Send(index));
                }
                break;
            }
            sender.tokens -= PACKET as f64;
            sender.under_way.insert(sender.next, now);
            packets.push(sender.next);
            sender.next += 1;
        }
        if !packets.is_empty() {
            self.senders[index].control.sent(now, packets.len() as u64 * PACKET);
        }
        packets.into_iter().for_each(|packet| self.transmit(index, packet));
    }

    fn transmit(&mut self, index: usize, packet: u64) {
        self.senders[index].counts.sent += 1;
        let waiting = self.free_at.saturating_duration_since(self.now).as_secs_f64() * self.line.bytes_per_sec;
        if waiting + PACKET as f64 > self.line.buffer.max(20.0 * PACKET as f64) {
            self.senders[index].counts.overflowed += 1;
            return;
        }
        self.free_at = self.free_at.max(self.now) + Duration::from_secs_f64(PACKET as f64 / self.line.bytes_per_sec);
        if self.chance() >= self.line.loss {
            self.at(self.free_at + self.line.round_trip / 2, Event::Arrive(index, packet));
        }
    }

    fn arrive(&mut self, index: usize, packet: u64) {
        let sender = &mut self.senders[index];
        sender.counts.delivered += 1;
        let gap = packet != sender.expected;
        sender.expected = packet + 1;
        sender.gathered.push(packet);
        if gap || sender.gathered.len() >= GATHERED {
            self.acknowledge(index);
        } else if sender.gathered.len() == 1 {
            self.at(self.now + ACK_DELAY, Event::Waited(index, packet));
        }
    }

    fn acknowledge(&mut self, index: usize) {
        let sender = &mut self.senders[index];
        sender.acks.push(std::mem::take(&mut sender.gathered));
        let ack = sender.acks.len() - 1;
        self.at(self.now + self.line.round_trip / 2, Event::Acked(index, ack));
    }

    fn acked(&mut self, index: usize, ack: usize) {
        let (now, sender) = (self.now, &mut self.senders[index]);
        let packets = std::mem::take(&mut sender.acks[ack]);
        let sent: Vec<Instant> = packets.iter().filter_map(|packet| sender.under_way.remove(packet)).collect();
        if let Some(last) = sent.last() {
            sender.rtt = sender.rtt.mul_f64(0.875) + (now - *last).mul_f64(0.125);
            sender.largest_acked = sender.largest_acked.max(packets.last().copied());
            sender.control.acked(now, &sent, sender.under_way.len() as u64 * PACKET);
        }
        self.find_lost(index, false);
        self.send(index);
    }

    fn find_lost(&mut self, index: usize, by_time: bool) {
        let (now, sender) = (self.now, &mut self.senders[index]);
        let Some(largest) = sender.largest_acked else { return };
        let old = if by_time { sender.rtt * 2 + ACK_DELAY * 2 } else { sender.rtt * 9 / 8 };
        let is_lost = |(packet, sent): &(&u64, &Instant)| {
            **packet + 3 <= largest || (now - **sent > old && (by_time || **packet < largest))
        };
        let lost: Vec<(u64, Instant)> =
            sender.under_way.iter().take_while(is_lost).map(|(packet, sent)| (*packet, *sent)).collect();
        lost.iter().for_each(|(packet, _)| {
            sender.under_way.remove(packet);
        });
        if let Some((_, newest)) = lost.last() {
            sender.control.lost(now, *newest, lost.len() as u64 * PACKET);
        }
    }
}
