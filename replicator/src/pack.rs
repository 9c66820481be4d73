//! Packing of data by zstd, only where it pays.

use std::io;

use standin_common::message::Encoding;

/// Bytes of the sample that tells whether data shrinks.
const SAMPLE_LEN: usize = 4096;
/// Shorter data is not worth the call.
const SHORTEST: usize = 256;

/// Packs `data` at a zstd level, or returns `None` where that would not save at least an eighth.
///
/// Long data is judged by a sample of its middle first.
pub fn pack(data: &[u8], level: i32) -> Option<Vec<u8>> {
    if data.len() < SHORTEST {
        return None;
    }
    if data.len() > 4 * SAMPLE_LEN {
        let middle = data.len() / 2;
        let sample = &data[middle..middle + SAMPLE_LEN];
        worthwhile(sample, zstd::bulk::compress(sample, 1).ok()?)?;
    }
    worthwhile(data, zstd::bulk::compress(data, level).ok()?)
}

fn worthwhile(data: &[u8], packed: Vec<u8>) -> Option<Vec<u8>> {
    (packed.len() < data.len() - data.len() / 8).then_some(packed)
}

/// The `len` bytes that `payload` was packed from.
///
/// Errors: the payload is no zstd frame, or yields another length; never more memory than `len` is taken.
pub fn unpack(payload: Vec<u8>, len: usize, encoding: Encoding) -> io::Result<Vec<u8>> {
    let data = match encoding {
        Encoding::Plain => payload,
        Encoding::Zstd => zstd::bulk::decompress(&payload, len)?,
    };
    if data.len() == len {
        Ok(data)
    } else {
        let text = format!("the data has {} bytes where {len} were announced", data.len());
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shrinks_and_comes_back() {
        let text = b"Received: from mail.example.com by mx.example.org\r\n".repeat(2000);
        let packed = pack(&text, 1).unwrap();
        assert!(packed.len() < text.len() / 4);
        assert_eq!(unpack(packed, text.len(), Encoding::Zstd).unwrap(), text);
    }

    #[test]
    fn random_data_is_left_alone() {
        let mut noise = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(pack(&noise, 3), None);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 10_000_000], 19).unwrap();
        assert!(unpack(bomb, 1000, Encoding::Zstd).is_err());
        assert!(unpack(vec![0; 5], 6, Encoding::Plain).is_err());
    }
}
