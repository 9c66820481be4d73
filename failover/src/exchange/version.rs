//! Which Exchange a server runs, from its `serialNumber`: `Version 6.5 (Build 7638.2: Service Pack 2)`.

use std::fmt;

/// What differs in the directory from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 2000 (6.0) and 2003 (6.5): storage groups, RUS, routing masters.
    Ex2003,
    /// 2007 (8.x): storage groups; neither RUS nor routing masters.
    Ex2007,
    /// 2010 and 2013 (14.x, 15.0): databases of the organization, which have an owner.
    Ex2010,
}

/// A server's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The number before the point, 6 for 2003.
    pub major: u32,
    /// The number after it.
    pub minor: u32,
    /// All of it, as the directory has it, with build and service pack.
    pub text: String,
}

impl Version {
    /// Reads a `serialNumber`; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.trim().strip_prefix("Version ")?.split_whitespace().next()?;
        let (major, minor) = numbers.split_once('.')?;
        let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { major: major.parse().ok()?, minor: minor.parse().unwrap_or(0), text: text.trim().to_owned() })
    }

    /// The generation; `None` for one about whose objects nothing is known here.
    pub fn generation(&self) -> Option<Generation> {
        match (self.major, self.minor) {
            (6, _) => Some(Generation::Ex2003),
            (8, _) => Some(Generation::Ex2007),
            (14, _) | (15, 0) => Some(Generation::Ex2010),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
