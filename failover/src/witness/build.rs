//! From settings to a witness.

use standin_common::id::GroupName;
use standin_config::group::{DirectoryWitness as DirectorySettings, Witness as Settings};

use super::Witness;
use super::directory::DirectoryWitness;
use super::etcd::EtcdWitness;
use crate::credentials::Credentials;
use crate::directory::Dn;
use crate::directory::ldap::{Endpoint, LdapSettings};

/// How a controller is reached, and who logs on there, as `[directory]` says; the argument is the controller as it is written. Asked again
/// whenever the account or the certificates may have changed. Errors are words.
pub type Door = Box<dyn Fn(&str) -> Result<(LdapSettings, Credentials), String> + Send + Sync>;

/// The witness of a group. Nobody is asked yet.
///
/// # Errors
/// What is wrong with its settings, in words.
pub fn build(settings: &Settings, group: &GroupName, door: Door) -> Result<Box<dyn Witness>, String> {
    match settings {
        Settings::Etcd(settings) => Ok(Box::new(EtcdWitness::new(settings, group))),
        Settings::Directory(settings) => {
            let beneath = place(settings)?;
            Ok(Box::new(DirectoryWitness::new(&settings.controller, &beneath, group, door)))
        }
    }
}

/// What is wrong with a witness's settings that their form does not tell, in words.
pub fn fault(settings: &Settings) -> Option<String> {
    match settings {
        Settings::Etcd(_) => None,
        Settings::Directory(settings) => place(settings).err(),
    }
}

fn place(settings: &DirectorySettings) -> Result<Dn, String> {
    let controller: Result<Endpoint, _> = settings.controller.parse();
    controller.map_err(|error| format!("controller: {error}"))?;
    let beneath: Dn = settings.beneath.parse().map_err(|error| format!("beneath = \"{}\": {error}", settings.beneath))?;
    if beneath == Dn::root() {
        return Err("beneath: it names no object; write that of the mail server's computer account".to_owned());
    }
    Ok(beneath)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_controller_or_no_object_is_said() {
        let fault = |controller: &str, beneath: &str| {
            let (controller, beneath) = (controller.to_owned(), beneath.to_owned());
            fault(&Settings::Directory(DirectorySettings { controller, beneath })).unwrap_or_default()
        };
        assert_eq!(fault("starttls://dc1.corp.example", "CN=MAIL1,CN=Computers,DC=corp,DC=example"), "");
        assert!(fault("ldap://dc1", "CN=a,DC=b").contains("in the clear"));
        assert!(fault("dc1", "MAIL1").starts_with("beneath = \"MAIL1\": "));
        assert!(fault("dc1", "").contains("names no object"));
    }
}
