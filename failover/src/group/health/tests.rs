use standin_config::Settings;

use super::*;
use crate::group::graph::{Member, Part};

const SETTINGS: &str = r#"
[node]
name = "alpha"
state_dir = "/s"
[peers.beta]
addresses = ["10.0.0.2"]
[groups.mail]
nodes = { alpha = 1, beta = 10 }
addresses = 0
[[groups.mail.resources]]
name = "server"
kind = "service"
start = ["/bin/true"]
stop = ["/bin/true"]
state = ["/bin/true"]
restarts = 2
restart_window = "10 min"
[[groups.mail.resources]]
name = "after"
kind = "script"
needs = "server"
start = ["/bin/true"]
[[groups.mail.resources]]
name = "greets"
kind = "check"
needs = "server"
probe = "tcp"
target = "10.0.0.50:25"
interval = "10 s"
misses = 3
then = "restart"
[[groups.mail.resources]]
name = "told"
kind = "check"
probe = "tcp"
target = "10.0.0.50:80"
interval = "10 s"
misses = 1
then = "report"
[[groups.mail.resources]]
name = "must"
kind = "check"
probe = "tcp"
target = "10.0.0.50:90"
interval = "10 s"
misses = 1
then = "fail"
[[groups.mail.resources]]
name = "extra"
kind = "service"
optional = true
start = ["/bin/true"]
stop = ["/bin/true"]
state = ["/bin/true"]
restarts = 0
"#;

fn health(now: Instant) -> Health {
    let settings = Settings::parse(SETTINGS, "test").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let written = settings.groups.into_values().next().unwrap();
    let part = |resource: &Resource| Part {
        name: resource.name.clone(),
        set: None,
        needs: resource.needs.clone(),
        start_limit_ms: 1,
        stop_limit_ms: 1,
        optional: resource.optional,
    };
    let nodes = written.nodes.iter().map(|(node, priority)| Member { node: node.clone(), priority: *priority }).collect();
    let group = Group::new(written.name.clone(), nodes, written.resources.iter().map(part).collect()).unwrap();
    Health::new(&written, &group, now)
}

fn name(name: &str) -> ResourceName {
    name.parse().unwrap()
}

fn ill() -> Result<(), String> {
    Err("no answer".to_owned())
}

fn restart_of(next: Next) -> Vec<String> {
    match next {
        Next::Restart { what, .. } => what.into_iter().map(String::from).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_is_looked_at_at_its_interval_and_never_twice_at_once() {
    let begin = Instant::now();
    let at = |seconds: u64| begin + Duration::from_secs(seconds);
    let mut health = health(begin);
    assert_eq!(health.due(at(2)), []);
    assert_eq!(health.due(at(3)), [name("extra"), name("server")]);
    assert_eq!(health.due(at(9)), [], "nobody told yet what was seen");
    assert_eq!(health.pause(true, at(9)), Duration::from_secs(1));
    assert_eq!(health.hear(&name("server"), Ok(()), at(9)), Next::Nothing);
    assert_eq!(health.due(at(12)), [name("greets"), name("must"), name("server"), name("told")]);
    assert_eq!(health.pause(true, at(12)), Duration::MAX, "all are being looked at");
}

#[test]
fn what_is_due_and_not_looked_after_wakes_nobody() {
    let begin = Instant::now();
    let (health, late) = (health(begin), begin + Duration::from_secs(60));
    assert_eq!(health.pause(true, late), Duration::ZERO);
    assert_eq!(health.pause(false, late), Duration::MAX);
}

#[test]
fn what_is_gone_is_started_again_with_what_needs_it_until_its_limit() {
    let begin = Instant::now();
    let mut health = health(begin);
    let server = name("server");
    for minute in [0, 1] {
        let now = begin + Duration::from_secs(minute * 60);
        assert_eq!(health.hear(&server, ill(), now), Next::Nothing, "one look may be wrong");
        let what = restart_of(health.hear(&server, ill(), now));
        // The check is only a question; it is not stopped and started.
        assert_eq!(what, ["server", "after"]);
        health.restarted(&what.iter().map(|part| name(part)).collect::<Vec<_>>(), now);
    }
    let now = begin + Duration::from_secs(120);
    health.hear(&server, ill(), now);
    let Next::Fail(why) = health.hear(&server, ill(), now) else { panic!() };
    assert!(why.contains("no answer") && why.contains("restarts"), "{why}");
    assert_eq!(health.hear(&server, ill(), now), Next::Nothing, "told once");
    assert!(health.failure().is_some());
    // The first one has left the window.
    let later = begin + Duration::from_secs(601);
    assert_eq!(restart_of(health.hear(&server, ill(), later)), ["server", "after"]);
    health.restarted(std::slice::from_ref(&server), later);
    assert!(matches!(health.hear(&server, Ok(()), later), Next::Tell(_)));
    assert_eq!(health.failure(), None);
}

#[test]
fn a_check_has_what_it_needs_started_again_at_that_ones_cost() {
    let now = Instant::now();
    let mut health = health(now);
    let greets = name("greets");
    for _ in 0..2 {
        assert_eq!((health.hear(&greets, ill(), now), health.hear(&greets, ill(), now)), (Next::Nothing, Next::Nothing));
        let what = restart_of(health.hear(&greets, ill(), now));
        health.restarted(&what.iter().map(|part| name(part)).collect::<Vec<_>>(), now);
    }
    (0..2).for_each(|_| assert_eq!(health.hear(&greets, ill(), now), Next::Nothing));
    assert!(matches!(health.hear(&greets, ill(), now), Next::Fail(_)));
    // The service itself has none left either.
    health.hear(&name("server"), ill(), now);
    assert!(matches!(health.hear(&name("server"), ill(), now), Next::Fail(_)));
    health.forgive();
    assert_eq!(health.failure(), None);
    // Somebody was there: it may be started again as often as at the beginning.
    let next = (0..3).map(|_| health.hear(&name("server"), ill(), now)).find(|next| *next != Next::Nothing);
    assert!(!restart_of(next.unwrap()).is_empty());
}

#[test]
fn what_follows_is_what_the_settings_say() {
    let now = Instant::now();
    let mut health = health(now);
    assert!(matches!(health.hear(&name("told"), ill(), now), Next::Tell(_)));
    assert_eq!(health.hear(&name("told"), ill(), now), Next::Nothing);
    health.hear(&name("extra"), ill(), now);
    assert!(matches!(health.hear(&name("extra"), ill(), now), Next::Tell(why) if why.contains("optional")));
    assert_eq!(health.failure(), None);
    assert!(matches!(health.hear(&name("must"), ill(), now), Next::Fail(_)));
    assert!(matches!(health.hear(&name("must"), Ok(()), now), Next::Tell(_)));
    assert_eq!(health.failure(), None);
}

#[test]
fn what_was_missed_before_a_rest_does_not_count() {
    let now = Instant::now();
    let mut health = health(now);
    let server = name("server");
    health.hear(&server, ill(), now);
    health.rest(now);
    assert_eq!(health.hear(&server, ill(), now), Next::Nothing);
    assert_eq!(restart_of(health.hear(&server, ill(), now)), ["server", "after"]);
}
