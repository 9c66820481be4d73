//! Computer accounts, their names, and the mail domains.

use std::ops::ControlFlow;

use super::{Facts, Finding};
use crate::directory::{AttributeName, Filter, Scope, Search, Value};
use crate::exchange::{Computer, Generation, Server};

impl Facts<'_> {
    pub(super) fn accounts(&self) -> Vec<Finding> {
        let mut findings = vec![self.domain(), self.system()];
        for (server, computer) in self.servers().into_iter().zip(&self.computers) {
            let Some(computer) = computer else { continue };
            findings.push(controller(server, computer));
            findings.push(self.service_names(server, computer));
        }
        findings.push(self.mail_domains());
        findings
    }

    fn domain(&self) -> Finding {
        let check = "domain";
        let [Some(ours), Some(theirs)] = &self.computers else {
            let without: Vec<&str> = self
                .servers()
                .into_iter()
                .zip(&self.computers)
                .filter(|(_, computer)| computer.is_none())
                .map(|(server, _)| server.name.as_str())
                .collect();
            let what = format!("{} has no computer account that could be found", without.join(" and "));
            return Finding::warn(
                check,
                what,
                "service principal names of virtual servers are on their nodes' accounts: move them by hand",
            );
        };
        if ours.context != theirs.context {
            return Finding::fail(
                check,
                format!("{} is in {}, {} in {}", ours.dn, ours.context, theirs.dn, theirs.context),
                "both must be in one domain",
            );
        }
        if self.source.admin_group != self.target.admin_group {
            return Finding::warn(
                check,
                "the servers are in different administrative groups",
                "clients may need their profiles renewed",
            );
        }
        Finding::ok(check, format!("both are in {}", ours.context))
    }

    fn system(&self) -> Finding {
        let system = |at: usize| self.computers[at].as_ref().and_then(|computer| computer.system.clone());
        match (system(0), system(1)) {
            (Some(ours), Some(theirs)) if ours == theirs => Finding::ok("operating system", format!("both have {ours}")),
            (Some(ours), Some(theirs)) => {
                Finding::warn("operating system", format!("{ours} and {theirs}"), "use the same on both")
            }
            _ => Finding::warn("operating system", "the directory does not tell it of both", "look at both hosts"),
        }
    }

    /// Every name is there, and nobody else has it.
    fn service_names(&self, server: &Server, computer: &Computer) -> Finding {
        let check = "service principal names";
        let hosts = [Some(server.name.clone()), computer.host_name.clone().or_else(|| server.host_name.clone())];
        let services: &[&str] = if server.generation == Generation::Ex2003 {
            &["exchangeMDB", "exchangeRFR", "SMTPSVC", "HOST"]
        } else {
            &["exchangeMDB", "exchangeRFR", "HOST"]
        };
        let wanted: Vec<String> =
            services.iter().flat_map(|service| hosts.iter().flatten().map(move |host| format!("{service}/{host}"))).collect();
        let has = |name: &String| {
            computer.service_names.iter().any(|value| value.as_text().is_some_and(|text| text.eq_ignore_ascii_case(name)))
        };
        let missing: Vec<String> = wanted.iter().filter(|name| !has(name)).cloned().collect();
        let twice = self.held_by_others(&wanted, computer);
        if !twice.is_empty() {
            return Finding::fail(
                check,
                format!("names of {} are on other accounts: {}", server.name, twice.join(", ")),
                "take them off there",
            );
        }
        match missing.is_empty() {
            true => Finding::ok(check, format!("{} has all of its {}", server.name, wanted.len())),
            false => Finding::warn(
                check,
                format!("{} lacks {}", server.name, missing.join(", ")),
                "they come when its services start, or add them",
            ),
        }
    }

    /// `NAME on ACCOUNT`, for accounts other than this one.
    fn held_by_others(&self, names: &[String], computer: &Computer) -> Vec<String> {
        let filter = Filter::Or(names.iter().map(|name| Filter::equal("servicePrincipalName", name.as_str())).collect());
        let mut found = Vec::new();
        for domain in &self.snapshot.contexts.domains {
            let attributes = vec![AttributeName::new("servicePrincipalName")];
            let search = Search { base: domain.context.clone(), scope: Scope::Subtree, filter: filter.clone(), attributes };
            let result = self.directory.search(&search, &mut |entry| {
                if entry.dn != computer.dn {
                    let theirs = entry.values("servicePrincipalName").iter().filter_map(Value::as_text);
                    let shared = theirs.filter(|text| names.iter().any(|name| name.eq_ignore_ascii_case(text)));
                    found.extend(shared.map(|name| format!("{name} on {}", entry.dn)));
                }
                ControlFlow::Continue(())
            });
            if let Err(error) = result {
                tracing::debug!(domain = %domain.dns_name, %error, "accounts of a domain were not searched; the check of domains tells it");
            }
        }
        found
    }

    /// A server whose full name is a mail domain gets no mail for it from others (KB288175).
    fn mail_domains(&self) -> Finding {
        let check = "mail domains";
        let policies = self.snapshot.of_class("msExchRecipientPolicy");
        let domains: Vec<String> = policies
            .flat_map(|policy| policy.values("gatewayProxy").iter().filter_map(Value::as_text))
            .filter_map(|proxy| {
                proxy.split_once(":@").or_else(|| proxy.rsplit_once('@')).map(|(_, domain)| domain.to_lowercase())
            })
            .collect();
        let mut names: Vec<String> = self.servers().iter().filter_map(|server| server.host_name.clone()).collect();
        names.extend(self.computers.iter().flatten().filter_map(|computer| computer.host_name.clone()));
        let smtp = self.servers().map(|server| server.smtp.clone()).concat();
        names.extend(
            smtp.iter().filter_map(|smtp| self.snapshot.get(smtp)?.text("msExchSmtpFullyQualifiedDomainName").map(str::to_owned)),
        );
        match names.iter().find(|name| domains.contains(&name.to_lowercase())) {
            Some(name) => Finding::fail(
                check,
                format!("{name} is a server's name and a recipient policy's domain"),
                "take the domain out of the policy",
            ),
            None => Finding::ok(
                check,
                format!("no server has the name of one of the {} domains of recipient policies", domains.len()),
            ),
        }
    }
}

fn controller(server: &Server, computer: &Computer) -> Finding {
    match computer.is_controller {
        true => Finding::fail("domain controller", format!("{} is one", server.name), "use a member server"),
        false => Finding::ok("domain controller", format!("{} is none", server.name)),
    }
}
