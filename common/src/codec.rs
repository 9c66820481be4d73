//! Framing, without I/O: what a stream carries is a row of frames, each `[u32 le header_len][u32 le payload_len][header][payload]`.
//!
//! The header is one `postcard` value (<https://postcard.jamesmunns.com/wire-format>); the payload is bulk data, never parsed here.
//! A reader takes [`HEAD_LEN`] bytes, makes a [`Head`] of them, which proves both lengths, and only then makes room for the rest.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Length of the two lengths before each frame, in bytes.
pub const HEAD_LEN: usize = 8;
/// Longest header, in bytes.
pub const MAX_HEADER_LEN: usize = 1024 * 1024;
/// Longest payload, in bytes: 4 MiB of data, and what an encoding may add to data that does not shrink.
pub const MAX_PAYLOAD_LEN: usize = 4 * 1024 * 1024 + 64 * 1024;

/// Why bytes are not a frame, or a frame cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A header over [`MAX_HEADER_LEN`].
    #[error("a frame's header of {0} bytes is longer than the {MAX_HEADER_LEN} allowed")]
    LongHeader(usize),
    /// A payload over [`MAX_PAYLOAD_LEN`].
    #[error("a frame's payload of {0} bytes is longer than the {MAX_PAYLOAD_LEN} allowed")]
    LongPayload(usize),
    /// The header is not the value that was expected.
    #[error("a frame's header cannot be read: {0}")]
    Header(postcard::Error),
    /// The header has more bytes than its value.
    #[error("a frame's header has {0} bytes after its value")]
    Trailing(usize),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
}

/// The two lengths of a frame, proven to be within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    header_len: usize,
    payload_len: usize,
}

impl Head {
    /// The head of a frame to be sent; lengths in bytes.
    pub fn new(header_len: usize, payload_len: usize) -> Result<Self, CodecError> {
        if header_len > MAX_HEADER_LEN {
            return Err(CodecError::LongHeader(header_len));
        }
        if payload_len > MAX_PAYLOAD_LEN {
            return Err(CodecError::LongPayload(payload_len));
        }
        Ok(Self { header_len, payload_len })
    }

    /// Reads a head as it came.
    pub fn parse(bytes: [u8; HEAD_LEN]) -> Result<Self, CodecError> {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self::new(length(u32::from_le_bytes([a, b, c, d])), length(u32::from_le_bytes([e, f, g, h])))
    }

    /// The head as it is sent.
    pub fn to_bytes(self) -> [u8; HEAD_LEN] {
        // Both bounds are far below u32::MAX, so nothing is cut off.
        let [a, b, c, d] = (self.header_len as u32).to_le_bytes();
        let [e, f, g, h] = (self.payload_len as u32).to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// Bytes of the header, at most [`MAX_HEADER_LEN`].
    pub fn header_len(self) -> usize {
        self.header_len
    }

    /// Bytes of the payload, at most [`MAX_PAYLOAD_LEN`].
    pub fn payload_len(self) -> usize {
        self.payload_len
    }

    /// Bytes of the whole frame with its head.
    pub fn frame_len(self) -> usize {
        HEAD_LEN + self.header_len + self.payload_len
    }
}

/// A length of the wire as a size; what does not fit is over every bound anyway.
fn length(wire: u32) -> usize {
    usize::try_from(wire).unwrap_or(usize::MAX)
}

/// Appends a whole frame to `out`.
pub fn encode(header: &[u8], payload: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let head = Head::new(header.len(), payload.len())?;
    out.reserve(head.frame_len());
    out.extend_from_slice(&head.to_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
    Ok(())
}

/// A frame found in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The header's bytes, see [`decode_header`].
    pub header: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// Bytes of the whole frame; what follows it in the buffer is the next one.
    pub frame_len: usize,
}

/// Takes one frame from the beginning of `bytes`. `None` while it is not all there.
pub fn decode(bytes: &[u8]) -> Result<Option<Decoded<'_>>, CodecError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return Ok(None);
    };
    let head = Head::parse(*head)?;
    let Some((header, rest)) = rest.split_at_checked(head.header_len) else {
        return Ok(None);
    };
    Ok(rest.get(..head.payload_len).map(|payload| Decoded { header, payload, frame_len: head.frame_len() }))
}

/// A header's bytes.
pub fn encode_header<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = postcard::to_stdvec(value).map_err(CodecError::Header)?;
    if bytes.len() > MAX_HEADER_LEN {
        return Err(CodecError::LongHeader(bytes.len()));
    }
    Ok(bytes)
}

/// A header's value. Bytes after it are refused: two readers must never see two things in one frame.
pub fn decode_header<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_HEADER_LEN {
        return Err(CodecError::LongHeader(bytes.len()));
    }
    match postcard::take_from_bytes(bytes).map_err(CodecError::Header)? {
        (value, []) => Ok(value),
        (_, rest) => Err(CodecError::Trailing(rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{FromSource, FromStandby, LaneDown, LaneUp, Opening};
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn lengths_over_their_bounds_are_refused_before_anything_is_read() {
        let mut head = [0xff; HEAD_LEN];
        assert_eq!(Head::parse(head), Err(CodecError::LongHeader(u32::MAX as usize)));
        head[..4].copy_from_slice(&0u32.to_le_bytes());
        assert_eq!(Head::parse(head), Err(CodecError::LongPayload(u32::MAX as usize)));
        assert!(Head::new(MAX_HEADER_LEN, MAX_PAYLOAD_LEN).is_ok());
        assert_eq!(Head::new(MAX_HEADER_LEN + 1, 0), Err(CodecError::LongHeader(MAX_HEADER_LEN + 1)));
        assert_eq!(Head::new(0, MAX_PAYLOAD_LEN + 1), Err(CodecError::LongPayload(MAX_PAYLOAD_LEN + 1)));
    }

    #[test]
    fn bytes_after_a_header_are_refused() {
        let mut bytes = encode_header(&(7u32, "seven".to_owned())).unwrap();
        assert_eq!(decode_header::<(u32, String)>(&bytes), Ok((7, "seven".to_owned())));
        bytes.push(0);
        assert_eq!(decode_header::<(u32, String)>(&bytes), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn a_claimed_length_makes_no_room() {
        // A list of 2^63 strings, in ten bytes: reading it must fail at once, not reserve.
        let claim = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x00];
        assert!(decode_header::<Vec<String>>(&claim).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(header in vec(any::<u8>(), 0..300), payload in vec(any::<u8>(), 0..3000), more in vec(any::<u8>(), 0..20)) {
            let mut bytes = Vec::new();
            encode(&header, &payload, &mut bytes).unwrap();
            let len = bytes.len();
            for cut in [0, 4, HEAD_LEN, len.saturating_sub(1)] {
                if cut < len {
                    prop_assert_eq!(decode(&bytes[..cut]), Ok(None));
                }
            }
            bytes.extend_from_slice(&more);
            prop_assert_eq!(decode(&bytes), Ok(Some(Decoded { header: &header, payload: &payload, frame_len: len })));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode_header::<Opening>(&bytes);
            let _ = decode_header::<FromSource>(&bytes);
            let _ = decode_header::<FromStandby>(&bytes);
            let _ = decode_header::<LaneDown>(&bytes);
            let _ = decode_header::<LaneUp>(&bytes);
        }
    }
}
