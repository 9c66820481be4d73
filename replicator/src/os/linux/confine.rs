//! Landlock: what a thread may do with files, kept by the kernel whatever the thread is made to attempt.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, path_beneath_rules,
};

/// The oldest kernel interface that lets objects be moved between directories, which installing a staged object does (Linux 5.19).
const NEEDED: ABI = ABI::V2;
/// The newest that this was written against.
const KNOWN: ABI = ABI::V5;

/// Confines the calling thread, and all that it starts from now on, to what lies beneath these paths: nothing else can be opened, made,
/// moved, linked or removed by it, ever again. What is open already stays open.
///
/// An error if the kernel cannot do that; then nothing is confined.
pub fn confine<'p>(beneath: impl IntoIterator<Item = &'p Path>) -> Result<(), RulesetError> {
    let newer = AccessFs::from_all(KNOWN) & !AccessFs::from_all(NEEDED);
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(newer)?
        .create()?
        .add_rules(path_beneath_rules(beneath, AccessFs::from_all(KNOWN)))?
        .restrict_self()?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_confined_thread_does_everything_inside_and_nothing_outside() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["root", "side", "outside"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), name).unwrap();
        }
        symlink(at("outside"), at("root/way")).unwrap();
        let confined = || {
            let (root, side) = (at("root"), at("side"));
            if let Err(error) = confine([root.as_path(), side.as_path()]) {
                return println!("this kernel has no Landlock ({error}): not run");
            }
            fs::write(side.join("staged"), "new").unwrap();
            fs::rename(side.join("staged"), root.join("new")).unwrap();
            fs::hard_link(root.join("new"), root.join("linked")).unwrap();
            fs::remove_file(root.join("file")).unwrap();
            let refused = [
                fs::read(at("outside/file")).map(drop),
                fs::read(root.join("way/file")).map(drop),
                fs::write(at("outside/new"), "x"),
                fs::remove_file(at("outside/file")),
                fs::rename(root.join("new"), at("outside/new")),
                fs::hard_link(at("outside/file"), root.join("taken")),
                fs::create_dir(at("other")),
                std::thread::spawn(|| fs::read("/etc/passwd").map(drop)).join().unwrap(),
            ];
            assert!(refused.iter().all(Result::is_err), "{refused:?}");
        };
        std::thread::scope(|scope| scope.spawn(confined).join().unwrap());
        assert!(fs::read("/etc/passwd").is_ok(), "other threads are not confined");
    }
}
