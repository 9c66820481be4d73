//! The rule of order without the kernel above, which would let few requests meet: threads ask for what they like, all at once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::beneath::Beneath;
use super::super::caller::Caller;
use super::super::wire::{Header, OpenFlags, ROOT, Request, SetAttributes};
use super::{Answer, Serving};
use crate::sim::Random;

#[path = "../../../../../tests/layer/look.rs"]
mod look;
#[path = "../../../../../tests/layer/record.rs"]
mod record;
#[path = "../../../../../tests/layer/replay.rs"]
mod replay;

const THREADS: u64 = 4;
const STEPS: usize = 3000;
/// Longest write, in bytes: long enough to be interrupted.
const LONGEST: u64 = 64 * 1024;

struct Asking<'a> {
    serving: &'a Serving,
    caller: Caller,
    random: Random,
    opened: Vec<u64>,
}

impl Asking<'_> {
    fn ask(&mut self, node: u64, request: Request<'_>) -> Option<Answer> {
        let header = Header::about(node);
        self.serving.serve(&mut self.caller, &header, request, &mut Vec::new()).ok()
    }

    fn node(&mut self, parent: u64, name: &str) -> Option<u64> {
        let name = CString::new(name).unwrap();
        let Some(Answer::Entry(entry)) = self.ask(parent, Request::Lookup { name: &name }) else { return None };
        (entry.node != 0).then_some(entry.node)
    }

    /// One of few directories, some of them in others.
    fn directory(&mut self) -> u64 {
        let mut at = ROOT;
        for _ in 0..self.random.below(3) {
            let name = format!("d{}", self.random.below(3));
            at = self.node(at, &name).unwrap_or(at);
        }
        at
    }

    fn step(&mut self) {
        let (one, two) = (self.directory(), self.directory());
        let kinds = ["f", "d"];
        let mut name = || CString::new(format!("{}{}", kinds[self.random.below(2) as usize], self.random.below(3))).unwrap();
        let (name, to_name) = (name(), name());
        let (name, to_name) = (name.as_c_str(), to_name.as_c_str());
        let (mode, umask, flags) = (0o755, 0, OpenFlags { bits: 2, kill: false });
        match self.random.below(12) {
            0 => drop(self.ask(one, Request::MakeDirectory { name, mode, umask })),
            1 => drop(self.ask(one, Request::RemoveDirectory { name })),
            2 => drop(self.ask(one, Request::Unlink { name })),
            3..5 => {
                let flags = [0, 0, 1, 2][self.random.below(4) as usize];
                self.ask(one, Request::Rename { name, to_directory: two, to_name, flags });
            }
            5 => {
                if let Some(object) = self.node(one, &name.to_string_lossy()) {
                    self.ask(two, Request::Link { object, name: to_name });
                }
            }
            6 => {
                if let Some(Answer::Created(_, opened)) = self.ask(one, Request::Create { name, flags, mode, umask }) {
                    self.opened.push(opened.handle);
                }
            }
            7 => {
                let node = self.node(one, "f0");
                if let Some(Answer::Opened(opened)) = node.and_then(|node| self.ask(node, Request::Open(flags))) {
                    self.opened.push(opened.handle);
                }
            }
            8 => {
                let set = SetAttributes { len: Some(self.random.below(LONGEST)), ..SetAttributes::default() };
                if let Some(node) = self.node(one, "f0") {
                    self.ask(node, Request::SetAttributes(set));
                }
            }
            _ => {
                let data = vec![self.random.below(256) as u8; self.random.below(LONGEST) as usize];
                let Some(handle) = self.opened.last().copied() else { return };
                let request = Request::Write { handle, offset: self.random.below(LONGEST), data: &data, kill: false };
                self.ask(one, request);
            }
        }
    }
}

#[test]
fn what_is_asked_at_once_is_recorded_in_the_order_of_its_effects() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let temporary = TempDir::new().unwrap();
    let at = |name: &str| temporary.path().join(name);
    fs::create_dir(at("source")).unwrap();
    fs::create_dir(at("copy")).unwrap();
    let recorder = Arc::new(record::ToFile::create(&at("record")).unwrap());
    let serving = Serving::new(Beneath::open(&at("source")).unwrap(), Arc::clone(&recorder) as _).expect("this test needs root");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let serving = &serving;
            scope.spawn(move || {
                let (caller, random) = (Caller::new().unwrap(), Random::new(seed + thread));
                let mut asking = Asking { serving, caller, random, opened: Vec::new() };
                (0..STEPS).for_each(|_| asking.step());
            });
        }
    });
    assert!(recorder.flush().unwrap() > 1000);
    perform(&at("record"), &at("copy"));
    look::assert_same("source and copy", &look::look(&at("source")).unwrap(), &look::look(&at("copy")).unwrap());
}

fn perform(record: &Path, copy: &Path) {
    let (mut record, mut replay) = (record::FromFile::open(record).unwrap(), replay::Replay::onto(copy).unwrap());
    let mut count = 0;
    while let Some(operation) = record.next().unwrap() {
        count += 1;
        replay.perform(&operation).unwrap_or_else(|error| panic!("operation {count}, {operation:?}: {error}"));
    }
}
