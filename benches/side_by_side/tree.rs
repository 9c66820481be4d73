//! The trees that are mirrored.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::material::{MailMaker, Random};
use crate::options::Options;

const MIB: usize = 1024 * 1024;
const PAGE_LEN: u64 = 4096;
const DATABASE_LEN: u64 = 3 * 1024 * MIB as u64;
const LOGS: u64 = 1024;
const QUEUE_FILES: u64 = 20_000;
const SMALL_FILES: u64 = 1_000_000;
const SMALL_DIRECTORIES: u64 = 1_000;
const ORPHANS: u64 = 10_000;
const TEXT_LEN: u64 = 1024 * MIB as u64;
const NOISE_FILES: u64 = 4;
const NOISE_FILE_LEN: usize = 50_000_000;
const SEED: u64 = 5;

/// The tree of the speed goals: one random database of 3 GiB, 1 GiB of logs, 20,000 queue files of 8 to 64 KiB.
pub(crate) fn mail_server(root: &Path, options: &Options) {
    let mut random = Random::new(SEED);
    let mut buffer = vec![0; MIB];
    fs::create_dir_all(root.join("log")).unwrap();
    let mut database = File::create(root.join("database")).unwrap();
    for _ in 0..options.scaled(DATABASE_LEN / MIB as u64) {
        random.fill(&mut buffer);
        database.write_all(&buffer).unwrap();
    }
    for number in 0..options.scaled(LOGS) {
        random.fill(&mut buffer);
        fs::write(root.join(format!("log/{number:08}.log")), &buffer).unwrap();
    }
    for number in 0..options.scaled(QUEUE_FILES) {
        let directory = root.join(format!("queue/{:02x}", number % 256));
        if number < 256 {
            fs::create_dir_all(&directory).unwrap();
        }
        let len = 8 * 1024 + random.below(56 * 1024 + 1) as usize;
        random.fill(&mut buffer[..len]);
        fs::write(directory.join(format!("{number}.eml")), &buffer[..len]).unwrap();
    }
}

/// Changes 1 % of the pages of the database in place, others with every seed.
pub(crate) fn touch_pages(root: &Path, seed: u64) {
    let path = root.join("database");
    let metadata = fs::metadata(&path).unwrap();
    let (pages, before) = (metadata.len() / PAGE_LEN, metadata.modified().unwrap());
    let mut file = File::options().write(true).open(&path).unwrap();
    let mut random = Random::new(seed);
    let mut page = [0; PAGE_LEN as usize];
    for _ in 0..(pages / 100).max(1) {
        random.fill(&mut page);
        file.seek(SeekFrom::Start(random.below(pages) * PAGE_LEN)).unwrap();
        file.write_all(&page).unwrap();
    }
    // rsync compares whole seconds, and a small tree is changed twice in one.
    file.set_modified(before + Duration::from_secs(2)).unwrap();
}

/// Adds files that are to become orphans.
pub(crate) fn add_orphans(root: &Path, options: &Options) {
    for number in 0..options.scaled(ORPHANS) {
        let directory = root.join(format!("orphans/{:02}", number % 100));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(number.to_string()), number.to_le_bytes()).unwrap();
    }
}

/// Makes orphans of them.
pub(crate) fn remove_orphans(root: &Path) {
    fs::remove_dir_all(root.join("orphans")).unwrap();
}

/// One million files of up to 100 bytes in 1,000 directories.
pub(crate) fn million(root: &Path, options: &Options) {
    let mut random = Random::new(SEED);
    let mut data = [0; 100];
    let files = options.scaled(SMALL_FILES) / SMALL_DIRECTORIES;
    for directory in 0..SMALL_DIRECTORIES {
        let directory = root.join(format!("{directory:03}"));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..files {
            random.fill(&mut data);
            let len = random.below(101) as usize;
            fs::write(directory.join(format!("message-{file:04}.eml")), &data[..len]).unwrap();
        }
    }
}

/// 1 GiB of mail in files of 16 MiB.
pub(crate) fn text(root: &Path, options: &Options) {
    const FILE_LEN: usize = 16 * MIB;
    fs::create_dir_all(root).unwrap();
    let mut maker = MailMaker::new(SEED);
    let mut buffer = Vec::new();
    for number in 0..options.scaled(TEXT_LEN).div_ceil(FILE_LEN as u64) {
        buffer.clear();
        while buffer.len() < FILE_LEN {
            buffer.extend_from_slice(&maker.message().raw);
        }
        fs::write(root.join(format!("{number:03}.mbox")), &buffer[..FILE_LEN]).unwrap();
    }
}

/// 200 MB that nothing makes smaller, in 4 files.
pub(crate) fn noise(root: &Path, options: &Options) {
    fs::create_dir_all(root).unwrap();
    let mut random = Random::new(SEED);
    let mut buffer = vec![0; options.scaled(NOISE_FILE_LEN as u64) as usize];
    for number in 0..NOISE_FILES {
        random.fill(&mut buffer);
        fs::write(root.join(format!("{number}.bin")), &buffer).unwrap();
    }
}

/// Bytes of all files directly in a directory.
pub(crate) fn bytes_in(directory: &Path) -> u64 {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().map_or(0, |metadata| metadata.len())).sum()
}
