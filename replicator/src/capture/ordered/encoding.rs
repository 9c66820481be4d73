//! Operations one after the other, as a stream carries and keeps them: of each the root (little-endian `u16`), its length (`u32`), and itself in
//! `postcard`.

use postcard::ser_flavors::Flavor;
use standin_common::id::RootIndex;
use standin_common::stream::MAX_OPERATION_LEN;

use super::Operation;

const HEAD_LEN: usize = size_of::<u16>() + size_of::<u32>();

/// Why bytes are not operations, or an operation cannot be written as them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOperations {
    /// It ends within one.
    #[error("an operation is cut off")]
    Short,
    /// It is over [`MAX_OPERATION_LEN`].
    #[error("an operation of {0} bytes is longer than the {MAX_OPERATION_LEN} allowed")]
    Long(usize),
    /// It is none.
    #[error("what should be an operation is none")]
    Unknown,
}

/// One operation among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// The root.
    pub root: RootIndex,
    /// The operation.
    pub operation: Operation<'a>,
}

/// Appends bytes as a whole; `postcard::to_extend` takes them one by one, which a write of a megabyte feels.
struct Appended(Vec<u8>);

impl Flavor for Appended {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// Appends an operation to `out`; of one that cannot be, nothing.
pub fn encode(root: RootIndex, operation: &Operation<'_>, out: &mut Vec<u8>) -> Result<(), NotOperations> {
    let start = out.len();
    out.extend_from_slice(&root.0.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let mut written =
        postcard::serialize_with_flavor(operation, Appended(std::mem::take(out))).map_err(|_| NotOperations::Unknown)?;
    let len = written.len() - start - HEAD_LEN;
    if len > MAX_OPERATION_LEN {
        written.truncate(start);
        *out = written;
        return Err(NotOperations::Long(len));
    }
    written[start + 2..start + HEAD_LEN].copy_from_slice(&(len as u32).to_le_bytes());
    *out = written;
    Ok(())
}

/// The operations of `bytes`; ends after the first that is none.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = Result<Encoded<'_>, NotOperations>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.take().filter(|bytes| !bytes.is_empty())?;
        Some(take(bytes).map(|(encoded, after)| {
            rest = Some(after);
            encoded
        }))
    })
}

fn take(bytes: &[u8]) -> Result<(Encoded<'_>, &[u8]), NotOperations> {
    let ([r0, r1, l0, l1, l2, l3], body) = bytes.split_first_chunk::<HEAD_LEN>().ok_or(NotOperations::Short)?;
    let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
    if len > MAX_OPERATION_LEN {
        return Err(NotOperations::Long(len));
    }
    let (body, after) = body.split_at_checked(len).ok_or(NotOperations::Short)?;
    let (operation, left) = postcard::take_from_bytes(body).map_err(|_| NotOperations::Unknown)?;
    if !left.is_empty() {
        return Err(NotOperations::Unknown);
    }
    Ok((Encoded { root: RootIndex(u16::from_le_bytes([*r0, *r1])), operation }, after))
}

#[cfg(test)]
mod tests {
    use super::super::ObjectId;
    use super::*;
    use proptest::prelude::*;
    use standin_common::entry::Time;

    #[test]
    fn they_are_read_as_they_were_written() {
        let object = ObjectId { inode: 7, handle: 9 };
        let data = [5; 3000];
        let all = [
            Operation::Root { object },
            Operation::Write { object, offset: 1 << 40, data: &data, modified: Time { secs: -3, nanos: 9 } },
            Operation::SetXattr { object, name: b"user.x", value: b"" },
        ];
        let mut bytes = Vec::new();
        for operation in &all {
            encode(RootIndex(2), operation, &mut bytes).unwrap();
        }
        let read: Vec<_> = decode(&bytes).map(Result::unwrap).collect();
        assert_eq!(read, all.map(|operation| Encoded { root: RootIndex(2), operation }));
        // What a file has is where it is in the bytes, not a copy.
        let Operation::Write { data, .. } = read[1].operation else { panic!() };
        assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
        let long = vec![0; MAX_OPERATION_LEN];
        let len = bytes.len();
        let written = encode(RootIndex(0), &Operation::SetXattr { object, name: b"user.x", value: &long }, &mut bytes);
        assert!(matches!(written, Err(NotOperations::Long(_))));
        assert_eq!(bytes.len(), len);
        assert_eq!(decode(&bytes[..len - 1]).last(), Some(Err(NotOperations::Short)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes).for_each(drop);
        }
    }
}
