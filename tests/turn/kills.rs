//! `kill -9` of both nodes at all moments of handovers and of a former source's return.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::material::Random;
use crate::support::{Done, Node, PATIENCE, Pair, assert_same, seed, shell, wait_until};
use crate::{folder, followed, kept, point, read, status};

/// Handovers, each with kills in it.
const TURNS: usize = 12;
/// Returns of a former source, each with kills in it.
const RETURNS: usize = 6;
/// The longest that a turn goes on before something is killed.
const LONGEST_MS: u64 = 400;

/// Which node is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Old,
    New,
    Both,
}

fn victim(random: &mut Random) -> Victim {
    [Victim::Old, Victim::New, Victim::Both][random.below(3) as usize]
}

/// Who says that it is source, with its generation.
fn source_of(node: &Node) -> Option<u64> {
    let status = status(node);
    (status["role"] == json!("source")).then(|| status["generation"].as_u64().unwrap_or_default())
}

/// Never two at one generation.
#[track_caller]
fn assert_one_writer(pair: &Pair) {
    let (alpha, beta) = (source_of(&pair.alpha), source_of(&pair.beta));
    assert!(alpha.is_none() || alpha != beta, "both are source at generation {alpha:?}");
}

/// Kills after a while, and starts again.
fn kill(old: &mut Node, new: &mut Node, victim: Victim, random: &mut Random) {
    let moment = Instant::now() + Duration::from_millis(random.below(LONGEST_MS));
    wait_until("the moment comes", PATIENCE, || Instant::now() >= moment);
    let mut victims: Vec<&mut Node> = match victim {
        Victim::Old => vec![old],
        Victim::New => vec![new],
        Victim::Both => vec![old, new],
    };
    victims.iter_mut().for_each(|node| node.kill());
    victims.iter_mut().for_each(|node| node.start());
}

#[test]
fn a_handover_with_kills_ends_with_one_source_that_has_everything() {
    let mut random = Random::new(seed());
    let mut pair = followed("");
    let mut interrupted = 0;
    for turn in 0..TURNS {
        // From alpha to beta and back in turns.
        let forth = turn % 2 == 0;
        let (from_root, to_root) =
            if forth { (pair.source.clone(), pair.target.clone()) } else { (pair.target.clone(), pair.source.clone()) };
        shell(
            &from_root,
            &format!(
                "echo {turn} >> d/1; echo {turn} > turn-{turn}; rm -f turn-{}; head -c 300000 /dev/urandom > large",
                turn.wrapping_sub(3)
            ),
        );
        let expected = shell(&from_root, "find . -type f | sort | xargs sha256sum");
        let victim = victim(&mut random);
        println!("turn {turn}: {victim:?} is killed");
        let Pair { alpha, beta, .. } = &mut pair;
        let (old, new) = if forth { (alpha, beta) } else { (beta, alpha) };
        let to = new.name.clone();
        let line = ["--json", "set", "turn", "mail", "--to", to.as_str(), "--timeout", "60s"];
        let mut command = old.command(&line);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let first = std::thread::spawn(move || Done::of(command));
        kill(old, new, victim, &mut random);
        let first = first.join().unwrap();
        interrupted += usize::from(first.code != Some(0));
        assert_one_writer(&pair);
        // Said again until it is done, as a script would.
        let old = if forth { &pair.alpha } else { &pair.beta };
        wait_until("it is handed over", PATIENCE, || {
            let done = old.run(&line);
            assert_one_writer(&pair);
            assert!(matches!(done.code, Some(0 | 3 | 4)), "{done:#?}");
            done.code == Some(0)
        });
        let new = if forth { &pair.beta } else { &pair.alpha };
        assert_eq!(source_of(new), Some(turn as u64 + 2));
        assert_eq!(source_of(if forth { &pair.alpha } else { &pair.beta }), None);
        assert_eq!(shell(&to_root, "find . -type f | sort | xargs sha256sum"), expected);
        point(new);
        assert_same(&to_root, &from_root);
        assert!(!to_root.join(".standin").exists());
    }
    println!("{interrupted} of {TURNS} handovers were interrupted");
    for node in [&pair.alpha, &pair.beta] {
        assert!(!node.state_dir().join("sets/mail/kept").exists(), "a handover leaves nothing to keep aside");
    }
}

#[test]
fn a_former_source_that_is_killed_on_its_way_back_loses_nothing_of_its_own() {
    let mut random = Random::new(seed());
    let mut pair = followed("limit = \"8 MB/s\"");
    for turn in 0..RETURNS {
        let forth = turn % 2 == 0;
        let (old_root, new_root) =
            if forth { (pair.source.clone(), pair.target.clone()) } else { (pair.target.clone(), pair.source.clone()) };
        let Pair { alpha, beta, .. } = &mut pair;
        let (old, new) = if forth { (alpha, beta) } else { (beta, alpha) };
        point(old);
        old.kill();
        let own = own_changes(&old_root, turn);
        new.json(&["promote", "mail", "--as-source"]);
        shell(
            &new_root,
            &format!("head -c 3000000 /dev/urandom > large; echo new >> d/1; rm -f d/{}; echo {turn} > new-{turn}", turn + 20),
        );
        old.start();
        for _ in 0..1 + random.below(3) {
            let victim = victim(&mut random);
            println!("return {turn}: {victim:?} is killed");
            kill(old, new, victim, &mut random);
        }
        wait_until("it is a standby", PATIENCE, || source_of(old).is_none());
        point(new);
        assert_same(&new_root, &old_root);
        let was = turn as u64 + 1;
        let (lines, folder) = (kept(old, was), folder(old, was));
        for (path, text) in own {
            assert_eq!(read(&folder.join(&path)), text, "{path}: {lines:#?}");
            assert!(lines.iter().any(|line| line.split('\t').nth(2) == Some(&path)), "{path}: {lines:#?}");
        }
        assert_one_writer(&pair);
    }
}

/// Changes what the other node never gets; returns what has to be kept.
fn own_changes(root: &Path, turn: usize) -> BTreeMap<String, String> {
    shell(
        root,
        &format!("echo own {turn} > own-{turn}; echo own {turn} >> d/1; mkdir -p dir-{turn}; echo deep > dir-{turn}/deep"),
    );
    let paths = [format!("own-{turn}"), "d/1".to_owned(), format!("dir-{turn}/deep")];
    paths.into_iter().map(|path| (path.clone(), read(&root.join(path)))).collect()
}
