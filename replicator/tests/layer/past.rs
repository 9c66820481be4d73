//! Files that are read past the layer.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use standin_replicator::capture::ordered::{Forgetful, ObjectId, Operation, Position, Recorder, Touch};
use standin_replicator::os::Layer;
use tempfile::TempDir;

/// All files may be read past the layer.
#[derive(Default)]
struct Past(Forgetful);

impl Recorder for Past {
    fn before(&self, touch: Touch) -> io::Result<()> {
        self.0.before(touch)
    }

    fn record(&self, operation: Operation<'_>) -> Position {
        self.0.record(operation)
    }

    fn missed(&self, touch: Touch) {
        self.0.missed(touch);
    }

    fn flushed(&self, position: Position) -> io::Result<()> {
        self.0.flushed(position)
    }

    fn has_passthrough(&self) -> bool {
        true
    }

    fn is_passthrough(&self, _: ObjectId) -> bool {
        true
    }
}

/// What a file holds from its beginning, through something open.
fn held(file: &File) -> String {
    let mut buffer = [0; 100];
    let len = file.read_at(&mut buffer, 0).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn open_to_write(path: &Path, read: bool) -> Result<File, Option<i32>> {
    OpenOptions::new().write(true).read(read).open(path).map_err(|error| error.raw_os_error())
}

#[test]
fn who_reads_sees_the_file_beneath_and_keeps_writers_out() {
    let temporary = TempDir::new().unwrap();
    let path = temporary.path().join("mail");
    fs::write(&path, "one").unwrap();
    let layer = Layer::mount(temporary.path(), Arc::new(Past::default())).unwrap();
    let readers = [File::open(&path).unwrap(), File::open(&path).unwrap()];
    assert_eq!(readers.each_ref().map(held), ["one", "one"]);
    let busy = rustix::io::Errno::TXTBSY.raw_os_error();
    for read in [false, true] {
        assert_eq!(open_to_write(&path, read).unwrap_err(), Some(busy), "it needs Linux 6.9 with FUSE_PASSTHROUGH");
    }
    // By a back door: what the kernel had cached of it would be shown as before.
    fs::write(layer.beneath().join("mail"), "two").unwrap();
    assert_eq!(readers.each_ref().map(held), ["two", "two"]);
    // A name may go, and come, all the while.
    fs::rename(&path, temporary.path().join("moved")).unwrap();
    let path = temporary.path().join("moved");
    assert_eq!(held(&readers[0]), "two");
    drop(readers);
    // The kernel tells of it when it comes to it.
    let until = Instant::now() + Duration::from_secs(20);
    let writer = loop {
        match open_to_write(&path, true) {
            Ok(writer) => break writer,
            Err(error) => assert!(error == Some(busy) && Instant::now() < until, "{error:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(5)); // poll
    };
    let reader = File::open(&path).unwrap();
    writer.write_all_at(b"three", 0).unwrap();
    assert_eq!(held(&reader), "three", "it is written to, so it is read through the layer");
    drop((reader, writer));
    layer.unmount().map_err(|(_, error)| error).unwrap();
}
