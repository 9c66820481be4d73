//! Frames of a stream: any bytes are a row of frames, then an error or an incomplete one; what was read is what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use standin_common::codec::{HEAD_LEN, MAX_HEADER_LEN, MAX_PAYLOAD_LEN, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(frame)) = decode(rest) {
        assert!(frame.header.len() <= MAX_HEADER_LEN && frame.payload.len() <= MAX_PAYLOAD_LEN);
        assert_eq!(frame.frame_len, HEAD_LEN + frame.header.len() + frame.payload.len());
        let mut again = Vec::new();
        encode(frame.header, frame.payload, &mut again).expect("what was read is within bounds");
        assert_eq!(again, rest[..frame.frame_len]);
        // No shorter piece is a frame, and none is an error.
        assert_eq!(decode(&rest[..frame.frame_len - 1]), Ok(None));
        rest = &rest[frame.frame_len..];
    }
});
