//! The key by which updates are signed.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, TSigner};
use zeroize::Zeroizing;

/// How far the clocks may differ, in seconds. Source: RFC 8945, section 10.
const FUDGE_S: u16 = 300;

/// What a file of a key tells; of `tsig-keygen`, all of it.
#[derive(PartialEq, Eq)]
struct Key {
    name: Option<String>,
    algorithm: Option<String>,
    secret: String,
}

/// Reads a file; name and algorithm from the settings count before those in it.
pub(super) fn load(file: &Path, name: Option<&str>, algorithm: Option<&str>) -> Result<TSigner, String> {
    let text = fs::read_to_string(file).map(Zeroizing::new).map_err(|error| error.to_string())?;
    let key = parse(&text).ok_or("it holds neither what tsig-keygen writes nor a secret in base64")?;
    let name = name.map(str::to_owned).or(key.name).ok_or("it does not tell the key's name, and the settings have no `key`")?;
    let name = Name::from_ascii(&name).map_err(|error| format!("{name} is no name of a key: {error}"))?;
    let algorithm = algorithm.map(str::to_owned).or(key.algorithm).unwrap_or_else(|| "hmac-sha256".to_owned());
    let algorithm = match algorithm.to_ascii_lowercase().as_str() {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => return Err(format!("the algorithm {other} is not used any more: make a key with hmac-sha256")),
    };
    let secret = STANDARD.decode(key.secret.as_bytes()).map_err(|error| format!("its secret is no base64: {error}"))?;
    if secret.is_empty() {
        return Err("its secret is empty".to_owned());
    }
    TSigner::new(secret, algorithm, name, FUDGE_S).map_err(|error| error.to_string())
}

/// `key "NAME" { algorithm A; secret "S"; };`, or a line with the secret.
fn parse(text: &str) -> Option<Key> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let plain: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if !plain.iter().any(|line| line.contains('{')) {
        let [secret] = plain.as_slice() else { return None };
        return Some(Key { name: None, algorithm: None, secret: (*secret).to_owned() });
    }
    // A secret may hold `//`, so its line counts as a whole.
    let lines = lines.zip(text.lines()).map(|(cut, whole)| if whole.contains("secret") { whole } else { cut });
    let joined: Vec<&str> = lines.filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = joined.join(" ");
    let words: Vec<&str> = joined
        .split(|char: char| char.is_whitespace() || matches!(char, '{' | '}' | ';' | '"'))
        .filter(|word| !word.is_empty())
        .collect();
    let after = |word: &str| {
        words.iter().position(|known| *known == word).and_then(|at| words.get(at + 1)).map(|text| (*text).to_owned())
    };
    Some(Key { name: after("key"), algorithm: after("algorithm"), secret: after("secret")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_files_are_read() {
        let key =
            parse("# ours\nkey \"standin.example.org\" {\n\talgorithm hmac-sha512; // strong\n\tsecret \"a//b+c==\";\n};\n")
                .unwrap();
        assert!(key.name.as_deref() == Some("standin.example.org") && key.algorithm.as_deref() == Some("hmac-sha512"));
        assert!(key.secret == "a//b+c==");
        let key = parse("\n  QUJD  \n").unwrap();
        assert!(key.name.is_none() && key.secret == "QUJD");
        assert!(parse("").is_none() && parse("a\nb").is_none() && parse("key \"x\" { algorithm hmac-sha256; };").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_secret() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str, name, algorithm| {
            let file = dir.path().join("key");
            fs::write(&file, text).unwrap();
            load(&file, name, algorithm).map(drop)
        };
        assert_eq!(load("QUJDREVGRw==", Some("k.example"), None), Ok(()));
        assert!(load("QUJDREVGRw==", None, None).unwrap_err().contains("the key's name"));
        assert!(load("QUJDREVGRw==", Some("k"), Some("hmac-md5")).unwrap_err().contains("hmac-md5"));
        let wrong = load("hunter2!", Some("k"), None).unwrap_err();
        assert!(wrong.contains("no base64") && !wrong.contains("hunter2"), "{wrong}");
        assert!(super::load(&dir.path().join("none"), None, None).is_err());
    }
}
