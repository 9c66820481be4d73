//! What goes wrong against Samba: message, exit code, and what was written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use standin_failover::directory::Dn;

use crate::forest::{
    ADMINISTRATOR, DOMAIN_DN, FLEETING, HELPDESK, PASSWORD, assert_same_dump, dump, mailbox_dn, mailbox_upn, store_of,
};
use crate::halfway::{Running, failed, planned};
use crate::live::{desk, without_flags};
use crate::support::Done;

fn dn(text: &str) -> Dn {
    text.parse().unwrap()
}

#[test]
fn what_is_wrong_is_said_before_anything_is_written() {
    let Some(mut desk) = desk() else { return };
    let before = dump(&desk.forest, &FLEETING);
    let line = "-failover -s EX1 -t EX2";
    let wrong = desk.old_as(line, "administrator:Wrong:Pa55").expect(4);
    assert!(wrong.stderr.contains("password is wrong") && !wrong.stderr.contains("Pa55"), "{}", wrong.stderr);
    let plain = desk.old(&format!("{line} --server ldap://dc1.fb.test")).expect(2);
    assert!(plain.stderr.contains("in the clear"), "{}", plain.stderr);
    // Nobody named, and no Kerberos in this build.
    if !cfg!(feature = "gssapi") {
        let mut command = desk.program();
        command.args(["directory", "show", "EX1"]);
        let nobody = Done::of(command).expect(4);
        assert!(nobody.stderr.contains("built without Kerberos") && nobody.stderr.contains("password"), "{}", nobody.stderr);
    }
    // Another certificate than the one that is believed, and an authority that nobody believes.
    let pin = "00".repeat(32);
    for words in [&["show", "EX1", "--pin", &pin][..], &["show", "EX1", "--ca", "/etc/ssl/certs/ca-certificates.crt"]] {
        let untrusted = desk.directory(words).expect(4);
        assert!(untrusted.stderr.contains("is not trusted") && untrusted.stderr.contains("fingerprint"), "{}", untrusted.stderr);
    }
    let unknown = desk.old("-failover -s EX1 -t EX9").expect(2);
    assert!(unknown.stderr.contains("there is no Exchange server EX9"), "{}", unknown.stderr);
    let nowhere = desk.old(&format!("{line} --server dc9.fb.test")).expect(4);
    assert!(nowhere.stderr.contains("dc9.fb.test") && nowhere.stderr.contains("nothing was changed"), "{}", nowhere.stderr);
    let other_stores = desk.old("-failover -s EX1 -t EX10").expect(3);
    assert!(!other_stores.stderr.is_empty());
    let reader = desk.old_as(line, &format!("{HELPDESK}:{PASSWORD}"));
    assert!(reader.code == Some(4) && reader.stderr.contains("may the account read it"), "{reader:#?}");
    // A disk without room for the journal.
    let state = desk.file("full");
    fs::create_dir(&state).unwrap();
    let mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs"];
    desk.forest.room.run(mount[0], &[&mount[1..], &[state.to_str().unwrap()]].concat());
    fs::write(desk.file("note"), "").unwrap();
    let full = desk.old(&format!("{line} --state-dir {}", state.display())).expect(4);
    assert!(full.stderr.contains("No space left") && full.stderr.contains("nothing was changed"), "{}", full.stderr);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    // A certificate that is over.
    let forest = &mut desk.forest;
    forest.controllers[0].stop(&forest.room);
    forest.certificates.issue(&forest.controllers[0].dir, "dc1.fb.test", "127.0.0.17", 2020);
    forest.controllers[0].start(&forest.room);
    let expired = desk.old(line).expect(4);
    assert!(expired.stderr.contains("expired"), "{}", expired.stderr);
}

#[test]
fn what_somebody_forbids_or_changes_is_told_and_can_be_gone_on_with() {
    let Some(desk) = desk() else { return };
    let (forbidden, changed) = (mailbox_dn(3), mailbox_dn(5));
    let before = dump(&desk.forest, &without_flags());
    desk.directory(&["plan", "EX1", "EX2", "--out", desk.file("plan.json").to_str().unwrap()]).expect(0);
    desk.forest.forbid_writing(&forbidden);
    desk.rehome(&changed, &store_of("EX10", 1).dn);
    let failed = desk.file("failed.log");
    let words =
        ["apply", desk.file("plan.json").to_str().unwrap(), "--failed", failed.to_str().unwrap(), "--json"].map(str::to_owned);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let report = desk.directory(&words).expect(1).json();
    let troubles: Vec<(Dn, &str)> = report["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| (dn(failure["object"].as_str().unwrap()), failure["trouble"].as_str().unwrap()))
        .collect();
    assert_eq!(troubles.len(), 2, "{report:#}");
    assert!(troubles.contains(&(dn(&forbidden), "rights")) && troubles.contains(&(dn(&changed), "changed")), "{troubles:?}");
    let list = fs::read_to_string(&failed).unwrap();
    assert!(list.contains(&format!("failed\tfb.test\t{forbidden}\t")), "{list}");
    // One user alone, then all that is left.
    desk.rehome(&changed, &store_of("EX1", 5).dn);
    desk.old(&format!("--resume --only-user {}", mailbox_upn(5))).expect(0);
    desk.old("--resume").expect(1);
    let verified = desk.directory(&["verify", "--json"]);
    assert_eq!(verified.json()["as_before"], 1, "{verified:#?}");
    desk.directory(&["undo", "--failed", failed.to_str().unwrap()]).expect(0);
    assert!(!failed.exists());
    let after = dump(&desk.forest, &without_flags());
    let differing: Vec<_> = before.iter().zip(&after).filter(|(one, other)| one != other).map(|(_, object)| object).collect();
    // The right that was taken away is all that is left of it.
    assert!(
        differing.iter().all(|object| object.contains("nTSecurityDescriptor") || object.contains(&forbidden)),
        "{differing:#?}"
    );
}

#[test]
fn changes_of_an_export_do_what_the_directory_would_have_done() {
    let Some(desk) = desk() else { return };
    let export = desk.file("export.ldf");
    fs::write(&export, desk.forest.controllers[0].dump(DOMAIN_DN, "(objectClass=*)", &[])).unwrap();
    let (export, changes, undo) = (export.to_str().unwrap(), desk.file("changes.ldf"), desk.file("undo.ldf"));
    let before = dump(&desk.forest, &FLEETING);
    let words = [
        "plan",
        "EX1",
        "EX2",
        "--ldif",
        export,
        "--changes",
        changes.to_str().unwrap(),
        "--undo-changes",
        undo.to_str().unwrap(),
    ];
    desk.directory(&words).expect(0);
    desk.ldapmodify(&changes);
    let by_hand = dump(&desk.forest, &FLEETING);
    desk.ldapmodify(&undo);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    desk.old("-failover -s EX1 -t EX2").expect(0);
    assert_same_dump(&by_hand, &dump(&desk.forest, &FLEETING));
    desk.old("--undo").expect(0);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    let again = desk.old("--undo").expect(0);
    assert!(again.stdout.contains("0 objects written"), "{}", again.stdout);
}

#[test]
fn a_changed_password_is_checked_before_it_is_stored() {
    let Some(desk) = desk() else { return };
    let file = desk.file("password");
    let with = |password: &str| {
        let mut command = desk.program();
        command.env("STANDIN_DIRECTORY_PASSWORD", password);
        command.args(["directory", "password", "--user", ADMINISTRATOR, "--password-file", file.to_str().unwrap()]);
        Done::of(command)
    };
    let wrong = with("Wrong:Pa55").expect(4);
    assert!(wrong.stderr.contains("password is wrong") && !file.exists(), "{}", wrong.stderr);
    let stored = with(PASSWORD).expect(0);
    assert!(!stored.stdout.contains(PASSWORD), "{}", stored.stdout);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut command = desk.program();
    let words = ["directory", "show", "EX1", "--user", ADMINISTRATOR, "--password-file", file.to_str().unwrap()];
    command.args(words);
    let shown = Done::of(command).expect(0).stdout;
    assert!(shown.contains("Recipient Update Service") && shown.contains("makes address book"), "{shown}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = desk.program();
    command.args(words);
    let open = Done::of(command).expect(2);
    assert!(open.stderr.contains("chmod 600"), "{}", open.stderr);
}

#[test]
fn a_run_that_is_not_through_is_gone_on_with_by_the_same_line() {
    let Some(desk) = desk() else { return };
    let before = dump(&desk.forest, &without_flags());
    let store = |number: usize| desk.home_of(&mailbox_dn(number));
    let first = desk.old(&format!("-failover -s EX1 -t EX2 --only-user {}", mailbox_upn(0))).expect(0);
    assert!(first.stdout.contains("1 objects written") && first.stdout.contains("are left"), "{}", first.stdout);
    assert_eq!((store(0), store(1)), (dn(&store_of("EX2", 0).dn), dn(&store_of("EX1", 1).dn)));
    let other_way = desk.old("-failback -s EX1 -t EX2").expect(5);
    assert!(other_way.stderr.contains("--resume or --undo"), "{}", other_way.stderr);
    let nowhere = desk.old("--resume --only-domain nowhere.test").expect(2);
    assert!(nowhere.stderr.contains("fb.test"), "{}", nowhere.stderr);
    let rest = desk.old("-failover -s EX1 -t EX2 --json").expect(0).json();
    assert!(rest["code"] == 0 && rest["done_before"] == 1 && rest["left_out"] == 0, "{rest:#}");
    assert_eq!(store(1), dn(&store_of("EX2", 1).dn));
    assert_eq!(desk.old("-test -failback -s EX1 -t EX2 --json").expect(0).json()["asked"]["action"], "failback");
    assert_eq!(desk.old("--undo --json").expect(0).json()["code"], 0);
    assert_same_dump(&before, &dump(&desk.forest, &without_flags()));
    assert!(desk.old("--resume").expect(5).stderr.contains("being undone"));
}

#[test]
fn journals_without_room_or_rights_stop_a_run_and_there_is_one_at_a_time() {
    let Some(desk) = desk() else { return };
    let (plan, _) = planned(&desk);
    let run = |words: &[&str], state: &std::path::Path| {
        let place = ["--state-dir", state.to_str().unwrap()];
        desk.directory(&[words, &place].concat())
    };
    let before = dump(&desk.forest, &FLEETING);
    let sealed = desk.file("sealed");
    fs::create_dir(&sealed).unwrap();
    let there = sealed.to_str().unwrap();
    desk.forest.room.run("mount", &["--bind", there, there]);
    desk.forest.room.run("mount", &["-o", "remount,ro,bind", there]);
    let done = run(&["apply", &plan], &sealed).expect(4);
    assert!(done.stderr.contains("Read-only file system") && done.stderr.contains("nothing was changed"), "{}", done.stderr);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    // One at a time: a run that stands still keeps others away, whichever way they go.
    let mut first = Running::apply(&desk, &plan);
    first.lose_after(3, || {
        let other = desk.old("-failover -s EX1 -t EX2").expect(4);
        assert!(other.stderr.contains("another run is at work") && other.stderr.contains("nothing was changed"), "{other:?}");
        desk.directory(&["undo"]).expect(4);
        // Who only looks may look.
        desk.old("-test -failover -s EX1 -t EX2").expect(0);
    });
    let journal = first.end_of_journal();
    desk.directory(&["undo", "--no-verify", "--failed", &failed(&desk)]).expect(0);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    // A disk that is full in the middle: room for the plan, and less than a page for what the steps leave.
    let plan_bytes = fs::read(&journal).unwrap().iter().position(|byte| *byte == b'\n').unwrap();
    let full = desk.file("full");
    fs::create_dir(&full).unwrap();
    let (there, size) = (full.to_str().unwrap(), format!("size={}", (plan_bytes / 4096 + 1) * 4096));
    desk.forest.room.run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", there]);
    let stopped = run(&["apply", &plan], &full).expect(5);
    assert!(stopped.stderr.contains("No space left") && stopped.stderr.contains("make room"), "{}", stopped.stderr);
    desk.forest.room.run("mount", &["-o", "remount,size=8m", there]);
    run(&["resume", "--failed", &failed(&desk)], &full).expect(0);
    run(&["undo", "--failed", &failed(&desk)], &full).expect(0);
    assert_same_dump(&before, &dump(&desk.forest, &FLEETING));
    // A journal that somebody cut in its first line says which file, and that nothing was done.
    fs::write(&journal, &fs::read(&journal).unwrap()[..plan_bytes / 2]).unwrap();
    let cut = desk.directory(&["resume", journal.to_str().unwrap()]).expect(4);
    assert!(cut.stderr.contains(journal.to_str().unwrap()) && cut.stderr.contains("line 1"), "{}", cut.stderr);
    assert!(cut.stderr.contains("nothing was changed"), "{}", cut.stderr);
}
