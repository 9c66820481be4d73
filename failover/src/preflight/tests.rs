use super::*;
use crate::directory::ldif::LdifDirectory;
use crate::tests::Organization;

/// An object: its name, classes, attributes.
type Added<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

fn findings(change: &[(&str, &str)], more: &[Added<'_>]) -> Vec<Finding> {
    let mut organization = Organization::new(1);
    for (name, classes, values) in more {
        organization.add(name, classes, values);
    }
    let text = change.iter().fold(organization.text().to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    preflight(&LdifDirectory::from_text(&text).unwrap(), "EX1", "EX10", &[]).unwrap()
}

fn has(findings: &[Finding], check: &str, grade: Grade, part: &str) {
    let found =
        findings.iter().any(|finding| finding.check == check && finding.grade == grade && finding.to_string().contains(part));
    assert!(found, "{check} {grade:?} {part}\n{}", findings.iter().map(|finding| format!("{finding}\n")).collect::<String>());
}

#[test]
fn a_good_pair() {
    let found = findings(&[], &[]);
    assert!(found.iter().all(|finding| finding.grade != Grade::Fail), "{found:#?}");
    for check in [
        "version",
        "pairing",
        "names and paths",
        "public store",
        "system drive",
        "System Attendant",
        "domain",
        "domain controller",
        "service principal names",
        "mail domains",
        "domains",
        "mode",
        "references",
        "roles",
    ] {
        has(&found, check, Grade::Ok, "");
    }
    // What an export without schema and rights does not tell.
    for check in ["schema", "rights", "operating system", "routing groups"] {
        has(&found, check, Grade::Warn, "");
    }
    has(&found, "roles", Grade::Ok, "routing master of EX1");
}

#[test]
fn what_is_wrong_is_seen() {
    let policy =
        "CN=Default Policy,CN=Recipient Policies,CN=First EX1,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=fa,DC=test";
    let thief = "CN=thief,OU=EX1,DC=sub,DC=fa,DC=test";
    let more: &[Added<'_>] = &[
        (policy, &["msExchRecipientPolicy"], &[("gatewayProxy", "SMTP:@EX10.fa.test")]),
        (thief, &["user"], &[("servicePrincipalName", "EXCHANGEMDB/ex1")]),
    ];
    let changes = [
        ("Build 7638.2: Service Pack 2", "Build 6944.4: Service Pack 1"),
        ("E:\\mdb\\1.edb", "C:\\mdb\\x.edb"),
        ("sAMAccountName: EX10$", "sAMAccountName: EX10$\nuserAccountControl: 532480"),
        ("msExchMixedMode: FALSE", "msExchMixedMode: TRUE"),
        ("msExchAddressListServiceLink: CN=EX3", "msExchAddressListServiceLink: CN=EX4"),
        ("exchangeRFR/EX10\n", "exchangeRFR/other\n"),
    ];
    let found = findings(&changes, more);
    has(&found, "version", Grade::Warn, "Service Pack 1");
    has(&found, "pairing", Grade::Fail, "EX1, Sales, Inside");
    has(&found, "system drive", Grade::Warn, "EX1 has on C: C:\\mdb\\x.edb");
    has(&found, "domain controller", Grade::Fail, "EX10 is one");
    has(&found, "mode", Grade::Warn, "mixed");
    has(&found, "references", Grade::Warn, "leads to CN=EX4");
    has(&found, "service principal names", Grade::Warn, "EX10 lacks exchangeRFR/EX10");
    has(&found, "service principal names", Grade::Fail, "EXCHANGEMDB/ex1 on CN=thief");
    has(&found, "mail domains", Grade::Fail, "ex10.fa.test");
    assert!(preflight(&Organization::new(0).directory(), "EX1", "EX11", &[]).is_err());
}
