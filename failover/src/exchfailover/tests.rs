use proptest::prelude::*;

use super::words::OPTIONS;
use super::*;

fn no_file(file: &str) -> Result<String, String> {
    Err(format!("no {file} here"))
}

/// Words as a shell that splits at blanks gives them.
fn words(line: &str) -> Vec<String> {
    line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn run(line: &str) -> Options {
    match parse(&words(line), &no_file) {
        Ok(Asked::Run(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> String {
    parse(&words(line), &no_file).unwrap_err().to_string()
}

fn rules(options: &Options) -> Vec<String> {
    options.rules.iter().map(ToString::to_string).collect()
}

#[test]
fn documented_lines() {
    let options = run("-failover -s Indy -t ExchSrvr_Bkup");
    assert_eq!(
        (options.direction, options.source.as_str(), options.target.as_str()),
        (Some(Direction::Failover), "Indy", "ExchSrvr_Bkup")
    );
    assert_eq!(options.rules, []);
    assert_eq!(rules(&run("-failover -s Indy -t ExchSrvr_Bkup -r")), [""]);
    assert_eq!(
        rules(&run("-failover -s I -t E -r Indy:Indy_Bkup -r Boston:Boston_Bkup")),
        ["Indy:Indy_Bkup", "Boston:Boston_Bkup"]
    );
    let line = "-failover -s ExchSrvr -t ExchSrvr_Bkup -r Indy, Sales:Indy_Bkup, Sales -r Boston, Sales:Boston_Bkup, Sales";
    assert_eq!(rules(&run(line)), ["Indy,Sales:Indy_Bkup,Sales", "Boston,Sales:Boston_Bkup,Sales"]);
    let line = "-failover -s Indy -t E -r Sales, Inside:Indy_Sales, Inside -r Sales, Outside:Indy_Sales, Outside";
    assert_eq!(rules(&run(line)), ["Sales,Inside:Indy_Sales,Inside", "Sales,Outside:Indy_Sales,Outside"]);
    let options = run("-failover -s Indy -t E -r Sales:Indy_Sales -norus -u administrator:password");
    assert_eq!(rules(&options), ["Sales:Indy_Sales"]);
    assert!(options.leave_update_service && !options.leave_service_names);
    let account = options.account.unwrap();
    assert_eq!((account.user.as_str(), account.password.as_ref().unwrap().reveal()), ("administrator", "password"));
    let options = run("-setup -failback -s SRC -t TGT");
    assert!(options.setup_only && options.direction == Some(Direction::Failback));
}

#[test]
fn spellings() {
    let options = run("/FAILOVER -S Src /T Tgt /NoSpn --Test -L /var/log/x.log /r A,: /setup");
    assert!(options.leave_service_names && options.test && options.setup_only);
    assert_eq!((options.source.as_str(), options.log.as_deref()), ("Src", Some("/var/log/x.log")));
    assert_eq!(rules(&options), ["A"]);
    assert_eq!(rules(&run("-failover -s a -t b -r A, -norus")), ["A"]);
    let account = run("-failover -s a -t b -u DOM\\Admin:Pa:ss-R").account.unwrap();
    assert_eq!((account.user.as_str(), account.password.unwrap().reveal()), ("DOM\\Admin", "Pa:ss-R"));
    assert_eq!(run("-failover -s a -t b -u me").account.unwrap().password, None);
    assert_eq!(parse(&words("-failover -?"), &no_file), Ok(Asked::Syntax));
    assert_eq!(parse(&words("/??"), &no_file), Ok(Asked::Explained));
    assert!(run("--undo").undo && run("--resume --only-user a@b").resume);
}

#[test]
fn names_with_blanks_in_one_word() {
    let typed =
        ["-failover", "-s", "a", "-t", "b", "-r", "First Storage Group, Mail Box:\"Second, Group\",", "Mail"].map(str::to_owned);
    let Ok(Asked::Run(options)) = parse(&typed, &no_file) else { panic!() };
    assert_eq!(rules(&options), [r"First Storage Group,Mail Box:Second\, Group,Mail"]);
}

#[test]
fn an_options_file() {
    let text = "\u{feff}# what the night shift runs\r\n-r \"First Storage Group\", Sales:\"Group, Two\",\r\n  \"Mail Box\" # rest\r\n-norus -l \"C:\\my logs\\x#1.log\"\r\n-u adm:\"pa \"\"ss#\"\r\n";
    let read = |file: &str| if file == "options file.txt" { Ok(text.to_owned()) } else { Err("gone".to_owned()) };
    let typed = ["-failover", "-o", "options file.txt", "-s", "a", "-t", "b"].map(str::to_owned);
    let Ok(Asked::Run(options)) = parse(&typed, &read) else { panic!() };
    assert_eq!(rules(&options), [r"First Storage Group,Sales:Group\, Two,Mail Box"]);
    assert_eq!(options.log.as_deref(), Some(r"C:\my logs\x#1.log"));
    assert_eq!(options.account.unwrap().password.unwrap().reveal(), "pa \"ss#");
    assert!(options.leave_update_service);

    let failing =
        |text: &'static str| parse(&words("-failover -s a -t b -o x"), &move |_| Ok(text.to_owned())).unwrap_err().to_string();
    assert_eq!(failing("-test\n-o y"), "x, line 2: -o may not stand in an options file");
    assert_eq!(failing("\"a"), "x, line 1: a quote is not closed");
    assert_eq!(error("-failover -s a -t b -o x"), "-o: can not read x: no x here");
}

#[test]
fn what_is_refused() {
    for (line, word) in [
        ("-s a -t b", "say -failover or -failback"),
        ("-failover -failback -s a -t b", "can not be meant together"),
        ("-failover -t b", "name the source"),
        ("-failover -s a", "name the target"),
        ("-failover -s a -t A", "same server"),
        ("-failover -s -t b", "-s needs the source's name"),
        ("-failover -s a -s c -t b", "given twice"),
        ("-failover -s a -t b -r x:y:z", "more than one \":\""),
        ("-failover -s a -t b stray", "\"stray\" is no option"),
        ("-failover -s a -t b -r A B", "\"B\" is no option"),
        ("-failover -s a -t b -rx", "\"-rx\" is no option"),
        ("-failover -s a -t b -r -x", "\"-x\" is no option"),
        ("-failover -s a -t b -u", "-u needs USER"),
        ("-failover -s a -t b -u :x", "-u needs USER"),
        ("-failover -s a -t b -u me: hunter2", "-u takes one word"),
        ("--undo --resume", "can not be meant together"),
    ] {
        assert!(error(line).contains(word), "{line}: {}", error(line));
    }
}

#[test]
fn every_option_is_explained_and_no_secret_is_printed() {
    let text = explained();
    for option in OPTIONS {
        let first_word =
            |line: &str| line.split([' ', ':']).find(|word| !word.is_empty()).map(|word| word.trim_start_matches('-').to_owned());
        assert!(
            text.lines().filter(|line| line.starts_with("  -")).any(|line| first_word(line).as_deref() == Some(option)),
            "{option}"
        );
    }
    assert!(!error("-failover -s a -t b -u me: hunter2").contains("hunter2"));
    let printed = format!("{:?}", run("-failover -s a -t b -u me:hunter2"));
    assert!(!printed.contains("hunter2"), "{printed}");
}

proptest! {
    /// Words that end in a comma go on: wherever blanks stand after commas, the rule is the same.
    #[test]
    fn blanks_after_commas(names in proptest::array::uniform4("[a-z]{1,4}"), blanks in any::<[bool; 2]>()) {
        let [group, store, to_group, to_store] = names;
        let blank = |at: usize| if blanks[at] { " " } else { "" };
        let line = format!("-failover -s a -t b -r {group},{}{store}:{to_group},{}{to_store} -test", blank(0), blank(1));
        let options = run(&line);
        prop_assert_eq!(rules(&options), [format!("{group},{store}:{to_group},{to_store}")]);
        prop_assert!(options.test);
    }

    #[test]
    fn nothing_makes_it_fall(words in proptest::collection::vec("[-/\"a-z,:?#\\\\ ]{0,6}", 0..6)) {
        let _ = parse(&words, &|_| Ok(words.join("\n")));
    }
}

#[test]
fn exit_codes_are_those_documented() {
    use crate::directory::DirectoryError;
    use crate::exchange::ExchangeError;
    use crate::plan::build::PlanError;
    let unreachable = DirectoryError::Unreachable { server: "dc1".into(), why: "refused".into() };
    let cases = [
        (Outcome::from(&PlanError::from(unreachable)), 4),
        (Outcome::from(&PlanError::Unpaired(vec![])), 3),
        (Outcome::from(&PlanError::Exchange(ExchangeError::NoServer { name: "x".into(), there_are: vec![] })), 2),
        (Outcome::from(&UsageError::Unknown("x".into())), 2),
        (Outcome::Done, 0),
        (Outcome::SomeFailed, 1),
        (Outcome::Halfway, 5),
    ];
    for (outcome, code) in cases {
        assert_eq!(outcome.code(), code, "{outcome:?}");
        assert!(explained().contains(&format!("  {code} ")), "{code}");
    }
}

#[test]
fn what_is_asked_of_a_plan() {
    let plan = run("-failback -s a -t b -r X:Y -norus -nospn --no-connectors --default-public-store P --swap-routing-groups")
        .plan_options();
    assert!(
        plan.failback
            && plan.leave_update_service
            && plan.leave_service_names
            && plan.leave_connectors
            && plan.swap_routing_groups
    );
    assert!(!plan.setup_only && !plan.move_host_names && !plan.leave_unpaired);
    assert_eq!(
        (plan.source.as_str(), plan.target.as_str(), plan.rules.len(), plan.default_public_store.as_deref()),
        ("a", "b", 1, Some("P"))
    );
}

#[test]
fn quotes_around_a_whole_rule_are_for_its_blanks() {
    let of = |text: &str| {
        let text = text.to_owned();
        match parse(&words("-failover -s a -t b -o x"), &|_| Ok(text.clone())) {
            Ok(Asked::Run(options)) => rules(&options),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("-r \"First Group:Second Group\""), rules(&run_words(&["-r", "First Group:Second Group"])));
    assert_eq!(of("-r \"Group, Two\":\"A:B\""), rules(&run_words(&["-r", "\"Group, Two\":\"A:B\""])));
    assert_eq!(of("-r \"Group, Two\""), rules(&run_words(&["-r", "\"Group, Two\""])));
}

fn run_words(more: &[&str]) -> Options {
    let words: Vec<String> = ["-failover", "-s", "a", "-t", "b"].iter().chain(more).map(|word| (*word).to_owned()).collect();
    match parse(&words, &no_file) {
        Ok(Asked::Run(options)) => *options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_is_taken_off_the_words() {
    let line = "-failover -u first:one -s a /U DOM\\admin:Pa:ss -t b:c";
    let (shown, password) = without_password(&words(line)).unwrap();
    assert_eq!(shown, words("-failover -u first -s a /U DOM\\admin -t b:c"));
    assert_eq!(password.reveal(), "Pa:ss");
    assert!(without_password(&words("-failover -u admin -t b:c")).is_none());
}

#[test]
fn how_the_directory_is_reached() {
    let line = "-test -failover -s a -t b --server dc1,dc2 /SERVER starttls://dc3 --ca /x.pem --JSON --ldif a.ldf --ldif b.ldf --changes c";
    let options = run(line);
    assert_eq!(options.reach.servers, ["dc1", "dc2", "starttls://dc3"]);
    assert_eq!((options.reach.authorities.as_deref(), options.reach.changes.as_deref()), (Some("/x.pem"), Some("c")));
    assert!(options.json && options.reach.exports == ["a.ldf", "b.ldf"]);
    assert!(error("-failover -s a -t b --server").contains("a domain controller's name"));
}
