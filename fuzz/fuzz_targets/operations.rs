//! A stream's operations as a source sends them and a log keeps them: whatever the bytes are, reading ends, and what is read can be written and
//! read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use standin_replicator::capture::ordered::{decode, encode};

fuzz_target!(|input: &[u8]| {
    let mut again = Vec::new();
    let mut count = 0;
    for encoded in decode(input) {
        let Ok(encoded) = encoded else { break };
        encode(encoded.root, &encoded.operation, &mut again).expect("what was read can be written");
        count += 1;
    }
    let read: Vec<_> = decode(&again).map(|encoded| encoded.expect("what was written can be read")).collect();
    assert_eq!(read.len(), count);
    assert!(decode(input).zip(&read).all(|(one, other)| one.as_ref() == Ok(other)));
});
