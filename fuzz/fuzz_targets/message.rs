//! Every message of the wire: any bytes are a message or an error, and a message survives being written and read again.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use standin_common::codec::{decode_header, encode_header};
use standin_common::entry::Entry;
use standin_common::message::{FromSource, FromStandby, HelloAnswer, LaneDown, LaneUp, MirrorAnswer, Opening, SetAnswer};

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = decode_header::<T>(bytes) else { return };
    let again = encode_header(&message).expect("what was read can be written");
    assert!(again.len() <= bytes.len(), "a number has no shorter encoding than the one written");
    assert_eq!(decode_header::<T>(&again).expect("what was written can be read"), message);
}

/// No path that leaves its root comes out of a decoder.
fn check_paths(bytes: &[u8]) {
    if let Ok(FromSource::Entries { entries, .. }) = decode_header(bytes) {
        for component in entries.iter().flat_map(|entry: &Entry| entry.path.components()) {
            assert!(
                !component.is_empty()
                    && component != b"."
                    && component != b".."
                    && !component.contains(&b'/')
                    && !component.contains(&0)
            );
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => check::<Opening>(bytes),
        1 => check::<HelloAnswer>(bytes),
        2 => check::<SetAnswer>(bytes),
        3 => check::<MirrorAnswer>(bytes),
        4 => check::<FromStandby>(bytes),
        5 => check::<LaneDown>(bytes),
        6 => check::<LaneUp>(bytes),
        _ => {
            check::<FromSource>(bytes);
            check_paths(bytes);
        }
    }
});
