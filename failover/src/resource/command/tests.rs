use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn run(words: &[String], limit: Duration, is_cancelled: &dyn Fn() -> bool) -> (io::Result<Ended>, Vec<String>) {
    let variables = [("STANDIN_GROUP".to_owned(), "odd $(name) 'x'".to_owned())];
    let limited = Limited { words, variables: &variables, deadline: Instant::now() + limit, is_cancelled };
    let mut lines = Vec::new();
    let ended = limited.run(&mut |line| lines.push(line.to_owned()));
    (ended, lines)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn its_lines_and_its_code_are_told() {
    let (ended, lines) = run(&shell("echo one; echo two >&2; printf \"$STANDIN_GROUP\"; exit 7"), LONG, &|| false);
    assert_eq!(ended.unwrap(), Ended::Code(7));
    assert_eq!(lines, ["one", "two", "odd $(name) 'x'"]);
    let (ended, lines) = run(&shell("kill -9 $$"), LONG, &|| false);
    assert_eq!((ended.unwrap(), lines.len()), (Ended::Signal(9), 0));
}

#[test]
fn what_is_not_there_or_may_not_run_is_said() {
    let trouble = |words: &[String]| judge(run(words, LONG, &|| false).0, words, "service x", "").unwrap_err().to_string();
    let missing = trouble(&["/no/such program".to_owned()]);
    assert!(missing.starts_with("service x: /no/such program cannot be started: No such file"), "{missing}");
    assert!(missing.ends_with("write its whole path, and look that it is on this node"), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let plain = trouble(&[file.path().display().to_string()]);
    assert!(plain.contains("chmod +x"), "{plain}");
    assert!(super::missing(&["sh".to_owned()]).is_none() && super::missing(&["/bin".to_owned()]).is_some());
    let not_executable = super::missing(&[file.path().display().to_string()]).unwrap();
    assert!(not_executable.what.ends_with("is not executable") && not_executable.mend.contains("chmod +x"), "{not_executable:?}");
}

#[test]
fn endless_output_is_bounded_and_does_not_outlive_its_time() {
    let begun = Instant::now();
    let (ended, lines) = run(&shell("exec yes"), Duration::from_millis(300), &|| false);
    assert_eq!(ended.unwrap(), Ended::TimedOut);
    assert_eq!(lines.len(), MAX_LINES + 1);
    assert!(lines[MAX_LINES].starts_with("(and ") && lines[MAX_LINES].ends_with(" more lines)"), "{}", lines[MAX_LINES]);
    assert!(begun.elapsed() < LONG);
}

#[test]
fn a_line_without_end_and_odd_bytes_are_cut_and_made_harmless() {
    let (_, lines) = run(&shell("head -c 10000000 /dev/zero | tr '\\0' x; printf '\\n\\033[31mred\\377\\n'"), LONG, &|| false);
    assert_eq!(lines[0].chars().count(), MAX_LINE + 1);
    assert_eq!(lines[1], "?[31mred\u{fffd}");
}

#[test]
fn its_children_are_killed_with_it_though_they_ignore_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let script = format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >> {0}; while :; do sleep 1; done' & echo $$ >> {0}; wait; wait",
        file.display()
    );
    let both = || fs::read_to_string(&file).map_or(0, |text| text.lines().count()) == 2;
    // Cancelled once both are there.
    let (ended, _) = run(&shell(&script), LONG, &both);
    assert_eq!(ended.unwrap(), Ended::Cancelled);
    for pid in fs::read_to_string(&file).unwrap().lines() {
        let until = Instant::now() + LONG;
        // The kernel ends what was killed when it comes to it.
        while !is_gone(pid) {
            assert!(Instant::now() < until, "{pid} lives: {:?}", fs::read_to_string(format!("/proc/{pid}/stat")));
            std::thread::sleep(Duration::from_millis(5)); // poll
        }
    }
}

/// Whether a process has ended, be it that whoever inherits it has not reaped it yet.
fn is_gone(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.is_empty() || state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[test]
fn what_it_leaves_in_the_background_goes_on_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let begun = Instant::now();
    let (ended, lines) = run(&shell(&format!("sleep 1000 & echo $! > {}; echo up", file.display())), LONG, &|| false);
    assert_eq!((ended.unwrap(), lines), (Ended::Code(0), vec!["up".to_owned()]));
    assert!(begun.elapsed() < LONG);
    let pid = fs::read_to_string(&file).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_state_is_online_offline_or_ill() {
    let state = |script: &str| state(&shell(script), &[], "service x");
    assert_eq!(state("exit 0").unwrap(), Condition::Online);
    assert_eq!(state("exit 3").unwrap(), Condition::Offline);
    assert_eq!(
        state("echo half; exit 1").unwrap(),
        Condition::Partly("service x: its state command ended with 1 (half); 0 says that it runs, 3 that it does not".to_owned())
    );
    assert!(state("nosuchcommand-at-all").is_err());
}

#[test]
fn a_run_that_is_cancelled_ends_soon() {
    let asked = AtomicBool::new(false);
    let (ended, _) = run(&shell("exec sleep 1000"), LONG, &|| asked.swap(true, Ordering::Relaxed));
    assert_eq!(ended.unwrap(), Ended::Cancelled);
}
