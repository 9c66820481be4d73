//! What the words mean.

use std::collections::VecDeque;
use std::fmt;

use super::reach::Reach;
use super::words::{UsageError, Word, file_words};
use crate::pairing::{Rule, is_unfinished};
use crate::plan::build::PlanOptions;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `-?`: the syntax.
    Syntax,
    /// `-??`: the syntax and a line for each option.
    Explained,
    /// A run.
    Run(Box<Options>),
}

/// Which way the users go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the source to the target.
    Failover,
    /// From the target, which stands in, to the source.
    Failback,
}

/// A run, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-failover` or `-failback`. Missing only in an `--undo` or `--resume`, which know it from the journal.
    pub direction: Option<Direction>,
    /// `-s`: the original source, in both directions.
    pub source: String,
    /// `-t`: the original target, in both directions.
    pub target: String,
    /// `-l`: the log file.
    pub log: Option<String>,
    /// `-norus`.
    pub leave_update_service: bool,
    /// `-nospn`.
    pub leave_service_names: bool,
    /// `-r`, in their order; none means pairing by file name.
    pub rules: Vec<Rule>,
    /// `-setup`: only the overwrite flags.
    pub setup_only: bool,
    /// `-test`: print, change nothing.
    pub test: bool,
    /// `-u`.
    pub account: Option<Account>,
    /// `--plan FILE`: write the plan there.
    pub plan: Option<String>,
    /// `--resume`: go on with the run that stopped half-way.
    pub resume: bool,
    /// `--undo`: take back what the run wrote.
    pub undo: bool,
    /// `--no-verify`: do not read back.
    pub no_verify: bool,
    /// `--only-domain`: users of this domain only, DNS name.
    pub only_domain: Option<String>,
    /// `--only-user`: this user only, by user principal name.
    pub only_user: Option<String>,
    /// `--leave-unpaired`: stores without a counterpart are meant to stay.
    pub leave_unpaired: bool,
    /// `--move-host-spn`: HOST service names move, too.
    pub move_host_names: bool,
    /// `--swap-routing-groups`.
    pub swap_routing_groups: bool,
    /// `--no-connectors`: leave connectors' bridgeheads alone.
    pub leave_connectors: bool,
    /// `--default-public-store`: the public store, by its name, its server's, or its distinguished name, that takes the place of the
    /// source's where the target has none.
    pub default_public_store: Option<String>,
    /// `--json`: what is said at the end is one JSON value.
    pub json: bool,
    /// How the directory is reached.
    pub reach: Reach,
}

/// Who asks. The part before the first `:` is the user, so a password may hold `:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User name: `administrator`, `DOMAIN\user` or a user principal name.
    pub user: String,
    /// The password, where it was given. It is best given otherwise: a command line is seen by others.
    pub password: Option<Secret>,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Options {
    /// What is asked of a plan.
    pub fn plan_options(&self) -> PlanOptions {
        PlanOptions {
            failback: self.direction == Some(Direction::Failback),
            source: self.source.clone(),
            target: self.target.clone(),
            rules: self.rules.clone(),
            setup_only: self.setup_only,
            leave_update_service: self.leave_update_service,
            leave_service_names: self.leave_service_names,
            leave_connectors: self.leave_connectors,
            swap_routing_groups: self.swap_routing_groups,
            move_host_names: self.move_host_names,
            leave_unpaired: self.leave_unpaired,
            default_public_store: self.default_public_store.clone(),
        }
    }
}

/// Reads a command line, without the program's name. `read_file` gives the text of an options file.
///
/// # Errors
/// What is wrong with it, and with which word.
pub fn parse(words: &[String], read_file: &dyn Fn(&str) -> Result<String, String>) -> Result<Asked, UsageError> {
    let mut reader = Reader { words: words.iter().map(|word| Word::typed(word)).collect(), options: Options::default() };
    let mut before = None;
    while let Some(word) = reader.words.pop_front() {
        let option = word.option();
        match option {
            Some("?") => return Ok(Asked::Syntax),
            Some("??") => return Ok(Asked::Explained),
            None if word.asks_for_help() => return Ok(Asked::Explained),
            Some("o") => reader.take_file(&word, read_file)?,
            Some(option) => reader.take(option)?,
            None if before == Some("u") => return Err(UsageError::AfterAccount),
            None => return Err(UsageError::Unknown(word.meant())),
        }
        before = option;
    }
    reader.finish().map(|options| Asked::Run(Box::new(options)))
}

struct Reader {
    words: VecDeque<Word>,
    options: Options,
}

impl Reader {
    fn take(&mut self, option: &'static str) -> Result<(), UsageError> {
        match option {
            "failover" => self.direct(Direction::Failover)?,
            "failback" => self.direct(Direction::Failback)?,
            "s" => {
                let name = self.value(option, "the source's name")?;
                set_name(&mut self.options.source, option, name)?;
            }
            "t" => {
                let name = self.value(option, "the target's name")?;
                set_name(&mut self.options.target, option, name)?;
            }
            "l" => self.options.log = Some(self.value(option, "a file's name")?),
            "norus" => self.options.leave_update_service = true,
            "nospn" => self.options.leave_service_names = true,
            "r" => self.rule()?,
            "setup" => self.options.setup_only = true,
            "test" => self.options.test = true,
            "u" => {
                let text = self.value(option, "USER or USER:PASSWORD")?;
                let (user, password) = text.split_once(':').map_or((text.as_str(), None), |(user, rest)| (user, Some(rest)));
                let password = password.map(|password| Secret(password.to_owned()));
                self.options.account = Some(Account { user: user.to_owned(), password });
            }
            _ => self.take_long(option)?,
        }
        Ok(())
    }

    fn take_long(&mut self, option: &'static str) -> Result<(), UsageError> {
        match option {
            "plan" => self.options.plan = Some(self.value(option, "a file's name")?),
            "resume" => self.options.resume = true,
            "undo" => self.options.undo = true,
            "no-verify" => self.options.no_verify = true,
            "verify" => self.options.no_verify = false,
            "json" => self.options.json = true,
            "only-domain" => self.options.only_domain = Some(self.value(option, "a domain's DNS name")?),
            "only-user" => self.options.only_user = Some(self.value(option, "a user principal name")?),
            "leave-unpaired" => self.options.leave_unpaired = true,
            "move-host-spn" => self.options.move_host_names = true,
            "swap-routing-groups" => self.options.swap_routing_groups = true,
            "no-connectors" => self.options.leave_connectors = true,
            "default-public-store" => self.options.default_public_store = Some(self.value(option, "a public store's name")?),
            other => {
                let what = Reach::wants(other).ok_or_else(|| UsageError::Unknown(other.to_owned()))?;
                let value = self.value(option, what)?;
                self.options.reach.take(option, value);
            }
        }
        Ok(())
    }

    fn direct(&mut self, direction: Direction) -> Result<(), UsageError> {
        if self.options.direction.is_some_and(|other| other != direction) {
            return Err(UsageError::Contradiction("failover", "failback"));
        }
        self.options.direction = Some(direction);
        Ok(())
    }

    /// The word after an option. It may begin with `/`, as paths do, but not be an option.
    fn value(&mut self, option: &'static str, what: &'static str) -> Result<String, UsageError> {
        let word = self.words.pop_front().filter(|word| word.option().is_none());
        let value = word.map(|word| word.meant()).filter(|value| !value.is_empty());
        value.ok_or(UsageError::NoValue { option, what })
    }

    /// The rule after `-r`, which may be none. A word that ends in `,` goes on in the next one, as in `-r Indy, Sales:Backup, Sales`.
    fn rule(&mut self) -> Result<(), UsageError> {
        let mut text = String::new();
        while text.is_empty() || is_unfinished(&text) {
            let Some(next) = self.words.front() else { break };
            if next.option().is_some() || (text.is_empty() && next.looks_like_option()) {
                break;
            }
            let is_first = text.is_empty();
            text.push_str(if is_first { next.as_rule() } else { next.written() });
            self.words.pop_front();
        }
        self.options.rules.push(text.parse()?);
        Ok(())
    }

    /// The words of an options file take the place of `-o FILE`.
    fn take_file(&mut self, word: &Word, read_file: &dyn Fn(&str) -> Result<String, String>) -> Result<(), UsageError> {
        if let Some((file, line)) = word.from() {
            return Err(UsageError::Nested { file: file.clone(), line: *line });
        }
        let file = self.value("o", "a file's name")?;
        let text = read_file(&file).map_err(|why| UsageError::File { file: file.clone(), why })?;
        for word in file_words(&file, &text)?.into_iter().rev() {
            self.words.push_front(word);
        }
        Ok(())
    }

    fn finish(self) -> Result<Options, UsageError> {
        let options = self.options;
        if options.resume && options.undo {
            return Err(UsageError::Contradiction("resume", "undo"));
        }
        if options.only_user.is_some() && options.only_domain.is_some() {
            return Err(UsageError::Contradiction("only-user", "only-domain"));
        }
        if options.account.as_ref().is_some_and(|account| account.user.is_empty()) {
            return Err(UsageError::NoValue { option: "u", what: "USER or USER:PASSWORD" });
        }
        let continues = options.resume || options.undo;
        if options.direction.is_none() && !continues {
            return Err(UsageError::Missing("say -failover or -failback"));
        }
        if options.source.is_empty() && !continues {
            return Err(UsageError::Missing("name the source with -s"));
        }
        if options.target.is_empty() && !continues {
            return Err(UsageError::Missing("name the target with -t"));
        }
        if !options.source.is_empty() && options.source.eq_ignore_ascii_case(&options.target) {
            return Err(UsageError::Missing("source and target are the same server"));
        }
        Ok(options)
    }
}

fn set_name(slot: &mut String, option: &'static str, name: String) -> Result<(), UsageError> {
    if !slot.is_empty() && !slot.eq_ignore_ascii_case(&name) {
        return Err(UsageError::Twice { option, first: slot.clone(), second: name });
    }
    *slot = name;
    Ok(())
}
