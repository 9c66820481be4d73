//! The rows of the table: what is made, what is done, and what is to be reached.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::copier::{Copier, Run, Work, assert_equal};
use crate::line::{ADDRESSES, Line};
use crate::lossy;
use crate::options::{Options, Place};
use crate::report::{Goal, Report};
use crate::rsync::Rsync;
use crate::standin::{Hosts, Standin};
use crate::support::free_udp_port;
use crate::tree;

/// A row, or a few that need the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Full,
    Ssh,
    Difference,
    Checksum,
    Attributes,
    Orphans,
    Million,
    Line,
    Lossy,
    Share,
}

/// The ways of rsync to send a difference, and what is to be reached against each.
const DIFFERENCES: &[(&[&str], Goal)] = &[
    (&["-a", "--inplace", "--no-whole-file"], Goal { speed: 8.0, wire: Some(0.125) }),
    (&["-a", "--inplace", "--no-whole-file", "--block-size=4096"], Goal { speed: 3.5, wire: Some(1.0) }),
    (&["-a", "--inplace", "--whole-file"], Goal { speed: 1.0, wire: None }),
];

impl Row {
    /// All of them, in the order of the table.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Full,
        Self::Ssh,
        Self::Difference,
        Self::Checksum,
        Self::Attributes,
        Self::Orphans,
        Self::Million,
        Self::Line,
        Self::Lossy,
        Self::Share,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Ssh => "ssh",
            Self::Difference => "difference",
            Self::Checksum => "checksum",
            Self::Attributes => "attributes",
            Self::Orphans => "orphans",
            Self::Million => "million",
            Self::Line => "line",
            Self::Lossy => "lossy",
            Self::Share => "share",
        }
    }

    /// Whether it is measured there: three million files do not fit in memory, and on a slow line the place makes no difference.
    pub(crate) fn fits(self, place: Place) -> bool {
        place == Place::Disk || !matches!(self, Self::Million | Self::Line | Self::Lossy | Self::Share)
    }

    /// Makes the trees, measures, reports, and removes the trees.
    pub(crate) fn run(self, place: Place, options: &Options, report: &mut Report) {
        let work = tempfile::Builder::new().prefix("standin-bench-").tempdir_in(place.directory()).unwrap();
        let source = work.path().join("source");
        eprintln!("{} on {}: making the tree", self.name(), place.name());
        match self {
            Self::Million => tree::million(&source, options),
            Self::Line => tree::text(&source, options),
            Self::Lossy | Self::Share => tree::noise(&source, options),
            _ => tree::mail_server(&source, options),
        }
        let bench = Bench { work: work.path().to_owned(), source, options };
        match self {
            Self::Full => bench.full(&mut bench.daemon(&["-a", "--whole-file", "--inplace"]), 1.2, report),
            Self::Ssh => {
                bench.full(&mut Rsync::ssh(&bench.work, &bench.source, &["-a", "--whole-file", "--inplace"]), 2.0, report)
            }
            Self::Difference => bench.difference(report),
            Self::Checksum => bench.unchanged("nothing changed, checksum of everything", Work::Checksum, 1.6, report),
            Self::Attributes => bench.unchanged("nothing changed, by attributes", Work::Difference, 1.0, report),
            Self::Orphans => bench.orphans(report),
            Self::Million => bench.unchanged("one million files, nothing changed, by attributes", Work::Difference, 1.0, report),
            Self::Line => bench.line(report),
            Self::Lossy => lossy::lossy(&bench.work, &bench.source, options),
            Self::Share => lossy::share(&bench.work, &bench.source, options),
        }
    }
}

/// A tree, and room for the copies.
struct Bench<'a> {
    work: PathBuf,
    source: PathBuf,
    options: &'a Options,
}

impl Bench<'_> {
    fn daemon(&self, options: &[&str]) -> Rsync {
        Rsync::daemon(&self.work, &self.source, options)
    }

    fn standin(&self) -> Option<Standin<'static>> {
        (!self.options.peer_only).then(|| Standin::new(&self.work, &self.source, Hosts::loopback(), ""))
    }

    /// Peer and Standin in turn, `rounds` times; `before` prepares the source for each round.
    fn in_turn(
        &self,
        peer: &mut dyn Copier,
        standin: &mut Option<Standin<'_>>,
        mut before: impl FnMut(&Path, u64),
        mut run: impl FnMut(&mut dyn Copier) -> Run,
    ) -> [Vec<Run>; 2] {
        let mut runs = [Vec::new(), Vec::new()];
        for round in 0..self.options.rounds {
            before(&self.source, round as u64 + 1);
            let mut copiers: Vec<&mut dyn Copier> = vec![&mut *peer];
            copiers.extend(standin.as_mut().map(|standin| standin as &mut dyn Copier));
            for (copier, runs) in copiers.into_iter().zip(&mut runs) {
                let run = run(copier);
                eprintln!("  {}: {:.2} s", copier.name(), run.time.as_secs_f64());
                assert_equal(&self.source, copier.copy());
                runs.push(run);
            }
        }
        runs
    }

    fn full(&self, peer: &mut Rsync, goal: f64, report: &mut Report) {
        let mut standin = self.standin();
        let runs = self.in_turn(
            peer,
            &mut standin,
            |_, _| {},
            |copier| {
                copier.forget();
                copier.mirror(Work::Full)
            },
        );
        report.add("full copy into an empty standby", &peer.name(), &runs, Goal { speed: goal, wire: None });
    }

    fn difference(&self, report: &mut Report) {
        let mut standin = self.standin();
        if let Some(standin) = &mut standin {
            standin.mirror(Work::Full);
        }
        let mut seed = 0;
        for (options, goal) in DIFFERENCES {
            let mut peer = self.daemon(options);
            // Equal before the first round; the time of this is no one's.
            peer.mirror(Work::Full);
            let change = |source: &Path, round| {
                seed += 1;
                tree::touch_pages(source, seed * 1000 + round);
            };
            let runs = self.in_turn(&mut peer, &mut standin, change, |copier| copier.mirror(Work::Difference));
            report.add("1 % of the pages of the 3 GiB file changed in place", &peer.name(), &runs, *goal);
        }
    }

    fn unchanged(&self, title: &str, work: Work, goal: f64, report: &mut Report) {
        let mut peer = self.daemon(&["-a"]);
        let mut standin = self.standin();
        let first = [vec![peer.mirror(Work::Full)], standin.iter_mut().map(|standin| standin.mirror(Work::Full)).collect()];
        report.add(&format!("{title}: the first mirror before it"), &peer.name(), &first, Goal { speed: 0.0, wire: None });
        let runs = self.in_turn(&mut peer, &mut standin, |_, _| {}, |copier| copier.mirror(work));
        report.add(title, &peer.name(), &runs, Goal { speed: goal, wire: None });
    }

    fn orphans(&self, report: &mut Report) {
        let mut peer = self.daemon(&["-a"]);
        let mut standin = self.standin();
        let mut runs = [Vec::new(), Vec::new()];
        for _ in 0..self.options.rounds {
            tree::add_orphans(&self.source, self.options);
            peer.mirror(Work::Difference);
            if let Some(standin) = &mut standin {
                standin.mirror(Work::Difference);
            }
            tree::remove_orphans(&self.source);
            let round = Bench {
                options: &Options { rounds: 1, ..self.options.clone() },
                work: self.work.clone(),
                source: self.source.clone(),
            };
            let more = round.in_turn(&mut peer, &mut standin, |_, _| {}, |copier| copier.mirror(Work::Orphans));
            runs.iter_mut().zip(more).for_each(|(runs, more)| runs.extend(more));
        }
        report.add("10,000 orphans", &format!("{} `--delete`", peer.name()), &runs, Goal { speed: 1.0, wire: None });
    }

    fn line(&self, report: &mut Report) {
        let line = Line::up("100mbit", "10ms", "0%");
        let (a, b) = (line.prefix(0), line.prefix(1));
        let mut peer = Rsync::daemon_at(&self.work, &self.source, &["-az", "--zc=zstd"], ADDRESSES[1], [&a, &b]);
        let addresses = ADDRESSES.map(|address| SocketAddr::new(address, free_udp_port()));
        let hosts = Hosts { prefixes: [&a, &b], addresses };
        let mut standin = (!self.options.peer_only).then(|| Standin::new(&self.work, &self.source, hosts, ""));
        let runs = self.in_turn(
            &mut peer,
            &mut standin,
            |_, _| {},
            |copier| {
                copier.forget();
                copier.mirror(Work::Full)
            },
        );
        report.add(
            "1 GiB of mail-like text over 100 Mbit/s, 20 ms round trip",
            &peer.name(),
            &runs,
            Goal { speed: 1.0, wire: None },
        );
        // The copies' programs first: what runs in a namespace keeps it.
        drop((peer, standin));
        drop(fs::remove_dir_all(self.work.join("rsync-copy")));
    }
}
