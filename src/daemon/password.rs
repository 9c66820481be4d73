//! A changed password of the directory on its way to the nodes that this one is paired with.

use std::thread;

use standin_common::id::NodeName;
use standin_common::link::CloseCode;
use standin_common::message::{Password, PasswordAnswer};

use super::peer::{Context, pass_password};
use crate::control::{Failed, FailedKind, Shared, SharedResult};

/// Gives it to all of them at once, over connections of its own; each is asked, whatever the others say.
pub(super) fn share(context: &Context, password: &Password) -> Result<Vec<Shared>, Failed> {
    let unknown = |why: &dyn std::fmt::Display| Failed { kind: FailedKind::Failed, text: format!("the paired nodes: {why}") };
    let peers: Vec<NodeName> = context.trust.list().map_err(|error| unknown(&error))?.into_iter().map(|peer| peer.name).collect();
    thread::scope(|scope| {
        let asking: Vec<_> = peers
            .into_iter()
            .map(|peer| {
                let thread = thread::Builder::new().name("password".to_owned());
                let name = peer.clone();
                (peer, thread.spawn_scoped(scope, move || told(&name, give(context, &name, password))))
            })
            .collect();
        let ended = asking.into_iter().map(|(peer, thread)| match thread.map(|thread| thread.join()) {
            Ok(Ok(shared)) => shared,
            _ => told(&peer, Err("this node could not ask it; its log says more".to_owned())),
        });
        Ok(ended.collect())
    })
}

fn give(context: &Context, peer: &NodeName, password: &Password) -> Result<PasswordAnswer, String> {
    let connection = context.dial(peer).map_err(|error| error.to_string())?;
    let answer = pass_password(&connection, password).map_err(|error| format!("{peer} took no password: {error}"));
    connection.close(CloseCode::DONE, "it was to pass a password on");
    answer
}

/// What is said of a node.
fn told(peer: &NodeName, answer: Result<PasswordAnswer, String>) -> Shared {
    let (result, why) = match answer {
        Ok(PasswordAnswer::Stored) => (SharedResult::Stored, None),
        Ok(PasswordAnswer::NotKept(why)) => (SharedResult::NotKept, Some(why)),
        Ok(PasswordAnswer::Failed(why)) | Err(why) => {
            let mend = format!("{why}; mend that and run this again, or run 'standin directory password' on {peer}");
            (SharedResult::Failed, Some(mend))
        }
    };
    Shared { node: peer.clone(), result, why }
}
