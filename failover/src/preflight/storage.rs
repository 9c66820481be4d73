//! Versions, stores, files and paths.

use super::{Facts, Finding};
use crate::compare::{Aspect, compare};
use crate::exchange::{Generation, Server};
use crate::pairing::pair;

impl Facts<'_> {
    pub(super) fn storage(&self) -> Vec<Finding> {
        let mut findings = vec![self.version()];
        if self.source.generation != Generation::Ex2010 {
            findings.push(self.pairing());
        }
        findings.extend(self.differences());
        findings.push(self.public_store());
        findings.extend(self.servers().into_iter().map(|server| self.system_drive(server)));
        findings.extend(self.servers().into_iter().map(|server| self.attendant(server)));
        findings
    }

    fn version(&self) -> Finding {
        let (ours, theirs) = (&self.source.version, &self.target.version);
        if ours == theirs {
            return Finding::ok("version", format!("both run {ours}"));
        }
        let what = format!("{} runs {ours}, {} runs {theirs}", self.source.name, self.target.name);
        match self.source.generation == self.target.generation && ours.major == theirs.major && ours.minor == theirs.minor {
            true => Finding::warn("version", what, "bring both to the same service pack"),
            false => Finding::fail("version", what, "databases are opened by the same version only"),
        }
    }

    fn pairing(&self) -> Finding {
        let stores = self.source.pairing_stores().and_then(|ours| Ok((ours, self.target.pairing_stores()?)));
        let (ours, theirs) = match stores {
            Ok(stores) => stores,
            Err(error) => return Finding::fail("pairing", error.to_string(), "give the store a database file"),
        };
        match pair(&ours, &theirs, self.rules) {
            Ok(pairing) if pairing.unpaired.is_empty() => {
                Finding::ok("pairing", format!("all {} stores have a counterpart", pairing.pairs.len()))
            }
            Ok(pairing) => {
                let left: Vec<String> =
                    pairing.unpaired.iter().map(|(at, why)| format!("{}, {}: {why}", ours[*at].group, ours[*at].name)).collect();
                Finding::warn("pairing", left.join("; "), "pair them with -r, or say --leave-unpaired")
            }
            Err(refused) => Finding::fail("pairing", refused.to_string().replace('\n', " "), "give the rules that are proposed"),
        }
    }

    /// What compare finds, but what has a line of its own.
    fn differences(&self) -> Vec<Finding> {
        let found = compare(&self.source, &self.target).differences;
        let of_stores: Vec<Finding> = found
            .iter()
            .filter(|difference| !matches!(difference.aspect, Aspect::Version | Aspect::PublicStore))
            .map(|difference| {
                Finding::warn(
                    "names and paths",
                    difference.what.clone(),
                    "compare --rename makes names equal; paths are changed in Exchange",
                )
            })
            .collect();
        if of_stores.is_empty() {
            vec![Finding::ok("names and paths", "groups, stores, files and paths are the same")]
        } else {
            of_stores
        }
    }

    fn public_store(&self) -> Finding {
        match (self.source.public_store(), self.target.public_store()) {
            (Some(_), None) => Finding::warn(
                "public store",
                format!("{} has none", self.target.name),
                "name another server's with --default-public-store",
            ),
            (None, _) => Finding::ok("public store", format!("{} has none to stand in for", self.source.name)),
            (Some(_), Some(_)) => {
                Finding::ok("public store", "both have one; whether folders have replicas on both, only Exchange can tell")
            }
        }
    }

    /// Data on the drive of the system is neither replicated nor moved.
    fn system_drive(&self, server: &Server) -> Finding {
        let mut paths: Vec<String> = Vec::new();
        for group in &server.groups {
            paths.extend([&group.log_path, &group.system_path].into_iter().flatten().cloned());
            paths.extend(group.stores.iter().flat_map(|store| [&store.file, &store.stream_file]).flatten().cloned());
        }
        let attributes = [
            "msExchSmtpBadMailDirectory",
            "msExchSmtpQueueDirectory",
            "msExchSmtpPickupDirectory",
            "msExchMTADatabasePath",
            "msExchDataPath",
        ];
        let objects = self.snapshot.entries().iter().filter(|entry| entry.dn.is_within(&server.dn));
        paths.extend(objects.flat_map(|entry| attributes.iter().filter_map(|name| entry.text(name))).map(str::to_owned));
        paths.retain(|path| path.to_ascii_lowercase().starts_with("c:"));
        let check = "system drive";
        match paths.as_slice() {
            [] => Finding::ok(check, format!("{} has no data on C:", server.name)),
            _ => Finding::warn(
                check,
                format!("{} has on C: {}", server.name, paths.join(", ")),
                "move it to a volume that is replicated",
            ),
        }
    }

    /// Without a store the System Attendant does not start.
    fn attendant(&self, server: &Server) -> Finding {
        let check = "System Attendant";
        let attendant = self.snapshot.beneath(&server.dn, "exchangeAdminService").next();
        let store = attendant.and_then(|entry| entry.dn_of("homeMDB"));
        match store.map(|store| (self.snapshot.get(&store).is_some(), store)) {
            Some((true, store)) => Finding::ok(check, format!("that of {} has the store {}", server.name, store.common_name())),
            Some((false, store)) => Finding::fail(
                check,
                format!("that of {} has a store that does not exist, {store}", server.name),
                "set its homeMDB",
            ),
            None if server.generation == Generation::Ex2010 => {
                Finding::ok(check, format!("{} needs none in the directory", server.name))
            }
            None => Finding::warn(
                check,
                format!("that of {} has no store (homeMDB)", server.name),
                "set it to one of the server's private stores",
            ),
        }
    }
}
