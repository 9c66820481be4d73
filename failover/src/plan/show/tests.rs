use super::*;
use crate::plan::build::{PlanOptions, build};
use crate::tests::Organization;

fn plan() -> Plan {
    let directory = Organization::new(2).directory();
    let options =
        PlanOptions { source: "EX1".into(), target: "EX10".into(), leave_update_service: true, ..PlanOptions::default() };
    build(&directory, &options, None).unwrap()
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let mut plan = plan();
    let mut text = Vec::new();
    plan.warnings.push("\"changes\": [],".into());
    write_json(&plan, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(read_json(&text).unwrap(), plan);
    assert!(text.lines().filter(|line| line.contains("\"kind\":\"mailbox\"")).count() == 10, "{text}");
    plan.changes.clear();
    let mut empty = Vec::new();
    write_json(&plan, &mut empty).unwrap();
    assert_eq!(read_json(&String::from_utf8(empty).unwrap()).unwrap(), plan);
    let other = text.replacen("\"schema\": 1", "\"schema\": 7", 1);
    assert!(read_json(&other).unwrap_err().to_string().contains("form 7"));
    assert!(read_json("{").is_err());
}

#[test]
fn a_summary_says_what_matters() {
    let text = summary(&plan(), Some(&Rate { writes: 12, writes_per_second: 5.0 }));
    for part in [
        "failover EX1 -> EX10\n  options: -norus\n",
        "  \"EX1, Sales, Inside\" -> \"EX1, Sales, Inside\"  1.edb  2 mailboxes\n",
        "       10  mailboxes\n",
        "        6  in DC=sub,DC=fa,DC=test\n",
        "  estimate: 5 s, at the 5 writes a second of a run here before (12 writes)\n",
        "  2 references stay: as asked with -norus\n",
        "references that nobody knows about",
        "    CN=No store,OU=EX1,DC=fa,DC=test: msExchHomeServerName: /o=First EX1",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn details_have_every_value() {
    let plan = plan();
    let mut text = Vec::new();
    write_details(&plan, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for edit in plan.changes.iter().flat_map(|change| &change.edits) {
        assert!(edit.old.iter().all(|old| text.contains(&format!("{} - {old}\n", edit.attribute))));
        assert!(edit.new.iter().all(|new| text.contains(&format!("{} + {new}\n", edit.attribute))));
    }
}
