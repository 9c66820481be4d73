//! Shares of files, made and removed by commands: SMB shares of a server name, say.

use standin_common::id::ResourceName;
use standin_config::group::Share;

use super::{Condition, Resource, Step, Trouble, command};
use crate::preflight::Finding;

/// Shares on this node.
pub(super) struct ShareResource {
    name: ResourceName,
    share: Share,
}

impl ShareResource {
    pub(super) fn new(name: ResourceName, share: Share) -> Self {
        Self { name, share }
    }

    fn state(&self, share: &str, mut variables: Vec<(String, String)>) -> Result<Condition, Trouble> {
        variables.push(("STANDIN_SHARE".to_owned(), share.to_owned()));
        command::state(&self.share.state, &variables, &format!("share {share}"))
    }

    /// Runs a command for each share that does not stand as wanted. One that fails does not keep the others from their turn.
    fn each(&self, words: &[String], wanted: &Condition, step: &dyn Step) -> Result<(), Trouble> {
        let mut first = None;
        for share in &self.share.shares {
            let mut variables = step.variables();
            variables.push(("STANDIN_RESOURCE".to_owned(), self.name.to_string()));
            variables.push(("STANDIN_SHARE".to_owned(), share.clone()));
            let stands = || self.state(share, step.variables());
            let done = match step.haste() {
                None if stands().is_ok_and(|stands| stands == *wanted) => Ok(()),
                _ => command::must(words, &variables, &format!("share {share}"), step),
            };
            if let Err(trouble) = done {
                step.tell(format_args!("{trouble}"));
                first.get_or_insert(trouble);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

impl Resource for ShareResource {
    fn condition(&self) -> Result<Condition, Trouble> {
        let states = self.share.shares.iter().map(|share| Ok((share.as_str(), self.state(share, Vec::new())?)));
        Ok(Condition::of_parts(states.collect::<Result<Vec<_>, _>>()?))
    }

    fn start(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.each(&self.share.add, &Condition::Online, step)
    }

    fn stop(&self, step: &dyn Step) -> Result<(), Trouble> {
        self.each(&self.share.remove, &Condition::Offline, step)
    }

    fn check(&self) -> Vec<Finding> {
        let commands = [&self.share.add, &self.share.remove, &self.share.state];
        let missing = commands.into_iter().filter_map(|words| command::missing(words));
        missing.map(|missing| missing.of("share", &self.name)).collect()
    }
}
