//! The standby's journal: whatever a crash left in the file, reading it ends, keeps what is whole and cuts the rest off.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use standin_replicator::journal::{Journal, Record, decode};
use standin_replicator::store::LogFile;

/// A log in memory.
struct MemoryLog(Vec<u8>);

impl LogFile for MemoryLog {
    fn append(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        pieces.iter().for_each(|piece| self.0.extend_from_slice(piece));
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).map_or(self.0.len(), |offset| offset.min(self.0.len()));
        let len = buffer.len().min(self.0.len() - start);
        buffer[..len].copy_from_slice(&self.0[start..start + len]);
        Ok(len)
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A record with right lengths and a right check around any header, which no fuzzer would find by itself.
fn sealed(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let check = blake3::Hasher::new().update(&bytes).update(header).update(payload).finalize();
    bytes.extend_from_slice(&check.as_bytes()[..8]);
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);
    let len = bytes.len() as u32 + 4;
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes
}

/// Records with any header; then a tail of any bytes.
fn journal_of(mut input: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for _ in 0..input.first().map_or(0, |count| count % 4) {
        let Some(([_, header_len, payload_len], rest)) = input.split_first_chunk() else { break };
        let (header, rest) = rest.split_at(rest.len().min(usize::from(*header_len)));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*payload_len)));
        file.extend_from_slice(&sealed(header, payload));
        input = rest;
    }
    file.extend_from_slice(input);
    file
}

fuzz_target!(|input: &[u8]| {
    let file = journal_of(input);
    if let Ok((record, payload, len)) = decode(&file) {
        let mut again = Journal::new(MemoryLog(Vec::new()));
        again.append(&record, &file[payload.clone()]).expect("what was read can be written");
        let placed = again.read(0).expect("what was written can be read").expect("a record was written");
        assert_eq!((&placed.record, placed.payload.as_slice()), (&record, &file[payload]));
        assert!(len <= file.len());
    }
    let mut journal = Journal::new(MemoryLog(file.clone()));
    let torn = journal.cut_torn_tail().expect("memory does not fail");
    assert_eq!(journal.len() + torn, file.len() as u64);
    let forward: Vec<Record> = journal.forward().map(|placed| placed.expect("the tail was cut off").record).collect();
    let mut backward: Vec<Record> = journal.backward().map(|placed| placed.expect("the tail was cut off").record).collect();
    backward.reverse();
    assert_eq!(forward, backward);
});
