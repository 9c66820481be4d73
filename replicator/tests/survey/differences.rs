//! Each kind of difference, and the ranges of one file.

use super::*;

const ALL: [(Purpose, Comparison); 4] = [
    (Purpose::Verify, Comparison::Checksum),
    (Purpose::DryRun, Comparison::Checksum),
    (Purpose::DryRun, Comparison::Difference),
    (Purpose::Verify, Comparison::Difference),
];

#[test]
fn equal_trees_have_no_findings() {
    let (source, standby) = twins();
    for (purpose, comparison) in ALL {
        let surveyed = survey(&source, &standby, purpose, comparison);
        assert_eq!((findings(&surveyed), surveyed.ranges.len()), (vec![], 0));
        let read = purpose == Purpose::Verify || comparison == Comparison::Checksum;
        let wanted_bytes = if read { 100 + 20_000 + GROUP + 1_000_000 + 5000 } else { 0 };
        let wanted_files = if read { 6 } else { 0 };
        assert_eq!(surveyed.summary, JoinSummary { standby_objects: 11, wanted_files, wanted_bytes, ..Default::default() });
    }
}

#[test]
fn ranges_are_exact() {
    let data = bytes(5 * GROUP + 1000, 3);
    let with = |at: u64| {
        let mut data = data.clone();
        data[at as usize] ^= 1;
        data
    };
    let len = data.len() as u64;
    assert_eq!(ranges(&data, &with(0)), [(0, LEAF)]);
    assert_eq!(ranges(&data, &with(LEAF)), [(LEAF, 2 * LEAF)]);
    assert_eq!(ranges(&data, &with(len - 1)), [(5 * GROUP, len)]);
    assert_eq!(ranges(&data, &data[..10_000]), [(10_000, len)]);
    assert_eq!(ranges(&data[..10_000], &data), [(10_000, len)]);
    assert_eq!(ranges(&data, &[]), [(0, len)]);
    assert_eq!(ranges(&[], &data), [(0, len)]);
    assert_eq!(ranges(&[], &[]), []);
    assert_eq!(ranges(b"a", b"b"), [(0, 1)]);
    assert_eq!(ranges(b"a", b"ab"), [(1, 2)]);
    assert_eq!(ranges(&data[..GROUP_LEN], &with(GROUP)[..GROUP_LEN + 1]), [(GROUP, GROUP + 1)]);
    // Neighbours in different groups are joined.
    let mut both = with(GROUP - 1);
    both[GROUP_LEN] ^= 1;
    assert_eq!(ranges(&data, &both), [(GROUP - LEAF, GROUP + LEAF)]);
    // A hole where the other side has data, and zeros that are data on one side and a hole on the other.
    let mut hole = data.clone();
    hole[GROUP_LEN..2 * GROUP_LEN].fill(0);
    assert_eq!(ranges(&hole, &data), [(GROUP, 2 * GROUP)]);
    assert_eq!(ranges(&hole, &hole), []);
}

#[test]
fn each_difference_is_found_and_nothing_else() {
    type Change = fn(&SimVolume);
    let cases: [(Change, &str, &str); 8] = [
        (|standby| standby.remove(&Place::Tree(&path("d/pipe"))).unwrap(), "d/pipe", "Missing"),
        (|standby| standby.remove(&Place::Tree(&path("empty"))).unwrap(), "empty", "Missing"),
        (|standby| write(standby, "new", b"x", 0), "new", "Orphan"),
        (
            |standby| {
                standby.remove(&Place::Tree(&path("d/symlink"))).unwrap();
                standby.make_symlink(&Place::Tree(&path("d/symlink")), b"y").unwrap();
            },
            "d/symlink",
            "OtherKind",
        ),
        (
            |standby| {
                standby.remove(&Place::Tree(&path("large"))).unwrap();
                standby.make_directory(&path("large")).unwrap();
                write(standby, "large/inner", b"x", 0);
            },
            "large",
            "OtherKind",
        ),
        (
            |standby| standby.set_attrs(&Place::Tree(&path("d/pipe")), &Attrs { mode: 1, ..Attrs::default() }).unwrap(),
            "d/pipe",
            "Attributes",
        ),
        (|standby| standby.remove(&Place::Tree(&path("d/second"))).unwrap(), "d/second", "Missing"),
        (
            |standby| {
                standby.remove(&Place::Tree(&path("d/second"))).unwrap();
                write(standby, "d/second", &bytes(5000, 1), 0);
            },
            "d/second",
            "OtherKind",
        ),
    ];
    for (change, at, difference) in cases {
        let (source, standby) = twins();
        change(&standby);
        same_directories(&standby);
        for (purpose, comparison) in ALL {
            let surveyed = survey(&source, &standby, purpose, comparison);
            assert_eq!(findings(&surveyed), [(at, difference)], "{purpose:?} {comparison:?}");
            assert!(surveyed.ranges.is_empty());
            assert_eq!(surveyed.summary.orphans, u64::from(difference == "Orphan"));
        }
    }
}

#[test]
fn a_name_that_shares_its_object_only_on_the_standby_is_found() {
    let (source, standby) = twins();
    standby.remove(&Place::Tree(&path("leaf"))).unwrap();
    standby.link(&Place::Tree(&path("group")), &Place::Tree(&path("leaf"))).unwrap();
    same_directories(&standby);
    let surveyed = survey(&source, &standby, Purpose::Verify, Comparison::Checksum);
    assert_eq!(findings(&surveyed), [("leaf", "OtherKind")]);
    assert_eq!(surveyed.ranges, BTreeMap::from([("leaf".to_owned(), vec![(0, GROUP)])]));
}

#[test]
fn a_dry_run_says_data_where_a_mirror_would_send_and_asks_for_nothing() {
    let (source, standby) = twins();
    for (name, at) in [("leaf", 5), ("large", 500_000)] {
        let file = standby.open(&Place::Tree(&path(name)), true).unwrap();
        file.write_at(&[1], at).unwrap();
    }
    // The same size and time: only reading tells.
    write(&standby, "small", &[1], 0);
    let surveyed = survey(&source, &standby, Purpose::DryRun, Comparison::Difference);
    assert_eq!(findings(&surveyed), [("large", "Data"), ("leaf", "Data")]);
    assert!(surveyed.ranges.is_empty());
    assert_eq!((surveyed.summary.wanted_files, surveyed.summary.wanted_bytes), (2, 1_000_100));
    for (purpose, comparison) in [(Purpose::Verify, Comparison::Difference), (Purpose::DryRun, Comparison::Checksum)] {
        let surveyed = survey(&source, &standby, purpose, comparison);
        assert_eq!(findings(&surveyed), [("large", "Attributes"), ("leaf", "Attributes")]);
        let expected = [("leaf", (0, 100)), ("large", (499_712, 503_808)), ("small", (0, LEAF))];
        assert_eq!(surveyed.ranges, expected.map(|(name, range)| (name.to_owned(), vec![range])).into());
    }
}

#[test]
fn a_file_that_changes_is_compared_again_and_the_last_time_counts() {
    for (times, expected) in [(1, vec![]), (100, vec![(0, LEAF)])] {
        let source = SimVolume::new(Disk::new(0));
        write(&source, "file", &bytes(300_000, 1), 0);
        let standby = source.snapshot(Disk::new(0));
        // What is written is there already when it is written once, and never there otherwise.
        let there = [if times == 1 { 7 } else { 8 }];
        write(&standby, "file", &there, 0);
        write(&source, "file", &[9], 0);
        let wire = Wire { disturb: Some((source.clone(), path("file"), times)), ..Wire::default() };
        let surveyed = survey_over(&source, &standby, Purpose::Verify, Comparison::Checksum, wire);
        assert_eq!(surveyed.ranges.get("file").cloned().unwrap_or_default(), expected);
    }
}

#[test]
fn a_position_names_its_root() {
    let (source, standby) = twins();
    standby.remove(&Place::Tree(&path("leaf"))).unwrap();
    let roots = [standby.clone(), standby];
    let shared = Survey::new(&roots, &RULES, &KINDS, How { comparison: Comparison::Difference, owners: true }, Purpose::DryRun);
    let mut join = SurveyJoin::new(&shared);
    let mut missing = Vec::new();
    for root in [RootIndex(0), RootIndex(1)] {
        let entries = Entries::new(&source, None, &RULES[0], now)
            .filter_map(|met| if let Met::Entry(entry) = met { Some(entry) } else { None });
        let tell = &mut |message| {
            if let FromStandby::Findings(findings) = message {
                missing.extend(findings.into_iter().filter(|found| found.difference == Difference::Missing));
            }
            Ok(())
        };
        join.entries(root, entries.collect(), tell).unwrap();
    }
    let expected = [RootIndex(0), RootIndex(1)].map(|root| Position { root, path: path("leaf") });
    assert_eq!(missing.into_iter().map(|found| found.at).collect::<Vec<_>>(), expected);
    assert!(join.entries(RootIndex(0), vec![], &mut |_| Ok(())).is_err());
}
