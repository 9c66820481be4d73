//! Services by a real systemd, the first process of a room of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use standin_failover::preflight::Grade;
use standin_failover::resource::Condition;

use crate::ground::{TestStep, on, possible, settings, step};
use crate::namespace::Namespace;

/// Set where this test runs beside systemd.
const INSIDE: &str = "STANDIN_TEST_BESIDE_SYSTEMD";

/// Goes into a control group of its own and runs the rest there. `$1` is a directory of the room, `$2` the group's name, `$3` the rest. What
/// is mounted is only there for this shell: the room removes all that is in its directory.
const BOOT: &str = r#"
    mount -t cgroup2 none /mnt && mkdir "/mnt/$2" && echo $$ > "/mnt/$2/cgroup.procs" && umount /mnt || exit 1
    exec unshare --cgroup --pid --fork --mount --mount-proc --ipc --uts --kill-child=KILL sh -c "$3" sh "$1"
"#;

/// Systemd becomes the first process of its namespaces, with nothing to do but what it is told.
const FIRST: &str = r#"
    mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/systemd/system && mkdir -p /run/systemd/system || exit 1
    mount -t cgroup2 none /sys/fs/cgroup && cp "$1"/*.service "$1"/*.target /etc/systemd/system/ || exit 1
    container=standin exec /lib/systemd/systemd --system --unit=room.target
"#;

/// Removes the control group `$1` once its last process is gone.
const CLEAR: &str = r#"
    mount -t cgroup2 none /mnt || exit 1
    for turn in $(seq 50); do
        find "/mnt/$1" -depth -type d -exec rmdir {} + 2>/dev/null
        test -e "/mnt/$1" || exit 0
        sleep 0.1
    done
    exit 1
"#;

const UNITS: [(&str, &str); 6] = [
    ("room.target", "[Unit]\nDefaultDependencies=no\n"),
    ("good.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
    ("boots.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=room.target\n"),
    ("fails.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ("hangs.service", "[Service]\nType=notify\nExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n"),
    ("stubborn.service", "[Service]\nExecStart=/bin/sh -c \"trap '' TERM; while :; do sleep 1; done\"\nTimeoutStopSec=1\n"),
];

struct Systemd {
    /// `None` only at its end.
    room: Option<Namespace>,
    boot: Child,
    group: String,
}

impl Systemd {
    fn boot() -> Self {
        let room = Namespace::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "", "127.0.0.1");
        for (name, text) in UNITS {
            let text = text.replace("[Service]", "[Unit]\nDefaultDependencies=no\n[Service]");
            fs::write(room.dir.join(name), text).unwrap();
        }
        let group = format!("standin-test-{}", std::process::id());
        let mut command = room.command("unshare");
        command.args(["--mount", "sh", "-c", BOOT, "sh"]).arg(&room.dir).args([&group, FIRST]);
        let log = fs::File::create(room.dir.join("log")).unwrap();
        let boot = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { room: Some(room), boot, group }
    }

    /// This test again, beside systemd, whose process number is found in the room: that of its own namespace means nothing there.
    fn beside(&self, test: &str) {
        let room = self.room.as_ref().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let find = "for f in /proc/[0-9]*; do \
             tr '\\0' ' ' < $f/cmdline 2>/dev/null | grep -q '^/lib/systemd/systemd --system' && echo ${f#/proc/}; done; true";
        let pid = loop {
            let found = room.run("sh", &["-c", find]);
            if let Some(pid) = found.lines().next() {
                break pid.to_owned();
            }
            let log = || fs::read_to_string(room.dir.join("log")).unwrap();
            assert!(Instant::now() < deadline, "systemd (package systemd) does not come up:\n{}", log());
            std::thread::sleep(Duration::from_millis(50)); // poll
        };
        let mut command = room.command("nsenter");
        command.args(["--target", &pid, "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--"]);
        command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // Every process in it ends with the room.
        drop(self.room.take());
        let _ = self.boot.wait();
        let cleared = Command::new("unshare").args(["--mount", "sh", "-c", CLEAR, "sh", &self.group]).status();
        assert!(
            cleared.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the control group {} stays",
            self.group
        );
    }
}

#[test]
fn systemd_is_ordered_and_understood() {
    if std::env::var_os(INSIDE).is_none() {
        if possible(&["systemctl", "unshare", "nsenter"]) {
            Systemd::boot().beside("services::systemd_is_ordered_and_understood");
        }
        return;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !Command::new("systemctl").args(["is-active", "--quiet", "room.target"]).status().unwrap().success() {
        assert!(Instant::now() < deadline, "systemd does not answer");
        std::thread::sleep(Duration::from_millis(50)); // poll
    }
    let services = |list: &str| on("alpha", &settings("addresses = 0", &format!("kind = \"service\"\nservices = {list}\n")));
    let both = services("[\"good.service\", \"stubborn.service\"]");
    assert_eq!(both.condition().unwrap(), Condition::Offline);
    both.start(&step()).unwrap();
    both.start(&step()).unwrap();
    assert_eq!(both.condition().unwrap(), Condition::Online);
    // One that ignores its end is ended by systemd, and waited for.
    both.stop(&step()).unwrap();
    both.stop(&step()).unwrap();
    assert_eq!(both.condition().unwrap(), Condition::Offline);

    let trouble = services("\"fails.service\"").start(&step()).unwrap_err().to_string();
    assert!(trouble.contains("fails.service") && trouble.contains("it ended with 1"), "{trouble}");
    let trouble = services("\"nosuch.service\"").condition().unwrap_err().to_string();
    assert!(trouble.contains("systemd does not have it (not-found)"), "{trouble}");
    let hangs = services("[\"good.service\", \"hangs.service\"]");
    let short = TestStep::lasting(Duration::from_secs(1));
    let trouble = hangs.start(&short).unwrap_err().to_string();
    assert!(trouble.contains("did not end in time"), "{trouble}");
    let Condition::Partly(how) = hangs.condition().unwrap() else { panic!("{:?}", hangs.condition()) };
    assert_eq!(how, "good.service is online, hangs.service is activating (start)");
    hangs.stop(&step()).unwrap();

    Command::new("systemctl").args(["--quiet", "enable", "boots.service"]).status().unwrap();
    let boots = services("\"boots.service\"");
    assert_eq!(boots.check()[0].grade, Grade::Warn);
    let step = step();
    boots.start(&step).unwrap();
    assert_eq!(boots.check()[0].grade, Grade::Ok);
    boots.restore(&step).unwrap();
    assert_eq!(boots.check()[0].grade, Grade::Warn);
}
