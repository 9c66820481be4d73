//! Packing of data by zstd, only where it pays.

use std::io;

use standin_common::message::Encoding;
use zstd::bulk::{Compressor, Decompressor};

/// Bytes of the sample that tells whether data shrinks.
const SAMPLE_LEN: usize = 4096;
/// Shorter data is not worth the call.
const SHORTEST: usize = 256;

/// Packs one piece of data after the other, in memory that is taken once.
#[derive(Default)]
pub struct Packer {
    level: Option<i32>,
    compressor: Option<Compressor<'static>>,
    packed: Vec<u8>,
}

impl Packer {
    /// Packs from now on at a zstd level; at `None` everything stays as it is.
    pub fn set_level(&mut self, level: Option<i32>) {
        if self.level != level {
            self.level = level;
            // Only memory can lack, and then data is sent as it is.
            self.compressor = level.and_then(|level| Compressor::new(level).ok());
        }
    }

    /// `data` as it is to be sent: packed if that saves at least an eighth. Long data is judged by a sample of its middle first.
    pub fn pack<'p>(&'p mut self, data: &'p [u8]) -> (Encoding, &'p [u8]) {
        let middle = data.len() / 2;
        let promising =
            data.len() >= SHORTEST && (data.len() <= 4 * SAMPLE_LEN || self.shrinks(&data[middle..middle + SAMPLE_LEN]));
        if promising && self.shrinks(data) { (Encoding::Zstd, &self.packed) } else { (Encoding::Plain, data) }
    }

    fn shrinks(&mut self, data: &[u8]) -> bool {
        let Some(compressor) = &mut self.compressor else { return false };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(data.len()));
        let packed = compressor.compress_to_buffer(data, &mut self.packed);
        packed.is_ok_and(|len| len < data.len() - data.len() / 8)
    }
}

/// Unpacks one payload after the other, in memory that is taken once.
#[derive(Default)]
pub struct Unpacker {
    decompressor: Option<Decompressor<'static>>,
    data: Vec<u8>,
}

impl Unpacker {
    /// The `len` bytes that `payload` was packed from; the payload itself if it is not packed.
    ///
    /// Errors: the payload is no zstd frame, or yields another length; never more memory than the largest `len` is taken.
    pub fn unpack<'p>(&'p mut self, payload: &'p [u8], len: usize, encoding: Encoding) -> io::Result<&'p [u8]> {
        let data = match encoding {
            Encoding::Plain => payload,
            Encoding::Zstd => {
                let decompressor = match &mut self.decompressor {
                    Some(decompressor) => decompressor,
                    none => none.insert(Decompressor::new()?),
                };
                self.data.clear();
                self.data.reserve_exact(len);
                decompressor.decompress_to_buffer(payload, &mut self.data)?;
                &self.data
            }
        };
        if data.len() == len {
            Ok(data)
        } else {
            let text = format!("the data has {} bytes where {len} were announced", data.len());
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }
}

/// The `len` bytes that `payload` was packed from, once. Errors as of [`Unpacker::unpack`].
pub fn unpack(payload: Vec<u8>, len: usize, encoding: Encoding) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Plain if payload.len() == len => Ok(payload),
        _ => Unpacker::default().unpack(&payload, len, encoding).map(<[u8]>::to_vec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packer() -> Packer {
        let mut packer = Packer::default();
        packer.set_level(Some(1));
        packer
    }

    #[test]
    fn text_shrinks_and_comes_back() {
        let (mut packer, mut unpacker) = (packer(), Unpacker::default());
        for lines in [2000, 10, 3000, 7] {
            let text = b"Received: from mail.example.com by mx.example.org\r\n".repeat(lines);
            let (encoding, packed) = packer.pack(&text);
            assert!(encoding == Encoding::Zstd && packed.len() < text.len() / 4);
            assert_eq!(unpacker.unpack(packed, text.len(), encoding).unwrap(), text);
            assert_eq!(unpack(packed.to_vec(), text.len(), encoding).unwrap(), text);
        }
    }

    #[test]
    fn random_data_is_left_alone_and_so_is_all_without_a_level() {
        let mut noise = vec![0; 100_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(packer().pack(&noise), (Encoding::Plain, &noise[..]));
        assert_eq!(Packer::default().pack(&[0; 1000]), (Encoding::Plain, &[0; 1000][..]));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 10_000_000], 19).unwrap();
        let mut unpacker = Unpacker::default();
        assert!(unpacker.unpack(&bomb, 1000, Encoding::Zstd).is_err());
        assert!(unpacker.data.capacity() < 10_000);
        assert!(unpack(bomb, 1000, Encoding::Zstd).is_err());
        assert!(unpack(vec![0; 5], 6, Encoding::Plain).is_err());
    }
}
