//! A directory in memory that fails on order: what cannot be had from a real one whenever a test wants it.
//!
//! Two controllers hold one naming context, and replicate only when told. Time passes only when somebody sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Clock, Controllers};
use crate::directory::filter::same_value;
use crate::directory::{
    AttributeName, Directory, DirectoryError, Dn, Domain, Entry, Modify, NamingContexts, Rename, Scope, Search, Value,
};

/// What happens at a write, by its number from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server says that it is busy.
    Busy,
    /// The connection breaks before the write arrives.
    LostBefore,
    /// The write is done, and the answer is lost.
    LostAfter,
    /// The process dies before it sends: every call from then on panics with [`Killed`].
    KillBefore,
    /// The process dies after the write was done.
    KillAfter,
    /// Somebody else changes something first.
    Meanwhile(Modify),
    /// The account has no right.
    Rights,
    /// The writer is gone from here on, before the write arrives.
    WriterDies,
}

/// The panic of a simulated death.
#[derive(Debug)]
pub struct Killed;

/// The directory.
pub struct SimDirectory {
    context: Dn,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What each controller holds, by the key of the name.
    trees: [BTreeMap<String, Entry>; 2],
    writer: usize,
    down: [bool; 2],
    single: BTreeSet<AttributeName>,
    faults: BTreeMap<usize, Fault>,
    writes: usize,
    dead: bool,
    clock: Duration,
}

const NAMES: [&str; 2] = ["sim1", "sim2"];

impl SimDirectory {
    /// Both controllers hold these objects. `single` are the attributes that take one value.
    pub fn new(context: Dn, objects: Vec<Entry>, single: &[&str]) -> Self {
        let tree: BTreeMap<String, Entry> = objects.into_iter().map(|entry| (entry.dn.key().to_owned(), entry)).collect();
        let single = single.iter().map(|name| AttributeName::new(name)).collect();
        let inner = Inner { trees: [tree.clone(), tree], single, ..Inner::default() };
        Self { context, inner: Mutex::new(inner) }
    }

    /// What is to happen at the writes of these numbers, counted from now.
    pub fn plan_faults(&self, faults: impl IntoIterator<Item = (usize, Fault)>) {
        let mut inner = self.lock();
        inner.faults = faults.into_iter().collect();
        inner.writes = 0;
    }

    /// A new process after a death, and controllers that are back.
    pub fn revive(&self) {
        let mut inner = self.lock();
        inner.dead = false;
        inner.down = [false; 2];
        inner.faults.clear();
    }

    /// Whether a controller is gone.
    pub fn set_down(&self, controller: usize, down: bool) {
        self.lock().down[controller] = down;
    }

    /// The other controller gets what the writer has.
    pub fn replicate(&self) {
        let mut inner = self.lock();
        let tree = inner.trees[inner.writer].clone();
        inner.trees = [tree.clone(), tree];
    }

    /// All objects at a controller.
    pub fn dump(&self, controller: usize) -> BTreeMap<String, Entry> {
        self.lock().trees[controller].clone()
    }

    /// Writes that were tried since the faults were planned.
    pub fn writes(&self) -> usize {
        self.lock().writes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`SimDirectory::lock`], for calls of a process: one that is dead makes none.
    fn alive(&self) -> MutexGuard<'_, Inner> {
        let inner = self.lock();
        if inner.dead {
            drop(inner);
            std::panic::panic_any(Killed);
        }
        inner
    }

    fn write(
        &self,
        effect: impl Fn(&mut BTreeMap<String, Entry>, &BTreeSet<AttributeName>) -> Result<(), DirectoryError>,
    ) -> Result<(), DirectoryError> {
        let mut guard = self.alive();
        let inner = &mut *guard;
        let fault = inner.faults.remove(&inner.writes);
        inner.writes += 1;
        let server = || NAMES[inner.writer].to_owned();
        match &fault {
            Some(Fault::Busy) => return Err(DirectoryError::Busy { server: server(), why: "busy".into() }),
            Some(Fault::Rights) => return Err(DirectoryError::Rights { object: self.context.clone(), why: "no right".into() }),
            Some(Fault::WriterDies) => inner.down[inner.writer] = true,
            Some(Fault::Meanwhile(modify)) => change(&mut inner.trees[inner.writer], &inner.single, modify)?,
            Some(Fault::KillBefore) => inner.dead = true,
            _ => {}
        }
        if inner.down[inner.writer] || fault == Some(Fault::LostBefore) {
            return Err(DirectoryError::Unreachable { server: server(), why: "gone".into() });
        }
        if !inner.dead {
            effect(&mut inner.trees[inner.writer], &inner.single)?;
        }
        match fault {
            Some(Fault::LostAfter) => Err(DirectoryError::Unreachable { server: NAMES[inner.writer].into(), why: "gone".into() }),
            Some(Fault::KillBefore | Fault::KillAfter) => {
                inner.dead = true;
                drop(guard);
                std::panic::panic_any(Killed)
            }
            _ => Ok(()),
        }
    }
}

fn change(tree: &mut BTreeMap<String, Entry>, single: &BTreeSet<AttributeName>, modify: &Modify) -> Result<(), DirectoryError> {
    let object = &modify.dn;
    let missing = || DirectoryError::NoSuchObject { object: object.clone() };
    let changed = |why: &str| DirectoryError::Changed { object: object.clone(), why: why.to_owned() };
    let mut entry = tree.get(object.key()).cloned().ok_or_else(missing)?;
    for change in &modify.changes {
        let name = &change.attribute;
        let values = entry.attributes.entry(name.clone()).or_default();
        let place = |values: &[Value], wanted: &Value| {
            values.iter().position(|value| same_value(name, value.as_bytes(), wanted.as_bytes()))
        };
        for old in &change.delete {
            let at = place(values, old).ok_or_else(|| changed("no such value"))?;
            values.remove(at);
        }
        for new in &change.add {
            if place(values, new).is_some() || (single.contains(name) && !values.is_empty()) {
                return Err(changed("there is a value"));
            }
            values.push(new.clone());
        }
        if values.is_empty() {
            entry.attributes.remove(name);
        }
    }
    tree.insert(object.key().to_owned(), entry);
    Ok(())
}

fn rename(tree: &mut BTreeMap<String, Entry>, rename: &Rename) -> Result<(), DirectoryError> {
    let renamed = rename.renamed();
    if tree.contains_key(renamed.key()) {
        return Err(DirectoryError::Refused { object: renamed, why: "the name is taken".into() });
    }
    let missing = || DirectoryError::NoSuchObject { object: rename.dn.clone() };
    tree.get(rename.dn.key()).ok_or_else(missing)?;
    let old = std::mem::take(tree);
    for (_, mut entry) in old {
        entry.dn = entry.dn.moved(&rename.dn, &renamed).unwrap_or(entry.dn);
        tree.insert(entry.dn.key().to_owned(), entry);
    }
    Ok(())
}

impl Directory for SimDirectory {
    fn contexts(&self) -> Result<NamingContexts, DirectoryError> {
        let domain = Domain { context: self.context.clone(), dns_name: "sim.test".into(), netbios_name: None, controller: None };
        let configuration = self.context.child_cn("Configuration");
        let schema = configuration.child_cn("Schema");
        Ok(NamingContexts { default: self.context.clone(), configuration, schema, domains: vec![domain] })
    }

    fn search(&self, search: &Search, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> Result<(), DirectoryError> {
        let writer = NAMES[self.alive().writer];
        self.search_at(writer, search, each)
    }

    fn modify(&self, modify: &Modify) -> Result<(), DirectoryError> {
        self.write(|tree, single| change(tree, single, modify))
    }

    fn rename(&self, to: &Rename) -> Result<(), DirectoryError> {
        self.write(|tree, _| rename(tree, to))
    }
}

impl Controllers for SimDirectory {
    fn writer(&self, _: &Dn) -> Result<String, DirectoryError> {
        Ok(NAMES[self.alive().writer].to_owned())
    }

    fn use_writer(&self, _: &Dn, controller: &str) -> Result<(), DirectoryError> {
        let mut inner = self.alive();
        match NAMES.iter().position(|name| *name == controller).filter(|number| !inner.down[*number]) {
            Some(number) => inner.writer = number,
            None => return Err(DirectoryError::Unreachable { server: controller.into(), why: "gone".into() }),
        }
        Ok(())
    }

    fn holders(&self, _: &Dn) -> Vec<String> {
        NAMES.map(str::to_owned).to_vec()
    }

    fn search_at(
        &self,
        controller: &str,
        search: &Search,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), DirectoryError> {
        let inner = self.alive();
        let number = NAMES.iter().position(|name| *name == controller).unwrap_or(0);
        if inner.down[number] {
            return Err(DirectoryError::Unreachable { server: controller.into(), why: "gone".into() });
        }
        let tree = &inner.trees[number];
        if search.base != self.context && !tree.contains_key(search.base.key()) {
            return Err(DirectoryError::NoSuchObject { object: search.base.clone() });
        }
        let lies = |entry: &&Entry| match search.scope {
            Scope::Base => entry.dn == search.base,
            Scope::Children => entry.dn.parent().as_ref() == Some(&search.base),
            Scope::Subtree => entry.dn.is_within(&search.base),
        };
        let found: Vec<Entry> = tree.values().filter(lies).filter(|entry| search.filter.matches(*entry)).cloned().collect();
        drop(inner);
        for entry in found {
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Clock for SimDirectory {
    fn now(&self) -> Duration {
        self.lock().clock
    }

    fn sleep(&self, pause: Duration) {
        self.lock().clock += pause;
    }

    fn unix_ms(&self) -> u64 {
        1_000_000 + u64::try_from(self.lock().clock.as_millis()).unwrap_or(0)
    }
}
