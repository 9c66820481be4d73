//! The samples load; the invalid ones fail with exactly the messages beside them (`UPDATE_SNAPSHOTS=1` rewrites those).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use standin_common::id::NodeName;
use standin_config::group::{AtShutdown, Failover, Kind, Then, Witness};
use standin_config::{
    Acknowledge, Capture, LoadError, LocalTime, MaxOrphans, OnDisconnect, Rate, Reconnect, Role, Settings, template,
};

fn samples(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(directory);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

fn parse(path: &Path) -> Result<Settings, Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let problems = Settings::parse(&text, "standin.toml");
    problems.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn sample(name: &str) -> Settings {
    parse(&Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)).unwrap()
}

#[test]
fn every_sample_loads() {
    let files = samples("");
    assert!(files.len() >= 5);
    for file in files {
        let settings = parse(&file).unwrap_or_else(|problems| panic!("{}: {problems:#?}", file.display()));
        assert_eq!(settings.notes(), Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn every_invalid_sample_gives_its_messages() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    assert!(!(update && std::env::var_os("CI").is_some()), "UPDATE_SNAPSHOTS must not be set in CI");
    let files = samples("invalid");
    assert!(files.len() >= 20);
    let mut wrong = Vec::new();
    for file in files {
        let messages = parse(&file).expect_err(&file.display().to_string()).join("\n") + "\n";
        let beside = file.with_extension("txt");
        if update {
            fs::write(&beside, &messages).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if messages != expected {
            wrong.push(format!("{}\nexpected:\n{expected}got:\n{messages}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_invalid_sample_has_one_fault_unless_it_is_named_many() {
    for file in samples("invalid") {
        let many = file.file_stem().unwrap().to_str().unwrap().contains("many");
        let problems = parse(&file).unwrap_err();
        assert_eq!(problems.len() > 1, many, "{}: {problems:#?}", file.display());
    }
}

#[test]
fn defaults_are_filled_in() {
    let settings = sample("pair.toml");
    let set = settings.sets.values().next().unwrap();
    assert_eq!((set.orphans.as_str(), set.compression.as_str()), ("remove", "auto"));
    assert_eq!((set.max_orphans, set.history_points, set.lanes, set.passes), (MaxOrphans::Share(25), 3, 4, 3));
    assert_eq!((set.journal_limit_bytes, set.limit_bytes_per_second), (16 << 30, None));
    assert_eq!((set.capture, set.acknowledge), (Capture::Scan, Acknowledge::Local));
    assert_eq!((set.on_disconnect, set.reconnect), (OnDisconnect::Continue, Reconnect::Automatic));
    assert_eq!((set.points.interval_ms, set.points.quiet_ms, set.rescan_ms), (Some(900_000), Some(5000), Some(21_600_000)));
    assert_eq!(set.scrub_ms, Some(7 * 86_400_000));
    assert_eq!((set.queue_limit_bytes, set.limits.len()), (256 << 20, 0));
    let node = |name: &str| name.parse::<NodeName>().unwrap();
    assert_eq!(set.role(&node("alpha")), Some(Role::Source));
    assert_eq!(set.role(&node("beta")), Some(Role::Standby));
    assert_eq!(set.role(&node("gamma")), None);
    assert_eq!(set.peer_of(&node("beta")), Some(&node("alpha")));
    let beta = settings.peers.values().next().unwrap();
    assert_eq!(beta.addresses[1].to_string(), "192.168.7.2:7420");
}

#[test]
fn one_standby_keeps_two_sources_apart() {
    let settings = sample("shared-standby.toml");
    assert_eq!((settings.peers.len(), settings.sets.len()), (2, 2));
    let mut targets: Vec<_> =
        settings.sets.values().map(|set| (set.source.as_str(), set.roots[0].target.to_str().unwrap())).collect();
    targets.sort_unstable();
    assert_eq!(targets, [("alpha", "/srv/standby/alpha/mail"), ("beta", "/srv/standby/beta/mail")]);
    assert!(settings.sets.values().all(|set| set.role(&settings.node.name) == Some(Role::Standby)));
    assert!(settings.sets.values().any(|set| set.scrub_ms == Some(30 * 86_400_000)));
    let limits: Vec<_> = settings.sets.values().map(|set| (set.journal_limit_bytes, set.limit_bytes_per_second)).collect();
    assert!(limits.contains(&(64 << 30, Some(50_000_000))) && limits.contains(&(64 << 30, None)), "{limits:?}");
}

#[test]
fn exchange_volumes_are_one_set() {
    let settings = sample("exchange.toml");
    assert_eq!(settings.node.state_dir.to_str(), Some(r"C:\ProgramData\Standin"));
    let set = settings.sets.values().next().unwrap();
    assert_eq!((set.max_orphans, set.history_points, set.lanes, set.passes), (MaxOrphans::Share(60), 6, 8, 5));
    let roots: Vec<_> = set.roots.iter().map(|root| (root.path.to_str().unwrap(), root.rules.len())).collect();
    assert_eq!(roots, [(r"E:\Exchange\Stores", 1), (r"L:\Exchange\Logs", 1), (r"Q:\Exchange\Queue", 0)]);
    assert!(set.roots[0].rules[0].recurse && !set.roots[1].rules[0].recurse);
}

#[test]
fn the_directory_is_reached_as_it_is_written() {
    let directory = sample("directory.toml").directory.unwrap();
    assert_eq!(directory.controllers, ["dc1.corp.example", "starttls://dc2.corp.example"]);
    assert_eq!((directory.account.as_deref(), directory.domain, directory.pin), (Some("standin@corp.example"), None, None));
    let text = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    assert_eq!(text(directory.password_file).as_deref(), Some("/etc/standin/directory.password"));
    assert_eq!(text(directory.ca).as_deref(), Some("/etc/standin/corp-authority.pem"));
    assert_eq!(text(directory.state_dir).as_deref(), Some("/var/lib/standin/directory"));
    assert_eq!(sample("pair.toml").directory, None);
}

#[test]
fn a_block_device_goes_to_an_image_file() {
    let settings = sample("block-device.toml");
    assert_eq!(settings.node.listen[0].to_string(), "0.0.0.0:7420");
    let set = settings.sets.values().next().unwrap();
    assert_eq!(
        (set.orphans.as_str(), set.max_orphans, set.compression.as_str(), set.lanes),
        ("keep", MaxOrphans::Count(0), "always", 1)
    );
    assert_eq!(set.journal_limit_bytes, 3 << 39);
    let root = &set.roots[0];
    assert_eq!((root.path.to_str(), root.target.to_str()), (Some("/dev/vg0/mail"), Some("/srv/standby/vm-mail.img")));
}

#[test]
fn a_database_has_layers_and_waits_for_the_standby() {
    let settings = sample("database.toml");
    let set = settings.sets.values().next().unwrap();
    assert_eq!(
        (set.capture, set.acknowledge, set.on_disconnect),
        (Capture::Ordered, Acknowledge::Durable, OnDisconnect::Continue)
    );
    assert_eq!(set.roots.len(), 2);
}

#[test]
fn a_thin_line_has_its_timetable() {
    let settings = sample("thin-line.toml");
    let set = settings.sets.values().next().unwrap();
    assert_eq!((set.capture, set.reconnect, set.rescan_ms), (Capture::Watch, Reconnect::Manual, None));
    assert_eq!((set.points.interval_ms, set.points.quiet_ms, set.queue_limit_bytes), (Some(14_400_000), None, 2 << 30));
    let rows: Vec<_> = set.limits.iter().map(ToString::to_string).collect();
    assert_eq!(
        rows,
        [
            r#"{ days = ["mon", "tue", "wed", "thu", "fri"], from = "08:00", to = "18:00", rate = "250 kB/s" }"#,
            r#"{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], from = "22:00", to = "05:30", rate = "unlimited" }"#,
            r#"{ days = ["wed", "sun"], from = "02:00", to = "03:00", rate = "pause" }"#,
        ]
    );
    let table = set.timetable();
    let at = |day, hour: u32| LocalTime::new(day, hour * 60);
    assert_eq!(table.rate_at(at(0, 12)), Rate::Limit(250_000));
    assert_eq!(table.rate_at(at(5, 12)), Rate::Limit(1_000_000));
    assert_eq!((table.rate_at(at(2, 1)), table.rate_at(at(2, 2))), (Rate::Unlimited, Rate::Pause));
}

#[test]
fn what_has_no_effect_is_a_note() {
    let text = fs::read_to_string(samples("").into_iter().find(|path| path.ends_with("thin-line.toml")).unwrap()).unwrap();
    let notes = |from: &str, to: &str| Settings::parse(&text.replace(from, to), "standin.toml").unwrap().notes();
    let [scan] = &notes("capture = \"watch\"", "acknowledge = \"durable\"")[..] else { panic!("not one note") };
    assert!(scan.starts_with("sets.mail.acknowledge is \"durable\", but with capture = \"scan\""), "{scan}");
    let [block] = &notes("limit = \"1 MB/s\"", "on_disconnect = \"block\"")[..] else { panic!("not one note") };
    assert!(block.starts_with("sets.mail.on_disconnect is \"block\", but"), "{block}");
}

#[test]
fn a_group_that_would_be_off_for_long_is_a_note() {
    let text = fs::read_to_string(samples("").into_iter().find(|path| path.ends_with("group-mail.toml")).unwrap()).unwrap();
    let notes = |misses: &str| Settings::parse(&text.replace("misses = 10 ", misses), "standin.toml").unwrap().notes();
    assert_eq!(notes("misses = 33 "), Vec::<String>::new());
    assert_eq!(
        notes("misses = 60 "),
        [
            "groups.mail: a node that is cut off stops within 15 s, and nobody takes over before 1 min (heartbeat times misses), so nobody serves \
          meanwhile; did you mean fewer misses, or a lease of 40 s?"
        ]
    );
}

#[test]
fn a_set_for_other_nodes_is_a_note_not_a_problem() {
    let text = fs::read_to_string(samples("").into_iter().find(|path| path.ends_with("pair.toml")).unwrap()).unwrap();
    // Whoever slips in a name is told so; a file that many nodes share knows all of them.
    let slip = text.replace("name = \"alpha\"", "name = \"alhpa\"");
    let problems = Settings::parse(&slip, "standin.toml").unwrap_err();
    assert!(problems[0].to_string().contains("alpha is neither this node, alhpa, nor a peer"), "{problems:?}");
    let settings = Settings::parse(&format!("{slip}\n[peers.alpha]\naddresses = [\"10.0.0.7:7420\"]\n"), "standin.toml").unwrap();
    assert_eq!(
        settings.notes(),
        ["sets.mail runs from alpha to beta, so this node, alhpa, has no part in it (is alpha a slip of alhpa?)"]
    );
}

#[test]
fn a_limit_may_be_none() {
    let text = fs::read_to_string(samples("").into_iter().find(|path| path.ends_with("thin-line.toml")).unwrap()).unwrap();
    let settings = Settings::parse(&text.replace("limit = \"1 MB/s\"", "limit = \"unlimited\""), "standin.toml").unwrap();
    assert_eq!(settings.sets.into_values().next().unwrap().limit_bytes_per_second, None);
}

#[test]
fn of_wrong_settings_the_state_directory_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("standin.toml");
    let known = |text: &str| {
        fs::write(&path, text).unwrap();
        standin_config::state_dir_of(&path)
    };
    let node = "[node]\nname = \"alpha\"\nstate_dir = \"/var/lib/standin\"\n";
    for wrong in ["", "[sets.mail]\nnonsense = 3\n", "[sets.mail\n", "x = \n"] {
        assert_eq!(known(&format!("{node}{wrong}")), Some(PathBuf::from("/var/lib/standin")), "{wrong}");
    }
    for text in ["", "[node]\n", "[node]\nstate_dir = 3\n", "[node]\nstate_dir = \"relative\"\n"] {
        assert_eq!(known(text), None, "{text}");
    }
}

#[test]
fn differences_name_each_setting_that_differs() {
    let settings = sample("postfix-dovecot.toml");
    let here = settings.sets.values().next().unwrap();
    assert_eq!(here.differences(here), []);
    let mut there = here.clone();
    there.limit_bytes_per_second = None;
    there.points.quiet_ms = None;
    there.scrub_ms = None;
    there.limits = sample("thin-line.toml").sets.into_values().next().unwrap().limits.split_off(2);
    there.journal_limit_bytes = 1 << 30;
    there.roots[0].rules[1].recurse = false;
    there.roots.truncate(1);
    let rows: Vec<_> = here.differences(&there).into_iter().map(|d| format!("{}: {} | {}", d.key, d.here, d.there)).collect();
    assert_eq!(
        rows,
        [
            "points.quiet: 10 s | off",
            "scrub: 7 d | off",
            "journal_limit: 16 GiB | 1 GiB",
            "limit: 80 MB/s | (none)",
            "roots[0].rules[1]: { exclude = \"**/tmp\", recurse = true } | { exclude = \"**/tmp\" }",
            "roots[1].path: /var/spool/postfix | (none)",
            "roots[1].target: /var/spool/postfix | (none)",
            "roots[1].rules[0]: { exclude = \"{pid,private,public,dev}\", recurse = true } | (none)",
            "limits[0]: (none) | { days = [\"wed\", \"sun\"], from = \"02:00\", to = \"03:00\", rate = \"pause\" }",
        ]
    );
    assert_eq!(there.differences(here).len(), rows.len());
}

#[test]
fn settings_survive_json() {
    for file in samples("") {
        let settings = parse(&file).unwrap();
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }
}

#[test]
fn loading_names_the_file_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("standin.toml");
    let message = |path: &Path| Settings::load(path).unwrap_err().to_string();
    assert!(message(&path).ends_with("make one with 'standin init', or name another with --config"));
    assert!(matches!(Settings::load(directory.path()), Err(LoadError::Unreadable { .. })));

    fs::write(&path, b"[node]\nname = \"\xff\"\n").unwrap();
    assert!(message(&path).ends_with("standin.toml:2: column 9: the byte 0xff is not UTF-8; save the file as UTF-8"));

    fs::write(&path, vec![b'#'; standin_config::MAX_FILE_BYTES as usize + 1]).unwrap();
    assert!(matches!(Settings::load(&path), Err(LoadError::TooLarge { .. })));
}

#[test]
fn what_init_writes_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("standin.toml");
    let name: NodeName = "alpha".parse().unwrap();
    let listen = ["127.0.0.1:0".parse().unwrap()];
    fs::write(&path, template(&name, &listen, directory.path().to_str().unwrap())).unwrap();
    let settings = Settings::load(&path).unwrap();
    assert_eq!((&settings.node.name, settings.node.listen.as_slice()), (&name, &listen[..]));
    assert_eq!(settings.node.state_dir, directory.path());
}

#[test]
fn loading_takes_paths_of_this_platform_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("standin.toml");
    let foreign = if cfg!(windows) { "/var/lib/standin" } else { r"C:\standin" };
    fs::write(&path, format!("[node]\nname = \"alpha\"\nstate_dir = '{foreign}'\n")).unwrap();
    let Err(LoadError::Problems(problems)) = Settings::load(&path) else { panic!("{foreign} was taken") };
    assert_eq!((problems.len(), problems[0].key.as_str(), problems[0].line), (1, "node.state_dir", 3));
}

/// A sample with some of its bytes changed, left out, or doubled: far deeper in than random text gets.
fn damaged() -> impl Strategy<Value = String> {
    let texts: Vec<_> = [samples(""), samples("invalid")].concat().iter().map(|path| fs::read(path).unwrap()).collect();
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..8);
    (proptest::sample::select(texts), edits).prop_map(|(mut bytes, edits)| {
        for (index, kind, byte) in edits {
            let at = index.index(bytes.len().max(1));
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\"'[]{}=.,\\\n#0a"[usize::from(byte) % 14]),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Neither a panic nor an empty list of problems, and every message has its place.
fn check_parse(text: &str) {
    if let Err(problems) = Settings::parse(text, "standin.toml") {
        assert!(!problems.is_empty(), "{text:?}");
        let lines = 1 + text.matches('\n').count();
        assert!(problems.iter().all(|p| (1..=lines).contains(&p.line) && p.column >= 1 && !p.instead.is_empty()), "{problems:?}");
        assert!(problems.iter().all(|p| !p.to_string().contains('\n')), "{problems:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_damage_panics(text in damaged()) {
        check_parse(&text);
    }
}

#[test]
fn a_group_is_as_it_is_written_and_has_its_defaults() {
    let settings = sample("group-mail.toml");
    let group = settings.groups.values().next().unwrap();
    let nodes: Vec<_> = group.by_priority().into_iter().map(NodeName::as_str).collect();
    assert_eq!((nodes, group.home().map(NodeName::as_str)), (vec!["mx1", "mx2"], Some("mx1")));
    assert_eq!((group.failover, group.at_shutdown, group.time_to_fail_ms()), (Failover::Automatic, AtShutdown::Handoff, 10_000));
    assert_eq!(group.accept_loss_ms, Some(30_000));
    let Some(Witness::Etcd(etcd)) = &group.witness else { panic!("{:?}", group.witness) };
    assert_eq!((etcd.endpoints.len(), etcd.lease_ms, etcd.prefix.as_str()), (2, 10_000, "/standin"));
    let mail = group.alert.mail.as_ref().unwrap();
    assert_eq!((mail.server.as_str(), mail.to.len()), ("relay.example.net:25", 1));
    let needs = |name: &str| -> Vec<String> {
        let resource = group.resource(&name.parse().unwrap()).unwrap();
        resource.needs.iter().map(ToString::to_string).collect()
    };
    assert_eq!(needs("store"), [""; 0]);
    assert_eq!(needs("services"), ["address", "permissions", "store"]);
    let resource = |name: &str| group.resource(&name.parse().unwrap()).unwrap();
    let (services, store) = (resource("services"), resource("store"));
    assert_eq!((services.start_timeout_ms, services.stop_timeout_ms, services.restarts), (120_000, 900_000, 2));
    assert_eq!((store.start_timeout_ms, store.restarts, store.optional), (900_000, 1, false));
    assert!(resource("legacy").optional);
    let Kind::Dns(dns) = &resource("name").kind else { panic!() };
    let addresses: Vec<_> = dns.addresses.values().map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>()).collect();
    assert_eq!(addresses, [vec!["10.0.0.1"], vec!["10.1.0.2", "2001:db8::2"]]);
    assert_eq!(dns.ttl_s, 60);
    let Kind::Check(check) = &resource("reads").kind else { panic!() };
    assert_eq!((check.interval_ms, check.timeout_ms, check.misses, check.then), (10_000, 5000, 3, Then::Report));
}

#[test]
fn a_resource_is_started_after_what_it_needs_in_every_sample() {
    for file in samples("") {
        for group in parse(&file).unwrap().groups.values() {
            let mut ready = Vec::new();
            while let Some(next) = group
                .resources
                .iter()
                .find(|resource| !ready.contains(&&resource.name) && resource.needs.iter().all(|need| ready.contains(&need)))
            {
                ready.push(&next.name);
            }
            assert_eq!(ready.len(), group.resources.len(), "{}", file.display());
        }
    }
}

#[test]
fn what_of_a_group_may_change_while_it_runs_does() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/group-mail.toml")).unwrap();
    let here = Settings::parse(&text, "standin.toml").unwrap();
    let written = text.replace("misses = 10 ", "misses = 20 ").replace("heartbeat = \"1 s\"", "heartbeat = \"2 s\"");
    let written = written.replace("mx2 = 10 }", "mx2 = 11 }").replace("restarts = 2 ", "restarts = 3 ");
    let written = written.replace("at_shutdown = \"handoff\"", "at_shutdown = \"stay\"");
    let written = Settings::parse(&written, "standin.toml").unwrap();
    let (after, reload) = here.reload(&written);
    let keys = |list: &[standin_config::Difference]| {
        list.iter().map(|one| format!("{}: {} -> {}", one.key, one.here, one.there)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&reload.applied), ["groups.mail.at_shutdown: handoff -> stay"]);
    let mut restart = keys(&reload.restart);
    restart.sort();
    let monitored = ["groups.mail.heartbeat: 1 s -> 2 s", "groups.mail.misses: 10 -> 20"];
    assert_eq!(restart[..2], monitored);
    assert_eq!(restart[2..], ["groups.mail.nodes.mx2: 10 -> 11", "groups.mail.resources[2].restarts: 2 -> 3"]);
    let group = after.groups.values().next().unwrap();
    assert_eq!(group.at_shutdown, AtShutdown::Stay);
    assert_eq!((group.time_to_fail_ms(), group.nodes.values().copied().max()), (10_000, Some(10)));
    let none = Settings { groups: Default::default(), ..here.clone() };
    assert_eq!(keys(&here.reload(&none).1.restart), ["groups.mail: there -> (none)"]);
    assert_eq!(keys(&none.reload(&here).1.restart), ["groups.mail: (none) -> there"]);
}

#[test]
fn one_spare_exchange_server_stands_in_for_two() {
    let settings = sample("group-exchange.toml");
    let groups: Vec<_> = settings.groups.values().collect();
    assert_eq!(
        groups.iter().map(|group| (group.name.as_str(), group.beside_others)).collect::<Vec<_>>(),
        [("sales", false), ("works", false)]
    );
    assert!(groups.iter().all(|group| group.nodes.contains_key(&settings.node.name) && group.failover == Failover::Manual));
    let Some(Witness::Directory(witness)) = &groups[0].witness else { panic!("{:?}", groups[0].witness) };
    assert_eq!(witness.controller, "dc1.corp.example");
    let order: Vec<_> = groups[0].resources.iter().map(|resource| (resource.name.as_str(), resource.kind.as_str())).collect();
    let directory = order.iter().filter(|(_, kind)| *kind == "directory").map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(directory, ["overwrite", "users"]);
    let Kind::Directory(users) = &groups[0].resource(&"users".parse().unwrap()).unwrap().kind else { panic!() };
    assert_eq!((users.servers.len(), users.recipient_update, users.service_names, users.rules.len()), (2, false, true, 1));
    let Kind::Address(address) = &groups[1].resources[1].kind else { panic!() };
    assert_eq!(address.interface.on(&settings.node.name), Some("Production LAN"));
}
