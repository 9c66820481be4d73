//! A witness in Active Directory: a serviceConnectionPoint for each group, at one named domain controller.
//!
//! The object is `CN=standin-GROUP` in the object that the settings name. Its `serviceBindingInformation` (MS-ADA3 2.237) has one value,
//! the text of a [`Word`]. A swap is one modify that deletes the old value and adds the new one: a controller does that whole or not at
//! all, and refuses it where the old value is gone. The first word comes with the object, which only one can make; where somebody made the
//! object beforehand, it comes with `serviceClassName`, which takes one value only.
//!
//! Controllers replicate later, and two of them would let two parties win. So all nodes name the same controller, and no other is asked,
//! however long that one is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standin_common::id::GroupName;

use super::build::Door;
use super::{Witness, WitnessError, Word};
use crate::credentials::Credentials;
use crate::directory::ldap::{LdapSettings, Limits, OneController};
use crate::directory::{Change, DirectoryError, Dn, Entry, Modify, Value};

/// The attribute with the word.
const WORD: &str = "serviceBindingInformation";
/// The attribute that tells whose object it is, and its value.
const CLASS: &str = "serviceClassName";
const CLASS_NAME: &str = "Standin-Witness";

/// For finding the controller, for logging on there, and for each answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A group's object.
pub struct DirectoryWitness {
    controller: String,
    beneath: Dn,
    object: Dn,
    door: Door,
    opened: Mutex<Opened>,
}

/// What is known of the way there.
#[derive(Default)]
struct Opened {
    controller: Option<Arc<OneController>>,
    /// With whose account that is.
    credentials: Option<Credentials>,
    /// What the controller said to it: not tried again, as that locks accounts.
    refusal: Option<String>,
}

/// What stands there.
enum Standing {
    /// No object.
    Nothing,
    /// An object without a word, and whether its class is set.
    Empty { is_ours: bool },
    /// A word, and its value as it is written.
    Word(Word, Value),
}

impl Standing {
    fn word(&self) -> Option<&Word> {
        match self {
            Self::Word(word, _) => Some(word),
            Self::Nothing | Self::Empty { .. } => None,
        }
    }
}

impl DirectoryWitness {
    /// The object of a group in `beneath`, at this controller. Nobody is asked yet.
    pub fn new(controller: &str, beneath: &Dn, group: &GroupName, door: Door) -> Self {
        let object = beneath.child_cn(&format!("standin-{group}"));
        Self { controller: controller.to_owned(), beneath: beneath.clone(), object, door, opened: Mutex::default() }
    }

    /// The controller, with whoever may log on there now.
    fn opened(&self) -> Result<Arc<OneController>, WitnessError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(controller) = &opened.controller
            && opened.refusal.is_none()
        {
            return Ok(controller.clone());
        }
        let refused = |why: String| WitnessError::Refused(why);
        let (settings, credentials) = (self.door)(&self.controller).map_err(refused)?;
        if let Some(refusal) = opened.refusal.as_ref().filter(|_| opened.credentials.as_ref() == Some(&credentials)) {
            return Err(WitnessError::Refused(refusal.clone()));
        }
        let limits = Limits { connect: PATIENCE, answer: PATIENCE, page: 10, connections: 1 };
        let settings = LdapSettings { limits, ..settings };
        let controller = OneController::new(settings, credentials.clone()).map_err(|error| refused(error.to_string()))?;
        let controller = Arc::new(controller);
        *opened = Opened { controller: Some(controller.clone()), credentials: Some(credentials), refusal: None };
        Ok(controller)
    }

    /// What an error means to who asks the witness, and to the next call.
    fn failed(&self, error: DirectoryError) -> WitnessError {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &error {
            DirectoryError::Credentials { .. } => opened.refusal = Some(error.to_string()),
            // Another file of authorities may be there next time.
            DirectoryError::Untrusted { .. } => opened.controller = None,
            _ => {}
        }
        match error {
            DirectoryError::Unreachable { .. } | DirectoryError::Busy { .. } | DirectoryError::Protocol { .. } => {
                WitnessError::Unreachable(error.to_string())
            }
            error => WitnessError::Refused(error.to_string()),
        }
    }

    fn standing(&self, controller: &OneController) -> Result<Standing, WitnessError> {
        let entry = controller.read(&self.object, &[WORD, CLASS]).map_err(|error| self.failed(error))?;
        self.stands(entry.as_ref()).map_err(|why| {
            WitnessError::Refused(format!(
                "{}: {why}; look at it with ADSI Edit, and remove the object if nobody has the group",
                self.object
            ))
        })
    }

    fn stands(&self, entry: Option<&Entry>) -> Result<Standing, String> {
        let Some(entry) = entry else { return Ok(Standing::Nothing) };
        match entry.values(WORD) {
            [] => Ok(Standing::Empty { is_ours: !entry.values(CLASS).is_empty() }),
            [value] => {
                let word = Word::parse(value.as_bytes()).map_err(|error| format!("{WORD}: {error}"))?;
                Ok(Standing::Word(word, value.clone()))
            }
            several => Err(format!("{WORD} has {} values, and a witness says one thing", several.len())),
        }
    }

    fn write(&self, controller: &OneController, now: Standing, new: &Word) -> Result<(), DirectoryError> {
        let text = Value::from(new.text());
        let set =
            |attribute: &str, delete: Vec<Value>, add: Value| Change { attribute: attribute.into(), delete, add: vec![add] };
        let changes = match now {
            Standing::Nothing => {
                let mut entry = Entry::new(self.object.clone());
                let attributes = [("objectClass", "serviceConnectionPoint".into()), (CLASS, CLASS_NAME.into()), (WORD, text)];
                entry.attributes.extend(attributes.map(|(name, value): (&str, Value)| (name.into(), vec![value])));
                return controller.add(&entry);
            }
            Standing::Empty { .. } => vec![set(CLASS, Vec::new(), CLASS_NAME.into()), set(WORD, Vec::new(), text)],
            Standing::Word(_, value) => vec![set(WORD, vec![value], text)],
        };
        controller.modify(&Modify { dn: self.object.clone(), changes })
    }
}

impl Witness for DirectoryWitness {
    fn place(&self) -> String {
        format!("{} on {}", self.object, self.controller)
    }

    fn read(&self) -> Result<Option<Word>, WitnessError> {
        let controller = self.opened()?;
        self.standing(&controller).map(|standing| standing.word().cloned())
    }

    fn swap(&self, expected: Option<&Word>, new: &Word) -> Result<(), WitnessError> {
        let controller = self.opened()?;
        let now = self.standing(&controller)?;
        if now.word() != expected {
            return Err(WitnessError::Changed(now.word().cloned()));
        }
        if matches!(now, Standing::Empty { is_ours: true }) {
            let why =
                format!("{}: {CLASS} is set and {WORD} is not: somebody took the word away; remove the object", self.object);
            return Err(WitnessError::Refused(why));
        }
        let is_new = matches!(now, Standing::Nothing);
        let Err(error) = self.write(&controller, now, new) else { return Ok(()) };
        match &error {
            DirectoryError::NoSuchObject { .. } if is_new => {
                let why = "does not exist, or this account may not see it: make it, or name another object as beneath";
                Err(WitnessError::Refused(format!("{} {why}", self.beneath)))
            }
            // An add is refused where somebody was faster, too.
            DirectoryError::Changed { .. } | DirectoryError::Refused { .. } | DirectoryError::NoSuchObject { .. } => {
                match self.standing(&controller)?.word() {
                    word if word != expected => Err(WitnessError::Changed(word.cloned())),
                    _ => Err(self.failed(error)),
                }
            }
            _ => Err(self.failed(error)),
        }
    }
}
