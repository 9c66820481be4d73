//! A plan: every change of the directory with its old and its new value, made from one snapshot before anything is written.
//!
//! A plan leaves no choice to whoever executes it. It may be shown, kept in a file, reviewed, and executed later: as every change names
//! the old values, a directory that has moved on refuses it.
//!
//! To execute one: for each [`Stage`] in order, first its changes (`plan.changes_of`), which do not depend on each other and may be in
//! flight together, then its renames (`plan.renames_of`), one after the other in the order of the plan. To undo: the stages
//! in reverse, in each the inverse renames in reverse order, then the inverse changes.

pub mod build;
pub mod check;
pub mod show;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::directory::ldif::Write;
use crate::directory::{AttributeName, Change, Dn, Modify, NamingContexts, Rdn, Rename, Value};

/// The version of the plan's form that this program writes, and the only one that it executes.
pub const PLAN_SCHEMA: u32 = 1;

/// Every change that one command means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_SCHEMA`] when it was made.
    pub schema: u32,
    /// What was asked.
    pub asked: Asked,
    /// The forest that it was made for. A plan is for this forest only.
    pub contexts: NamingContexts,
    /// Stores that take each other's place, and those that none does.
    pub pairs: Vec<StorePair>,
    /// Stores of the source that were left alone, and why.
    pub unpaired: Vec<Unpaired>,
    /// Every change; within a stage in no order.
    pub changes: Vec<PlannedChange>,
    /// Every rename, in the order in which they must happen.
    pub renames: Vec<PlannedRename>,
    /// What else in the forest names the source and stays as it is.
    pub references: Vec<Reference>,
    /// Domains whose users are not in the plan, as they could not be read: what is left for a later run.
    pub missing: Vec<MissingDomain>,
    /// What whoever reviews the plan should know.
    pub warnings: Vec<String>,
}

/// A domain of the forest that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingDomain {
    /// Its naming context.
    pub context: Dn,
    /// Why it could not be read.
    pub why: String,
}

/// What was asked when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which command.
    pub action: Action,
    /// The server that gives, by its name in the directory. In a failback this is the stand-in, `-t` of the command.
    pub from: String,
    /// The server that takes over.
    pub to: String,
    /// Rules of pairing as they were written after `-r`.
    pub rules: Vec<String>,
    /// Options that shaped the plan, as they would be written.
    pub options: Vec<String>,
}

/// Which command made a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The source is lost, the target takes over.
    Failover,
    /// The original source takes back.
    Failback,
    /// Names of a target made equal to a source's.
    Rename,
}

/// Two stores that take each other's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorePair {
    /// The store whose users move.
    pub from: Dn,
    /// The store that they move to.
    pub to: Dn,
    /// The database file's name without its path, the same on both sides.
    pub file: String,
    /// How many mailboxes move.
    pub mailboxes: u64,
}

/// A store of the source that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpaired {
    /// The store.
    pub store: Dn,
    /// Why.
    pub why: String,
    /// How many mailboxes stay with it.
    pub mailboxes: u64,
}

/// One compare-and-swap modify: all that changes of one object in one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// The object, as it was named when it was read.
    pub object: Dn,
    /// Its objectGUID, where it could be read. It names the object whatever happens to its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<Value>,
    /// The naming context that it is in, thus which controller writes it.
    pub context: Dn,
    /// What kind of object and change it is.
    pub kind: Kind,
    /// The attributes that change, each once, all in one operation.
    pub edits: Vec<Edit>,
    /// Why, for whoever reads it.
    pub reason: Arc<str>,
}

/// The change of one attribute. Values that neither list names are not touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The attribute.
    pub attribute: AttributeName,
    /// Values that are there and go; empty where the attribute had none.
    pub old: Vec<Value>,
    /// Values that come.
    pub new: Vec<Value>,
}

/// A planned rename of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRename {
    /// The object, by the name that it has when its turn comes: what is beneath an object is renamed before it.
    pub object: Dn,
    /// Its objectGUID, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<Value>,
    /// The naming context that it is in.
    pub context: Dn,
    /// Its new first component.
    pub name: Rdn,
    /// What kind of change it is.
    pub kind: Kind,
    /// Why.
    pub reason: Arc<str>,
}

/// What kind of object a change is about, by the row of the table of changes that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// "This database can be overwritten by a restore" of a store that takes over (msExchPatchMDB).
    Overwrite,
    /// A mailbox: homeMDB, homeMTA, msExchHomeServerName.
    Mailbox,
    /// A database of 2010 or later that gets another owner.
    Database,
    /// A copy of such a database (msExchMDBCopy), which is named after its server.
    DatabaseCopy,
    /// A routing group's master.
    RoutingMaster,
    /// A server's routing group.
    RoutingGroup,
    /// A connector's bridgeheads and home MTA.
    Connector,
    /// A Recipient Update Service's server.
    UpdateService,
    /// An offline address book's server and folder.
    AddressBook,
    /// An administrative group's folder server.
    SiteFolders,
    /// A private store's default public store.
    PublicStore,
    /// A public store's folder tree.
    FolderTree,
    /// A group's expansion server.
    ExpansionServer,
    /// Service principal names taken off a computer account.
    ServiceNamesOff,
    /// Service principal names given to a computer account: only when no other has them any more.
    ServiceNamesOn,
    /// A name that is made equal to its counterpart's.
    Name,
}

/// The two parts of a failover: what must be before the stores of the target are started, and the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// What `-setup` alone does: the overwrite flags.
    Setup,
    /// All else.
    Move,
}

/// What must be finished before the next begins; in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Overwrite flags.
    Setup,
    /// Databases, servers, connectors and what else is in the configuration.
    Configuration,
    /// Mailboxes and groups.
    Recipients,
    /// Service principal names off.
    ServiceNamesOff,
    /// Service principal names on: refused while another account holds them (MS-ADTS 3.1.1.5.1.3).
    ServiceNamesOn,
    /// Names.
    Names,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 6] =
        [Self::Setup, Self::Configuration, Self::Recipients, Self::ServiceNamesOff, Self::ServiceNamesOn, Self::Names];
}

impl Kind {
    /// The phase that a change of this kind belongs to.
    pub fn phase(self) -> Phase {
        if self == Self::Overwrite { Phase::Setup } else { Phase::Move }
    }

    /// The stage that a change of this kind belongs to.
    pub fn stage(self) -> Stage {
        match self {
            Self::Overwrite => Stage::Setup,
            Self::Mailbox | Self::ExpansionServer => Stage::Recipients,
            Self::ServiceNamesOff => Stage::ServiceNamesOff,
            Self::ServiceNamesOn => Stage::ServiceNamesOn,
            Self::Name => Stage::Names,
            _ => Stage::Configuration,
        }
    }
}

/// A value somewhere in the forest that names the source and that no change of the plan replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The object that holds it.
    pub object: Dn,
    /// The attribute.
    pub attribute: AttributeName,
    /// The value.
    pub value: Value,
    /// What was decided about it.
    pub decision: Decision,
}

/// Why a reference to the source stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is right as it is, for this reason.
    Left(Arc<str>),
    /// Nobody knows whether it should stay: to be looked at by hand.
    Unknown,
}

impl PlannedChange {
    /// The write that does it.
    pub fn modify(&self) -> Modify {
        let change = |edit: &Edit| Change { attribute: edit.attribute.clone(), delete: edit.old.clone(), add: edit.new.clone() };
        Modify { dn: self.object.clone(), changes: self.edits.iter().map(change).collect() }
    }
}

impl PlannedRename {
    /// The write that does it.
    pub fn rename(&self) -> Rename {
        Rename { dn: self.object.clone(), name: self.name.clone() }
    }
}

impl Plan {
    /// One that changes nothing yet.
    pub fn new(asked: Asked, contexts: NamingContexts) -> Self {
        Self {
            schema: PLAN_SCHEMA,
            asked,
            contexts,
            pairs: Vec::new(),
            unpaired: Vec::new(),
            changes: Vec::new(),
            renames: Vec::new(),
            references: Vec::new(),
            missing: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The changes of a stage; they may be in flight together.
    pub fn changes_of(&self, stage: Stage) -> impl Iterator<Item = &PlannedChange> {
        self.changes.iter().filter(move |change| change.kind.stage() == stage)
    }

    /// The renames of a stage, to be done one after the other after the stage's changes.
    pub fn renames_of(&self, stage: Stage) -> impl Iterator<Item = &PlannedRename> {
        self.renames.iter().filter(move |rename| rename.kind.stage() == stage)
    }

    /// Every write, one after the other, as [`Stage`]s ask for it.
    pub fn writes(&self) -> impl DoubleEndedIterator<Item = Write> {
        Stage::ALL.into_iter().flat_map(|stage| {
            let changes = self.changes.iter().filter(move |change| change.kind.stage() == stage);
            let renames = self.renames.iter().filter(move |rename| rename.kind.stage() == stage);
            let changes = changes.map(|change| Write::Modify(change.modify()));
            changes.chain(renames.map(|rename| Write::Rename(rename.rename())))
        })
    }

    /// Every write that takes the plan back after all of it was done.
    pub fn undoing(&self) -> impl Iterator<Item = Write> {
        self.writes().rev().map(|write| write.inverse())
    }

    /// The writes of service principal names alone, deletions before additions: what `spn.ldf` holds.
    pub fn service_name_writes(&self) -> impl Iterator<Item = Write> {
        let off = self.changes_of(Stage::ServiceNamesOff).chain(self.changes_of(Stage::ServiceNamesOn));
        off.map(|change| Write::Modify(change.modify()))
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.renames.is_empty()
    }
}
