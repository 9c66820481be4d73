//! The command line: what was typed, and a file for each command.

pub(crate) mod bar;
mod check;
mod cutover;
mod demo;
mod directory;
mod drill;
mod group;
mod guard;
mod init;
mod interrupt;
mod mirror;
mod monitor;
mod mount;
mod pages;
mod pair;
mod point;
mod points;
mod promote;
mod reload;
mod run;
mod scrub;
mod set;
pub(crate) mod show;
mod status;
mod verify;
mod wait;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use standin_config::{LoadError, Settings};

use self::interrupt::{INTERRUPTED, Interrupt};
use crate::control::client::{self, AskError, Waiting};
use crate::control::{Answer, Failed, FailedKind, Request};
use crate::directory::Stop;

/// Exit codes, as the help lists them.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line or the settings are wrong
  3  refused: not safe, too many orphans left, or a person has to act first
  4  the daemon does not run or does not answer, or the peer cannot be reached
  5  both sides differ: verify, set check; or a scrub found files that are wrong
  6  what was waited for did not come in time
  130  Ctrl-C: it is not waited for any more; what becomes of it is said";

/// The settings file where no other is named.
const USUAL_CONFIG: &str = "/etc/standin/standin.toml";

/// The settings of a command that can do without: of the file that was named, by the environment too, else of the usual one if it is there.
pub(crate) fn settings_if_any(named: Option<&Path>) -> Result<Option<Settings>, LoadError> {
    let of_environment = std::env::var_os("STANDIN_CONFIG").map(PathBuf::from);
    match named.map(Path::to_owned).or(of_environment) {
        Some(named) => Settings::load(&named).map(Some),
        None if Path::new(USUAL_CONFIG).exists() => Settings::load(Path::new(USUAL_CONFIG)).map(Some),
        None => Ok(None),
    }
}

/// Keeps a standby ready to stand in for a mail server.
#[derive(Debug, Parser)]
#[command(name = "standin", version, subcommand_value_name = "COMMAND", after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The settings file.
    #[arg(long, global = true, env = "STANDIN_CONFIG", default_value = USUAL_CONFIG)]
    config: PathBuf,
    /// Print JSON, one value a line.
    #[arg(long, global = true)]
    json: bool,
    /// Log more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node of this machine: its settings file, state directory and identity. Running it again changes nothing; what would need other settings is refused.
    Init(init::Options),
    /// Pair with another node, so that the two trust each other.
    Pair(pair::Options),
    /// Run the daemon, in the foreground.
    Run,
    /// Check the settings and the roots of this node; every problem at once.
    Check,
    /// Look at sets: what is replicated, and whether both nodes agree on it.
    #[command(subcommand)]
    Set(set::SetCommand),
    /// Make the replica equal to the source: start, pause, resume or stop.
    #[command(subcommand)]
    Mirror(mirror::MirrorCommand),
    /// Make a recovery point of what is there now, on a source that watches its roots.
    Point(point::Options),
    /// Put the layers over the roots of a set whose capture is `ordered`; `run` does so, too.
    Mount(mount::Options),
    /// Take the layers away. If somebody uses a root, the processes are named.
    Unmount(mount::Unmount),
    /// List the recovery points of a set.
    Points(points::Options),
    /// Make the replica a plain, writable tree, on the standby.
    Promote(promote::Options),
    /// Show how the sets stand.
    Status(status::Options),
    /// Wait until a set is so far: for scripts. On the source or the standby.
    Wait(wait::Options),
    /// Let the daemon read its settings again. If they are wrong, nothing changes.
    Reload,
    /// Read both sides again and compare them.
    Verify(verify::Options),
    /// Read the large files of the replica again, on the standby, and compare them with what was received.
    Scrub(scrub::Options),
    /// Let another node take over a group from one that is lost.
    #[command(after_help = cutover::EXIT_CODES)]
    Failover(cutover::Failover),
    /// Move a group to another node without loss.
    #[command(after_help = cutover::EXIT_CODES)]
    Handoff(cutover::Handoff),
    /// Move a group home without loss, once home has everything again.
    #[command(after_help = cutover::EXIT_CODES)]
    Failback(cutover::Failback),
    /// Rehearse a failover on a clone of the replica: nothing in production is touched, and replication goes on.
    #[command(after_help = drill::EXIT_CODES)]
    Drill(drill::Options),
    /// Bring a group, or one of its resources, online where it belongs.
    #[command(after_help = cutover::EXIT_CODES)]
    Online(cutover::Online),
    /// Take a group, or one of its resources, offline.
    #[command(after_help = cutover::EXIT_CODES)]
    Offline(cutover::Offline),
    /// Show how groups are watched: heartbeats, the witness, why this node would take over or not; answer alerts.
    Monitor(monitor::Options),
    /// Look at groups and their cutovers; go on with one, or take it back.
    #[command(subcommand, after_help = cutover::EXIT_CODES)]
    Group(group::GroupCommand),
    /// Active Directory: plan who serves which mailboxes, move them, and take it back.
    #[command(subcommand, after_help = directory::EXIT_CODES)]
    Directory(Box<directory::DirectoryCommand>),
    /// The old command line of that name; 'standin exchfailover -?' shows it.
    #[command(disable_help_flag = true)]
    Exchfailover {
        /// Its words.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// See the main job done, on this machine: two nodes, a mail server's volume, a crash, a promotion. Nothing is left behind.
    Demo(demo::Options),
    /// Stop what a group has here when its right ends and no daemon does; the daemon starts it.
    #[command(hide = true)]
    Guard {
        /// The group.
        group: standin_common::id::GroupName,
    },
    /// Print a completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages to a directory.
    Man {
        /// The directory, made if it is not there.
        directory: PathBuf,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something that was tried.
    #[error("{0}")]
    Failed(String),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// It would not be safe.
    #[error("{0}")]
    Refused(String),
    /// The daemon or the peer.
    #[error("{0}")]
    Unreachable(String),
    /// It did not come in time.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C ended the waiting, and what becomes of it.
    #[error("{0}")]
    Interrupted(String),
    /// The settings.
    #[error("{0}")]
    Settings(#[from] LoadError),
    /// A command on the directory, which has exit codes of its own.
    #[error("{0}")]
    Directory(#[from] Stop),
}

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    fn number(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Settings(_) => 2,
            Self::Refused(_) => 3,
            Self::Unreachable(_) => 4,
            Self::TimedOut(_) => 6,
            Self::Interrupted(_) => INTERRUPTED,
            Self::Directory(stop) => stop.outcome.code(),
        }
    }

    /// Says it, as JSON if that was asked for.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        let text = match json {
            true => serde_json::json!({ "error": self.to_string(), "code": self.number() }).to_string(),
            false => format!("standin: {}", show::harmless_lines(&self.to_string())),
        };
        // If nobody reads it, the exit code still says it.
        let _ = writeln!(std::io::stderr(), "{text}");
        ExitCode::from(self.number())
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::Failed(Failed { kind: FailedKind::Failed, .. }) => Self::Failed(text),
            AskError::Failed(Failed { kind: FailedKind::Usage, .. }) => Self::Usage(text),
            AskError::Failed(Failed { kind: FailedKind::Refused, .. }) => Self::Refused(text),
            AskError::Failed(Failed { kind: FailedKind::TimedOut, .. }) => Self::TimedOut(text),
            AskError::Failed(Failed { kind: FailedKind::Unreachable, .. })
            | AskError::NotRunning(_)
            | AskError::Silent
            | AskError::Ended => Self::Unreachable(text),
            AskError::Interrupted => Self::Interrupted(text),
            AskError::Socket(_) | AskError::Unreadable(_) => Self::Failed(text),
        }
    }
}

/// Exit code where both sides differ.
const DIFFERENT: u8 = 5;

/// A span of time such as `30s` or `5 min`, or a bare number of seconds.
fn seconds(text: &str) -> Result<f64, String> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Ok(f64::from(seconds));
    }
    let span = standin_config::units::parse_span(text).map_err(|error| error.to_string());
    span.map(|millis| millis as f64 / 1000.0)
}

/// What every command gets.
struct Scene<'a> {
    config: &'a Path,
    json: bool,
}

impl Scene<'_> {
    fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(self.config)?)
    }

    /// The settings, with the ends of each set as they are since it was turned last.
    fn settings_as_they_are(&self) -> Result<Settings, Failure> {
        Ok(crate::daemon::roles::as_they_are(&self.settings()?))
    }

    /// Where the daemon is. Of settings that are wrong otherwise only this is needed: the daemon goes on with those that it has.
    fn state_dir(&self) -> Result<PathBuf, Failure> {
        match Settings::load(self.config) {
            Ok(settings) => Ok(settings.node.state_dir),
            Err(error) => match standin_config::state_dir_of(self.config) {
                Some(found) => {
                    self.warn(&format!("the settings are wrong, and the daemon goes on with those that it has:\n{error}"));
                    Ok(found)
                }
                None => Err(error.into()),
            },
        }
    }

    /// Says something besides the answer.
    fn warn(&self, text: &str) {
        let text = match self.json {
            true => serde_json::json!({ "warning": text }).to_string(),
            false => format!("standin: {}", show::harmless_lines(text)),
        };
        // If nobody reads it, the answer comes all the same.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// The settings, if the usual file is there or another was named.
    fn settings_if_any(&self) -> Result<Option<Settings>, Failure> {
        let is_usual = self.config == Path::new(USUAL_CONFIG);
        Ok(settings_if_any((!is_usual).then_some(self.config))?)
    }

    /// Asks the daemon for what it answers at once.
    fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        Ok(client::ask_at_once(&self.state_dir()?, request)?)
    }

    /// Asks the daemon for what takes time, with a progress bar if somebody sees it.
    fn ask_and_wait(&self, request: &Request) -> Result<Answer, Failure> {
        let bar = bar::Bar::new(self.json, bar::awaited(request));
        let interrupt = Interrupt::watch()?;
        let progress = &mut |report: &_| bar.show(report);
        let waiting = Waiting { progress, is_interrupted: &|| interrupt.is_pressed(), confirm: &mut |_, _| false };
        match client::ask(&self.state_dir()?, request, waiting) {
            Err(AskError::Interrupted) => Err(Failure::Interrupted(interrupt::left(request))),
            answered => Ok(answered?),
        }
    }

    /// Prints a value as JSON, or what people read. `false` if nobody reads any more.
    fn print(&self, value: &impl serde::Serialize, people: impl FnOnce() -> String) -> Result<bool, Failure> {
        print(&if self.json { serde_json::to_string(value).map_err(Failure::failed)? } else { people() })
    }
}

fn print(text: &str) -> Result<bool, Failure> {
    show::print(text).map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}")))
}

/// An answer of another kind than the request's.
fn unexpected() -> Failure {
    Failure::failed("the daemon answered something else than was asked: is it of another release?")
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let scene = Scene { config: &arguments.config, json: arguments.json };
    match &arguments.command {
        Command::Init(options) => init::run(&scene, options),
        Command::Pair(options) => pair::run(&scene, options),
        Command::Run => run::run(&scene, arguments.verbose),
        Command::Check => check::run(&scene),
        Command::Set(command) => set::run(&scene, command),
        Command::Mirror(command) => mirror::run(&scene, command),
        Command::Mount(options) => mount::mount(&scene, options),
        Command::Unmount(options) => mount::unmount(&scene, options),
        Command::Points(options) => points::run(&scene, options),
        Command::Point(options) => point::run(&scene, options),
        Command::Promote(options) => promote::run(&scene, options),
        Command::Status(options) => status::run(&scene, options),
        Command::Wait(options) => wait::run(&scene, options),
        Command::Reload => reload::run(&scene),
        Command::Verify(options) => verify::run(&scene, options),
        Command::Scrub(options) => scrub::run(&scene, options),
        Command::Failover(options) => cutover::failover(&scene, options),
        Command::Handoff(options) => cutover::handoff(&scene, options),
        Command::Drill(options) => drill::run(&scene, options),
        Command::Failback(options) => cutover::failback(&scene, options),
        Command::Online(options) => cutover::online(&scene, options),
        Command::Offline(options) => cutover::offline(&scene, options),
        Command::Monitor(options) => monitor::run(&scene, options),
        Command::Group(command) => group::run(&scene, command),
        Command::Directory(command) => directory::run(&scene, command),
        Command::Exchfailover { words } => {
            let config = (scene.config != Path::new(USUAL_CONFIG)).then(|| ["--config".into(), scene.config.into()]);
            Ok(crate::exchfailover::main(words.iter().cloned().chain(config.into_iter().flatten()).collect()))
        }
        Command::Guard { group } => guard::run(&scene, group),
        Command::Demo(options) => demo::run(&scene, options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "standin", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => pages::run(&scene, directory),
    }
}

impl Arguments {
    /// What was typed, or the exit code after help, version or what is wrong with it.
    pub(crate) fn typed() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // Nothing was parsed, so whether JSON is meant can only be seen in what was typed.
            if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
                return Failure::Usage(error.render().to_string()).tell(true);
            }
            // If nobody reads it, there is nobody to tell.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        })
    }

    /// Whether errors are JSON, too.
    pub(crate) fn json(&self) -> bool {
        self.json
    }
}
