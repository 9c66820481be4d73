#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use standin_common::id::Generation;
use standin_config::Role;
use standin_replicator::report::{Lag, SetState};

use super::*;
use crate::control::client::{self, AskError, Waiting};
use crate::control::{SocketError, listen, platform};

fn report() -> SetReport {
    let (set, peer) = ("mail".parse().unwrap(), "beta".parse().unwrap());
    let lag = Some(Lag { changes: 7, ..Lag::default() });
    SetReport { lag, ..SetReport::new(set, Role::Source, Generation(0), SetState::Idle, peer) }
}

/// Answers in all ways that there are.
struct Fake {
    gone: Mutex<mpsc::Sender<()>>,
}

impl Handler for Fake {
    fn handle(&self, request: Request, client: &mut Client) -> Result<Answer, Failed> {
        match request {
            Request::Status { .. } => Ok(Answer::Status { node: "alpha".parse().unwrap(), sets: vec![report()] }),
            Request::AcceptPairing { .. } => match client.confirm(&"beta".parse().unwrap(), "ab-cd") {
                true => Ok(Answer::Paired { node: "beta".parse().unwrap(), fingerprint: "ab-cd".to_owned() }),
                false => Err(Failed { kind: FailedKind::Refused, text: "not confirmed".to_owned() }),
            },
            Request::Verify { .. } => {
                for _ in 0..3 {
                    assert!(client.progress(&report()));
                }
                Ok(Answer::Ok)
            }
            // Until the client hangs up or the server stops.
            Request::Stop { .. } => {
                while client.progress(&report()) {
                    thread::yield_now();
                }
                assert!(client.is_gone());
                self.gone.lock().unwrap().send(()).unwrap();
                Ok(Answer::Ok)
            }
            _ => Err(Failed { kind: FailedKind::Usage, text: "no such set".to_owned() }),
        }
    }
}

fn start(dir: &Path) -> (Server, mpsc::Receiver<()>) {
    let (gone, was_gone) = mpsc::channel();
    (Server::start(listen(dir).unwrap(), Arc::new(Fake { gone: Mutex::new(gone) })).unwrap(), was_gone)
}

fn ask(
    dir: &Path,
    request: &Request,
    progress: &mut dyn FnMut(&SetReport),
    confirm: &mut dyn FnMut(&NodeName, &str) -> bool,
) -> Result<Answer, AskError> {
    client::ask(dir, request, Waiting { progress, is_interrupted: &|| false, confirm })
}

fn set() -> standin_common::id::SetName {
    "mail".parse().unwrap()
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn requests_are_answered_progress_is_shown_and_persons_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _gone) = start(dir.path());
    let answer = ask(dir.path(), &Request::Status { set: None }, &mut |_| {}, &mut |_, _| false).unwrap();
    assert_eq!(answer, Answer::Status { node: "alpha".parse().unwrap(), sets: vec![report()] });
    let mut shown = 0;
    ask(
        dir.path(),
        &Request::Verify { set: set(), timeout_seconds: None },
        &mut |r| shown += r.lag.as_ref().unwrap().changes,
        &mut |_, _| false,
    )
    .unwrap();
    assert_eq!(shown, 21);
    for yes in [true, false] {
        let answer = ask(dir.path(), &Request::AcceptPairing { timeout_seconds: 1 }, &mut |_| {}, &mut |node, key| {
            assert_eq!((node.as_str(), key), ("beta", "ab-cd"));
            yes
        });
        assert_eq!(answer.is_ok(), yes);
    }
    let failure = ask(dir.path(), &Request::Points { set: set() }, &mut |_| {}, &mut |_, _| false).unwrap_err();
    assert!(matches!(&failure, AskError::Failed(failed) if failed.kind == FailedKind::Usage), "{failure}");
    server.stop();
}

#[test]
fn there_is_one_server_and_its_socket_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let ask_status = || ask(dir.path(), &Request::Status { set: None }, &mut |_| {}, &mut |_, _| false);
    assert!(matches!(ask_status(), Err(AskError::NotRunning(_))));
    let (server, _gone) = start(dir.path());
    ask_status().unwrap();
    assert!(matches!(listen(dir.path()), Err(SocketError::Running(_))));
    server.stop();
    assert!(ask_status().unwrap_err().to_string().contains("standin run"));
}

#[test]
fn a_daemon_that_hangs_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    // It listens, and nobody accepts.
    let _listener = listen(dir.path()).unwrap();
    let waiting = Waiting { progress: &mut |_| {}, is_interrupted: &|| false, confirm: &mut |_, _| false };
    let silent = client::ask_within(Duration::from_millis(300), dir.path(), &Request::Reload, waiting).unwrap_err();
    assert!(matches!(silent, AskError::Silent), "{silent}");
}

#[test]
fn a_directory_with_a_long_name_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let long: PathBuf = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    let (server, _gone) = start(&long);
    ask(&long, &Request::Status { set: None }, &mut |_| {}, &mut |_, _| false).unwrap();
    server.stop();
    assert!(platform::connect(&long).is_err());
}

#[test]
fn who_hangs_up_is_gone_and_so_is_everybody_when_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gone) = start(dir.path());
    let begin = || {
        let mut lines = Lines::new(platform::connect(dir.path()).unwrap(), MOST_LINE_BYTES);
        lines.write(&Request::Stop { set: set(), force: false }).unwrap();
        let replies: [Reply; 2] = std::array::from_fn(|_| lines.read(&mut || true).unwrap().unwrap());
        assert!(matches!(replies, [Reply::Heard, Reply::Progress(_)]));
        lines
    };
    drop(begin());
    gone.recv_timeout(PATIENCE).unwrap();
    let mut left = begin();
    let reading = thread::spawn(move || while let Ok(Some(Reply::Progress(_))) = left.read::<Reply>(&mut || true) {});
    server.stop();
    gone.recv_timeout(PATIENCE).unwrap();
    reading.join().unwrap();
}

#[test]
fn nonsense_and_endless_lines_are_refused_and_too_many_clients_too() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _gone) = start(dir.path());
    for bytes in [b"{\"no_such\":1}\n".to_vec(), b"\xff\n".to_vec(), vec![b' '; MOST_LINE_BYTES + 17_000]] {
        let mut stream = platform::connect(dir.path()).unwrap();
        stream.write(&bytes).unwrap();
        let reply: Reply = Lines::new(stream, 1 << 20).read(&mut || true).unwrap().unwrap();
        assert!(matches!(&reply, Reply::Failed(failed) if failed.text.contains("does not understand")), "{reply:?}");
    }
    let idle: Vec<_> = (0..MOST_CLIENTS).map(|_| platform::connect(dir.path()).unwrap()).collect();
    let failure = ask(dir.path(), &Request::Status { set: None }, &mut |_| {}, &mut |_, _| false).unwrap_err();
    assert!(failure.to_string().contains("being served already"), "{failure}");
    drop(idle);
    let until = Instant::now() + PATIENCE;
    while ask(dir.path(), &Request::Status { set: None }, &mut |_| {}, &mut |_, _| false).is_err() {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
    server.stop();
}
