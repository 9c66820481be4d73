//! A directory with a layer over it, a handle from beneath, and a copy that follows.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use standin_replicator::os::Layer;
use tempfile::TempDir;

use crate::look::{assert_same, look};
use crate::record::{FromFile, ToFile};
use crate::replay::Replay;

pub(crate) struct Ground {
    // Dropped in this order: the layer has to be away before its directory.
    layer: Option<Layer>,
    recorder: Arc<ToFile>,
    record: FromFile,
    replay: Replay,
    performed: u64,
    beneath: File,
    temporary: TempDir,
}

impl Ground {
    /// Over a directory that `fill` fills.
    pub(crate) fn new(fill: impl Fn(&Path)) -> Self {
        let temporary = TempDir::new().unwrap();
        let at = |name: &str| temporary.path().join(name);
        for name in ["source", "copy"] {
            fs::create_dir(at(name)).unwrap();
        }
        fill(&at("source"));
        let status = std::process::Command::new("cp").arg("-a").arg(at("source").join(".")).arg(at("copy")).status().unwrap();
        assert!(status.success());
        let beneath = File::open(at("source")).unwrap();
        let recorder = Arc::new(ToFile::create(&at("record")).unwrap());
        let layer = Layer::mount(&at("source"), Arc::clone(&recorder) as _).expect("the tests of the layer need root and FUSE");
        let record = FromFile::open(&at("record")).unwrap();
        let replay = Replay::onto(&at("copy")).unwrap();
        Self { layer: Some(layer), recorder, record, replay, performed: 0, beneath, temporary }
    }

    /// The directory, as applications see it.
    pub(crate) fn source(&self) -> PathBuf {
        self.temporary.path().join("source")
    }

    /// The same, by a back door.
    pub(crate) fn beneath(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.beneath.as_raw_fd()).into()
    }

    pub(crate) fn copy(&self) -> PathBuf {
        self.temporary.path().join("copy")
    }

    /// Performs what was recorded so far on the copy; returns how many operations that were in all.
    pub(crate) fn follow(&mut self) -> u64 {
        let recorded = self.recorder.flush().unwrap();
        while self.performed < recorded {
            let operation = self.record.next().unwrap().expect("it was recorded");
            self.performed += 1;
            self.replay
                .perform(&operation)
                .unwrap_or_else(|error| panic!("operation {}, {operation:?}: {error}", self.performed));
        }
        recorded
    }

    /// Nobody is doing anything: the copy must be what the source is, through the layer and beneath.
    pub(crate) fn assert_same(&mut self) {
        self.follow();
        let beneath = look(&self.beneath()).unwrap();
        assert_same("through the layer and beneath", &look(&self.source()).unwrap(), &beneath);
        assert_same("source and copy", &beneath, &look(&self.copy()).unwrap());
    }

    /// Takes the layer away, as soon as nobody uses it.
    pub(crate) fn unmount(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Some(layer) = self.layer.take() {
            if let Err((layer, error)) = layer.unmount() {
                assert!(Instant::now() < deadline, "{error}");
                self.layer = Some(layer);
                std::thread::sleep(Duration::from_millis(20)); // poll
            }
        }
    }

    pub(crate) fn layer(&mut self) -> &mut Option<Layer> {
        &mut self.layer
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.unmount();
        }
        // A failed test must not leave a mount behind.
        let _ = rustix::mount::unmount(self.source(), rustix::mount::UnmountFlags::DETACH);
    }
}
