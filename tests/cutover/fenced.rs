//! What a person meets who is told that a node is lost, and says who takes over: a mail, the fence command, and what was done at the end.

use std::fs;
use std::path::Path;

use super::Scene;
use super::mail::{SINK_PORT, task};
use super::support::group::sh;
use super::support::{PATIENCE, wait_for, wait_until};

impl Scene {
    /// Writes more keys of the group into the settings of both nodes, and starts their daemons anew.
    fn add_keys(&mut self, keys: &str) {
        for name in ["alpha", "beta"] {
            let node = self.node(name);
            node.stop();
            let text = fs::read_to_string(node.config()).unwrap();
            assert!(text.contains("[groups.mail]\n"), "{text}");
            fs::write(node.config(), text.replace("[groups.mail]\n", &format!("[groups.mail]\n{keys}\n"))).unwrap();
            node.start();
        }
    }
}

/// The first mail that beta sent, once all of it is there; what came in several lines of one (RFC 2045, section 6.7) is one again.
fn mail_of_beta(mails: &Path) -> Option<String> {
    let mails = fs::read_to_string(mails).ok()?.replace("=\n", "");
    let mut whole = mails.split_inclusive("\n.\n").filter(|mail| mail.ends_with("\n.\n"));
    whole.find(|mail| mail.contains("group mail on beta")).map(str::to_owned)
}

#[test]
fn a_person_is_mailed_that_a_node_is_lost_and_takes_over_once_it_is_fenced() {
    let (mut sink, mut mails) = (None, None);
    let mut scene = Scene::with(|machines, dir| {
        let record = mails.insert(dir.join("mails"));
        sink = Some(machines.start("witness", &task("sink", &[&*record])));
        let server = format!("{}:{SINK_PORT}", machines.address("witness"));
        format!(
            "\n[groups.mail.alert]\nmail_server = \"{server}\"\nmail_from = \"standin@example.org\"\n\
             mail_to = [\"operators@example.net\", \"night@example.net\"]\n"
        )
    });
    let (fenced, works) = (scene.dir.path().join("fenced"), scene.dir.path().join("works"));
    let fence =
        format!("echo \"$STANDIN_LOST of $STANDIN_GROUP\" >>{}; echo no power; test -f {}", fenced.display(), works.display());
    scene.add_keys(&format!("fence = {}", sh(&fence)));
    scene.wait_for_mail();
    scene.alpha.run(&["wait", "mail", "--synced", "--timeout", "60"]).expect(0);
    scene.machines.power_off("alpha");
    scene.alpha.kill();
    let mail = wait_for("the alert is mailed", PATIENCE, || mail_of_beta(mails.as_ref().unwrap()));
    println!("{mail}");
    for part in [
        "MAIL FROM:<standin@example.org>\nRCPT TO:<operators@example.net>\nRCPT TO:<night@example.net>\n",
        "Subject: Standin: group mail on beta\n",
        "\n\nalpha has the group and is not heard any more\n\n`standin monitor mail` tells more; `standin monitor ack mail` answers this.\n",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    assert!(
        scene.beta.json(&["monitor", "mail"])[0]["alerts"].to_string().contains("alpha has the group and is not heard any more")
    );
    // Nothing is taken over while nobody knows whether alpha is off.
    let dry = scene.beta.run(&["failover", "mail", "--accept-loss", "any", "--dry-run"]).expect(0);
    assert!(dry.stdout.contains("keep alpha from going on, by the fence command"), "{dry:?}");
    assert!(!fenced.exists(), "a dry run does nothing");
    let failed = scene.beta.run(&["--json", "failover", "mail", "--accept-loss", "any"]).expect(1).json();
    assert_eq!(failed["end"], "taken_back", "{failed:#}");
    assert!(failed["steps"].to_string().contains("whether alpha still serves is not known"), "{failed:#}");
    assert!(!failed["steps"].to_string().contains("become source"), "{failed:#}");
    assert!(!scene.machines.has_floating("beta") && scene.online(&scene.beta) == "alpha");
    fs::write(works, "").unwrap();
    let report = scene.cut_over("beta", &["failover", "mail", "--accept-loss", "any"]);
    let steps: Vec<&str> = report["steps"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap()).collect();
    let at = |what: &str| steps.iter().position(|step| step.contains(what)).unwrap_or_else(|| panic!("no {what}: {report:#}"));
    assert!(at("keep alpha from going on") < at("become source of mail"), "{steps:?}");
    assert_eq!(fs::read_to_string(&fenced).unwrap(), "alpha of mail\n".repeat(2));
    scene.wait_for_mail();
    shows_the_failover_and_what_followed(&mut scene);
    drop(sink.map(|mut sink| (sink.kill(), sink.wait())));
}

/// The old source comes back, and what is shown last is the failover, with its becoming a standby after it.
fn shows_the_failover_and_what_followed(scene: &mut Scene) {
    let shown = |scene: &Scene| scene.beta.run(&["group", "show", "mail"]).expect(0).stdout;
    let before = shown(scene);
    assert!(before.contains("last        failover ") && !before.contains("then        rejoin"), "{before}");
    scene.machines.plug("alpha", true);
    scene.alpha.start();
    wait_until("alpha is a standby", PATIENCE, || shown(scene).contains("then        rejoin"));
    wait_until("that is over", PATIENCE, || {
        shown(scene).lines().any(|line| line.starts_with("then ") && line.ends_with(": done"))
    });
    let after = shown(scene);
    println!("{after}");
    assert!(after.contains("last        failover "), "{after}");
    assert_eq!(scene.alpha.json(&["group", "report", "mail"])["kind"], "failover");
    scene.assert_one("beta", "alpha");
    scene.cut_over("beta", &["failback", "mail"]);
    let next = shown(scene);
    assert!(next.contains("last        failback ") && !next.contains("then  "), "{next}");
}
