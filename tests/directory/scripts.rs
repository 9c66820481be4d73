//! Scripts that were written for other software, run by a group as they stand: the documented one for Double-Take, and start and stop scripts
//! in the style of ExpressCluster, which ask variables what happens.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::forest::{FLEETING, PASSWORD, assert_same_dump, dump, mailbox_dn};
use crate::groups::Scene;
use crate::live::{desk, without_flags};
use crate::support::PROGRAM;
use crate::support::group::Group;

/// What is around the script on its machine: `exchfailover` on the path, `net` to start services, and where the settings are.
const AROUND: &str = r#"#!/bin/sh
export PATH="{dir}/bin:$PATH" STANDIN_CONFIG="{dir}/standin.toml"
cd "{dir}" || exit 1
"#;

/// The order of the application note: flags, services, some time, users.
const FAILOVER: &str = r#"
exchfailover -setup -failover -s EX1 -t EX2 -l {dir}/run.log -u administrator:"$PASSWORD" || exit 1
net start "Microsoft Exchange System Attendant"
net start "Microsoft Exchange Information Store"
sleep 1
exchfailover -failover -s EX1 -t EX2 -l {dir}/run.log -u administrator:"$PASSWORD" || exit 1
"#;

const FAILBACK: &str = r#"
exchfailover -setup -failback -s EX1 -t EX2 -l {dir}/run.log -u administrator:"$PASSWORD" || exit 1
net start "Microsoft Exchange System Attendant"
net start "Microsoft Exchange Information Store"
sleep 1
exchfailover -failback -s EX1 -t EX2 -l {dir}/run.log -u administrator:"$PASSWORD" || exit 1
"#;

/// As ExpressCluster's templates are built: by event, by disk, by server, by priority.
const START: &str = r#"
echo "start $CLP_EVENT $CLP_DISK $CLP_SERVER $CLP_PRIORITY $CLP_GROUPNAME" >>{dir}/events
if [ "$CLP_EVENT" = RECOVER ]; then exit 0; fi
if [ "$CLP_DISK" != SUCCESS ]; then echo "the disk of $CLP_GROUPNAME failed"; exit 1; fi
if [ "$CLP_PRIORITY" = 1 ]; then
    # Nobody was ever away before the first start.
    test -f "$CLP_SCRIPT_PATH/../moved" || exit 0
    . "$CLP_SCRIPT_PATH/failback"
else
    touch {dir}/../moved
    . "$CLP_SCRIPT_PATH/failover"
fi
"#;

const STOP: &str = r#"
echo "stop $CLP_EVENT $CLP_DISK $CLP_SERVER $CLP_PRIORITY $CLP_GROUPNAME" >>{dir}/events
net stop "Microsoft Exchange Information Store"
net stop "Microsoft Exchange System Attendant"
"#;

const NET: &str = "#!/bin/sh\necho \"$*\" >>{dir}/services\n";

fn exchange(dir: &str) -> Group {
    let scripts = format!("start = [\"{dir}/start.sh\"]\nstop = [\"{dir}/stop.sh\"]");
    Group::new("addresses = 0").resource("exchange", "script", &[], &scripts)
}

fn write(dir: &Path, name: &str, text: &str) {
    let file = dir.join(name);
    fs::write(&file, text.replace("{dir}", dir.to_str().unwrap()).replace("$PASSWORD", PASSWORD)).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn scripts_for_other_software_run_as_they_stand() {
    let Some(desk) = desk() else { return };
    let scene = Scene::new(desk, exchange);
    for node in [&scene.alpha, &scene.beta] {
        let dir = &node.dir;
        fs::create_dir(dir.join("bin")).unwrap();
        symlink(PROGRAM, dir.join("bin/exchfailover")).unwrap();
        write(dir, "bin/net", NET);
        write(dir, "failover", FAILOVER);
        write(dir, "failback", FAILBACK);
        write(dir, "start.sh", &format!("{AROUND}{START}"));
        write(dir, "stop.sh", &format!("{AROUND}{STOP}"));
    }
    let before = dump(&scene.desk.forest, &without_flags());
    scene.alpha.run(&["online", "mail"]).expect(0);
    assert_same_dump(&before, &dump(&scene.desk.forest, &without_flags()));
    let home = || scene.desk.home_of(&mailbox_dn(0)).to_string();
    // Each node runs for itself here, so the journals of the failover are given to the other one, as with one machine for the scripts.
    let there = scene.alpha.run(&["handoff", "mail", "--to", "beta"]).expect(0);
    println!("{}", there.stdout);
    assert!(home().contains("CN=EX2,"), "{}", home());
    let flags = dump(&scene.desk.forest, &FLEETING);
    assert!(flags.iter().any(|object| object.contains("CN=EX2,") && object.contains("msExchPatchMDB: TRUE")));
    for entry in fs::read_dir(scene.beta.state_dir().join("directory")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|end| end == "journal") {
            fs::create_dir_all(scene.alpha.state_dir().join("directory")).unwrap();
            fs::copy(entry.path(), scene.alpha.state_dir().join("directory").join(entry.file_name())).unwrap();
        }
    }
    scene.beta.run(&["failback", "mail"]).expect(0);
    assert_same_dump(&before, &dump(&scene.desk.forest, &without_flags()));
    let events = |name: &str| lines(&scene.desk.file(name).join("events"));
    assert_eq!(
        events("alpha"),
        ["start START SUCCESS HOME 1 mail", "stop START SUCCESS HOME 1 mail", "start START SUCCESS HOME 1 mail"]
    );
    assert_eq!(events("beta"), ["start START SUCCESS OTHER 2 mail", "stop START SUCCESS OTHER 2 mail"]);
    let started = ["start Microsoft Exchange System Attendant", "start Microsoft Exchange Information Store"];
    let stopped = ["stop Microsoft Exchange Information Store", "stop Microsoft Exchange System Attendant"];
    assert_eq!(lines(&scene.beta.dir.join("services")), [started, stopped].concat());
    assert_eq!(lines(&scene.alpha.dir.join("services")), [stopped, started].concat());
    // Lost is not handed over: the script is told so.
    let mut scene = scene;
    scene.alpha.kill();
    scene.beta.run(&["failover", "mail", "--accept-loss", "any"]).expect(0);
    assert_eq!(lines(&scene.beta.dir.join("events")).last().unwrap(), "start FAILOVER SUCCESS OTHER 2 mail");
    assert!(scene.desk.home_of(&mailbox_dn(0)).to_string().contains("CN=EX2,"));
}
