//! How the data of one file changes over many writes: of what is written several times to one place, the last counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standin_common::message::Encoding;

use crate::journal::Op;

/// Where bytes of a file come from: a log, a place in it, and how far behind that; what a place is, who reads it says. `None` are zeros.
pub(super) type Source = Option<(u64, u64, u64)>;

/// Bytes up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub end: u64,
    pub source: Source,
}

/// How a file's data changes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Data {
    /// The smallest size it ever gets: what was beyond is lost.
    pub cut: Option<u64>,
    /// Its size at the end.
    pub len: Option<u64>,
    pub pieces: BTreeMap<u64, Piece>,
}

impl Data {
    /// Bytes of `start..end` come from there now.
    pub(super) fn lay(&mut self, start: u64, end: u64, source: Source) {
        if start < end {
            self.clear(start, end);
            self.pieces.insert(start, Piece { end, source });
        }
    }

    /// Forgets what was laid in `start..end`, and keeps what reaches out of it.
    fn clear(&mut self, start: u64, end: u64) {
        let before = self.pieces.range(..start).next_back().filter(|(_, piece)| piece.end > start).map(|(at, _)| *at);
        let inside: Vec<u64> = before.into_iter().chain(self.pieces.range(start..end).map(|(at, _)| *at)).collect();
        for at in inside {
            let Some(piece) = self.pieces.remove(&at) else { continue };
            if at < start {
                self.pieces.insert(at, Piece { end: start, ..piece });
            }
            if piece.end > end {
                let source = piece.source.map(|(inverse, record, skip)| (inverse, record, skip + (end - at)));
                self.pieces.insert(end, Piece { end: piece.end, source });
            }
        }
    }

    /// The file is given this size.
    pub(super) fn resize(&mut self, len: u64) {
        self.clear(len, u64::MAX);
        self.cut = Some(self.cut.map_or(len, |cut| cut.min(len)));
        self.len = Some(len);
    }

    /// Whether nothing changes.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The operations that change the data so, in their order.
    pub(super) fn ops(&self) -> Vec<(Op, Source)> {
        let cut = self.cut.filter(|cut| Some(*cut) != self.len).map(|len| (Op::Resize { len }, None));
        let pieces = self.pieces.iter().map(|(start, piece)| match piece.source {
            Some(_) => {
                let op = Op::Write { offset: *start, len: (piece.end - start) as u32, encoding: Encoding::Plain };
                (op, piece.source)
            }
            None => (Op::Punch { start: *start, end: piece.end }, None),
        });
        cut.into_iter().chain(pieces).chain(self.len.map(|len| (Op::Resize { len }, None))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        Write(u64, u64),
        Punch(u64, u64),
        Resize(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0..50_u64, 1..20_u64).prop_map(|(start, len)| Change::Write(start, start + len)),
            (0..50_u64, 1..20_u64).prop_map(|(start, len)| Change::Punch(start, start + len)),
            (0..60_u64).prop_map(Change::Resize),
        ]
    }

    fn put(file: &mut Vec<u8>, start: u64, data: &[u8]) {
        let end = start as usize + data.len();
        file.resize(file.len().max(end), 0);
        file[start as usize..end].copy_from_slice(data);
    }

    proptest! {
        #[test]
        fn the_data_is_what_all_changes_make_it(changes in proptest::collection::vec(change(), 1..12), size in 0..60_usize, end in 1..60_u64) {
            let mut expected = vec![b'o'; size];
            let mut data = Data::default();
            let payload = |record: usize| (0..20).map(|at| (record * 20 + at) as u8 | 1).collect::<Vec<u8>>();
            // Whatever writes beyond the end is followed by a size in every inverse.
            for (record, change) in changes.iter().chain([&Change::Resize(end)]).enumerate() {
                match *change {
                    Change::Write(start, end) => {
                        put(&mut expected, start, &payload(record)[..(end - start) as usize]);
                        data.lay(start, end, Some((0, record as u64, 0)));
                    }
                    Change::Punch(start, end) => {
                        put(&mut expected, start, &vec![0; (end - start) as usize]);
                        data.lay(start, end, None);
                    }
                    Change::Resize(len) => {
                        expected.resize(len as usize, 0);
                        data.resize(len);
                    }
                }
            }
            let mut found = vec![b'o'; size];
            for (op, source) in data.ops() {
                match (op, source) {
                    (Op::Write { offset, len, .. }, Some((_, record, skip))) => {
                        let skip = skip as usize;
                        put(&mut found, offset, &payload(record as usize)[skip..skip + len as usize]);
                    }
                    (Op::Punch { start, end }, None) => put(&mut found, start, &vec![0; (end - start) as usize]),
                    (Op::Resize { len }, None) => found.resize(len as usize, 0),
                    other => panic!("{other:?}"),
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
