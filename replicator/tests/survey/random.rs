//! Files and trees from a seed, against a comparison by hand.

use super::*;

/// The same, by comparing leaf by leaf.
fn naive(ours: &[u8], theirs: &[u8]) -> Vec<(u64, u64)> {
    let common = ours.len().min(theirs.len());
    let leaves = ours[..common].chunks(LEAF as usize).zip(theirs[..common].chunks(LEAF as usize)).enumerate();
    let differing = leaves.filter(|(_, (ours, theirs))| ours != theirs);
    let mut all: Vec<_> =
        differing.map(|(leaf, (data, _))| (leaf as u64 * LEAF, leaf as u64 * LEAF + data.len() as u64)).collect();
    if ours.len() != theirs.len() {
        all.push((common as u64, ours.len().max(theirs.len()) as u64));
    }
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in all {
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

#[test]
fn ranges_of_random_files_are_the_naive_ones() {
    for seed in seeds(150) {
        let mut random = Random::new(seed);
        let lens = [0, 1, 100, 4095, 4096, 4097, 10_000, 65_535, 65_536, 65_537, 200_000, 600_000];
        let ours = random.bytes(lens[random.clone().below(lens.len() as u64) as usize]);
        let mut theirs = ours.clone();
        if random.one_in(2) {
            let len = lens[random.below(lens.len() as u64) as usize];
            theirs.resize(len, random.below(2) as u8);
        }
        for _ in 0..random.below(6) {
            if !theirs.is_empty() {
                let at = random.below(theirs.len() as u64) as usize;
                theirs[at] = theirs[at].wrapping_add(1);
            }
        }
        assert_eq!(ranges(&ours, &theirs), naive(&ours, &theirs), "STANDIN_SEED={seed}");
    }
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    number("STANDIN_SEED").map_or(0..count, |seed| seed..seed + 1)
}

fn change(volume: &SimVolume, random: &mut Random) -> std::io::Result<()> {
    let directory = if random.one_in(2) { RelPath::root() } else { path("d") };
    let path = directory.join(format!("{}", random.below(6)).as_bytes()).unwrap();
    let place = Place::Tree(&path);
    match random.below(12) {
        0 => volume.make_directory(&RelPath::new("d").unwrap()),
        1 => volume.make_directory(&path),
        2 => volume.make_symlink(&place, &random.bytes(1)),
        3 => volume.make_fifo(&place),
        4 => volume.remove(&place),
        5 => volume.remove_directory(&path),
        6 | 7 => {
            let _ = volume.remove(&Place::Tree(&RelPath::new("link").unwrap()));
            volume.link(&place, &Place::Tree(&RelPath::new("link").unwrap()))
        }
        8 => volume.set_attrs(&place, &Attrs { mode: random.below(3) as u32, ..Attrs::default() }),
        9 => volume.open(&place, true)?.set_len(random.below(200_000)),
        _ => {
            let file = volume.open(&place, true).or_else(|_| volume.create(&place))?;
            let len = [10, 5_000, 70_000][random.below(3) as usize];
            file.write_at(&random.bytes(len), random.below(150_000))
        }
    }
}

/// What a verification has to find, by looking at both trees as a whole.
fn naive_survey(source: &SimVolume, standby: &SimVolume) -> Surveyed {
    let tree = |volume: &SimVolume| {
        let all = everything(volume).into_iter();
        all.map(|(path, kind, attrs, data, stamp)| (path, (kind, attrs, data, stamp.inode))).collect::<BTreeMap<_, _>>()
    };
    let (ours, theirs) = (tree(source), tree(standby));
    let is_directory = |kind: &ObjectKind| *kind == ObjectKind::Directory;
    let mut surveyed = Surveyed::default();
    let mut find = |path: &RelPath, difference: Difference| {
        surveyed.findings.insert((path.to_string(), format!("{difference:?}")));
    };
    for path in theirs.keys() {
        let in_the_way =
            |(above, there): (&RelPath, &(ObjectKind, Attrs, Vec<u8>, u64))| path.starts_with(above) && !is_directory(&there.0);
        if !ours.contains_key(path) && !ours.iter().any(in_the_way) {
            find(path, Difference::Orphan);
        }
    }
    let mut claimed = BTreeSet::new();
    let mut firsts: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    for (path, (kind, attrs, data, inode)) in &ours {
        let here = theirs.get(path);
        let file_here = here.filter(|here| !is_directory(&here.0));
        if let Some(first) = firsts.get(inode) {
            match here {
                None => find(path, Difference::Missing),
                Some(_) if file_here.is_some_and(|here| Some(here.3) == *first) => {}
                Some(_) => find(path, Difference::OtherKind),
            }
            continue;
        }
        let elsewhere = file_here.is_some_and(|here| !claimed.insert(here.3));
        if !is_directory(kind) {
            firsts.insert(*inode, file_here.filter(|_| !elsewhere).map(|here| here.3));
        }
        let Some((kind_here, attrs_here, data_here, _)) = here else {
            find(path, Difference::Missing);
            continue;
        };
        if kind != kind_here || elsewhere {
            find(path, Difference::OtherKind);
        }
        if kind != kind_here {
            continue;
        }
        if attrs != attrs_here {
            find(path, Difference::Attributes);
        }
        if data != data_here {
            surveyed.ranges.insert(path.to_string(), naive(data, data_here));
        }
    }
    surveyed
}

#[test]
fn random_trees_are_compared_as_by_hand() {
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let source = SimVolume::new(Disk::new(0));
        let some = |volume: &SimVolume, times: u64, random: &mut Random| {
            // Whatever does not fit what is there fails, as it would for any application.
            (0..times).for_each(|_| drop(change(volume, random)));
        };
        some(&source, 25, &mut random);
        let standby = source.snapshot(Disk::new(0));
        let (here, there) = (random.below(5), random.below(5));
        some(&source, here, &mut random);
        some(&standby, there, &mut random);
        let expected = naive_survey(&source, &standby);
        let found = survey(&source, &standby, Purpose::Verify, Comparison::Checksum);
        assert_eq!((&found.findings, &found.ranges), (&expected.findings, &expected.ranges), "STANDIN_SEED={seed}");
        let orphans = found.findings.iter().filter(|(_, difference)| difference == "Orphan").count() as u64;
        assert_eq!(found.summary.orphans, orphans, "STANDIN_SEED={seed}");
        assert_eq!(found.summary.standby_objects, standby.contents().len() as u64, "STANDIN_SEED={seed}");
    }
}
