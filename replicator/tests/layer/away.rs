//! The layer is taken away, held, or dies.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use standin_replicator::capture::ordered::{Forgetful, Position, Recorder, Touch};
use standin_replicator::os::{Layer, clear_dead_layer};
use tempfile::TempDir;

use crate::ground::Ground;

/// With this set, this program mounts a layer over that directory and waits for the end of its input.
const CHILD: &str = "STANDIN_LAYER_CHILD";

/// Not a test by itself: what [`child`] starts.
#[test]
fn serve_as_a_child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let layer = Layer::mount(Path::new(&directory), Arc::new(Forgetful::default())).unwrap();
    println!("mounted");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    layer.unmount().map_err(|(_, error)| error).unwrap();
}

fn child(directory: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "away::serve_as_a_child", "--nocapture"])
        .env(CHILD, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mounted = lines.map_while(Result::ok).any(|line| line.ends_with("mounted"));
    assert!(mounted, "the layer did not come: {:?}", child.wait());
    child
}

#[test]
fn a_dead_daemon_gives_errors_and_leaves_a_mount_that_is_cleared() {
    let temporary = TempDir::new().unwrap();
    let directory = temporary.path().join("root");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("before"), "there").unwrap();
    for round in 0..3 {
        let mut daemon = child(&directory);
        let mut open = File::create(directory.join(format!("open {round}"))).unwrap();
        open.write_all(b"written").unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let gone = [Errno::NOTCONN, Errno::CONNABORTED].map(|errno| Some(errno.raw_os_error()));
        for error in [
            open.write_all(b"not written").unwrap_err(),
            open.sync_all().unwrap_err(),
            fs::write(directory.join("new"), "never").unwrap_err(),
            fs::read(directory.join("before")).unwrap_err(),
        ] {
            assert!(gone.contains(&error.raw_os_error()), "{error}");
        }
    }
    // The last one is still dead. What was open in it stays dead.
    assert!(clear_dead_layer(&directory).unwrap());
    assert!(!clear_dead_layer(&directory).unwrap());
    assert_eq!(fs::read(directory.join("before")).unwrap(), b"there");
    assert_eq!(fs::read(directory.join("open 2")).unwrap(), b"written");
    assert!(!directory.join("new").exists());
}

#[test]
fn a_dead_layer_is_mounted_over_again() {
    let temporary = TempDir::new().unwrap();
    let mut daemon = child(temporary.path());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let layer = Layer::mount(temporary.path(), Arc::new(Forgetful::default())).unwrap();
    fs::write(temporary.path().join("new"), "again").unwrap();
    let second = Layer::mount(temporary.path(), Arc::new(Forgetful::default())).unwrap_err();
    assert!(second.to_string().contains("has a layer already"), "{second}");
    layer.unmount().map_err(|(_, error)| error).unwrap();
    assert_eq!(fs::read(temporary.path().join("new")).unwrap(), b"again");
}

#[test]
fn what_keeps_it_is_named() {
    let mut ground = Ground::new(|_| {});
    fs::create_dir(ground.source().join("work")).unwrap();
    let mut by_directory = Command::new("sleep").arg("60").current_dir(ground.source().join("work")).spawn().unwrap();
    let open = File::create(ground.source().join("open")).unwrap();
    let mut by_file = Command::new("sleep").arg("60").stdin(open).spawn().unwrap();
    let (layer, error) = ground.layer().take().unwrap().unmount().unwrap_err();
    let text = error.to_string();
    for process in [&by_directory, &by_file] {
        assert!(text.contains(&format!("sleep (process {})", process.id())), "{text}");
    }
    assert_eq!(layer.holders().len(), 2, "{:?}", layer.holders());
    *ground.layer() = Some(layer);
    // It goes on.
    fs::write(ground.source().join("after"), "still told").unwrap();
    for process in [&mut by_directory, &mut by_file] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    ground.assert_same();
    ground.unmount();
}

#[test]
fn a_root_with_mounts_beneath_is_refused() {
    let temporary = TempDir::new().unwrap();
    let inner = temporary.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let layer = Layer::mount(&inner, Arc::new(Forgetful::default())).unwrap();
    let error = Layer::mount(temporary.path(), Arc::new(Forgetful::default())).unwrap_err();
    assert!(error.to_string().contains("inner") && error.to_string().contains("hide"), "{error}");
    layer.unmount().map_err(|(_, error)| error).unwrap();
}

/// Refuses everything.
struct Refusing;

impl Recorder for Refusing {
    fn before(&self, _: Touch) -> std::io::Result<()> {
        Err(Errno::NOSPC.into())
    }

    fn record(&self, operation: standin_replicator::capture::ordered::Operation<'_>) -> Position {
        use standin_replicator::capture::ordered::Operation::{Forgotten, Known, Root, Sync};
        assert!(matches!(operation, Root { .. } | Known { .. } | Forgotten { .. } | Sync { .. }), "{operation:?} was refused");
        Position(1)
    }

    fn missed(&self, touch: Touch) {
        panic!("nothing can be missed: {touch:?}");
    }

    fn flushed(&self, _: Position) -> std::io::Result<()> {
        Err(Errno::TIMEDOUT.into())
    }
}

#[test]
fn what_cannot_be_noted_is_not_done() {
    let temporary = TempDir::new().unwrap();
    let path = temporary.path().join("file");
    fs::write(&path, "as it was").unwrap();
    let layer = Layer::mount(temporary.path(), Arc::new(Refusing)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let is = |error: std::io::Error, errno: Errno| assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{error}");
    is(std::os::unix::fs::FileExt::write_all_at(&file, b"never", 0).unwrap_err(), Errno::NOSPC);
    is(file.set_len(1).unwrap_err(), Errno::NOSPC);
    is(fs::remove_file(&path).unwrap_err(), Errno::NOSPC);
    is(fs::rename(&path, temporary.path().join("other")).unwrap_err(), Errno::NOSPC);
    is(fs::create_dir(temporary.path().join("new")).unwrap_err(), Errno::NOSPC);
    is(fs::hard_link(&path, temporary.path().join("linked")).unwrap_err(), Errno::NOSPC);
    let mut mode = file.metadata().unwrap().permissions();
    mode.set_readonly(true);
    is(file.set_permissions(mode).unwrap_err(), Errno::NOSPC);
    // Durable only when the recorder says so.
    is(file.sync_data().unwrap_err(), Errno::TIMEDOUT);
    drop(file);
    layer.unmount().map_err(|(_, error)| error).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

/// A process with a copy of every mount, as a container has it.
fn container() -> Child {
    let mut child =
        Command::new("unshare").args(["-m", "sh", "-c", "echo ready; exec sleep 60"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn a_container_that_has_a_copy_of_the_mount_keeps_nobody() {
    let temporary = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let layer = Layer::mount(temporary.path(), Arc::new(Forgetful::default())).unwrap();
    let mut container = container();
    let after = Layer::mount(other.path(), Arc::new(Forgetful::default())).unwrap();
    fs::write(temporary.path().join("file"), "told").unwrap();
    let begun = Instant::now();
    layer.unmount().map_err(|(_, error)| error).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(fs::read(temporary.path().join("file")).unwrap(), b"told");
    // What the container has is dead, and not the directory beneath.
    let there = format!("/proc/{}/root{}", container.id(), temporary.path().join("new").display());
    assert!(fs::write(there, "unseen").is_err());
    assert!(!temporary.path().join("new").exists());
    // Others are left alone.
    fs::write(other.path().join("file"), "told").unwrap();
    let again = Layer::mount(temporary.path(), Arc::new(Forgetful::default())).unwrap();
    fs::write(temporary.path().join("file"), "again").unwrap();
    for layer in [again, after] {
        layer.unmount().map_err(|(_, error)| error).unwrap();
    }
    container.kill().unwrap();
    container.wait().unwrap();
}

/// Lets nobody go who syncs, until it is told to.
#[derive(Default)]
struct Holding(Mutex<(usize, bool)>, Condvar);

impl Recorder for Holding {
    fn before(&self, _: Touch) -> std::io::Result<()> {
        Ok(())
    }

    fn record(&self, _: standin_replicator::capture::ordered::Operation<'_>) -> Position {
        Position(1)
    }

    fn missed(&self, touch: Touch) {
        panic!("nothing can be missed: {touch:?}");
    }

    fn flushed(&self, _: Position) -> std::io::Result<()> {
        let mut held = self.0.lock().unwrap();
        held.0 += 1;
        self.1.notify_all();
        drop(self.1.wait_while(held, |held| !held.1).unwrap());
        Ok(())
    }
}

#[test]
fn who_waits_for_the_standby_can_be_killed_and_is_disturbed_by_no_other_signal() {
    let temporary = TempDir::new().unwrap();
    let holding = Arc::new(Holding::default());
    let layer = Layer::mount(temporary.path(), holding.clone()).unwrap();
    // One that hears of a signal while it waits for its fsync, which must not fail of it; the other is killed.
    let program = "import os, signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: None)\nf = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)\n\
                   os.write(f, b'x')\nos.fsync(f)\nprint('synced')";
    let start = |name: &str| {
        let mut command = Command::new("python3");
        command
            .args(["-c", program])
            .arg(temporary.path().join(name))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (signalled, mut killed) = (start("signalled"), start("killed"));
    drop(holding.1.wait_while(holding.0.lock().unwrap(), |held| held.0 < 2).unwrap());
    for child in [&signalled, &killed] {
        let process = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(process, rustix::process::Signal::USR1).unwrap();
    }
    killed.kill().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while killed.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it does not end");
        std::thread::park_timeout(Duration::from_millis(5)); // poll
    }
    holding.0.lock().unwrap().1 = true;
    holding.1.notify_all();
    let output = signalled.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "synced\n", "{output:?}");
    layer.unmount().map_err(|(_, error)| error).unwrap();
}
