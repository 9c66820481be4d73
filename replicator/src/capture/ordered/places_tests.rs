//! Places through renames, links and what is forgotten.

use standin_common::entry::Time;

use super::super::{Kind, Made};
use super::*;

const ROOT: ObjectId = id(1);

const fn id(inode: u64) -> ObjectId {
    ObjectId { inode, handle: 0 }
}

fn at(parent: u64, name: &str) -> Place<'_> {
    Place { parent: id(parent), name: name.as_bytes() }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn make<'a>(inode: u64, place: Option<Place<'a>>, kind: Kind<'a>) -> Operation<'a> {
    let made = Made { mode: 0o600, uid: 0, gid: 0, modified: Time::default() };
    Operation::Make { object: id(inode), at: place, kind, made, directory: Time::default() }
}

fn rename<'a>(inode: u64, from: Place<'a>, to: Place<'a>, replaced: Option<u64>) -> Operation<'a> {
    let (left, entered) = (Time::default(), Time::default());
    Operation::Rename { object: id(inode), from, to, replaced: replaced.map(id), left, entered }
}

fn data(places: &Places, inode: u64) -> Vec<Spot> {
    places.of(&Touch::Data { object: id(inode), start: 0, end: 1 })
}

fn begun() -> Places {
    let mut places = Places::default();
    places.hear(&Operation::Root { object: ROOT });
    places.hear(&Operation::Known { object: id(2), at: at(1, "d") });
    places.hear(&Operation::Known { object: id(3), at: at(2, "f") });
    places
}

#[test]
fn what_moves_is_found_where_it_is() {
    let mut places = begun();
    assert_eq!(data(&places, 3), [Spot::Object(path("d/f"))]);
    let moved = places.hear(&rename(2, at(1, "d"), at(1, "e"), None));
    assert!(moved.contains(&Spot::Subtree(path("d"))) && moved.contains(&Spot::Subtree(path("e"))), "{moved:?}");
    assert!(moved.contains(&Spot::Directory(RelPath::root())), "{moved:?}");
    assert_eq!(data(&places, 3), [Spot::Object(path("e/f"))]);
    places.hear(&Operation::Link { object: id(3), at: at(1, "g"), directory: Time::default() });
    assert_eq!(data(&places, 3), [Spot::Object(path("e/f")), Spot::Object(path("g"))]);
    places.hear(&Operation::Remove { object: id(3), at: at(2, "f"), directory: Time::default() });
    assert_eq!(data(&places, 3), [Spot::Object(path("g"))]);
    places.hear(&make(4, Some(at(2, "new")), Kind::File));
    places.nameless(id(3));
    places.hear(&rename(4, at(2, "new"), at(1, "g"), Some(3)));
    assert_eq!((data(&places, 3), data(&places, 4)), (vec![], vec![Spot::Object(path("g"))]));
    places.hear(&Operation::Exchange {
        object: id(4),
        other: id(2),
        from: at(1, "g"),
        to: at(1, "e"),
        left: Time::default(),
        entered: Time::default(),
    });
    assert_eq!(data(&places, 4), [Spot::Object(path("e"))]);
    places.hear(&make(5, Some(at(2, "in")), Kind::File));
    assert_eq!(data(&places, 5), [Spot::Object(path("g/in"))]);
}

#[test]
fn what_is_forgotten_goes_but_not_the_way_to_what_is_not() {
    let mut places = begun();
    places.hear(&Operation::Forgotten { object: id(2) });
    assert_eq!(data(&places, 3), [Spot::Object(path("d/f"))]);
    places.hear(&Operation::Forgotten { object: id(3) });
    assert_eq!(places.len(), 1, "only the root is left");
    // An object of which nothing is known may be anywhere.
    assert_eq!(data(&places, 3), [Spot::Subtree(RelPath::root())]);
}

#[test]
fn what_has_no_name_is_nowhere() {
    let mut places = begun();
    places.hear(&make(9, None, Kind::File));
    assert_eq!(data(&places, 9), []);
    places.hear(&Operation::Link { object: id(9), at: at(2, "named"), directory: Time::default() });
    assert_eq!(data(&places, 9), [Spot::Object(path("d/named"))]);
}

#[test]
fn what_lost_the_names_that_were_told_and_has_another_may_be_anywhere() {
    let anywhere = [Spot::Subtree(RelPath::root())];
    let remove = |inode, place| Operation::Remove { object: id(inode), at: place, directory: Time::default() };
    let mut places = begun();
    assert_eq!(places.untold(id(3), 7), Untold::At(vec![(id(2), (id(1), (*b"d").into())), (id(3), (id(2), (*b"f").into()))]));
    assert!(!places.is_noted(id(3), 5) && places.is_noted(id(3), 5));
    places.is_hot_now(id(3), false, 5);
    places.hear(&remove(3, at(2, "f")));
    assert_eq!(data(&places, 3), anywhere);
    assert!(!places.is_noted(id(3), 5) && !places.is_hot(id(3), false, 5), "what was noted of it was elsewhere");
    // The stream that it was told to knows it by its id, another one does not.
    assert_eq!((places.untold(id(3), 7), places.untold(id(3), 8)), (Untold::At(vec![]), Untold::Astray));
    // By its other name it is found.
    places.hear(&Operation::Known { object: id(3), at: at(1, "other") });
    assert_eq!(data(&places, 3), [Spot::Object(path("other"))]);
    assert!(!places.is_noted(id(3), 5), "not with this name");
    assert_eq!(places.untold(id(3), 8), Untold::At(vec![(id(3), (id(1), (*b"other").into()))]));
    // So is what is replaced.
    places.hear(&make(4, Some(at(2, "new")), Kind::File));
    places.hear(&rename(4, at(2, "new"), at(1, "other"), Some(3)));
    assert_eq!((data(&places, 3), places.untold(id(3), 9)), (anywhere.to_vec(), Untold::Astray));
    // But not what lost its last name, or was never told of.
    places.nameless(id(4));
    places.hear(&remove(4, at(1, "other")));
    assert_eq!((data(&places, 4), places.untold(id(4), 9)), (vec![], Untold::Nameless));
    assert_eq!(places.untold(id(77), 9), Untold::Astray);
}

#[test]
fn a_path_that_is_too_long_is_looked_at_from_above() {
    let mut places = begun();
    let name = "x".repeat(255);
    let mut parent = 2;
    for inode in 100..400 {
        places.hear(&Operation::Known { object: id(inode), at: at(parent, &name) });
        parent = inode;
    }
    let spots = data(&places, 399);
    assert!(matches!(&spots[..], [Spot::Subtree(path)] if path.depth() > 10 && path.depth() < 300), "{spots:?}");
}
