//! A changed password on its way to all nodes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::forest::{ADMINISTRATOR, PASSWORD};
use crate::live::{Desk, desk};
use crate::support::{Done, Node, pair, shell};

/// A node in the forest's network, not started, whose settings name the directory.
pub(crate) fn node(desk: &Desk, name: &str, port: u16, account: &str) -> Node {
    // In the room's network and with its names, but with all processes in /proc: a node is not one of the room's.
    let (room, dir) = (desk.forest.room.prefix(), desk.forest.room.dir.display());
    let names = format!("mount --bind {dir}/resolv.conf /etc/resolv.conf && mount --bind {dir}/hosts /etc/hosts && exec \"$@\"");
    let prefix = [&room[0], &room[1], "--net", "--", "unshare", "--mount", "--", "sh", "-c", &names, "sh"];
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let node = Node::init_at(&desk.file(""), name, listen, &prefix);
    let (host, ca) = (&desk.forest.controllers[0].host, desk.forest.certificates.file.display());
    node.add_settings(&format!(
        "[directory]\ncontrollers = [\"{host}\"]\nca = \"{ca}\"\naccount = \"{account}\"\npassword_file = \"{}\"",
        file_of(&node).display()
    ));
    node
}

pub(crate) fn file_of(node: &Node) -> PathBuf {
    node.dir.join("directory.password")
}

fn change(node: &Node, password: &str, more: &[&str]) -> Done {
    let mut command = node.command(&[&["directory", "password"], more].concat());
    command.env("STANDIN_DIRECTORY_PASSWORD", password);
    Done::of(command)
}

fn stored(node: &Node) -> Option<String> {
    let file = file_of(node);
    let text = fs::read_to_string(&file).ok()?;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    Some(text)
}

#[test]
fn a_changed_password_reaches_every_node_that_has_a_use_for_it() {
    let Some(desk) = desk() else { return };
    // The network is the room's own, so every port of it is free.
    let mut alpha = node(&desk, "alpha", 7001, ADMINISTRATOR);
    let mut beta = node(&desk, "beta", 7002, &ADMINISTRATOR.to_uppercase());
    let mut gamma = node(&desk, "gamma", 7003, "other@fb.test");
    pair(&alpha, &beta);
    pair(&alpha, &gamma);
    let line = format!("{PASSWORD}\n");
    // Nobody can be told yet, and that is said.
    let alone = change(&alpha, PASSWORD, &[]).expect(1);
    assert!(alone.stdout.contains("the other nodes were not told") && alone.stdout.contains("not running"), "{}", alone.stdout);
    assert_eq!((stored(&alpha), stored(&beta)), (Some(line.clone()), None));
    fs::remove_file(file_of(&alpha)).unwrap();
    [&mut alpha, &mut beta, &mut gamma].into_iter().for_each(Node::start);
    // What the directory does not take goes nowhere; what is only checked, neither.
    let wrong = change(&alpha, "Wrong:Pa55", &[]).expect(4);
    assert!(wrong.stderr.contains("password is wrong"), "{}", wrong.stderr);
    change(&alpha, PASSWORD, &["--check"]).expect(0);
    assert_eq!((stored(&alpha), stored(&beta), stored(&gamma)), (None, None, None));
    change(&alpha, PASSWORD, &["--here"]).expect(0);
    assert_eq!((stored(&alpha), stored(&beta)), (Some(line.clone()), None));
    let told = change(&alpha, PASSWORD, &[]).expect(0).stdout;
    assert!(told.contains("beta: tried there, and stored") && told.contains("gamma: not needed there"), "{told}");
    assert!(told.contains("other@fb.test"), "{told}");
    assert_eq!((stored(&alpha), stored(&beta), stored(&gamma)), (Some(line.clone()), Some(line.clone()), None));
    // Who accepted the pairing can pass it on as well as who dialled.
    fs::remove_file(file_of(&alpha)).unwrap();
    let back = change(&beta, PASSWORD, &["--json"]).expect(0).json();
    assert_eq!(
        (back["nodes"][0]["node"].as_str(), back["nodes"][0]["result"].as_str()),
        (Some("alpha"), Some("stored")),
        "{back:#}"
    );
    assert_eq!(stored(&alpha), Some(line));
    // A node that is away is named, with what to do; one whose directory does not answer keeps what it has.
    beta.stop();
    let away = change(&alpha, PASSWORD, &["--json"]).expect(1).json();
    let of_beta = away["nodes"].as_array().unwrap().iter().find(|one| one["node"] == "beta").unwrap();
    assert!(of_beta["result"] == "failed", "{away:#}");
    let why = of_beta["why"].as_str().unwrap();
    assert!(why.contains("beta cannot be reached") && why.contains("'standin directory password' on beta"), "{why}");
    // It is in those files, and nowhere else.
    let found = shell(&desk.file(""), &format!("grep -rlF '{PASSWORD}' alpha beta gamma || true"));
    let mut files: Vec<&str> = found.lines().collect();
    files.sort_unstable();
    assert_eq!(files, ["alpha/directory.password", "beta/directory.password"]);
}
