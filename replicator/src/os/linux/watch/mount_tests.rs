//! Roots that move, go, come, are mounted and unmounted, and file systems of other kinds.

use std::process::Command;

use super::*;

/// A file system that is mounted as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, arguments: &[&str]) -> Self {
        fs::create_dir_all(at).unwrap();
        // What was unmounted just now may still be on its way out.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !Command::new("mount").args(arguments).arg(at).status().unwrap().success() {
            assert!(Instant::now() < deadline, "mount {arguments:?} does not work");
            std::thread::sleep(Duration::from_millis(50)); // poll
        }
        Self(at.to_owned())
    }

    fn tmpfs(at: &Path) -> Self {
        Self::new(at, &["-t", "tmpfs", "none"])
    }

    /// A new file system in an image beside it.
    fn image(at: &Path, kind: &str) -> Self {
        let image = at.with_extension("image");
        fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let made = Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfs.{kind} is needed for this test");
        Self::new(at, &["-t", kind, "-o", "loop", image.to_str().unwrap()])
    }

    fn unmount(&self, lazily: bool) {
        let how: &[&str] = if lazily { &["--lazy"] } else { &[] };
        assert!(Command::new("umount").args(how).arg(&self.0).status().unwrap().success(), "{} is busy", self.0.display());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Most are unmounted by the test.
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.0).output();
    }
}

fn fanotify(roots: &[&Path]) -> Box<dyn Watcher> {
    watchers(roots).swap_remove(0)
}

#[test]
fn roots_that_are_not_what_they_were_are_said() {
    let Some(_held) = ready() else { return };
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().canonicalize().unwrap();
    for which in 0..2 {
        let (root, link) = (base.join("above/root"), base.join("link"));
        fs::create_dir_all(&root).unwrap();
        symlink(&root, &link).unwrap();
        let mut watcher = watchers(&[&link]).swap_remove(which);
        fs::write(root.join("f"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:f"], "by a symbolic link");
        fs::rename(&root, base.join("above/away")).unwrap();
        assert!(is_lost(&mut *watcher), "moved away");
        assert_eq!(told(&mut *watcher), [] as [&str; 0], "said once");
        fs::write(base.join("above/away/f"), b"y").unwrap();
        assert_eq!(told(&mut *watcher), [] as [&str; 0], "not in the root any more");
        fs::create_dir(&root).unwrap();
        assert!(is_lost(&mut *watcher), "another one in its place");
        fs::write(root.join("g"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:g"]);
        fs::rename(base.join("above"), base.join("elsewhere")).unwrap();
        fs::write(base.join("elsewhere/root/g"), b"y").unwrap();
        fs::rename(base.join("elsewhere"), base.join("above")).unwrap();
        let told_now = told(&mut *watcher);
        // Handles may have led elsewhere meanwhile, paths of watches did not.
        let sign = ["lost: a directory above a root was moved", "0:g"][which];
        assert!(told_now.iter().any(|line| line == sign), "moved away and back: {told_now:?}");
        fs::remove_file(&link).unwrap();
        symlink(base.join("above/away"), &link).unwrap();
        assert!(is_lost(&mut *watcher), "the link leads elsewhere");
        fs::write(base.join("above/away/h"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:h"]);
        fs::remove_file(&link).unwrap();
        fs::remove_dir_all(base.join("above")).unwrap();
    }
}

#[test]
fn a_root_may_be_a_file_that_is_replaced() {
    let Some(_held) = ready() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (file, other) = (directory.path().join("file"), directory.path().join("directory"));
    fs::create_dir(&other).unwrap();
    for which in 0..2 {
        fs::write(&file, b"1").unwrap();
        // What is missing keeps its number.
        let mut watcher = watchers(&[Path::new("/does/not/exist"), &file, &other]).swap_remove(which);
        for round in 0..3 {
            fs::write(&file, b"2").unwrap();
            assert_eq!(told(&mut *watcher), ["1:."]);
            fs::write(directory.path().join("new"), b"3").unwrap();
            fs::write(other.join("f"), b"3").unwrap();
            assert_eq!(told(&mut *watcher), ["2:f"]);
            fs::rename(directory.path().join("new"), &file).unwrap();
            assert_eq!(told(&mut *watcher), ["1:."], "replaced, round {round}");
        }
    }
}

#[test]
fn mounts_in_roots_are_watched_and_can_be_unmounted() {
    let Some(_held) = ready_to_mount() else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("inner/own")).unwrap();
    for which in 0..2 {
        let mut watcher = watchers(&[&root]).swap_remove(which);
        let mounted = Mounted::tmpfs(&root.join("inner"));
        assert!(is_lost(&mut *watcher), "mounted");
        fs::write(root.join("inner/f"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:inner/f"]);
        mounted.unmount(false);
        assert!(is_lost(&mut *watcher), "unmounted");
        fs::write(root.join("inner/own/g"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:inner/own/g"]);
    }
}

#[test]
fn what_is_seen_through_a_bind_mount_is_told() {
    let Some(_held) = ready_to_mount() else { return };
    let directory = tempfile::tempdir().unwrap();
    // On a file system of its own: of what others change without a name it is told, too.
    let own = directory.path().join("own");
    let _own = Mounted::tmpfs(&own);
    let (root, beside) = (own.join("root"), own.join("beside"));
    fs::create_dir_all(beside.join("d")).unwrap();
    let _mounted = Mounted::new(&root.join("bound"), &["--bind", beside.to_str().unwrap()]);
    let mut watcher = fanotify(&[&root]);
    fs::write(beside.join("d/f"), b"x").unwrap();
    assert_eq!(told(&mut *watcher), ["0:bound/d/f"]);
    fs::write(root.join("bound/d/g"), b"x").unwrap();
    assert_eq!(told(&mut *watcher), ["0:bound/d/g"]);
    // And a root that is itself such a mount.
    let mut watcher = fanotify(&[&root.join("bound/d")]);
    fs::write(beside.join("d/h"), b"x").unwrap();
    assert_eq!(told(&mut *watcher), ["0:h"]);
}

#[test]
fn a_file_system_that_goes_and_comes_is_watched_again() {
    let Some(_held) = ready_to_mount() else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    for kind in ["ext4", "xfs"] {
        let mounted = Mounted::image(&root, kind);
        let mut watcher = fanotify(&[&root]);
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:d/**", "0:d/f"], "{kind}");
        // Between two looks: the same file system, at the same place, perhaps with the same numbers.
        mounted.unmount(false);
        let again = Mounted::new(&root, &["-t", kind, "-o", "loop", root.with_extension("image").to_str().unwrap()]);
        assert!(is_lost(&mut *watcher), "{kind}");
        fs::write(root.join("d/g"), b"x").unwrap();
        assert_eq!(told(&mut *watcher), ["0:d/g"], "{kind}");
        again.unmount(true);
        assert!(is_lost(&mut *watcher), "{kind}: unmounted");
        drop((mounted, again));
    }
}

#[test]
fn changes_at_random_are_told_of_other_file_systems_too() {
    let Some(_held) = ready_to_mount() else { return };
    for kind in ["tmpfs", "ext4", "xfs", "btrfs"] {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("base");
        let _mounted = if kind == "tmpfs" { Mounted::tmpfs(&base) } else { Mounted::image(&base, kind) };
        for seed in seeds(4) {
            random_rounds(&base, 0, true, seed);
            random_rounds(&base, 0, false, seed);
        }
    }
}

#[test]
fn where_handles_are_missing_directories_are_watched_one_by_one() {
    let Some(_held) = ready_to_mount() else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let _mounted = Mounted::new(&root, &["-t", "ramfs", "none"]);
    let mut watcher = super::super::watch(std::slice::from_ref(&root)).unwrap();
    assert!(watcher.method().to_string().contains("inotify (") && watcher.method().to_string().contains("root"));
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), b"x").unwrap();
    assert_eq!(told(&mut *watcher), ["0:d/**"]);
    fs::write(root.join("d/f"), b"y").unwrap();
    assert_eq!(told(&mut *watcher), ["0:d/f"]);
}
