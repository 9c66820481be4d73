//! A verification of a set that is in use.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crate::roots::Roots;
use crate::streams::wait_for_stream;
use crate::support::shell;

#[test]
fn what_is_written_meanwhile_is_no_difference_and_what_is_damaged_is() {
    let ground = Roots::new(1, "");
    shell(&ground.source(0), "mkdir d; for i in {1..40}; do head -c 200000 /dev/urandom > d/$i; done");
    ground.mirror();
    wait_for_stream(&ground);
    let (ended, source) = (AtomicBool::new(false), ground.source(0));
    let verified = thread::scope(|scope| {
        // As a database does it: a journal that comes and goes, and one file that is written all the time.
        scope.spawn(|| {
            for number in 0_u64.. {
                if ended.load(SeqCst) {
                    return;
                }
                fs::write(source.join("journal"), number.to_le_bytes()).unwrap();
                fs::write(source.join("busy"), vec![number as u8; 100_000]).unwrap();
                fs::remove_file(source.join("journal")).unwrap();
            }
        });
        let undisturbed: Vec<_> = (0..4).map(|_| ground.alpha.run(&["verify", "mail"])).collect();
        // By a back door, so that only a verification finds it.
        let damaged = ground.target(0).join("d/7");
        let mut bytes = fs::read(&damaged).unwrap();
        bytes[4096] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        let disturbed = ground.alpha.run(&["verify", "mail"]);
        ended.store(true, SeqCst);
        (undisturbed, disturbed)
    });
    for done in verified.0 {
        println!("{}", done.expect(0).stdout);
    }
    let found = verified.1.expect(5).stdout;
    // Its data, and the time that came of the damage.
    assert!(found.contains("root 0: d/7: other data, bytes 4096-8192") && found.contains("2 differences"), "{found}");
}
