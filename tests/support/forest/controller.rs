//! A domain controller: a Samba process with a directory, an address and a certificate.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::{ADMINISTRATOR, DOMAIN, DOMAIN_DN, Namespace, PASSWORD, finish, wait_for};

/// Where the controller of this number, from 1, listens in the room.
pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 10 + number)
}

/// The controller's name, lower-case since Kerberos of Samba wants it so.
pub(crate) fn host_name(number: u8) -> String {
    format!("dc{number}.{DOMAIN}")
}

/// A controller; it stands still between [`Controller::stop`] and [`Controller::start`].
pub(crate) struct Controller {
    /// `dc1.fb.test`.
    pub(crate) host: String,
    /// Where it listens: 389, 636, 3268, 3269, 53, 88.
    pub(crate) address: Ipv4Addr,
    /// Its files.
    pub(crate) dir: PathBuf,
    process: Option<Child>,
}

impl Controller {
    /// The first controller, which goes on from a pristine directory.
    pub(super) fn copy_of(pristine: &Path, room: &Namespace, certificates: &Certificates, has_eth0: bool) -> Self {
        let number = 1;
        let dir = room.dir.join(format!("dc{number}"));
        finish(Command::new("cp").args(["-a", "--reflink=auto"]).arg(pristine).arg(&dir));
        Self::at(dir, certificates, number, has_eth0)
    }

    /// A controller that joins the domain of the running first one.
    pub(super) fn joined(room: &Namespace, certificates: &Certificates, number: u8) -> Self {
        let dir = room.dir.join(format!("dc{number}"));
        let mut command = room.command("samba-tool");
        command
            .args(["domain", "join", DOMAIN, "DC", "--dns-backend=SAMBA_INTERNAL"])
            .arg(format!("--server={}", host_name(1)))
            .arg(format!("--username={ADMINISTRATOR}"))
            .arg(format!("--password={PASSWORD}"))
            .arg(format!("--targetdir={}", dir.display()))
            .arg(format!("--option=netbios name=DC{number}"))
            .arg(format!("--option=interfaces={}/8", address(number)))
            .arg("--option=bind interfaces only=yes");
        finish(&mut command);
        Self::at(dir, certificates, number, false)
    }

    fn at(dir: PathBuf, certificates: &Certificates, number: u8, has_eth0: bool) -> Self {
        Settings::of(&dir, number, has_eth0).write();
        certificates.issue(&dir, &host_name(number), &address(number).to_string(), 2099);
        Self { host: host_name(number), address: address(number), dir, process: None }
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self, room: &Namespace) {
        assert!(self.process.is_none(), "{} runs already", self.host);
        let mut command = room.command("samba");
        command.args(["-F", "-M", "single", "-s"]).arg(Settings::path(&self.dir));
        let log = fs::File::create(self.dir.join("output")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().expect("nsenter starts samba"));
        room.within(|| {
            for port in [389, 636, 3268] {
                let at = SocketAddr::from((self.address, port));
                wait_for(&format!("{} answers at {at}: {}", self.host, self.log()), || TcpStream::connect(at).ok());
            }
        });
    }

    /// Its `smb.conf`.
    pub(crate) fn settings(&self) -> PathBuf {
        Settings::path(&self.dir)
    }

    /// What the process said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("output")).unwrap_or_default()
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn stop(&mut self, room: &Namespace) {
        let mut process = self.process.take().expect("it runs");
        let number = fs::read_to_string(self.dir.join("run/samba.pid")).unwrap();
        room.run("kill", &["-9", number.trim()]);
        process.wait().unwrap();
    }

    /// Where LDAP over TLS is spoken.
    pub(crate) fn url(&self) -> String {
        format!("ldaps://{}", self.host)
    }

    /// What `ldbsearch` finds beneath a base in this controller's own files, sorted: for comparing two moments.
    pub(crate) fn dump(&self, base: &str, filter: &str, attributes: &[&str]) -> String {
        let mut command = Command::new("ldbsearch");
        command
            .arg("-H")
            .arg(self.dir.join("private/sam.ldb"))
            .arg(format!("--configfile={}", Settings::path(&self.dir).display()));
        command.args(["--cross-ncs", "-S", "-b", base, filter]).args(attributes);
        finish(&mut command)
    }
}

/// `smb.conf` of a controller.
pub(super) struct Settings {
    path: PathBuf,
    text: String,
}

impl Settings {
    /// Where they are in a controller's directory.
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("etc/smb.conf")
    }

    /// Everything in the controller's own directory, on its own address; and on `eth0`, if the room has that. (It would take another
    /// name for a host's, and ask itself for its address.)
    pub(super) fn of(dir: &Path, number: u8, has_eth0: bool) -> Self {
        let more = if has_eth0 { " eth0" } else { "" };
        let at = dir.display();
        let text = format!(
            "[global]\n\
             netbios name = DC{number}\nrealm = {realm}\nworkgroup = FB\nserver role = active directory domain controller\n\
             interfaces = {address}/8{more}\nbind interfaces only = yes\n\
             server services = rpc, ldap, cldap, kdc, dns, drepl\n\
             ldap server require strong auth = allow_sasl_over_tls\n\
             private dir = {at}/private\nstate directory = {at}/state\ncache directory = {at}/cache\nlock directory = {at}\n\
             pid directory = {at}/run\nncalrpc dir = {at}/ncalrpc\nwinbindd socket directory = {at}/wb\n\
             ntp signd socket directory = {at}/ntp\nbinddns dir = {at}/bind-dns\n\
             log file = {at}/log\ntls enabled = yes\ntls keyfile = {at}/private/tls/key.pem\n\
             tls certfile = {at}/private/tls/cert.pem\ntls cafile = {at}/private/tls/ca.pem\n\
             [sysvol]\npath = {at}/state/sysvol\nread only = no\n\
             [netlogon]\npath = {at}/state/sysvol/{DOMAIN}/scripts\nread only = no\n",
            realm = DOMAIN.to_uppercase(),
            address = address(number),
        );
        Self { path: Self::path(dir), text }
    }

    /// Writes them, with the directories that Samba does not make.
    pub(super) fn write(&self) {
        let dir = self.path.parent().and_then(Path::parent).unwrap();
        for name in ["etc", "run", "ncalrpc", "wb", "ntp", "cache", "private/tls"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        fs::write(&self.path, &self.text).unwrap();
    }
}

/// An authority for the certificates of controllers.
pub(crate) struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    /// The authority's certificate, PEM.
    pub(crate) file: PathBuf,
}

impl Certificates {
    pub(super) fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("Authority of {DOMAIN_DN}"));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.join("authority.pem");
        fs::write(&file, authority.pem()).unwrap();
        Self { authority, file }
    }

    /// Gives a controller, by its directory, a certificate that is valid to the end of a year. It counts from its next start.
    pub(crate) fn issue(&self, dir: &Path, host: &str, address: &str, until_year: i32) {
        let mut params = CertificateParams::new(vec![host.to_owned(), address.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let tls = dir.join("private/tls");
        fs::write(tls.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(tls.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(tls.join("ca.pem"), self.authority.pem()).unwrap();
        // Samba refuses a key that others may read.
        finish(Command::new("chmod").arg("600").arg(tls.join("key.pem")));
    }
}
