//! The built program from outside: what is printed, which exit code, and what is left on disk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod pairing;
mod sets;
#[path = "../support/mod.rs"]
mod support;
mod waiting;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Done, Node, PROGRAM};

/// The program with a settings file of its own.
fn standin(config: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config).args(arguments);
    Done::of(command)
}

/// Without any node.
fn bare(arguments: &[&str]) -> Done {
    standin(Path::new("/nonexistent/standin.toml"), arguments)
}

/// What it said on both ways.
fn said(done: &Done) -> String {
    format!("{}{}", done.stdout, done.stderr)
}

/// The one JSON value on standard error.
fn error(done: &Done) -> serde_json::Value {
    serde_json::from_str(&done.stderr).unwrap_or_else(|error| panic!("no JSON: {error}: {done:#?}"))
}

#[test]
fn a_daemon_answers_commands_of_another_pid_namespace() {
    if !support::is_root("a_daemon_answers_commands_of_another_pid_namespace") {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let listen = std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), support::free_udp_port());
    // Each command, and the daemon, is in one of its own, as in a container.
    let mut node = Node::init_at(base.path(), "alpha", listen, &["unshare", "--pid", "--fork", "--kill-child"]);
    node.start();
    assert!(node.run(&["status"]).expect(0).stdout.contains("alpha"));
    node.kill();
}

#[test]
fn init_makes_a_node_once() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    let (config, state) = (node.config(), node.state_dir());
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(state.join("identity.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let before = (std::fs::read(&config).unwrap(), std::fs::read(state.join("identity.key")).unwrap());
    let again = node.run(&["init", "--name", "alpha"]).expect(0);
    assert!(said(&again).contains("there already, not changed"));
    let other = node.run(&["init", "--name", "other", "--listen", "127.0.0.1:9"]).expect(3);
    let told = other.stderr.contains("--name other, but `name = \"alpha\"`; --listen \"127.0.0.1:9\", but `listen = [\"");
    assert!(told && other.stderr.contains("--config") && other.stdout.is_empty(), "{other:#?}");
    assert_eq!(before, (std::fs::read(&config).unwrap(), std::fs::read(state.join("identity.key")).unwrap()));
}

#[test]
fn init_that_cannot_write_leaves_nothing_and_says_what_to_do() {
    let base = tempfile::tempdir().unwrap();
    let (config, file) = (base.path().join("standin.toml"), base.path().join("file"));
    std::fs::write(&file, "").unwrap();
    let beneath = file.join("state");
    let init = |config: &Path, name: &str, state: &Path| {
        standin(config, &["init", "--name", name, "--state-dir", state.to_str().unwrap()])
    };
    let done = init(&config, "alpha", &beneath).expect(1);
    assert!(done.stderr.contains("file/state") && done.stderr.contains("--state-dir"), "{done:#?}");
    assert!(!config.exists());
    init(&file.join("standin.toml"), "alpha", &base.path().join("state")).expect(1);
    for name in ["../alpha", "al pha", "", "-alpha", "ä", "a\n"] {
        let done = standin(&config, &["init", &format!("--name={name}")]).expect(2);
        assert!(done.stderr.contains("--name"), "{done:#?}");
        assert!(!config.exists());
    }
    init(&config, "alpha.2_b-C", &base.path().join("state")).expect(0);
}

#[test]
fn check_says_everything_that_is_wrong() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    node.run(&["check"]).expect(0);
    node.add_settings("[peers.beta]\naddresses = [\"127.0.0.1:7420\"]\n[sets.mail]\nsource = \"alpha\"\nstandby = \"beta\"");
    node.add_settings("[[sets.mail.roots]]\npath = \"/nowhere/mail\"\ntarget = \"/srv/mail\"");
    let missing = node.run(&["check"]).expect(2);
    assert!(said(&missing).contains("/nowhere/mail cannot be read"), "{missing:#?}");
    let settings = std::fs::read_to_string(node.config()).unwrap();
    let settings = settings.replace("\nsource = \"alpha\"", "\nsource = \"alpha\"\norphans = \"delete\"\nlanse = 3");
    std::fs::write(node.config(), &settings).unwrap();
    let wrong = node.run(&["check"]).expect(2);
    let lines: Vec<_> = wrong.stderr.lines().collect();
    let place = |number: usize| format!("standin.toml:{}: ", number + 1);
    let number = |text: &str| settings.lines().position(|line| line == text).unwrap();
    assert_eq!(lines.len(), 2, "{wrong:#?}");
    assert!(
        lines[0].contains(&place(number("orphans = \"delete\""))) && lines[0].ends_with("orphans = \"remove\""),
        "{wrong:#?}"
    );
    assert!(lines[1].contains(&place(number("lanse = 3"))) && lines[1].contains("lanes"), "{wrong:#?}");
    let problems = standin(&node.config(), &["--json", "check"]).expect(2).json();
    assert_eq!((&problems["ok"], problems["settings"].as_array().unwrap().len()), (&serde_json::json!(false), 2));
    assert_eq!(error(&node.run(&["--json", "set", "list"]).expect(2))["code"], 2);
}

#[test]
fn check_finds_what_a_group_needs_of_this_node_and_has_not() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    let plain = base.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    node.add_settings("[peers.beta]\naddresses = [\"10.0.0.2:7420\"]");
    let resource =
        |name: &str, kind: &str, rest: &str| format!("[[groups.mail.resources]]\nname = \"{name}\"\nkind = \"{kind}\"\n{rest}\n");
    node.add_settings(&format!(
        "[groups.mail]\nnodes = {{ alpha = 1, beta = 10 }}\nfence = [\"/nowhere/power-off\", \"beta\"]\ndrill = [{plain:?}]\n\
         [groups.mail.alert]\ncommand = [\"no-program-has-this-name\"]\n{}{}",
        resource("address", "address", "address = \"192.0.2.50/24\"\ninterface = { alpha = \"nowhere0\", beta = \"eth0\" }"),
        resource("permissions", "script", "start = [\"/nowhere/permissions.sh\"]"),
    ));
    let settings = std::fs::read_to_string(node.config()).unwrap();
    let place = |start: &str, key: &str| {
        let line = settings.lines().position(|line| line.starts_with(start)).unwrap() + 1;
        format!("{}:{line}: groups.mail.{key}: ", node.config().display())
    };
    let last = settings.lines().collect::<Vec<_>>().iter().rposition(|line| *line == "[[groups.mail.resources]]").unwrap() + 1;
    let of_script = format!("{}:{last}: groups.mail.resources[1]: ", node.config().display());
    let plain = plain.display();
    let missing = "put it there, or write its whole path";
    let expected = [
        place("fence", "fence") + &format!("there is no program /nowhere/power-off on this node; {missing}"),
        place("drill", "drill") + &format!("the program {plain} is not executable; make it so: chmod +x {plain}"),
        place("command", "alert.command") + &format!("there is no program no-program-has-this-name on this node; {missing}"),
        place("interface", "resources[0].interface")
            + "address 192.0.2.50/24 on nowhere0: there is no such interface on this node; name one of ",
        of_script + &format!("permissions: there is no program /nowhere/permissions.sh on this node; {missing}"),
    ];
    let done = node.run(&["check"]).expect(2);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{done:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        // The interfaces are those of this machine.
        let line = line.split_once(" name one of ").map_or(line.to_string(), |(before, _)| format!("{before} name one of "));
        assert_eq!(line, *expected);
    }
    assert_eq!(standin(&node.config(), &["--json", "check"]).expect(2).json()["problems"].as_array().unwrap().len(), 5);
}

#[test]
fn a_missing_settings_file_is_named() {
    for arguments in [["check"].as_slice(), &["status"], &["run"], &["pair", "--list"]] {
        let done = bare(arguments).expect(2);
        assert!(said(&done).contains("/nonexistent/standin.toml"), "{done:#?}");
    }
}

#[test]
fn help_lists_the_exit_codes_and_every_command() {
    let help = bare(&["--help"]).expect(0);
    for part in ["Exit codes", "5  both sides differ", "6  what was waited for", "mirror", "promote", "--json"] {
        assert!(help.stdout.contains(part), "{part}: {help:#?}");
    }
    let nothing = bare(&[]).expect(2);
    assert!(nothing.stderr.contains("Usage: standin"), "{nothing:#?}");
}

const README: &str = include_str!("../../README.md");

#[test]
fn the_readme_has_the_exit_codes_of_the_help_and_settings_that_load() {
    let help = bare(&["--help"]).expect(0).stdout;
    let codes: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Exit codes:")
        .skip(1)
        .map(|line| line.trim().split_once("  ").unwrap())
        .collect();
    assert_eq!(codes.len(), 8, "{help}");
    for (code, meaning) in codes {
        assert!(README.contains(&format!("| {code} | {meaning} |\n")), "{code}: {meaning}");
    }
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    let settings = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    node.add_settings(settings);
    assert_eq!(node.json(&["set", "show", "mail"])["standby"], "beta");
}

#[test]
fn errors_are_json_if_asked_for() {
    let done = bare(&["--json", "status"]).expect(2);
    assert_eq!(error(&done)["code"], 2);
    assert!(done.stdout.is_empty() && error(&done)["error"].as_str().unwrap().contains("standin init"));
    let mistyped = bare(&["status", "--json", "--no-such"]).expect(2);
    assert!(error(&mistyped)["error"].as_str().unwrap().contains("--no-such"), "{mistyped:#?}");
    let plain = bare(&["status", "--no-such"]).expect(2);
    assert!(plain.stderr.starts_with("error:"), "{plain:#?}");
}

#[test]
fn without_a_daemon_commands_say_how_to_start_it() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    for arguments in [
        ["status"].as_slice(),
        &["points", "mail"],
        &["promote", "mail"],
        &["verify", "mail"],
        &["point", "mail"],
        &["wait", "mail", "--synced"],
        &["reload"],
        &["mirror", "start", "mail", "--wait"],
        &["mirror", "pause", "mail"],
    ] {
        let done = node.run(arguments).expect(4);
        assert!(done.stderr.contains("standin run") && done.stdout.is_empty(), "{done:#?}");
    }
    assert_eq!(error(&node.run(&["--json", "status"]).expect(4))["code"], 4);
    // Nobody else is blamed for it.
    let group = "[groups.mail]\nnodes = { alpha = 1, beta = 2 }\naddresses = 0\n[[groups.mail.resources]]\nname = \"script\"\nkind = \"script\"\n\
                 start = [\"/bin/true\"]";
    node.add_settings(&format!("[peers.beta]\naddresses = [\"127.0.0.1:9\"]\n{group}"));
    let check = node.run(&["group", "check", "mail"]).expect(4);
    assert!(check.stderr.contains("standin run") && !check.stdout.contains("beta"), "{check:#?}");
}

#[test]
fn what_is_typed_is_checked() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    for (arguments, hint) in [
        (["mirror", "start", "mail", "--full", "--checksum"].as_slice(), "--checksum"),
        (&["mirror", "start", "mail", "--orphans", "delete"], "remove, report, keep"),
        (&["mirror", "start", "mail", "--max-orphans", "101%"], "101%"),
        (&["mirror", "start", "mail", "--limit", "50"], "MB/s"),
        (&["mirror", "start", "../mail"], "is not allowed"),
        (&["pair"], "--accept"),
        (&["pair", "--accept", "--list"], "cannot be used with"),
        (&["pair", "--accept", "--fingerprint", "abc"], "64 hex digits"),
        (&["set", "show", "mail"], "there is no set mail"),
    ] {
        let done = node.run(arguments).expect(2);
        assert!(done.stderr.contains(hint), "{hint}: {done:#?}");
    }
}

/// Every command that the help knows of, and those beneath it.
fn commands(above: &[String]) -> Vec<Vec<String>> {
    let line: Vec<&str> = above.iter().map(String::as_str).chain(["--help"]).collect();
    let help = bare(&line).expect(0).stdout;
    let mut all = vec![above.to_vec()];
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Two spaces, then the name; what is further in goes on with a description.
    for name in listed.filter_map(|line| line.strip_prefix("  ")).filter(|rest| !rest.starts_with(' ')) {
        let name = name.split(' ').next().unwrap();
        if name != "help" {
            all.extend(commands(&[above, &[name.to_owned()]].concat()));
        }
    }
    assert!(!above.is_empty() || all.len() > 15, "{all:?}");
    all
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
    let base = tempfile::tempdir().unwrap();
    let node = Node::init(base.path(), "alpha");
    for arguments in
        [["--help"].as_slice(), &["completions", "bash"], &["check"], &["--json", "check"], &["set", "list"], &["init"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = node.command(arguments);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""), "{arguments:?}");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let done = node.command(&["check"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("cannot write"), "{done:?}");
}

#[test]
fn every_command_has_a_man_page() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("man1");
    bare(&["man", directory.to_str().unwrap()]).expect(0);
    for page in commands(&[])
        .iter()
        .map(|words| ["standin"].iter().copied().chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("-"))
    {
        let text = std::fs::read_to_string(directory.join(format!("{page}.1"))).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH") && text.contains("Exit codes"), "{page}: {text}");
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let done = bare(&["completions", shell]).expect(0);
        assert!(done.stdout.contains("max-orphans"), "{shell}");
        for words in commands(&[]) {
            assert!(words.iter().all(|word| done.stdout.contains(word)), "{shell}: {words:?}");
        }
    }
}

#[test]
fn the_daemon_runs_once_answers_and_ends_cleanly() {
    let base = tempfile::tempdir().unwrap();
    let mut node = Node::init(base.path(), "alpha");
    node.start();
    assert_eq!(node.json(&["status"]), serde_json::json!({ "node": "alpha", "sets": [], "groups": [] }));
    let second = node.run(&["run"]).expect(1);
    assert!(second.stderr.contains("is running already"), "{second:#?}");
    node.stop();
    node.run(&["status"]).expect(4);
    assert!(!node.state_dir().join("control.sock").exists());
    // What a crash leaves is no hindrance.
    node.start();
    node.kill();
    node.start();
}
