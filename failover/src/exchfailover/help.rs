//! What `-?` and `-??` print.

/// The syntax (`-?`).
pub const SYNTAX: &str = "\
exchfailover -failover | -failback  -s SOURCE -t TARGET
             [-l LOGFILE] [-norus] [-nospn] [-o OPTIONS_FILE]
             [-r [GROUP][,STORE][:[GROUP][,STORE]]]...
             [-setup] [-test] [-u USER[:PASSWORD]] [-?] [-??]
             [--plan FILE] [--leave-unpaired] [--move-host-spn] [--swap-routing-groups]
             [--no-connectors] [--default-public-store STORE] [--verify | --no-verify]
             [--server CONTROLLER]... [--domain DOMAIN] [--ca FILE | --pin SHA256]
             [--password-file FILE] [--state-dir DIRECTORY] [--config FILE] [--json]
exchfailover -failover | -failback -s SOURCE -t TARGET --ldif EXPORT... [--changes FILE]
exchfailover --resume [--only-domain DOMAIN | --only-user USER]
exchfailover --undo
";

const OPTIONS: &[(&str, &str)] = &[
    ("-failover", "move the users of SOURCE's stores to TARGET"),
    ("-failback", "move them back to SOURCE, the original one or the machine in its place; TARGET is who stands in now"),
    ("-s SOURCE", "the original source's name in the directory"),
    ("-t TARGET", "the original target's name in the directory"),
    ("-l LOGFILE", "append the log to this file; without it to ExchFailover.log beside the program"),
    ("-norus", "leave the Recipient Update Services as they are"),
    ("-nospn", "leave the service principal names as they are"),
    ("-o OPTIONS_FILE", "take more options from a file; # begins a comment, names with blanks stand in double quotes"),
    ("-r", "pair stores of equal group and equal name, not by the names of their files"),
    ("-r GROUP:GROUP", "pair the stores of a source's group with those of equal name in a target's group"),
    ("-r G,STORE:G,STORE", "pair this store with that one; parts left out mean the equal name; the rule that says more counts"),
    ("-setup", "only allow the stores that take over to be overwritten by a restore; move nobody"),
    ("-test", "show every change, make none"),
    ("-u USER:PASSWORD", "the account; better without :PASSWORD, which others may see on a command line"),
    ("-?", "the syntax"),
    ("-??", "this"),
    ("--plan FILE", "write the plan to FILE, to be read or carried out later"),
    ("--leave-unpaired", "go on although some stores have no counterpart; they stay as they are"),
    ("--move-host-spn", "move the HOST service names, too; SOURCE can not log on to its domain meanwhile"),
    ("--swap-routing-groups", "put each of the two servers into the other's routing group"),
    ("--no-connectors", "leave the bridgeheads of connectors as they are"),
    ("--default-public-store STORE", "for mailbox stores that used SOURCE's public store, where TARGET has none"),
    ("--no-verify", "do not read back what was written"),
    ("--resume", "go on with a run that stopped, with all that is left or a part of it"),
    ("--undo", "restore what the last run wrote"),
    ("--only-domain DOMAIN", "of a new run, of what is left, or of an export: only what is in this domain"),
    ("--server CONTROLLER", "a domain controller to begin with: dc1.example.com, or starttls://dc1.example.com for port 389"),
    ("--domain DOMAIN", "ask DNS for the controllers of this domain"),
    ("--ca FILE", "believe the certificates that these authorities signed (PEM)"),
    ("--pin SHA256", "believe exactly the certificate of this fingerprint"),
    ("--password-file FILE", "the password is its first line; only its owner may read it"),
    ("--ldif EXPORT", "work on this export of the directory, and change nothing anywhere; more than once for several"),
    ("--changes FILE", "write the changes for the export there, for ldifde -i or ldapmodify; a file for each domain"),
    ("--state-dir DIRECTORY", "where journals of runs are kept"),
    ("--config FILE", "the settings file, whose table [directory] says how the directory is reached"),
    ("--json", "print one JSON value at the end, and nothing else"),
    ("--verify", "read back what was written; this is so anyway"),
    ("--only-user USER", "only this user, by user principal name"),
];

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "done, or nothing to do"),
    ("1", "some objects failed; they are in the log and in the file for the next try"),
    ("2", "the command line is wrong"),
    ("3", "the stores could not be paired; nothing was changed"),
    ("4", "the directory can not be reached or refuses; nothing was changed"),
    ("5", "stopped half-way: --resume goes on, --undo restores"),
];

/// The syntax with a line for each option and exit code (`-??`).
pub fn explained() -> String {
    let lines = |rows: &[(&str, &str)]| rows.iter().map(|(left, right)| format!("  {left:<29} {right}\n")).collect::<String>();
    format!(
        "{SYNTAX}\nOptions begin with - or /; case counts only in a password.\n{}\nExit codes:\n{}",
        lines(OPTIONS),
        lines(EXIT_CODES)
    )
}
