//! `standin reload`.

use std::process::ExitCode;

use standin_config::Difference;

use super::{Failure, Scene, show, unexpected};
use crate::control::{Answer, Request};

pub(super) fn run(scene: &Scene<'_>) -> Result<ExitCode, Failure> {
    // The settings say where the daemon is, so wrong ones are noticed here before it reads them.
    scene.settings().map_err(|error| Failure::Usage(format!("nothing was changed, the daemon goes on as it was:\n{error}")))?;
    let Answer::Reloaded(reload) = scene.ask(&Request::Reload)? else { return Err(unexpected()) };
    scene.print(&reload, || {
        if reload.applied.is_empty() && reload.restart.is_empty() {
            return "nothing has changed".to_owned();
        }
        let row = |difference: &Difference, when: &str| {
            let (was, is) = (show::harmless(&difference.here), show::harmless(&difference.there));
            vec![difference.key.clone(), when.to_owned(), was, is]
        };
        let applied = reload.applied.iter().map(|difference| row(difference, "now"));
        let restart = reload.restart.iter().map(|difference| row(difference, "after a restart of the daemon"));
        show::table(&["SETTING", "HOLDS", "WAS", "IS"], &applied.chain(restart).collect::<Vec<_>>())
    })?;
    Ok(ExitCode::SUCCESS)
}
