//! What a small round costs the standby: `cargo run --profile ci -p standin-replicator --example rounds -- DIRECTORY [ROUNDS]`.
//!
//! Each round appends 40 KiB to one file of the source; begin, receive, commit and settle are timed in the given directory. Run it under
//! `strace -f -c -e trace=fsync,fdatasync,syncfs` to count what it makes durable.

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use standin_common::entry::Time;
use standin_common::id::{Generation, MirrorId, RootIndex};
use standin_common::message::{Comparison, FromStandby, MirrorOpening, OrphanLimit, OrphanPolicy, Purpose, RootKind, Want};
use standin_common::scope::Reason;
use standin_replicator::mirror::How;
use standin_replicator::os::OsVolume;
use standin_replicator::rules::Rules;
use standin_replicator::sim::SimWire;
use standin_replicator::source::entries::{Entries, Met};
use standin_replicator::source::lane::{self, Packing};
use standin_replicator::standby::join::Join;
use standin_replicator::standby::lane::Lane;
use standin_replicator::standby::receive::Reception;
use standin_replicator::standby::replica::Replica;
use standin_replicator::store::DirectoryStore;

const APPENDED: usize = 40 * 1024;

type Outcome<T> = Result<T, Box<dyn Error>>;
type OsReplica = Replica<OsVolume, DirectoryStore>;

fn opening(mirror: u64) -> Outcome<MirrorOpening> {
    Ok(MirrorOpening {
        set: "mail".parse()?,
        generation: Generation(1),
        mirror: MirrorId(mirror),
        definition: [0; 32],
        roots: vec![RootKind::Directory],
        purpose: Purpose::Mirror,
        comparison: Comparison::Difference,
        orphans: OrphanPolicy::Remove,
        orphan_limit: OrphanLimit::Percent(100),
        base: None,
    })
}

/// One round; returns how long begin, receive, commit and settle took.
fn round(replica: &OsReplica, source: &[OsVolume], mirror: u64) -> Outcome<[Duration; 4]> {
    let mut times = [Instant::now(); 5];
    let reception = Reception::begin(replica, opening(mirror)?, u64::MAX)?;
    times[1] = Instant::now();
    let rules = [Rules::everything()];
    let mut join = Join::new(&reception, How { comparison: Comparison::Difference, owners: true }, &rules);
    let mut messages = Vec::new();
    for volume in source {
        for met in Entries::new(volume, None, &rules[0], SystemTime::now) {
            if let Met::Entry(entry) = met {
                messages.extend(join.entries(RootIndex(0), vec![entry])?);
            }
        }
    }
    messages.extend(join.end()?);
    let (mut sending, mut receiving) = (lane::Lane::new(source, Packing { level: None }), Lane::new(&reception));
    let (mut wire, mut answers) = (SimWire::default(), VecDeque::new());
    let wants =
        messages.into_iter().filter_map(|message| if let FromStandby::Wants(wants) = message { Some(wants) } else { None });
    wants.flatten().try_for_each(|want: Want| sending.start(want, &mut wire))?;
    while sending.under_way() > 0 || !wire.0.is_empty() {
        while let Some((message, payload)) = wire.0.pop_front() {
            answers.extend(receiving.take(message, &payload)?);
        }
        if let Some(answer) = answers.pop_front() {
            sending.answer(answer, &mut wire)?;
        } else {
            sending.scan(&mut wire)?;
        }
    }
    times[2] = Instant::now();
    let at = Time { secs: mirror as i64, nanos: 0 };
    reception.commit(at, true, 1, 1, if mirror == 1 { Reason::Mirror } else { Reason::Passing })?;
    times[3] = Instant::now();
    replica.settle()?;
    times[4] = Instant::now();
    Ok([0, 1, 2, 3].map(|index| times[index + 1] - times[index]))
}

fn median(mut times: Vec<Duration>) -> Outcome<(Duration, Duration)> {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().ok_or("no rounds");
    Ok((at(50)?, at(99)?))
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let rounds = arguments.next().map_or(Ok(100), |text| text.parse::<u64>())?;
    let directory = Path::new(&directory).join("rounds");
    let (source, target) = (directory.join("source"), directory.join("target"));
    std::fs::create_dir_all(&source)?;
    let file = source.join("log");
    std::fs::write(&file, b"begin")?;
    let volumes = vec![OsVolume::open_target(&target, &directory.join("side"), RootKind::Directory)?];
    let replica = Replica::open(volumes, DirectoryStore::open(&directory.join("state"))?, 3)?;
    let sources = [OsVolume::open_source(&source)?];
    round(&replica, &sources, 1)?;
    let mut times: [Vec<Duration>; 5] = Default::default();
    for mirror in 2..rounds + 2 {
        let data: Vec<u8> = (0..APPENDED as u64).map(|at| (at * mirror % 251) as u8).collect();
        std::fs::OpenOptions::new().append(true).open(&file)?.write_all(&data)?;
        let took = round(&replica, &sources, mirror)?;
        took.iter().enumerate().for_each(|(index, took)| times[index].push(*took));
        times[4].push(took.iter().sum());
    }
    assert_eq!(std::fs::read(&file)?, std::fs::read(target.join("log"))?);
    for (what, times) in ["begin", "receive", "commit", "settle", "round"].iter().zip(times) {
        let (median, most) = median(times)?;
        println!("{what:8} median {:6.2} ms, p99 {:6.2} ms", median.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3);
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
