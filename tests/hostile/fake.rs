//! A standby that is none: it listens on a standby's address with its key, and does whatever a test wants.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Queue, Sender as Enqueue, channel};
use std::thread::{self, JoinHandle};

use standin_common::id::MirrorId;
use standin_common::link::CloseCode;
use standin_common::link::quic::Connection;
use standin_common::link::talk::{Receiver, Sender, Talk};
use standin_common::message::{
    FromSource, FromStandby, Hello, HelloAnswer, LaneDown, LaneUp, MirrorAnswer, Opening, Position, SetAnswer, Want,
};

use crate::raw::{Stolen, hello, path};
use crate::support::{Done, PATIENCE, Pair, peak_rss_kib, shell, wait_until};

/// What is beneath no root, or excluded.
pub(crate) const SECRET: &str = "a secret that must not leave the source";
/// The most memory that a source may take for a small set, in KiB.
const MOST_KIB: u64 = 400 * 1024;

/// A source's daemon, and a standby in hostile hands.
pub(crate) struct Scene {
    pub(crate) pair: Pair,
    standby: Option<Fake>,
}

/// Listens, and hands on what the source opens.
pub(crate) struct Fake {
    stolen: Arc<Stolen>,
    opened: Queue<(Opening, Talk)>,
    accepting: Option<JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stolen.endpoint.close(CloseCode::DONE, "the test ends");
        self.accepting.take().map(JoinHandle::join);
    }
}

fn accept(connection: &Connection, opened: &Enqueue<(Opening, Talk)>) {
    while let Ok((send, receive)) = connection.accept() {
        let (send, mut receive) = (Sender::new(send), Receiver::new(receive));
        let Ok(opening) = receive.answer() else { continue };
        if opened.send((opening, (send, receive))).is_err() {
            return;
        }
    }
}

impl Fake {
    fn start(pair: &Pair) -> Self {
        let stolen = Arc::new(Stolen::of(&pair.beta.state_dir(), &[pair.beta.listen]));
        let (enqueue, opened) = channel();
        let listening = stolen.clone();
        let accepting = thread::spawn(move || {
            while let Some(connection) = listening.endpoint.accept() {
                let enqueue = enqueue.clone();
                thread::spawn(move || accept(&connection, &enqueue));
            }
        });
        Self { stolen, opened, accepting: Some(accepting) }
    }

    /// The next thing that the source opens.
    pub(crate) fn next(&self) -> (Opening, Talk) {
        self.opened.recv_timeout(PATIENCE).expect("the source opens something")
    }

    /// What the source has opened, if anything.
    pub(crate) fn try_next(&self) -> Option<(Opening, Talk)> {
        self.opened.try_recv().ok()
    }

    /// The next mirror, not yet answered. Is polite before.
    pub(crate) fn mirror(&self) -> (MirrorId, Talk) {
        loop {
            match self.next() {
                (Opening::Hello(_), (mut send, _)) => {
                    send.send(&HelloAnswer::Welcome(Hello { program: "0.1.0".to_owned(), ..hello("beta") }), &[]).unwrap();
                    send.finish().unwrap();
                }
                (Opening::Set(_) | Opening::Roles { .. }, (mut send, _)) => {
                    let known = SetAnswer::Known { definition: "{}".to_owned(), status: "{}".to_owned() };
                    send.send(&known, &[]).unwrap();
                    send.finish().unwrap();
                }
                (Opening::Mirror(opening), talk) => return (opening.mirror, talk),
                (Opening::Password(_), _) => panic!("no password is passed on but by order"),
                // Of a mirror that has ended; a source that asks nobody to take over, has no groups and no layers says nothing of those.
                (
                    Opening::Lane { .. }
                    | Opening::Stream(_)
                    | Opening::TakeOver(_)
                    | Opening::Group { .. }
                    | Opening::Heartbeats
                    | Opening::Current { .. },
                    _,
                ) => {}
            }
        }
    }

    /// The next mirror, with the answer that it may begin, and its lane; everything was announced.
    pub(crate) fn begun(&self, after: Option<Position>) -> Session {
        let (mirror, (mut send, mut receive)) = self.mirror();
        send.send(&MirrorAnswer::Ready { after, first: false, owners: true, objects: 5 }, &[]).unwrap();
        let lane = loop {
            match self.next() {
                (Opening::Lane { mirror: of }, lane) if of == mirror => break lane,
                _ => {}
            }
        };
        while !matches!(receive.receive().unwrap().unwrap().0, FromSource::WalkEnd) {}
        Session { send, receive, lane, received: Vec::new() }
    }
}

/// A mirror that was let begin.
pub(crate) struct Session {
    pub(crate) send: Sender,
    pub(crate) receive: Receiver,
    pub(crate) lane: Talk,
    /// Everything that came over the lane.
    received: Vec<u8>,
}

pub(crate) fn want(file: u64, at: &str) -> Want {
    let at = Position { root: standin_common::id::RootIndex(0), path: path(at) };
    Want { file, at, size: 200_000, whole: true }
}

impl Session {
    /// Says something; the source may have hung up already.
    pub(crate) fn say(&mut self, message: &FromStandby) {
        drop(self.send.send(message, &[]));
    }

    pub(crate) fn want(&mut self, wants: Vec<Want>) {
        self.say(&FromStandby::Wants(wants));
    }

    pub(crate) fn answer(&mut self, answer: &LaneUp) {
        drop(self.lane.0.send(answer, &[]));
    }

    /// The next message of the lane.
    pub(crate) fn hear(&mut self) -> LaneDown {
        let (message, payload) = self.lane.1.receive::<LaneDown>().unwrap().unwrap();
        self.received.extend_from_slice(payload);
        message
    }

    /// Goes on as an honest standby would that needs nothing more.
    pub(crate) fn be_honest(mut self) {
        self.say(&FromStandby::Joined(Default::default()));
        loop {
            match self.receive.receive().unwrap().unwrap().0 {
                FromSource::Commit { .. } => break,
                _ => continue,
            }
        }
        self.say(&FromStandby::Committed { point: standin_common::id::PointNumber(2), orphans_left: 0, objects: 0, bytes: 0 });
        self.send.finish().unwrap();
    }

    /// Waits until the source lets go.
    pub(crate) fn wait_for_the_end(mut self) {
        while matches!(self.receive.receive::<FromSource>(), Ok(Some(_))) {}
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        while let Ok(Some((_, payload))) = self.lane.1.receive::<LaneDown>() {
            self.received.extend_from_slice(payload);
        }
        let leaked = self.received.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        if !thread::panicking() {
            assert!(!leaked, "the secret was sent");
        }
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut pair = Pair::new("lanes = 1");
        let tree = format!(
            "mkdir canary; echo '{SECRET}' | tee canary/secret > source/excluded; cd source; mkdir d .standin; echo 1 > d/file
            head -c 200000 /dev/urandom > large; ln -s ../canary way; ln -s {} absolute; mkfifo pipe; echo '{SECRET}' > .standin/1-1; touch {{1..20}}",
            pair.dir.path().join("canary").display()
        );
        shell(pair.dir.path(), &tree);
        pair.alpha.stop();
        pair.beta.stop();
        for node in [&pair.alpha, &pair.beta] {
            node.add_settings("rules = [{ exclude = \"excluded\" }]");
        }
        pair.alpha.start();
        pair.beta.start();
        pair.mirror(&[]);
        pair.beta.stop();
        let standby = Some(Fake::start(&pair));
        Self { pair, standby }
    }

    pub(crate) fn standby(&self) -> &Fake {
        self.standby.as_ref().unwrap()
    }

    /// A mirror is ordered and waited for, while the standby does this.
    pub(crate) fn attack(&mut self, attack: &str, act: impl FnOnce(&Fake)) -> Done {
        println!("attack: {attack:?}");
        let mut command = self.pair.alpha.command(&["--json", "mirror", "start", "mail", "--wait"]);
        command.env("RUST_BACKTRACE", "0");
        let ordered = thread::spawn(move || Done::of(command));
        act(self.standby());
        let done = ordered.join().unwrap();
        self.check(attack);
        done
    }

    /// The daemon lives, is not bloated, and does not wait for anything.
    #[track_caller]
    pub(crate) fn check(&mut self, attack: &str) {
        assert!(self.pair.alpha.is_running(), "the daemon died of: {attack}");
        let kib = peak_rss_kib(self.pair.alpha.pid()).unwrap();
        assert!(kib < MOST_KIB, "{kib} KiB after: {attack}");
        assert!(!self.pair.alpha.log().contains("panicked"), "{attack}");
    }

    /// The mirror ends with an error that names the breach.
    #[track_caller]
    pub(crate) fn assert_breach(&mut self, attack: &str, why: &str, act: impl FnOnce(&Fake)) {
        let done = self.attack(attack, act).expect(1);
        assert!(done.stderr.contains("the standby broke the protocol") && done.stderr.contains(why), "{attack}: {done:?}");
        let status = Pair::status_of(&self.pair.alpha);
        assert_eq!(status["state"], "idle", "{attack}: {status}");
        assert!(status["trouble"].as_str().is_some_and(|trouble| trouble.contains(why)), "{attack}: {status}");
    }

    /// The honest standby is served as ever.
    pub(crate) fn check_at_last(mut self) {
        println!("largest memory of the source: {} KiB", peak_rss_kib(self.pair.alpha.pid()).unwrap());
        self.standby = None;
        // Its socket is closed by a thread of its own.
        let listen = self.pair.beta.listen;
        wait_until("the port is free", PATIENCE, || std::net::UdpSocket::bind(listen).is_ok());
        shell(&self.pair.source, "echo more > more; echo 2 > d/file; rm large");
        self.pair.beta.start();
        wait_until("the honest standby is mirrored to", PATIENCE, || self.pair.try_mirror(&[]).code == Some(0));
        fs::remove_file(self.pair.source.join("excluded")).unwrap();
        fs::remove_dir_all(self.pair.source.join(".standin")).unwrap();
        assert_eq!(shell(&self.pair.target, "cat d/file more; ls -a | grep -c -e excluded -e standin || true"), "2\nmore\n0\n");
        shell(self.pair.dir.path(), "diff -r --no-dereference -x pipe source target");
    }
}
