//! How a round under capture `ordered` takes what changed: with the layers of all roots held, and a picture of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use standin_common::id::RootIndex;
use standin_replicator::capture::ordered::{Album, Keeps, Ledger};
use standin_replicator::capture::watch::Watch;
use standin_replicator::capture::{LinkedNames, Taken};
use standin_replicator::os::OsVolume;
use standin_replicator::rules::Rules;
use standin_replicator::scopes::Scopes;
use standin_replicator::source::holding::{self, Facts, Hold};

use super::layers::Layers;
use super::streaming::Begun;

/// How often the record of what may differ is tidied.
const TIDY: Duration = Duration::from_secs(30);
/// Memory for what changes while a picture is read.
const ROOM_BYTES: u64 = 256 << 20;

/// What the thread of a source knows of its holds.
pub(super) struct Holding {
    /// When the last consistent point was made.
    consistent: Instant,
    /// Holds that were too long since then, in a row.
    failed: u32,
    /// When the record was tidied last, and the turn that began then.
    tidied: Option<(Instant, u64)>,
}

/// A picture of what changed, as long as a round reads it.
pub(super) struct Shown<'a> {
    ledger: &'a Ledger,
    pub(super) album: Arc<Album<OsVolume>>,
    pub(super) scopes: BTreeMap<RootIndex, Scopes>,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.ledger.put_away();
    }
}

/// What a round takes: the places, the count of notices then, and a picture with the stream that began at its moment.
pub(super) type Took<'a> = (Taken, u64, Option<(Shown<'a>, Option<Begun>)>);

/// What is looked at, and by which rules.
pub(super) struct Ground<'a> {
    pub(super) volumes: &'a [OsVolume],
    pub(super) rules: &'a [Rules],
    pub(super) watch: &'a Watch,
}

impl Default for Holding {
    fn default() -> Self {
        Self { consistent: Instant::now(), failed: 0, tidied: None }
    }
}

impl Holding {
    /// Takes what changed, with a picture of it if there is one in time; at that moment `begin` may begin a stream. An error if notices were lost.
    pub(super) fn take<'a>(
        &mut self,
        layers: &'a Layers,
        names: &mut LinkedNames,
        ground: &Ground<'_>,
        begin: &dyn Fn() -> Option<Begun>,
    ) -> std::io::Result<Took<'a>> {
        ground.watch.catch_up()?;
        let facts = Facts { waiting: ground.watch.waiting(), without: self.consistent.elapsed(), failed: self.failed };
        let Some(hold) = holding::next(&facts) else {
            let (taken, seen) = ground.watch.take_all()?;
            return Ok((taken, seen, None));
        };
        let ledger = layers.ledger();
        let held = ledger.hold(hold.limit);
        let (taken, seen) = ground.watch.take_all()?;
        let Some(held) = held else {
            self.failed += 1;
            layers.held(None);
            return Ok((taken, seen, None));
        };
        let shown = show(ledger, names, ground, &taken, hold);
        let begun = shown.as_ref().and_then(|_| begin());
        let lasted = held.end();
        layers.held(lasted);
        if lasted.is_none() || shown.is_none() {
            if begun.is_some() {
                ledger.end_stream("the layers could not be held for as long as it took");
            }
            self.failed += 1;
            return Ok((taken, seen, None));
        }
        Ok((taken, seen, shown.map(|shown| (shown, begun))))
    }

    /// The record was begun to be tidied by whoever else held the layers.
    pub(super) fn is_tidied(&mut self, turn: u64) {
        (self.consistent, self.failed, self.tidied) = (Instant::now(), 0, Some((Instant::now(), turn)));
    }

    /// Whether that is due.
    pub(super) fn tidies(&self) -> bool {
        self.tidied.is_none_or(|(at, _)| at.elapsed() >= TIDY)
    }

    /// A consistent point was made; `of_a_picture` if nothing changed while its places were taken.
    pub(super) fn consistent(&mut self, layers: &Layers, volumes: Vec<OsVolume>, of_a_picture: bool) {
        (self.consistent, self.failed) = (Instant::now(), 0);
        if of_a_picture && self.tidies() && !layers.ledger().tidies() {
            let since = self.tidied.map(|(_, turn)| turn);
            self.tidied = Some((Instant::now(), layers.ledger().activity().begin_turn()));
            tidy(layers.ledger().clone(), since, volumes);
        }
    }

    /// A point was made that is not consistent although there was a picture.
    pub(super) fn spoilt(&mut self) {
        self.failed += 1;
    }
}

fn show<'a>(ledger: &'a Ledger, names: &mut LinkedNames, ground: &Ground<'_>, taken: &Taken, hold: Hold) -> Option<Shown<'a>> {
    if taken.whole.is_some() {
        return None;
    }
    let scopes = names.expand(ground.volumes, ground.rules, taken.scopes.clone()).and_then(Scopes::by_root).ok()?;
    match Album::take(ground.volumes, ground.rules, &scopes, (hold.most, ROOM_BYTES, hold.limit)) {
        Ok(album) => {
            let album = Arc::new(album);
            ledger.show(album.clone() as Arc<dyn Keeps>);
            Some(Shown { ledger, album, scopes })
        }
        Err(error) => {
            tracing::debug!(%error, "no picture");
            None
        }
    }
}

/// Takes out of the record what has not changed since the turn before, once it is durable here, too: a source that loses its power may
/// lose what the standby has.
pub(super) fn tidy(ledger: Arc<Ledger>, since: Option<u64>, volumes: Vec<OsVolume>) {
    use standin_replicator::volume::Volume;
    let Some(since) = since else { return ledger.tidied() };
    let run = move || {
        let rested = volumes.iter().try_for_each(Volume::sync).and_then(|()| Ok(ledger.activity().rest(since)?));
        match rested {
            Ok(places) => tracing::debug!(places, "at rest"),
            Err(error) => tracing::warn!(%error, "the record of what may differ cannot be tidied"),
        }
        ledger.tidied();
    };
    if let Err(error) = std::thread::Builder::new().name("tidy".to_owned()).spawn(run) {
        tracing::warn!(%error, "the record of what may differ is not tidied from now on");
    }
}
