//! The program under its old name, `exchfailover`: the command line that administrators and their scripts know.

mod log;
mod run;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use standin_failover::exchfailover::{Asked, Options, Outcome, SYNTAX, explained, parse};

use crate::cli::show;
use crate::directory::Stop;
use log::Log;

/// The name.
pub(crate) const NAME: &str = "exchfailover";

/// The words after the name, if the program was started under it: as a link or a copy, or as `standin exchfailover …`.
pub(crate) fn called(arguments: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut arguments = arguments.into_iter();
    let program = arguments.next()?;
    let mut rest: Vec<OsString> = arguments.collect();
    let is_name = Path::new(&program).file_stem().is_some_and(|stem| stem.eq_ignore_ascii_case(NAME));
    if is_name {
        return Some(rest);
    }
    let is_first_word = rest.first().is_some_and(|word| word.eq_ignore_ascii_case(NAME));
    is_first_word.then(|| rest.split_off(1))
}

/// Does what the words say.
pub(crate) fn main(words: Vec<OsString>) -> ExitCode {
    let outcome = words::read(words).and_then(|(words, password)| {
        words::hide_password(&words)?;
        let asked = parse(&words, &|file| std::fs::read_to_string(file).map_err(|error| error.to_string()))?;
        match asked {
            Asked::Syntax => say(SYNTAX),
            Asked::Explained => say(&explained()),
            Asked::Run(options) => return Ok(logged(&options, password, &words)),
        }
        Ok(Outcome::Done)
    });
    ExitCode::from(outcome.unwrap_or_else(|stop| complain(&stop, false)).code())
}

fn say(text: &str) {
    // If nobody reads it, the exit code still says how it ended.
    let _ = show::print(text);
}

/// Says why it ended, as JSON if that was asked for.
fn complain(stop: &Stop, json: bool) -> Outcome {
    let text = match json {
        true => serde_json::json!({ "error": stop.why, "code": stop.outcome.code() }).to_string(),
        false => format!("{NAME}: {}", show::harmless_lines(&stop.why)),
    };
    let _ = writeln!(std::io::stderr(), "{text}");
    stop.outcome
}

/// A run with its log, which has whatever is said.
fn logged(options: &Options, password: Option<standin_failover::credentials::Secret>, words: &[String]) -> Outcome {
    let settings = match run::settings(options) {
        Ok(settings) => settings,
        Err(stop) => return complain(&stop, options.json),
    };
    let access = run::access(options, settings.as_ref(), password);
    let log = match Log::open(options.log.as_deref(), &access.state_dir()) {
        Ok(log) => log,
        Err(stop) => return complain(&stop, options.json),
    };
    log.begin(words);
    let outcome = run::run(options, &access, &log).unwrap_or_else(|stop| {
        log.note(&format!("error: {}", stop.why));
        complain(&stop, options.json)
    });
    log.end(outcome);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_name_or_its_first_word() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(called(words("/usr/bin/exchfailover -?")), Some(words("-?")));
        assert_eq!(called(words("EXCHFAILOVER.EXE -test")), Some(words("-test")));
        assert_eq!(called(words("standin ExchFailover -s A")), Some(words("-s A")));
        assert_eq!(called(words("standin status")), None);
        assert_eq!(called(words("standin")), None);
    }
}
