//! How long a plan for 100,000 mailboxes takes and how much memory, from an LDIF export. It must stay under 10 s and 500 MiB.
//! `MAILBOXES=5000` asks for another number.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use standin_failover::directory::ldif::{LdifDirectory, write_changes};
use standin_failover::exchange::Snapshot;
use standin_failover::plan::build::{PlanOptions, build};
use standin_failover::plan::{check, show};

const STORES: usize = 12;
const GROUP: &str = "CN=First Administrative Group,CN=Administrative Groups,CN=Org,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=example,DC=com";

fn main() {
    let mailboxes: usize = std::env::var("MAILBOXES").map_or(100_000, |count| count.parse().unwrap());
    let file = std::env::temp_dir().join(format!("plan-many-{}.ldf", std::process::id()));
    std::fs::File::create(&file).unwrap().write_all(export(mailboxes).as_bytes()).unwrap();
    let result = std::panic::catch_unwind(|| measure(&file));
    std::fs::remove_file(&file).unwrap();
    result.unwrap();
}

fn measure(file: &PathBuf) {
    let mib = std::fs::metadata(file).unwrap().len() >> 20;
    let begin = Instant::now();
    let directory = LdifDirectory::open(&[file]).unwrap();
    println!("{} objects, {mib} MiB, read in {:.2} s", directory.len(), begin.elapsed().as_secs_f64());
    let options = PlanOptions { source: "EX1".into(), target: "EX2".into(), ..PlanOptions::default() };
    let plan = build(&directory, &options, None).unwrap();
    let planned = begin.elapsed();
    println!("planned after {:.2} s", planned.as_secs_f64());
    let faults = check::check(&plan, &Snapshot::read(&directory).unwrap());
    println!("checked after {:.2} s, {} faults", begin.elapsed().as_secs_f64(), faults.len());
    show::write_json(&plan, &mut std::io::BufWriter::new(std::io::sink())).unwrap();
    write_changes(&mut std::io::BufWriter::new(std::io::sink()), plan.writes()).unwrap();
    println!("written after {:.2} s; at most {} MiB of memory", begin.elapsed().as_secs_f64(), peak_mib());
    print!("{}", show::summary(&plan, None));
    assert!(faults.is_empty() && planned.as_secs() < 10 && peak_mib() < 500);
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).and_then(|line| line.split_whitespace().nth(1));
    line.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}

fn export(mailboxes: usize) -> String {
    let mut text = String::new();
    text.push_str(
        "dn: DC=example,DC=com\nobjectClass: domainDNS\n\ndn: CN=Configuration,DC=example,DC=com\nobjectClass: configuration\n\n",
    );
    text.push_str("dn: CN=Org,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=example,DC=com\nobjectClass: msExchOrganizationContainer\n\n");
    writeln!(text, "dn: {GROUP}\nobjectClass: msExchAdminGroup\n").unwrap();
    for name in ["EX1", "EX2"] {
        let server = format!("CN={name},CN=Servers,{GROUP}");
        writeln!(text, "dn: {server}\nobjectClass: msExchExchangeServer\nserialNumber: Version 6.5 (Build 7638.2)\nlegacyExchangeDN: /o=Org/ou=First/cn=Configuration/cn=Servers/cn={name}\n").unwrap();
        writeln!(text, "dn: CN=Microsoft MTA,{server}\nobjectClass: mTA\n").unwrap();
        writeln!(text, "dn: CN=First,CN=InformationStore,{server}\nobjectClass: msExchStorageGroup\n").unwrap();
        for store in 0..STORES {
            writeln!(text, "dn: CN=S{store},CN=First,CN=InformationStore,{server}\nobjectClass: msExchMDB\nobjectClass: msExchPrivateMDB\nmsExchEDBFile: E:\\\\{store}.edb\n").unwrap();
        }
    }
    (0..mailboxes).for_each(|number| mailbox(&mut text, number));
    text
}

/// About what an export of a real one has.
fn mailbox(text: &mut String, number: usize) {
    let server = format!("CN=EX1,CN=Servers,{GROUP}");
    let dn = format!("CN=Müller\\, Anna {number},OU=Department {},OU=People,DC=example,DC=com", number % 97);
    writeln!(text, "dn: {dn}\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\nobjectClass: user\ncn: Müller, Anna {number}").unwrap();
    writeln!(text, "objectCategory: CN=Person,CN=Schema,CN=Configuration,DC=example,DC=com\ndistinguishedName: {dn}\nname: Müller, Anna {number}").unwrap();
    writeln!(text, "sAMAccountName: anna{number}\nuserPrincipalName: anna{number}@example.com\nmail: anna{number}@example.com\nmailNickname: anna{number}").unwrap();
    writeln!(text, "proxyAddresses: SMTP:anna{number}@example.com\nproxyAddresses: X400:c=US;a= ;p=Org;o=Exchange;s=M{number};")
        .unwrap();
    writeln!(text, "legacyExchangeDN: /o=Org/ou=First/cn=Recipients/cn=anna{number}\nobjectGUID:: {:08}AAAAAAAAAAAAAA==", number)
        .unwrap();
    writeln!(text, "showInAddressBook: CN=Default Global Address List,CN=All Global Address Lists,CN=Address Lists Container,CN=Org,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=example,DC=com").unwrap();
    writeln!(text, "homeMDB: CN=S{},CN=First,CN=InformationStore,{server}\nhomeMTA: CN=Microsoft MTA,{server}", number % STORES)
        .unwrap();
    writeln!(text, "msExchHomeServerName: /o=Org/ou=First/cn=Configuration/cn=Servers/cn=EX1\nwhenCreated: 20240101000000.0Z\nuSNChanged: {number}\n").unwrap();
}
