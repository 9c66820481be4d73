//! Two controllers of one domain: who is behind is named, and another one writes when the first is lost.

use serde_json::Value;

use crate::forest::{Forest, mailbox_dn, store_of};
use crate::halfway::{LONGER, Running, failed, planned};
use crate::live::{Desk, desk, desk_of};

/// Controllers with what they show, in order: name, whether it was written to, how many agree, how many are behind.
fn shown(report: &Value, key: &str) -> Vec<(String, bool, u64, usize)> {
    let line = |one: &Value| {
        let behind = one["behind"].as_array().unwrap().len();
        (one["controller"].as_str().unwrap().to_owned(), one["is_writer"] == true, one["agrees"].as_u64().unwrap(), behind)
    };
    report[key].as_array().unwrap().iter().map(line).collect()
}

fn both_ways(desk: &Desk) {
    desk.forest.replicate(0, 1);
    desk.forest.replicate(1, 0);
}

#[test]
fn every_controller_is_asked_until_it_shows_what_was_written() {
    let Some(mut desk) = desk() else { return };
    desk.forest.join();
    let (plan, steps) = planned(&desk);
    desk.directory(&["apply", &plan, "--no-verify", "--failed", &failed(&desk)]).expect(0);
    // Nothing is replicated by itself here.
    let behind = desk.directory(&["verify", "--timeout", "0", "--json"]).expect(1).json();
    let controllers = shown(&behind, "controllers");
    assert_eq!(controllers.len(), 4, "{behind:#}");
    for (host, is_writer, agrees, late) in &controllers {
        assert_eq!(*is_writer, host == "dc1.fb.test");
        assert!(if *is_writer { *late == 0 && *agrees > 0 } else { *late > 0 }, "{behind:#}");
    }
    let text = desk.directory(&["verify", "--timeout", "0"]).expect(1).stdout;
    let line = text.lines().find(|line| line.contains("dc2.fb.test") && line.contains("in DC=fb,DC=test")).unwrap();
    assert!(line.contains("another controller") && line.contains("it still has the values from before"), "{text}");
    desk.forest.replicate(0, 1);
    let same = desk.directory(&["verify", "--json"]).expect(0).json();
    let agreeing: u64 = shown(&same, "controllers").iter().filter(|one| !one.1).map(|one| one.2).sum();
    assert_eq!(agreeing, steps as u64, "{same:#}");
    // The program itself waits for the other controller.
    let run = Running::again(&desk, "undo");
    run.wait_for_end("back");
    both_ways(&desk);
    let report = run.end().expect(0).json();
    let controllers = shown(&report, "verified");
    assert!(controllers.len() == 4 && controllers.iter().all(|one| one.3 == 0), "{report:#}");
}

#[test]
fn another_controller_writes_when_the_first_is_lost() {
    let Some(mut desk) = desk_of(&LONGER) else { return };
    desk.forest.join();
    desk.write_settings();
    let (plan, steps) = planned(&desk);
    let mut run = Running::apply(&desk, &plan);
    run.lose_after(steps / 4, || {
        let Forest { controllers, room, .. } = &mut desk.forest;
        controllers[0].stop(room);
    });
    let done = run.end().expect(0);
    let told = done.stdout;
    assert!(told.contains("done: ") && !told.contains("failed") && !told.contains("in doubt"), "{told}");
    let Forest { controllers, room, .. } = &mut desk.forest;
    controllers[0].start(room);
    both_ways(&desk);
    let same = desk.directory(&["verify", "--json"]).expect(0).json();
    let writers = shown(&same, "controllers").into_iter().filter(|one| one.1).map(|one| one.0).collect::<Vec<_>>();
    assert!(writers.contains(&"dc2.fb.test".to_owned()), "{same:#}");
    assert_eq!(same["as_written"], steps, "{same:#}");
    desk.directory(&["undo", "--no-verify", "--failed", &failed(&desk)]).expect(0);
    both_ways(&desk);
    for number in 0..LONGER.mailboxes {
        assert_eq!(desk.home_of(&mailbox_dn(number)), store_of("EX1", number).dn.parse().unwrap());
    }
}
