//! Sources that break the protocol or vanish, and who waits for whom.

use super::*;

#[test]
fn a_file_that_goes_away_is_not_waited_for() {
    let (source, standby) = twins();
    let (sources, standbys) = ([source.clone()], [standby]);
    let shared = Survey::new(&standbys, &RULES, &KINDS, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let wants = wants(&shared, &source);
    source.remove(&Place::Tree(&path("large"))).unwrap();
    let mut found = BTreeMap::new();
    compare(wants, &mut Lane::comparing(&sources), &mut CompareLane::new(&shared), &mut Wire::default(), &mut found);
    assert_eq!((shared.under_way(), found), (0, BTreeMap::new()));
}

fn wants(shared: &Survey<'_, SimVolume>, source: &SimVolume) -> Vec<Want> {
    let mut wants = Vec::new();
    let entries = Entries::new(source, None, &RULES[0], now).filter_map(|met| match met {
        Met::Entry(entry) => Some(entry),
        _ => None,
    });
    let tell = &mut |message| {
        if let FromStandby::Wants(more) = message {
            wants.extend(more);
        }
        Ok(())
    };
    SurveyJoin::new(shared).entries(RootIndex(0), entries.collect(), tell).unwrap();
    wants
}

#[test]
fn a_source_that_breaks_the_protocol_is_refused() {
    let (source, standby) = twins();
    let standbys = [standby];
    let shared = Survey::new(&standbys, &RULES, &KINDS, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let wants = wants(&shared, &source);
    let want = wants.iter().find(|want| want.at.path == path("large")).unwrap();
    let mut lane = CompareLane::new(&shared);
    let end = FileEnd { size: 10, root: Root([0; 32]), attrs: Attrs::default() };
    let file = want.file;
    let wrong = [
        LaneDown::Begin { file: 999, size: 1 },
        LaneDown::Groups { file, values: vec![] },
        LaneDown::End { file, end: end.clone() },
        LaneDown::Small { file, size: 0, encoding: Encoding::Plain, end: end.clone() },
        LaneDown::Data { file, len: 0, encoding: Encoding::Plain },
        LaneDown::Hole { file, len: 1 },
        LaneDown::Leaves { file, group: 0, mask: 1, hole: true, len: 4096, encoding: Encoding::Plain },
    ];
    for message in wrong {
        assert!(matches!(lane.take(message.clone(), &[]), Err(ReceiveError::Protocol(_))), "{message:?}");
    }
    assert_eq!(lane.take(LaneDown::Begin { file, size: 10 }, &[]).unwrap(), Some(LaneUp::Here { file, size: 1_000_000 }));
    assert!(lane.take(LaneDown::Groups { file, values: vec![[0; 16]; 2] }, &[]).is_err());
    assert_eq!(lane.take(LaneDown::End { file, end: end.clone() }, &[]).unwrap(), Some(LaneUp::Again { file }));
    lane.take(LaneDown::Begin { file, size: u64::MAX }, &[]).unwrap();
    assert!(lane.take(LaneDown::Groups { file, values: vec![[0; 16]; 32 * 1024 + 1] }, &[]).is_err());
    // Equal by its groups and not by its root.
    let small = bytes(100, 100);
    let leaf = wants.iter().find(|want| want.at.path == path("leaf")).unwrap().file;
    let value = standin_common::tree::short(&Root::of(&small).0);
    lane.take(LaneDown::Begin { file: leaf, size: 100 }, &[]).unwrap();
    let same = lane.take(LaneDown::Groups { file: leaf, values: vec![value] }, &[]).unwrap();
    assert_eq!(same, Some(LaneUp::Compared { file: leaf, groups: 1, differing: vec![] }));
    let end = FileEnd { size: 100, ..end };
    assert_eq!(lane.take(LaneDown::End { file: leaf, end }, &[]).unwrap(), Some(LaneUp::Again { file: leaf }));
}

#[test]
fn whoever_waits_is_woken() {
    let source = SimVolume::new(Disk::new(0));
    let names = 300;
    for name in 0..names {
        source.create(&Place::Tree(&path(&format!("{name:04}")))).unwrap();
    }
    let roots: Vec<_> = (0..20).map(|_| source.snapshot(Disk::new(0))).collect();
    let shared = Survey::new(&roots, &RULES, &KINDS, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let entries: Vec<_> = Entries::new(&source, None, &RULES[0], now)
        .map(|met| match met {
            Met::Entry(entry) => entry,
            met => panic!("{met:?}"),
        })
        .collect();
    let (wanted, wants) = mpsc::channel();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let wanted = wanted;
            let mut join = SurveyJoin::new(&shared);
            for root in 0..roots.len() {
                join.entries(RootIndex(root as u16), entries.clone(), &mut |message| {
                    if let FromStandby::Wants(more) = message {
                        more.into_iter().for_each(|want| wanted.send(want).unwrap());
                    }
                    Ok(())
                })?;
            }
            Ok::<_, ReceiveError>(())
        });
        // It asks for all that it may before it waits, goes on when files are done, and is woken by the end.
        let next = || wants.recv_timeout(Duration::from_secs(60)).unwrap();
        let first: Vec<Want> = (0..4096).map(|_| next()).collect();
        let mut lane = CompareLane::new(&shared);
        for want in first.iter().take(10) {
            lane.take(LaneDown::Gone { file: want.file, why: None }, &[]).unwrap();
        }
        (0..10).for_each(|_| drop(next()));
        shared.end();
        assert!(matches!(waits.join().unwrap(), Err(ReceiveError::Ended)));
        assert!(wants.recv().is_err());
    });
}

#[test]
fn what_cannot_be_read_on_the_standby_differs() {
    let (source, standby) = twins();
    let disk = Disk::new(0);
    let standbys = [standby.snapshot(disk.clone())];
    let shared = Survey::new(&standbys, &RULES, &KINDS, How { comparison: Comparison::Checksum, owners: true }, Purpose::Verify);
    let file = wants(&shared, &source).iter().find(|want| want.at.path == path("group")).unwrap().file;
    let mut lane = CompareLane::new(&shared);
    lane.take(LaneDown::Begin { file, size: GROUP }, &[]).unwrap();
    disk.plan(Some((1, Fault::Crash)));
    let differing = vec![Differing { group: 0, leaves: vec![] }];
    let answer = lane.take(LaneDown::Groups { file, values: vec![[0; 16]] }, &[]).unwrap();
    assert_eq!(answer, Some(LaneUp::Compared { file, groups: 1, differing }));
}
