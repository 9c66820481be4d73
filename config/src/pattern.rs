//! The patterns of rules: what they mean is fixed in one place.

use globset::{Glob, GlobBuilder};

/// Makes the glob of a rule's pattern: `*` and `?` stop at `/`, `**` does not, `[a-z]` and `{a,b}` choose, `\` escapes, case counts;
/// the same on every platform. It is matched against the path beneath the root, without a leading slash.
pub fn compile_pattern(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).case_insensitive(false).build()
}

/// What is wrong with a pattern, and what to write instead.
pub(crate) fn check(pattern: &str) -> Result<(), (String, String)> {
    let cleaned = pattern.trim_matches('/').trim_start_matches("./");
    let fault = |wrong: &str, instead: String| Err((format!("{} {wrong}", crate::problem::quote(pattern)), instead));
    match pattern {
        "" => return Err(("the pattern is empty".into(), "write a glob such as \"*.tmp\", or \"**\" for everything".into())),
        p if p.contains("//") => return fault("has an empty component, so it matches nothing", "write single slashes".into()),
        p if p.split('/').any(|c| c == "..") => {
            return fault(
                "has a component \"..\", but rules see only what is beneath the root",
                "write a path beneath the root".into(),
            );
        }
        p if p.starts_with('/') => {
            return fault("starts with '/', but patterns are relative to the root", format!("write {cleaned:?}"));
        }
        p if p.ends_with('/') => {
            return fault(
                "ends with '/', so it matches nothing",
                format!("write {cleaned:?}, or {:?} for all beneath it", format!("{cleaned}/**")),
            );
        }
        p if p.split('/').any(|c| c == ".") => {
            return fault("has a component \".\", so it matches nothing", "leave the \".\" out".into());
        }
        _ => {}
    }
    let compiled = compile_pattern(pattern);
    compiled.map(drop).map_err(|error| {
        let why = error.kind().to_string().replace("; ", ", ");
        let wrong = format!("{} is not a glob: {why}", crate::problem::quote(pattern));
        (wrong, "correct it, or put a backslash before a special character that is meant as such, in single quotes: '\\['".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        compile_pattern(pattern).unwrap().compile_matcher().is_match(path)
    }

    #[test]
    fn stars_stop_at_slashes() {
        assert!(matches("*.tmp", "a.tmp"));
        assert!(!matches("*.tmp", "a/b.tmp"));
        assert!(matches("**/*.tmp", "a/b.tmp"));
        assert!(matches("**/*.tmp", "b.tmp"));
        assert!(matches("{cur,new}/*", "new/1"));
        assert!(matches(r"a\*", "a*"));
        assert!(!matches("*.TMP", "a.tmp"));
    }

    #[test]
    fn patterns_that_can_match_nothing_are_refused() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "./a", "a[", "{a", "a\\"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for good in ["*", "**", "a/b", "a..b", ".hidden", "...", "[ab]", "{a,b}"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }
}
