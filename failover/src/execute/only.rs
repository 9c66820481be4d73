//! Which part of a plan is meant.

use super::journal::StepId;
use super::run::steps_of;
use crate::directory::ldif::Write;
use crate::directory::{Directory, DirectoryError, Dn, Filter, NamingContexts, Scope, Search, find_all};
use crate::plan::{Plan, Stage};

/// Which steps are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// All.
    #[default]
    Everything,
    /// Those in this naming context.
    Context(Dn),
    /// Those of these objects.
    Objects(Vec<Dn>),
}

/// Why a part cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum OnlyError {
    /// No such domain.
    #[error("there is no domain {name} in the forest: it has {known}")]
    Domain {
        /// What was asked.
        name: String,
        /// The forest's domains.
        known: String,
    },
    /// No such user, or several.
    #[error("{found} objects have the user principal name {name}, not one")]
    User {
        /// What was asked.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// The directory does not tell.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl Only {
    /// What is in a domain, by its DNS or NetBIOS name.
    ///
    /// # Errors
    /// [`OnlyError::Domain`] with the names that there are.
    pub fn domain(contexts: &NamingContexts, name: &str) -> Result<Self, OnlyError> {
        let named = |netbios: &Option<String>| netbios.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(name));
        let found =
            contexts.domains.iter().find(|domain| domain.dns_name.eq_ignore_ascii_case(name) || named(&domain.netbios_name));
        let known = || contexts.domains.iter().map(|domain| domain.dns_name.as_str()).collect::<Vec<_>>().join(", ");
        let none = || OnlyError::Domain { name: name.to_owned(), known: known() };
        found.map(|domain| Self::Context(domain.context.clone())).ok_or_else(none)
    }

    /// One user, by user principal name, anywhere in the forest.
    ///
    /// # Errors
    /// [`OnlyError::User`] unless there is exactly one.
    pub fn user(directory: &dyn Directory, name: &str) -> Result<Self, OnlyError> {
        let (mut found, mut away) = (Vec::new(), None);
        for domain in directory.contexts()?.domains {
            let filter = Filter::And(vec![Filter::class("user"), Filter::equal("userPrincipalName", name)]);
            let search = Search { base: domain.context, scope: Scope::Subtree, filter, attributes: vec!["cn".into()] };
            match find_all(directory, &search) {
                Ok(entries) => found.extend(entries.into_iter().map(|entry| entry.dn)),
                // A domain that is away does not hide the users of the others.
                Err(error @ (DirectoryError::Unreachable { .. } | DirectoryError::NoSuchObject { .. })) => away = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match (found.len(), away) {
            (1, _) => Ok(Self::Objects(found)),
            (0, Some(error)) => Err(error.into()),
            (count, _) => Err(OnlyError::User { name: name.to_owned(), found: count }),
        }
    }

    /// The writes of what is meant, one after the other, as the plan's stages ask for it.
    pub fn writes(&self, plan: &Plan) -> Vec<Write> {
        let steps = Stage::ALL.into_iter().flat_map(|stage| steps_of(plan, stage));
        let meant = steps.map(|(_, step)| step).filter(|step| self.takes(plan, *step));
        let write = |step: StepId| match step {
            StepId::Change(number) => plan.changes.get(number).map(|change| Write::Modify(change.modify())),
            StepId::Rename(number) => plan.renames.get(number).map(|rename| Write::Rename(rename.rename())),
        };
        meant.filter_map(write).collect()
    }

    /// Whether a step is meant.
    pub(super) fn takes(&self, plan: &Plan, step: StepId) -> bool {
        let place = match step {
            StepId::Change(number) => plan.changes.get(number).map(|change| (&change.context, &change.object)),
            StepId::Rename(number) => plan.renames.get(number).map(|rename| (&rename.context, &rename.object)),
        };
        place.is_some_and(|(context, object)| match self {
            Self::Everything => true,
            Self::Context(wanted) => wanted == context,
            Self::Objects(wanted) => wanted.contains(object),
        })
    }
}
