//! Names at a real server: BIND, in a room of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use standin_config::group::Resource as ResourceSettings;
use standin_failover::resource::Condition;

use crate::ground::{TestStep, on, possible, settings, step};
use crate::namespace::Namespace;

struct Server {
    room: Namespace,
    named: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.named.kill();
        let _ = self.named.wait();
    }
}

const ZONE: &str = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n";

impl Server {
    /// `None` where that is not possible.
    fn new() -> Option<Self> {
        if !possible(&["named", "tsig-keygen", "dig", "nsupdate", "unshare", "nsenter"]) {
            return None;
        }
        let room = Namespace::new(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")), "", "127.0.0.1");
        let write = |name: &str, text: &str| fs::write(room.dir.join(name), text).unwrap();
        for (file, name) in [("standin.key", "standin"), ("other.key", "other"), ("narrow.key", "narrow")] {
            write(file, &room.run("tsig-keygen", &["-a", "hmac-sha256", name]));
        }
        // The right name with another secret.
        write("wrong.key", &fs::read_to_string(room.dir.join("other.key")).unwrap().replace("other", "standin"));
        write("example.org", &format!("{ZONE}mail A 10.0.0.1\nimap 60 A 10.0.0.1\nalias CNAME mail\n"));
        write("10.in-addr.arpa", &format!("{ZONE}1.0.0 PTR mail.example.org.\n2.0.1 PTR mx2.example.org.\n"));
        let dir = room.dir.display();
        let zone = |name: &str| {
            let policy = "update-policy { grant standin zonesub ANY; grant narrow name other.example.org. ANY; };";
            format!("zone \"{name}\" {{ type primary; file \"{name}\"; {policy} }};\n")
        };
        let head = format!(
            "options {{ directory \"{dir}\"; listen-on {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none; \
             session-keyfile none; }};\ncontrols {{}};\ninclude \"{dir}/standin.key\";\ninclude \"{dir}/narrow.key\";\n"
        );
        write("named.conf", &format!("{head}{}{}", zone("example.org"), zone("10.in-addr.arpa")));
        let log = fs::File::create(room.dir.join("log")).unwrap();
        let mut command = room.command("named");
        command.args(["-g", "-n", "1", "-c"]).arg(room.dir.join("named.conf"));
        let named = command.stdout(Stdio::null()).stderr(log).spawn().expect("named (package bind9) serves the zone");
        let server = Self { room, named };
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.answers("mail.example.org", "A").is_empty() {
            let log = || fs::read_to_string(server.room.dir.join("log")).unwrap();
            assert!(Instant::now() < deadline, "named does not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
        Some(server)
    }

    /// What somebody else than us finds.
    fn answers(&self, name: &str, kind: &str) -> Vec<String> {
        let output = self.room.command("dig").args(["@127.0.0.1", "+short", "+time=1", "+tries=1", name, kind]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn key(&self, name: &str) -> PathBuf {
        self.room.dir.join(name)
    }

    fn names(&self, names: &str, key: &str) -> ResourceSettings {
        let key = self.key(key);
        settings(
            "addresses = 0",
            &format!(
                "kind = \"dns\"\nnames = {names}\nzone = \"example.org\"\nttl = \"30 s\"\nserver = \"127.0.0.1\"\nkey_file = {key:?}\n\
                 addresses = {{ alpha = \"10.0.0.1\", beta = [\"10.1.0.2\", \"2001:db8::2\"] }}\nreverse_zones = \"10.in-addr.arpa\"\n"
            ),
        )
    }
}

const BOTH: &str = "[\"mail.example.org\", \"imap.example.org\"]";

#[test]
fn names_move_there_and_back_with_the_right_key() {
    let Some(server) = Server::new() else { return };
    let settings = server.names(BOTH, "standin.key");
    let (alpha, beta) = (on("alpha", &settings), on("beta", &settings));
    server.room.within(|| {
        assert_eq!((alpha.condition().unwrap(), beta.condition().unwrap()), (Condition::Online, Condition::Offline));
        let there = step();
        beta.start(&there).unwrap();
        for name in ["mail.example.org", "imap.example.org"] {
            assert_eq!(
                (server.answers(name, "A"), server.answers(name, "AAAA")),
                (vec!["10.1.0.2".into()], vec!["2001:db8::2".into()])
            );
        }
        assert_eq!(server.answers("2.0.1.10.in-addr.arpa", "PTR"), ["mail.example.org."]);
        assert_eq!(server.answers("1.0.0.10.in-addr.arpa", "PTR"), [""; 0]);
        assert_eq!((alpha.condition().unwrap(), beta.condition().unwrap()), (Condition::Offline, Condition::Online));
        let told = there.lines();
        assert!(
            told.iter().any(|line| line.starts_with("mail.example.org: clients may hold the old answer until 20")),
            "{told:?}"
        );
        // Again: nothing to do.
        let again = step();
        beta.start(&again).unwrap();
        assert_eq!(again.lines(), [""; 0]);
        // The other node takes them; what was there before the first time still comes back.
        alpha.start(&step()).unwrap();
        assert_eq!(server.answers("mail.example.org", "A"), ["10.0.0.1"]);
        beta.start(&step()).unwrap();
        beta.restore(&there).unwrap();
        assert_eq!(
            (server.answers("mail.example.org", "A"), server.answers("mail.example.org", "AAAA").len()),
            (vec!["10.0.0.1".into()], 0)
        );
        assert_eq!(server.answers("2.0.1.10.in-addr.arpa", "PTR"), ["mx2.example.org."]);
        assert_eq!(server.answers("1.0.0.10.in-addr.arpa", "PTR"), ["mail.example.org."]);
    });
}

#[test]
fn a_wrong_key_changes_nothing_and_says_so() {
    let Some(server) = Server::new() else { return };
    server.room.within(|| {
        let trouble = |key: &str| {
            let beta = on("beta", &server.names(BOTH, key));
            let trouble = beta.start(&step()).unwrap_err();
            assert_eq!(server.answers("mail.example.org", "A"), ["10.0.0.1"]);
            assert!(!trouble.mend.is_empty());
            trouble.to_string()
        };
        assert!(trouble("wrong.key").contains("does not take the signature: the secret is another"), "{}", trouble("wrong.key"));
        assert!(trouble("other.key").contains("does not know the key"), "{}", trouble("other.key"));
        assert!(trouble("narrow.key").contains("does not let this key change these names"), "{}", trouble("narrow.key"));
        assert!(trouble("named.conf").contains("key file"), "{}", trouble("named.conf"));
        let findings = on("beta", &server.names(BOTH, "named.conf")).check();
        assert!(findings[0].what.contains("key file"), "{}", findings[0]);
        assert!(trouble("none.key").contains("No such file"), "{}", trouble("none.key"));
    });
}

#[test]
fn somebody_who_is_faster_is_noticed() {
    let Some(server) = Server::new() else { return };
    let beta = on("beta", &server.names(BOTH, "standin.key"));
    server.room.within(|| {
        // Right between our reading and our writing.
        let meddle = || {
            let orders = server.room.dir.join("orders");
            fs::write(
                &orders,
                "server 127.0.0.1\nupdate delete mail.example.org A\nupdate add mail.example.org 300 A 10.9.9.9\nsend\n",
            )
            .unwrap();
            server.room.run("nsupdate", &["-k", server.key("standin.key").to_str().unwrap(), orders.to_str().unwrap()]);
        };
        let step = TestStep::new(&meddle);
        beta.start(&step).unwrap();
        assert!(step.lines().iter().any(|line| line.contains("somebody else changed the records")), "{:?}", step.lines());
        assert!(step.lines().iter().any(|line| line == "mail.example.org A 10.1.0.2, before: 10.9.9.9"), "{:?}", step.lines());
        assert_eq!(server.answers("mail.example.org", "A"), ["10.1.0.2"]);
    });
}

#[test]
fn an_alias_and_a_server_that_is_away_are_said() {
    let Some(server) = Server::new() else { return };
    server.room.within(|| {
        let alias = on("beta", &server.names("\"alias.example.org\"", "standin.key"));
        let trouble = alias.start(&step()).unwrap_err().to_string();
        assert!(trouble.contains("is an alias (CNAME) of mail.example.org"), "{trouble}");
        let mut away = server.names(BOTH, "standin.key");
        if let standin_config::group::Kind::Dns(dns) = &mut away.kind
            && let standin_config::group::DnsAuthority::Server { server, .. } = &mut dns.authority
        {
            *server = "127.0.0.1:1".to_owned();
        }
        let findings = on("beta", &away).check();
        assert!(findings[0].what.contains("does not answer"), "{}", findings[0]);
    });
}
