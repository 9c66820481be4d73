//! Two daemons in this process, on loopback, and cutovers' view of the set between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::{self, JoinHandle};

use standin_common::id::NodeName;
use standin_common::identity::{Identity, Trust};
use standin_common::link::CloseCode;
use standin_config::{Peer, Settings};

use super::super::peer::Errand;
use super::super::serve;
use super::*;

/// How long anything may take that should take an instant.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon without its control socket.
struct Running {
    daemon: Arc<Daemon>,
    volumes: DaemonVolumes,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn start(base: &Path, name: &str) -> Self {
        let settings = Settings::load(&base.join(format!("{name}.toml"))).unwrap();
        let (daemon, errands) = Daemon::open(settings, Path::new("unused")).unwrap();
        let daemon = Arc::new(daemon);
        let (serving, turning) = (daemon.clone(), daemon.clone());
        let threads =
            vec![thread::spawn(move || serve::accept_all(&serving)), thread::spawn(move || turning.run_errands(&errands))];
        daemon.parts.values().for_each(Part::start);
        Self { volumes: DaemonVolumes(daemon.clone()), daemon, threads }
    }

    /// Learns where the other is: both listen on whatever port is free.
    fn meet(&self, other: &Self) {
        let name = other.daemon.context.settings().node.name.clone();
        let addresses = other.daemon.context.endpoint.local_addrs().unwrap();
        let addresses = addresses.iter().map(|address| address.to_string().parse().unwrap()).collect();
        let settings = self.daemon.context.settings();
        self.daemon
            .context
            .replace_settings(Settings { peers: BTreeMap::from([(name, Peer { addresses })]), ..(*settings).clone() });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.daemon.context.run_errand(Errand::End);
        self.daemon.context.endpoint.close(CloseCode::STOPPING, "the test ends");
        self.daemon.parts.values().for_each(Part::end);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// Alpha and beta, paired, with the set `mail` between `a` and `b`.
fn two(base: &Path) -> [Running; 2] {
    let mut keys = Vec::new();
    for name in ["alpha", "beta"] {
        let state = base.join(name);
        fs::create_dir(&state).unwrap();
        keys.push((name, Identity::load_or_create(&state, &name.parse().unwrap()).unwrap().fingerprint()));
        let (a, b) = (base.join("a"), base.join("b"));
        let other = if name == "alpha" { "beta" } else { "alpha" };
        let text = format!(
            "[node]\nname = \"{name}\"\nlisten = [\"127.0.0.1:0\"]\nstate_dir = {state:?}\n\
             [peers.{other}]\naddresses = [\"127.0.0.1:1\"]\n\
             [sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"\ncapture = \"watch\"\n[[sets.mail.roots]]\npath = {a:?}\ntarget = {b:?}\n"
        );
        fs::write(base.join(format!("{name}.toml")), text).unwrap();
    }
    let [(_, alpha), (_, beta)] = keys[..] else { panic!() };
    Trust::new(&base.join("alpha")).add(&"beta".parse().unwrap(), beta, "loopback").unwrap();
    Trust::new(&base.join("beta")).add(&"alpha".parse().unwrap(), alpha, "loopback").unwrap();
    let both = [Running::start(base, "alpha"), Running::start(base, "beta")];
    both[0].meet(&both[1]);
    both[1].meet(&both[0]);
    both
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < late, "never: {what}");
        thread::sleep(Duration::from_millis(20)); // poll
    }
}

#[test]
fn a_cutover_there_and_back_by_the_steps_that_groups_take() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path();
    fs::create_dir(base.join("a")).unwrap();
    fs::write(base.join("a/mail"), "one\n").unwrap();
    let [alpha, beta] = two(base);
    let set: SetName = "mail".parse().unwrap();
    let generation = Generation;
    let deadline = || Instant::now() + PATIENCE;
    let source = |of: &Running| -> NodeName { of.volumes.standing(&set).unwrap().source };
    // Nothing was mirrored yet: nothing can be taken over. Draining is a mirror then.
    assert!(beta.volumes.take_over(&set, None, generation(2)).is_err());
    alpha.volumes.drain(&set, deadline(), &|| false).unwrap();
    fs::write(base.join("a/mail"), "one\ntwo\n").unwrap();
    let point = alpha.volumes.drain(&set, deadline(), &|| false).unwrap();
    assert_eq!(alpha.volumes.standing(&set).unwrap().newest, Some(point));
    assert_eq!(alpha.volumes.standing(&set).unwrap().behind, Some(Duration::ZERO));
    // Retired and released, it is what it was; and retired again.
    for _ in 0..2 {
        alpha.volumes.retire(&set, generation(2)).unwrap();
    }
    assert!(alpha.volumes.standing(&set).unwrap().trouble.contains("gave up being the source"));
    alpha.volumes.release(&set).unwrap();
    let point = alpha.volumes.drain(&set, deadline(), &|| false).unwrap();
    alpha.volumes.retire(&set, generation(2)).unwrap();
    // What was drained is still known.
    assert_eq!(alpha.volumes.drain(&set, deadline(), &|| false).unwrap(), point);
    assert!(beta.volumes.take_over(&set, Some(point), generation(1)).is_err());
    for _ in 0..2 {
        assert_eq!(beta.volumes.take_over(&set, Some(point), generation(2)).unwrap(), point);
        alpha.volumes.become_standby(&set, generation(2)).unwrap();
    }
    assert_eq!(fs::read_to_string(base.join("b/mail")).unwrap(), "one\ntwo\n");
    assert_eq!((source(&alpha).as_str(), source(&beta).as_str()), ("beta", "beta"));
    assert!(alpha.volumes.release(&set).is_err() && alpha.volumes.retire(&set, generation(3)).is_err());
    assert!(alpha.volumes.become_standby(&set, generation(1)).is_err());
    // Replication goes on the other way by itself.
    fs::write(base.join("b/mail"), "one\ntwo\nthree\n").unwrap();
    wait_until("alpha has it", || fs::read_to_string(base.join("a/mail")).unwrap() == "one\ntwo\nthree\n");
    wait_until("beta knows", || beta.volumes.standing(&set).unwrap().behind == Some(Duration::ZERO));
    // A failover home, by a generation that somebody else counts.
    alpha.volumes.take_over(&set, None, generation(7)).unwrap();
    wait_until("beta heard of it", || source(&beta).as_str() == "alpha");
    assert_eq!(beta.volumes.standing(&set).unwrap().generation, generation(7));
    assert!(!base.join("alpha/sets/mail/kept").exists());
}

#[test]
fn the_loss_is_counted_from_the_last_word_of_the_source_and_not_by_its_clock() {
    use standin_common::entry::Time;
    use standin_common::id::{Generation, MirrorId};
    use standin_common::scope::Reason;

    let now = Duration::from_secs(1_700_000_000);
    let made = |secs| Point {
        number: PointNumber(7),
        generation: Generation(1),
        mirror: MirrorId::default(),
        reason: Reason::Mirror,
        at: Time { secs, nanos: 0 },
        consistent: true,
        objects: 0,
        bytes: 0,
        orphans: 0,
    };
    let report = SetReport::new("mail".parse().unwrap(), Role::Standby, Generation(1), SetState::Ready, "alpha".parse().unwrap());
    let old = SetReport { point: Some(made(1_699_999_940)), ..report };
    assert_eq!(behind(&old, now), Some(Duration::from_secs(60)));
    // A quiet server: the point is old, and nothing is missing.
    let quiet = SetReport { current_seconds: Some(1.5), ..old.clone() };
    assert_eq!(behind(&quiet, now), Some(Duration::from_millis(1500)));
    // The source's clock is an hour ahead.
    let ahead = SetReport { point: Some(made(1_700_003_600)), ..old };
    assert_eq!(behind(&ahead, now), None);
    assert_eq!(behind(&SetReport { current_seconds: Some(30.0), ..ahead }, now), Some(Duration::from_secs(30)));
}

#[test]
fn a_standby_that_takes_nothing_is_waited_for_as_long_as_it_may_be_in_one_piece() {
    let report = |state, trouble: Option<&str>| {
        let set = "mail".parse().unwrap();
        let new = SetReport::new(set, Role::Source, Generation(1), state, "beta".parse().unwrap());
        SetReport { trouble: trouble.map(str::to_owned), ..new }
    };
    let full = report(SetState::Hindered, Some("the disk is full"));
    let begun = Instant::now();
    let mut hindered = Hindered::default();
    assert!(hindered.is_worth_waiting(&full, begun));
    assert!(hindered.is_worth_waiting(&full, begun + MOST_HINDERED / 2));
    assert!(hindered.is_worth_waiting(&report(SetState::Following, None), begun + MOST_HINDERED), "it goes on");
    assert!(hindered.0.is_none());
    assert!(hindered.is_worth_waiting(&full, begun + MOST_HINDERED * 2), "the time begins anew");
    assert!(!hindered.is_worth_waiting(&full, begun + MOST_HINDERED * 3));
    assert_eq!(hindered.0.map(|(_, why)| why).as_deref(), Some("the disk is full"));
}
