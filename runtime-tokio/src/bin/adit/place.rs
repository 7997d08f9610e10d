//! Where in a configuration file a mistake is: file and line, and TOML's words for it in plainer ones.

use std::fmt;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::config::{ConfigError, example};

/// A file that was read.
pub(crate) struct Place {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What is in it: secrets too.
    pub(crate) text: Zeroizing<String>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What serde calls numbers, and what people do.
const PLAINER: [(&str, &str); 10] = [
    ("unknown field", "unknown setting"),
    ("missing field", "missing setting"),
    ("unknown variant", "unknown value"),
    ("expected f64", "expected a number"),
    ("expected f32", "expected a number"),
    (" as i128", ""),
    ("expected u32", "expected a whole number from 0 to 4294967295"),
    ("expected u64", "expected a whole number from 0 to 18446744073709551615"),
    ("expected usize", "expected a whole number, 0 or more"),
    ("a sequence", "a list in brackets"),
];

impl Place {
    /// The error, with file and line of its setting if it is about one.
    pub(crate) fn of(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Value { place: None, setting, problem } => {
                let place = Some(self.name(self.line_of(setting)));
                ConfigError::Value { place, setting, problem }
            }
            other => other,
        }
    }

    /// The same of any error.
    pub(crate) fn of_any(&self, error: Box<dyn std::error::Error>) -> Box<dyn std::error::Error> {
        match error.downcast::<ConfigError>() {
            Ok(error) => self.of(*error).into(),
            Err(error) => error,
        }
    }

    /// What the parser says.
    pub(crate) fn unparsed(&self, error: &toml::de::Error) -> ConfigError {
        let mut problem = error.message().trim_end().replace('\n', ", ");
        for (from, to) in PLAINER {
            problem = problem.replace(from, to);
        }
        let line = error.span().map(|span| span.start).filter(|start| *start > 0).map(|start| self.line_at(start));
        let wrong = line.and_then(|line| self.text.lines().nth(line - 1)).map(str::trim);
        let shown = wrong.filter(|line| line.len() <= 120 && is_harmless(line));
        if shown.is_none() && problem.starts_with("invalid") {
            // What the parser found in place of a text: a number, say.
            problem = problem.split('`').step_by(2).map(str::trim_end).collect();
        }
        let place = self.name(line) + &shown.map_or_else(String::new, |line| format!(": {line}"));
        ConfigError::Parse { place, problem }
    }

    fn name(&self, line: Option<usize>) -> String {
        let path = self.path.display();
        line.map_or_else(|| path.to_string(), |line| format!("{path}, line {line}"))
    }

    /// Of a byte, from 1.
    fn line_at(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    /// Of a setting, or of the section that it would be in; of several the first that is there.
    fn line_of(&self, settings: &str) -> Option<usize> {
        let table = DeTable::parse(&self.text).ok()?;
        let lines = settings.split(", ").map(|setting| {
            let (mut table, mut line) = (Some(table.get_ref()), None);
            for name in setting.split('.') {
                let Some((key, value)) = table.and_then(|table| table.iter().find(|(key, _)| &**key.get_ref() == name))
                else {
                    break;
                };
                line = Some(self.line_at(key.span().start));
                table = match value.get_ref() {
                    DeValue::Table(table) => Some(table),
                    _ => None,
                };
            }
            line
        });
        lines.flatten().next()
    }
}

/// Whether a line may be shown: what a secret is mistyped with is secret too, and so is what stands behind a mistyped name.
fn is_harmless(line: &str) -> bool {
    let name_of = |line: &str| line.split_once('=').map(|(name, _)| name.trim().to_owned());
    let Some(name) = name_of(line) else { return line.starts_with('[') };
    let mut known = [example::POOL, example::MINER, example::PROVIDER].into_iter().flat_map(str::lines);
    !name.contains("secret")
        && !name.contains("password")
        && known.any(|line| name_of(line.trim_start_matches(['#', ' '])).is_some_and(|known| known == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MinerConfig, PoolConfig, bad};

    fn place(text: &str) -> Place {
        Place { path: "adit.toml".into(), text: text.to_owned().into() }
    }

    #[test]
    fn a_setting_is_found_or_else_its_section() {
        let place = place("a = 1\n\n[b]\n# c\nc = { d = 2 }\n");
        for (setting, line) in [
            ("a", Some(1)),
            ("b", Some(3)),
            ("b.c", Some(5)),
            ("b.c.d", Some(5)),
            ("b.x", Some(3)),
            ("x", None),
            ("x, b", Some(3)),
        ] {
            assert_eq!(place.line_of(setting), line, "{setting}");
        }
        let told = place.of(bad("b.c", "take another")).to_string();
        assert_eq!(told, "adit.toml, line 5: setting `b.c`: take another");
        assert_eq!(place.of(bad("x", "take one")).to_string(), "adit.toml: setting `x`: take one");
    }

    #[test]
    fn what_does_not_parse_is_told_in_plain_words() {
        let pool = |from: &str, to: &str| {
            assert!(example::POOL.contains(from));
            let place = place(&example::POOL.replace(from, to));
            place.unparsed(&toml::from_str::<PoolConfig>(&place.text).unwrap_err()).to_string()
        };
        let error = pool("per_minute = 6.0", "per_minute = \"six\"");
        assert!(
            error.contains("line ") && error.contains("per_minute = \"six\"") && error.contains("expected a number"),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
        let error = pool("store = \"shares.redb\"", "");
        assert!(error.starts_with("adit.toml: missing setting `store`"), "{error}");
        let error = pool("per_minute = 6.0", "per_hour = 6.0");
        assert!(error.contains("unknown setting `per_hour`, expected `per_minute`"), "{error}");
        let error = pool("network = \"regtest\"", "network = \"main\"");
        assert!(error.contains("unknown value `main`, expected one of `bitcoin`"), "{error}");
        let error = pool("bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x", "bcrt1q6rhpng9");
        assert!(
            error.contains("\"bcrt1q6rhpng9\" is no Bitcoin address")
                && error.contains("checksum")
                && error.contains("copied whole"),
            "{error}"
        );
        let error = pool("idle_secs = 600", "idle_secs = -1");
        assert!(error.contains("idle_secs = -1") && error.contains("a whole number from 0 to 4294967295"), "{error}");
        let error = pool("certificate_validity_secs = 86400", "certificate_validity_secs = 99999999999");
        assert!(error.contains("integer `99999999999`, expected a whole number from 0 to 4294967295"), "{error}");
        let error = pool("authority_secret_key_file = \"pool.key\"", "authority_secret_key = secretXYZ");
        assert!(error.contains("line ") && !error.contains("XYZ"), "{error}");
        for mistyped in [
            "authority_secret_key = 471199",
            "authority_secert_key = \"471199\"",
            "authority_key = 471199x",
            "authority_secret_key = \"\"\"\n471199",
            "471199",
        ] {
            let error = pool("authority_secret_key_file = \"pool.key\"", mistyped);
            assert!(error.contains("line ") && !error.contains("471199"), "{mistyped}: {error}");
        }
        let place = place(&example::MINER.replace("[\"ChaChaPoly\", \"AESGCM\"]", "\"AES\""));
        let error = place.unparsed(&toml::from_str::<MinerConfig>(&place.text).unwrap_err()).to_string();
        assert!(error.contains("a list in brackets"), "{error}");
    }
}
