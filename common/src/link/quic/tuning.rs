//! QUIC's settings, by measurement.

use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::RandomConnectionIdGenerator;

use super::congestion::Bounds;
use super::window::{MAX_WINDOW, MIN_WINDOW, STREAM_WINDOW};
use crate::identity::Identity;

/// Largest datagram that is tried, in bytes. quinn hands ten of them to the kernel in one call, which takes 64 KiB at most: with more
/// (tried: 8952, for jumbo frames) such calls fail, what was in them is lost, and the path is taken for one of 1200 bytes. A path that
/// takes 1500 bytes settles at that within a second.
const MAX_DATAGRAM: u16 = 6500;
/// What may be under way before anything is known of the path but its round-trip time, over which it is spread, in bytes. With QUIC's
/// 14,720 a line of 100 Mbit/s and 80 ms is full after seven round trips, with this after two. A line that holds less loses what its
/// queue does not take, once.
pub(super) const INITIAL_WINDOW: u64 = 45 * MAX_DATAGRAM as u64;
/// How far below the largest datagram of the path the search for it may end, in bytes.
const DATAGRAM_STEP: u16 = 4;
/// After so long a path that seemed not to take large datagrams any more is tried again with them. quinn also takes a path for such a one
/// that was merely full for a moment, and has a minute, of which each packet is smaller by a sixth; the search costs some packets.
const TRY_LARGE_AGAIN: Duration = Duration::from_secs(2);
/// How many datagrams are acknowledged with one (draft-ietf-quic-ack-frequency), besides what time asks for: on a line of 1500-byte
/// datagrams this saves the sender a third of its work.
const ACKNOWLEDGE_EACH: VarInt = VarInt::from_u32(8);
/// How often something is sent when there is nothing to send.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long a silent peer is waited for, in milliseconds. quinn waits three probe time-outs at least, so a line whose queues are
/// longer than that is not given up.
const IDLE_MS: u32 = 5_000;
/// The least that may wait to be sent and acknowledged, in bytes.
const MIN_SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// What the time to the peer and back is taken for before it is known. RFC 9002 has 333 ms, by which a peer that comes up while it is
/// dialled is met a second later, or three.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Bytes of a connection's id, which is in each packet: enough to tell apart those of a node's peers, now and before its restart. quinn's
/// eight would let it see without a table which ids are not its own, and take a quarter of a percent of a line of 1500-byte datagrams.
const ID_LEN: usize = 4;
/// Streams that a peer may have open at a time.
const MAX_STREAMS: u32 = 128;

pub(super) fn transport() -> Arc<TransportConfig> {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_DATAGRAM).minimum_change(DATAGRAM_STEP).black_hole_cooldown(TRY_LARGE_AGAIN);
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(ACKNOWLEDGE_EACH);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
        // The welcome, see `accept`.
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(window(STREAM_WINDOW))
        .receive_window(window(MIN_WINDOW))
        .send_window(send_window(0))
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(Bounds { initial_window: INITIAL_WINDOW }))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// An endpoint that tells peers of connections from before its restart at once that these are gone (RFC 9000, 10.3), because what
/// proves that it is the same node comes from its key.
pub(super) fn endpoint(identity: &Identity) -> EndpointConfig {
    let reset_key = identity.derive("standin 2026 quic stateless reset");
    let mut config = EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset_key)));
    config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID_LEN)));
    // Within the bounds that the function checks (1200 to 65527), so that there is no error to pass on.
    let _ = config.max_udp_payload_size(MAX_DATAGRAM);
    config
}

/// How much may wait to be sent and acknowledged when so many bytes may be under way: enough to send on during a round trip, not more,
/// for it is memory, and what is urgent waits for a place in it.
pub(super) fn send_window(under_way: u64) -> u64 {
    (3 * under_way.min(MAX_WINDOW)).next_power_of_two().clamp(MIN_SEND_WINDOW, MAX_WINDOW)
}

/// A window as QUIC writes it.
pub(super) fn window(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}
