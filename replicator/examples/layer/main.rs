//! A layer over a directory by hand, and the replay of what it recorded.
//!
//! `layer mount DIRECTORY [RECORD]` records to a file, or only counts, until its standard input ends; `layer replay RECORD DIRECTORY`
//! performs a record on a copy of the directory as it was; `layer show RECORD` prints one. For measuring and for trying; the daemon
//! mounts by itself.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::{env, io, process};

use standin_replicator::capture::ordered::{Forgetful, Recorder};
use standin_replicator::os::Layer;

#[path = "../../tests/layer/record.rs"]
mod record;
#[path = "../../tests/layer/replay.rs"]
mod replay;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["mount", directory] => mount(directory, Arc::new(Forgetful::default())),
        ["mount", directory, to] => record::ToFile::create(Path::new(to)).and_then(|to| mount_recording(directory, Arc::new(to))),
        ["replay", from, onto] => replay(from, onto),
        ["show", from] => show(from),
        _ => Err(io::Error::other("layer mount DIRECTORY [RECORD] | layer replay RECORD DIRECTORY | layer show RECORD")),
    };
    if let Err(error) = done {
        eprintln!("layer: {error}");
        process::exit(1);
    }
}

fn mount_recording(directory: &str, to: Arc<record::ToFile>) -> io::Result<()> {
    mount(directory, Arc::clone(&to) as Arc<dyn Recorder>)?;
    println!("{} operations", to.flush()?);
    Ok(())
}

fn mount(directory: &str, recorder: Arc<dyn Recorder>) -> io::Result<()> {
    let mut layer = Layer::mount(Path::new(directory), recorder)?;
    println!("mounted over {directory}; the end of input unmounts");
    loop {
        io::stdin().read_to_end(&mut Vec::new())?;
        match layer.unmount() {
            Ok(()) => return Ok(()),
            Err((back, error)) => {
                eprintln!("layer: {error}");
                layer = back;
                // A file or closed pipe has ended for good: try until nobody uses it.
                std::thread::sleep(std::time::Duration::from_secs(1)); // poll
            }
        }
    }
}

fn replay(from: &str, onto: &str) -> io::Result<()> {
    let (mut from, mut onto) = (record::FromFile::open(Path::new(from))?, replay::Replay::onto(Path::new(onto))?);
    let mut count = 0;
    while let Some(operation) = from.next()? {
        count += 1;
        onto.perform(&operation).map_err(|error| io::Error::other(format!("operation {count}, {operation:?}: {error}")))?;
    }
    println!("{count} operations performed");
    Ok(())
}

fn show(from: &str) -> io::Result<()> {
    let mut from = record::FromFile::open(Path::new(from))?;
    while let Some(operation) = from.next()? {
        println!("{operation:?}");
    }
    Ok(())
}
