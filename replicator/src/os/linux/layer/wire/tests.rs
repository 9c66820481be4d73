#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// A request: header, and arguments.
fn request(opcode: u32, arguments: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEADER_LEN + arguments.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(opcode.to_ne_bytes());
    bytes.extend(7u64.to_ne_bytes());
    bytes.extend(5u64.to_ne_bytes());
    bytes.extend([1000u32, 100, 4242, 0].map(u32::to_ne_bytes).concat());
    bytes.extend(arguments);
    bytes
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

#[test]
fn a_write_lends_its_data() {
    // Handle, offset, length with flags, owner of a lock, flags of the file.
    let mut arguments = numbers(&[3, 4096, 5 | 4 << 32, 0, 0]);
    arguments.extend(b"hello");
    let bytes = request(16, &arguments);
    let (header, parsed) = parse(&bytes).unwrap().unwrap();
    assert_eq!((header.unique, header.node, header.uid, header.gid), (7, 5, 1000, 100));
    assert_eq!(header.thread, 4242);
    let Request::Write { handle: 3, offset: 4096, data: b"hello", kill: true } = parsed else { panic!("{parsed:?}") };
    let short = request(16, &arguments[..arguments.len() - 1]);
    assert!(parse(&short).unwrap().is_err());
}

#[test]
fn a_name_is_one_name() {
    for (name, good) in [("a", true), ("", false), (".", false), ("..", false), ("a/b", false), ("..a", true)] {
        let bytes = request(1, format!("{name}\0").as_bytes());
        assert_eq!(parse(&bytes).unwrap().is_ok(), good, "{name}");
    }
    assert!(parse(&request(1, b"without an end")).unwrap().is_err());
}

#[test]
fn a_rename_has_both_names() {
    let mut arguments = numbers(&[9, 2]);
    arguments.extend(b"old\0new\0");
    let bytes = request(45, &arguments);
    let (_, parsed) = parse(&bytes).unwrap().unwrap();
    let Request::Rename { name, to_directory: 9, to_name, flags: 2 } = parsed else { panic!("{parsed:?}") };
    assert_eq!((name, to_name), (c"old", c"new"));
}

#[test]
fn a_list_takes_what_fits() {
    let mut entries = Entries::new(100);
    assert!(entries.fits(b"12345678", false));
    entries.push(b"12345678", 1, 2, 8, None);
    assert_eq!(entries.as_bytes().len(), 32);
    assert!(entries.fits(&[b'n'; 40], false));
    assert!(!entries.fits(&[b'n'; 41], false) && !entries.fits(b"n", true));
}

#[test]
fn an_old_kernel_is_refused_in_words() {
    let init = |minor: u32, flags: u32| {
        let mut bytes = [7, minor, 65536, flags].map(u32::to_ne_bytes).concat();
        bytes.resize(64, 0);
        let bytes = request(26, &bytes);
        let Some(Ok((_, Request::Init(init)))) = parse(&bytes) else { panic!() };
        init.agree(false)
    };
    assert!(init(40, u32::MAX).is_ok());
    assert!(init(31, u32::MAX).unwrap_err().contains("too old"));
    assert!(init(40, 0).is_err());
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(opcode in 0u32..60, arguments in proptest::collection::vec(any::<u8>(), 0..200), extra in any::<u16>()) {
        let mut bytes = request(opcode, &arguments);
        bytes[36..38].copy_from_slice(&extra.to_ne_bytes());
        let _ = parse(&bytes).map(|parsed| parsed.is_ok());
        let _ = parse(&arguments);
    }
}
