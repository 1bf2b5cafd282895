// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command lines of the form `--name value`.

use std::{
    collections::BTreeMap,
    fmt::Display,
    process::exit,
    str::FromStr, //
};

/// An option that a program knows: its name, without dashes, and what it means.
pub type Known = (&'static str, &'static str);

/// The options given, by name.
#[derive(Debug)]
pub struct Args(BTreeMap<&'static str, String>);

impl Args {
    /// Reads the command line. `--help` prints what is known and ends the program; so does, with
    /// status 2, an option that is not.
    pub fn parse(about: &str, known: &[Known]) -> Self {
        match Self::from(std::env::args().skip(1), known) {
            Ok(Some(args)) => args,
            Ok(None) => {
                println!("{about}\n");
                known.iter().for_each(|(name, help)| println!("  --{name:<12} {help}"));
                exit(0)
            }
            Err(problem) => fail(&problem),
        }
    }

    fn from(
        mut words: impl Iterator<Item = String>,
        known: &[Known],
    ) -> Result<Option<Self>, String> {
        let mut given = BTreeMap::new();
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let (name, _) = known
                .iter()
                .find(|(k, _)| name.strip_prefix("--") == Some(k))
                .ok_or_else(|| format!("unknown option '{word}' (try --help)"))?;
            let value = inline.or_else(|| words.next());
            given.insert(*name, value.ok_or_else(|| format!("--{name} wants a value"))?);
        }
        Ok(Some(Self(given)))
    }

    /// The value of an option, if it was given. A value of the wrong kind ends the program with
    /// status 2.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Option<T> {
        let text = self.0.get(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(e) => fail(&format!("--{name} {text}: {e}")),
        }
    }
}

fn fail(problem: &str) -> ! {
    eprintln!("{problem}");
    exit(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known] = &[("mib", "size"), ("engine", "which")];

    fn parse(words: &[&str]) -> Result<Option<Args>, String> {
        Args::from(words.iter().map(|s| (*s).to_owned()), KNOWN)
    }

    #[test]
    fn both_forms() {
        let args = parse(&["--mib", "8", "--engine=gfx"]).unwrap().unwrap();
        assert_eq!(args.get::<u64>("mib"), Some(8));
        assert_eq!(args.get::<String>("engine").as_deref(), Some("gfx"));
        assert_eq!(parse(&[]).unwrap().unwrap().get::<u64>("mib"), None);
    }

    #[test]
    fn refuses() {
        assert!(parse(&["--size", "8"]).is_err());
        assert!(parse(&["--mib"]).is_err());
        assert!(parse(&["--help"]).unwrap().is_none());
    }
}
