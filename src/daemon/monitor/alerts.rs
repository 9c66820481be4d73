//! Telling people: a line in the log, the state, a command, a mail. Whoever hangs holds up nobody else.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lettre::message::Mailbox;
use lettre::{Message, SmtpTransport, Transport};
use standin_common::id::{GroupName, NodeName};
use standin_config::group::{Alert, AlertMail, Group};
use standin_failover::monitor::alert::About;
use standin_failover::resource::hook;

use super::spawn;
use super::watch::Watch;

/// How long the command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How long a mail server may take to answer, each time.
const MAIL: Duration = Duration::from_secs(20);

/// Who is told, and what waits to be told.
pub(super) struct Alerting {
    here: NodeName,
    group: GroupName,
    alert: Alert,
    tell: Mutex<Option<Sender<(About, String)>>>,
    told: Mutex<Option<Receiver<(About, String)>>>,
    /// When the daemon began, and for how long others may take to be there, too.
    begun: Instant,
    patience: Duration,
}

impl Alerting {
    pub(super) fn new(here: NodeName, written: &Group) -> Self {
        let (tell, told) = mpsc::channel();
        let (tell, told) = (Mutex::new(Some(tell)), Mutex::new(Some(told)));
        let (group, alert) = (written.name.clone(), written.alert.clone());
        let (begun, patience) = (Instant::now(), Duration::from_millis(written.time_to_fail_ms()));
        Self { here, group, alert, tell, told, begun, patience }
    }

    /// Whether that may only be so because other nodes are about to start as well: who waits for one of them need not tell anybody yet.
    fn is_early(&self, about: About) -> bool {
        about == About::NotFinished && self.begun.elapsed() < self.patience
    }

    /// Variables of every command: the group and the node.
    fn variables(&self) -> Vec<(String, String)> {
        let own = [("STANDIN_GROUP", self.group.as_str()), ("STANDIN_NODE", self.here.as_str())];
        own.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Leaves something to be told.
    fn tell(&self, about: About, text: &str) {
        if let Some(tell) = &*self.tell.lock().unwrap_or_else(PoisonError::into_inner) {
            // At the end of the daemon it is in the log and in the state.
            let _ = tell.send((about, text.to_owned()));
        }
    }

    pub(super) fn end(&self) {
        self.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Starts the thread that tells.
    pub(super) fn start(&self) -> Result<JoinHandle<()>, String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (alert, group, here) = (self.alert.clone(), self.group.clone(), self.here.clone());
        let base = self.variables();
        spawn("alert", move || {
            for (about, text) in told.into_iter().flatten() {
                let about =
                    serde_json::to_value(about).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
                if let Some(command) = alert.command.clone() {
                    let more = [("STANDIN_ALERT".to_owned(), text.clone()), ("STANDIN_ABOUT".to_owned(), about)];
                    let (variables, of) = ([base.clone(), more.to_vec()].concat(), group.clone());
                    aside(&group, move || {
                        let mut told = |line: &str| tracing::info!(group = %of, "alert command: {line}");
                        let done = hook::run(&command, &variables, COMMAND, "alert command", &mut told);
                        done.map_err(|trouble| trouble.to_string())
                    });
                }
                if let Some(mail) = alert.mail.clone() {
                    let subject = format!("Standin: group {group} on {here}");
                    let text =
                        format!("{text}\n\n`standin monitor {group}` tells more; `standin monitor ack {group}` answers this.\n");
                    aside(&group, move || send(&mail, &subject, &text).map_err(|why| format!("the alert was not mailed: {why}")));
                }
            }
        })
    }
}

/// Does it on a thread of its own, which nobody waits for.
fn aside(group: &GroupName, work: impl FnOnce() -> Result<(), String> + Send + 'static) {
    let of = group.clone();
    let tell = move || {
        if let Err(why) = work() {
            tracing::error!(group = %of, "{why}");
        }
    };
    if let Err(error) = thread::Builder::new().name("alert".to_owned()).spawn(tell) {
        tracing::error!(%group, %error, "cannot start a thread to tell of an alert");
    }
}

/// Mails it, without encryption: it has no secrets, and the relay is near.
fn send(mail: &AlertMail, subject: &str, text: &str) -> Result<(), String> {
    let (host, port) = mail.server.rsplit_once(':').unwrap_or((&mail.server, "25"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().map_err(|_| format!("{} has no port that is a number", mail.server))?;
    let parse = |address: &str| address.parse::<Mailbox>().map_err(|error| format!("{address}: {error}"));
    let mut message = Message::builder().from(parse(&mail.from)?).subject(subject);
    for to in &mail.to {
        message = message.to(parse(to)?);
    }
    let message = message.body(text.to_owned()).map_err(|error| error.to_string())?;
    let relay = SmtpTransport::builder_dangerous(host).port(port).timeout(Some(MAIL)).build();
    relay.send(&message).map(drop).map_err(|error| format!("{}: {error}", mail.server))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Watch {
    /// Something happened that a person has to know.
    pub(super) fn raise(&self, about: About, text: &str) {
        let mut kept = self.kept();
        if kept.alerts.raise(about, text, unix_ms()) {
            tracing::error!(group = %self.written.name, "ALERT: {text}");
            self.alerting.tell(about, text);
            self.write(&kept);
        }
    }

    /// How it stands, for each kind of alert that is seen from that.
    pub(super) fn tell(&self, troubles: Vec<(About, Option<String>)>) {
        for (about, trouble) in troubles {
            match trouble {
                Some(_) if self.alerting.is_early(about) => {}
                Some(text) => self.raise(about, &text),
                None => {
                    let mut kept = self.kept();
                    if kept.alerts.is_over(about) {
                        tracing::info!(group = %self.written.name, ?about, "over");
                        self.write(&kept);
                    }
                }
            }
        }
    }

    /// A person has answered all alerts. Returns how many there were.
    pub(super) fn answer_all(&self) -> usize {
        self.lock().monitor.acknowledge();
        let mut kept = self.kept();
        let answered = kept.alerts.answer();
        self.write(&kept);
        answered
    }

    /// The group is elsewhere now, or went through a cutover: who was lost before is answered for.
    pub(super) fn answer_lost(&self) {
        let mut kept = self.kept();
        let answered = [About::Lost, About::Refused].map(|about| kept.alerts.answer_one(about));
        if answered.contains(&true) {
            self.write(&kept);
        }
    }

    pub(super) fn write(&self, kept: &super::kept::Kept) {
        if let Err(why) = self.files.write(kept) {
            tracing::error!(group = %self.written.name, %why, "what the monitor remembers cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use standin_config::Settings;

    use super::*;

    #[test]
    fn who_waits_for_a_node_that_starts_as_well_tells_nobody_yet() {
        let written = "[node]\nname = \"alpha\"\nstate_dir = \"/s\"\n[peers.beta]\naddresses = [\"10.0.0.2\"]\n\
                       [groups.mail]\nnodes = { alpha = 1, beta = 10 }\naddresses = 0\n\
                       [[groups.mail.resources]]\nname = \"script\"\nkind = \"script\"\nstart = [\"/bin/true\"]\n";
        let settings = Settings::parse(written, "standin.toml").unwrap();
        let group = settings.groups.values().next().unwrap();
        let mut alerting = Alerting::new("alpha".parse().unwrap(), group);
        assert!(alerting.is_early(About::NotFinished) && !alerting.is_early(About::Stray));
        alerting.patience = Duration::ZERO;
        assert!(!alerting.is_early(About::NotFinished));
    }
}
