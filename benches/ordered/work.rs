//! The work, done in a directory; each returns what it measured.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;
/// How long writers append.
const SPAN: Duration = Duration::from_secs(5);
/// The file that is written to all over.
const SPAN_MIB: usize = 128;

/// Bytes a second of writing a file of 512 MiB in blocks of 1 MiB.
pub(crate) fn sequential(at: &Path) -> f64 {
    let path = at.join("sequential");
    let block = vec![7; MIB];
    let began = Instant::now();
    let mut file = File::create(&path).unwrap();
    (0..512).for_each(|_| file.write_all(&block).unwrap());
    drop(file);
    let rate = 512.0 * MIB as f64 / began.elapsed().as_secs_f64();
    fs::remove_file(path).unwrap();
    rate
}

/// Makes the file that `synced` writes to.
pub(crate) fn prepare_synced(at: &Path) {
    let mut file = File::create(at.join("synced")).unwrap();
    (0..SPAN_MIB).for_each(|_| file.write_all(&vec![1; MIB]).unwrap());
    file.sync_all().unwrap();
}

/// How long each of 1,000 writes of 4 KiB anywhere in the file took, made durable; sorted.
pub(crate) fn synced(at: &Path) -> Vec<Duration> {
    let file = OpenOptions::new().write(true).open(at.join("synced")).unwrap();
    let mut place = 1_u64;
    let mut taken: Vec<_> = (0..1000)
        .map(|_| {
            place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let offset = (place >> 33) % (SPAN_MIB * MIB / PAGE) as u64 * PAGE as u64;
            let began = Instant::now();
            file.write_all_at(&[place as u8; PAGE], offset).unwrap();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    taken.sort();
    taken
}

/// Records of 4 KiB a second that so many writers append, each to a file of its own, and make durable.
pub(crate) fn writers(at: &Path, count: usize) -> f64 {
    let (done, ended, began) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        for index in 0..count {
            let (done, ended) = (&done, &ended);
            let mut file = File::create(at.join(format!("writer{index}"))).unwrap();
            scope.spawn(move || {
                while !ended.load(Relaxed) {
                    file.write_all(&[index as u8; PAGE]).unwrap();
                    file.sync_data().unwrap();
                    done.fetch_add(1, Relaxed);
                }
            });
        }
        // Whoever joined a thread may be woken once for it.
        while began.elapsed() < SPAN {
            thread::park_timeout(SPAN.saturating_sub(began.elapsed()));
        }
        ended.store(true, Relaxed);
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// Makes the file that `cached` reads.
pub(crate) fn prepare_cached(at: &Path) {
    let mut file = File::create(at.join("cached")).unwrap();
    (0..256).for_each(|_| file.write_all(&vec![1; MIB]).unwrap());
}

/// Bytes a second of reading a file of 256 MiB that is in memory, four times, in blocks of so many bytes.
pub(crate) fn cached(at: &Path, block_len: usize) -> f64 {
    let mut file = File::open(at.join("cached")).unwrap();
    let mut block = vec![0; block_len];
    let mut pass = || {
        file.seek(SeekFrom::Start(0)).unwrap();
        while file.read(&mut block).unwrap() > 0 {}
    };
    pass();
    let began = Instant::now();
    (0..4).for_each(|_| pass());
    4.0 * 256.0 * MIB as f64 / began.elapsed().as_secs_f64()
}

/// Files a second that are created with 4 KiB, renamed, removed: 20,000 in all, as many at a time as `passthrough_ll` may have open.
pub(crate) fn files(at: &Path) -> f64 {
    const PASSES: usize = 4;
    const COUNT: usize = 5000;
    let name = |index: usize, what: &str| at.join(format!("d{}/{index}{what}", index % 100));
    (0..100).for_each(|index| fs::create_dir(at.join(format!("d{index}"))).unwrap());
    let began = Instant::now();
    for _ in 0..PASSES {
        (0..COUNT).for_each(|index| fs::write(name(index, ".new"), [1; PAGE]).unwrap());
        (0..COUNT).for_each(|index| fs::rename(name(index, ".new"), name(index, "")).unwrap());
        (0..COUNT).for_each(|index| fs::remove_file(name(index, "")).unwrap());
    }
    let rate = (PASSES * COUNT) as f64 / began.elapsed().as_secs_f64();
    (0..100).for_each(|index| fs::remove_dir(at.join(format!("d{index}"))).unwrap());
    rate
}

/// Writes 4 KiB anywhere in 64 MiB, as fast as it goes, until it is told to end.
pub(crate) fn load(at: &Path, ended: &AtomicBool) {
    let file = File::create(at.join("load")).unwrap();
    let mut place = 1_u64;
    while !ended.load(Relaxed) {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (place >> 33) % (64 * MIB / PAGE) as u64 * PAGE as u64;
        file.write_all_at(&[place as u8; PAGE], offset).unwrap();
    }
}
