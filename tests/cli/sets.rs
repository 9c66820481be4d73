//! What is said of sets: their files, whether both nodes agree, how they stand.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::support::{Node, PATIENCE, Pair, set_of_one, shell, wait_until};

#[test]
fn sets_are_listed_and_shown_with_every_default() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    node.add_settings("[peers.beta]\naddresses = [\"127.0.0.1:7420\"]\n[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"");
    node.add_settings("[[sets.mail.roots]]\npath = \"/srv/mail\"\ntarget = \"/srv/replica\"\nrules = [{ exclude = \"*.tmp\" }]");
    let list = node.run(&["set", "list"]).expect(0);
    assert!(list.stdout.contains("mail") && list.stdout.contains("source"), "{list:#?}");
    let show = node.run(&["set", "show", "mail"]).expect(0);
    for part in ["25%", "16 GiB", "/srv/mail to /srv/replica", "exclude \"*.tmp\""] {
        assert!(show.stdout.contains(part), "{part}: {show:#?}");
    }
    assert_eq!(node.json(&["set", "show", "mail"])["standby"], "beta");
    assert_eq!(node.json(&["set", "list"])[0]["set"], "mail");
}

const RULES: &str = r#"
rules = [
    { exclude = "*.tmp" },
    { include = "kept.tmp" },
    { exclude = "cache", recurse = true },
    { include = "cache/kept/**" },
    { exclude = "dead", recurse = true },
]"#;

#[test]
fn the_files_of_a_set_are_listed_with_the_rule_that_decided() {
    let base = tempfile::tempdir().unwrap();
    let (alpha, beta) = (Node::init(base.path(), "alpha"), Node::init(base.path(), "beta"));
    let root = base.path().join("mail");
    for directory in ["cache/kept", "dead/deeper", "new"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["a", "a.tmp", "kept.tmp", "new/b.tmp", "cache/c", "cache/kept/d", "dead/deeper/e", "new/\u{1b}[2J"] {
        std::fs::write(root.join(file), "1234").unwrap();
    }
    let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    for (node, other) in [(&alpha, &beta), (&beta, &alpha)] {
        node.add_settings(&format!("[peers.{}]\naddresses = [\"{}\"]", other.name, other.listen));
        node.add_settings(&(set_of_one("mail", &alpha, &beta, &root, Path::new("/srv/mail"), "") + RULES));
    }
    let lines = alpha.run(&["--json", "set", "show", "mail", "--files"]).expect(0).stdout;
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fates: Vec<_> =
        lines.iter().map(|line| (line["path"].as_str().unwrap(), line["fate"].as_str().unwrap(), &line["rule"])).collect();
    let none = json!(null);
    let by: Vec<_> = (0..5).map(|number| json!(number)).collect();
    assert_eq!(
        fates,
        [
            (".", "replicated", &none),
            ("a", "replicated", &none),
            ("a.tmp", "excluded", &by[0]),
            ("cache", "way", &by[2]),
            ("cache/c", "excluded", &by[2]),
            ("cache/kept", "way", &by[2]),
            ("cache/kept/d", "replicated", &by[3]),
            ("dead", "excluded", &by[4]),
            ("kept.tmp", "replicated", &by[1]),
            ("new", "replicated", &none),
            ("new/\\x1b[2J", "replicated", &none),
            ("new/b.tmp", "replicated", &none),
            ("socket", "never", &none),
        ]
    );
    drop(socket);
    let text = alpha.run(&["set", "show", "mail", "--files"]).expect(0).stdout;
    for part in [
        "  a.tmp  (by rule 0, exclude \"*.tmp\")\n",
        "  dead  (by rule 4, exclude \"dead\", with all beneath it)\n",
        "  cache/kept/d  (by rule 3, include \"cache/kept/**\")\n",
        "  new/\\x1b[2J  (no rule against it)\n",
        "  socket  (it is a socket)\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().next().unwrap().ends_with(&format!("{}  (the root)", root.display())), "{text}");
    let elsewhere = beta.run(&["set", "show", "mail", "--files"]).expect(2);
    assert!(elsewhere.stderr.contains("on alpha"), "{elsewhere:#?}");
    // A reader that has seen enough.
    let mut child =
        alpha.command(&["set", "show", "mail", "--files"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
}

#[test]
fn both_nodes_say_whether_they_agree_on_a_set() {
    let mut pair = Pair::new("");
    for (node, other) in [(&pair.alpha, "beta"), (&pair.beta, "alpha")] {
        let same = node.run(&["set", "check", "mail"]).expect(0);
        assert_eq!(same.stdout, format!("mail is the same on this node and {other}\n"));
    }
    pair.beta.stop();
    let settings = std::fs::read_to_string(pair.beta.config()).unwrap();
    std::fs::write(pair.beta.config(), settings.replace("\nstandby = \"beta\"", "\nstandby = \"beta\"\nlanes = 7")).unwrap();
    pair.beta.start();
    wait_until("alpha is connected again", PATIENCE, || !Pair::status_of(&pair.alpha)["peer"]["path"].is_null());
    for (node, here, there) in [(&pair.alpha, "4", "7"), (&pair.beta, "7", "4")] {
        let differ = node.run(&["--json", "set", "check", "mail"]);
        assert_ne!(differ.code, Some(0), "{differ:#?}");
        let answer = differ.json();
        assert_eq!(answer["differences"][0], json!({ "key": "lanes", "here": here, "there": there }), "{answer}");
        let text = node.run(&["set", "check", "mail"]).stdout;
        assert!(["lanes", here, there].iter().all(|part| text.contains(part)), "{text}");
    }
    pair.alpha.run(&["set", "check", "other"]).expect(2);
}

#[test]
fn status_and_points_of_a_pair_for_people_and_programs() {
    let pair = Pair::new("");
    std::fs::write(pair.source.join("mail"), vec![7; 100_000]).unwrap();
    assert!(pair.alpha.run(&["points", "mail"]).expect(0).stdout.contains("no recovery point yet"));
    pair.mirror(&[]);
    std::fs::write(pair.source.join("more"), vec![8; 100_000]).unwrap();
    pair.mirror(&[]);
    let source = pair.alpha.run(&["status"]).expect(0).stdout;
    for part in [
        "mail (source at generation 1)",
        "state       idle",
        "consistent",
        "last mirror made point",
        "beta, connected at 127.0.0.1:",
    ] {
        assert!(source.contains(part), "{part}: {source}");
    }
    let standby = pair.beta.run(&["status", "mail"]).expect(0).stdout;
    assert!(standby.contains("(standby at generation 1)") && standby.contains("ready to be promoted"), "{standby}");
    let answer = pair.beta.json(&["status"]);
    assert_eq!((&answer["node"], &answer["sets"][0]["state"]), (&json!("beta"), &json!("ready")));
    pair.alpha.run(&["verify", "mail"]).expect(0);
    let after = pair.alpha.run(&["status"]).expect(0).stdout;
    assert!(after.contains("last mirror made point"), "a verification is no mirror: {after}");
    for node in [&pair.alpha, &pair.beta] {
        let points = node.run(&["points", "mail"]).expect(0).stdout;
        let lines: Vec<_> = points.lines().collect();
        assert!(lines[0].starts_with("POINT  TIME") && lines.len() == 3, "{points}");
        assert!(lines[1].contains("the replica is here") && !lines[2].contains("the replica is here"), "{points}");
        assert_eq!(node.json(&["points", "mail"])["points"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_watched_status_comes_again_until_it_is_ended() {
    let base = tempfile::tempdir().unwrap();
    let mut node = Node::init(base.path(), "alpha");
    node.start();
    let start = || node.command(&["status", "--json", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let two_lines = |lines: &mut dyn BufRead| {
        for _ in 0..2 {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["node"], "alpha");
        }
    };
    let mut watch = start();
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    two_lines(&mut lines);
    shell(base.path(), &format!("kill -TERM {}", watch.id()));
    watch.wait().unwrap();
    assert_eq!(lines.read_to_end(&mut Vec::new()).unwrap(), 0);
    // Without anybody who reads, it ends by itself.
    let mut unread = start();
    two_lines(&mut BufReader::new(unread.stdout.take().unwrap()));
    assert!(unread.wait().unwrap().success());
}
