//! Where nodes of a group get each other's records of what was written in the directory.
//!
//! A record is fetched by whoever lacks it: after the start of its daemon, before it writes itself, and when the node that wrote it says so,
//! which is before that step counts as done.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standin_common::id::{GroupName, NodeName};

use super::super::asked::{Ask, Told};
use super::super::nodes;
use crate::daemon::peer::Context;
use crate::directory::{Access, Held, Piece, RecordFile, Records, Runs};

/// How long a node may take for one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How long it may take to fetch what it lacks.
const FETCHING: Duration = Duration::from_secs(120);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Which records there are; answered by [`Answer::Files`].
    List,
    /// What one of them says from a byte on; answered by [`Answer::Piece`].
    Read { name: String, offset: u64 },
    /// To fetch what it lacks from this node; answered by [`Answer::Fetched`] once it is durable.
    Fetch { from: NodeName },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Files(Vec<RecordFile>),
    Piece(Piece),
    Fetched,
}

/// The records of a group on this node.
pub(crate) struct Office {
    pub(in crate::daemon::group) context: Arc<Context>,
    pub(in crate::daemon::group) group: GroupName,
    pub(in crate::daemon::group) node: NodeName,
    pub(in crate::daemon::group) others: Vec<NodeName>,
    /// The servers, by their names in the directory.
    pub(in crate::daemon::group) servers: Vec<String>,
}

impl Office {
    /// The journals of this node.
    pub(super) fn runs(&self) -> Runs {
        Runs::of(Access::default().or(Some(&self.context.settings())).state_dir())
    }

    /// Answers another node.
    pub(in crate::daemon::group) fn answer(&self, question: Question) -> Result<Answer, String> {
        let runs = self.runs();
        let servers = self.servers();
        let records = Records { runs: &runs, servers: &servers };
        match question {
            Question::List => records.list().map(Answer::Files).map_err(|stop| stop.why),
            Question::Read { name, offset } => records.read(&name, offset).map(Answer::Piece).map_err(|stop| stop.why),
            Question::Fetch { from } => self.fetch(&from, None).map(|()| Answer::Fetched),
        }
    }

    fn servers(&self) -> Vec<&str> {
        self.servers.iter().map(String::as_str).collect()
    }

    fn ask(&self, node: &NodeName, question: Question, limit: Duration) -> Result<Answer, String> {
        match nodes::ask_briefly(&self.context, node, &self.group, &Ask::Records(question), limit)? {
            Told::Records(answer) => Ok(answer),
            Told::Refused(refused) => Err(refused.text),
            _ => Err(format!("{node} answers something else than was asked: is it of another release?")),
        }
    }

    /// Fetches what another node has and this one lacks. `held` if the journals are this thread's already.
    pub(super) fn fetch(&self, node: &NodeName, held: Option<&Held>) -> Result<(), String> {
        let Answer::Files(there) = self.ask(node, Question::List, ANSWER)? else {
            return Err(format!("{node} does not say which records it has"));
        };
        let runs = self.runs();
        let servers = self.servers();
        let records = Records { runs: &runs, servers: &servers };
        let mut lacking = Vec::new();
        for file in there {
            if records.lacks(&file).map_err(|stop| stop.why)? {
                lacking.push(file.name);
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        let own = match held {
            Some(_) => None,
            None => Some(runs.hold().map_err(|stop| stop.why)?),
        };
        let Some(held) = held.or(own.as_ref()) else { return Ok(()) };
        for name in lacking {
            let text = self.read(node, &name)?;
            records.take(held, &name, &text).map_err(|stop| stop.why)?;
            tracing::info!(group = %self.group, %node, name, "has a record of the directory from there");
        }
        Ok(())
    }

    fn read(&self, node: &NodeName, name: &str) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let question = Question::Read { name: name.to_owned(), offset: text.len() as u64 };
            let Answer::Piece(piece) = self.ask(node, question, ANSWER)? else {
                return Err(format!("{node} does not say what is in its record {name}"));
            };
            text += &piece.text;
            Records::check_len(name, text.len()).map_err(|stop| stop.why)?;
            if piece.is_last {
                return Ok(text);
            }
        }
    }

    /// Fetches from all other nodes; for each, why it could not be asked.
    pub(in crate::daemon::group) fn collect(&self, held: Option<&Held>) -> Vec<(NodeName, Result<(), String>)> {
        self.others.iter().map(|node| (node.clone(), self.fetch(node, held))).collect()
    }

    /// Has all other nodes fetch what this one has. The caller must not hold the journals of its own, as they may be asked for.
    pub(super) fn hand_out(&self) -> Vec<(NodeName, Result<(), String>)> {
        let ask = |node: &NodeName| self.ask(node, Question::Fetch { from: self.node.clone() }, FETCHING).map(drop);
        self.others.iter().map(|node| (node.clone(), ask(node))).collect()
    }
}
