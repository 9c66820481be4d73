//! One file that is open in every way at once: around the kernel's cache, through it, and mapped.

use std::process::Command;

use crate::ground::Ground;
use crate::random::seed;

const FILES: u64 = 4;
const STEPS: u64 = 3000;

#[test]
fn whoever_reads_sees_what_was_written_last() {
    let seed = seed();
    let mut ground = Ground::new(|_| {});
    for number in 0..FILES {
        let mut program = Command::new("python3");
        program.args(["-c", include_str!("one_file.py")]).arg(ground.source().join(format!("{number}")));
        let output = program.args([(seed + number).to_string(), STEPS.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ground.assert_same();
    }
    assert!(ground.follow() > STEPS, "the programs do nothing");
}
