//! Whom a coinbase pays: Bitcoin addresses of configuration files, and what is wrong with those that are none.

use bitcoin::Address;
use bitcoin::address::{NetworkUnchecked, ParseError};
use bitcoin::bech32::primitives::decode::{CharError, SegwitHrpstring, SegwitHrpstringError, UncheckedHrpstringError};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

/// What to do about an address that was changed on its way.
const COPY: &str = "mistyped, or not copied whole";

/// An address of whichever network.
pub(crate) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address<NetworkUnchecked>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| {
        D::Error::custom(format_args!("{text:?} is no Bitcoin address: {}", what_is_wrong(&text, &error)))
    })
}

/// In the terms of the kind that the text begins like. The parser's own error does not do: it takes all that is no bech32 for base58.
fn what_is_wrong(text: &str, error: &ParseError) -> String {
    let lower = text.to_ascii_lowercase();
    if let Some(prefix) = ["bcrt1", "bc1", "tb1"].into_iter().find(|prefix| lower.starts_with(prefix)) {
        return match SegwitHrpstring::new(text) {
            Err(wrong) => format!("it begins with {prefix} as a bech32 one does, but {}", bech32(&wrong)),
            Ok(_) => error.to_string(),
        };
    }
    match (text.chars().next(), error) {
        (Some('1' | '2' | '3' | 'm' | 'n'), ParseError::Base58(_)) => {
            format!("it begins as a base58 one does, but its characters or its checksum are not right: it is {COPY}")
        }
        (Some('1' | '2' | '3' | 'm' | 'n'), error) => format!("{error}: it is {COPY}"),
        _ => "one begins with bc1, tb1 or bcrt1, or in base58 with 1, 2, 3, m or n".into(),
    }
}

fn bech32(wrong: &SegwitHrpstringError) -> String {
    match wrong {
        SegwitHrpstringError::Unchecked(UncheckedHrpstringError::Char(CharError::InvalidChar(character))) => {
            format!("{character:?} is none of its characters: it is mistyped")
        }
        SegwitHrpstringError::Unchecked(UncheckedHrpstringError::Char(CharError::MixedCase)) => {
            "it has capitals and small letters: it is one or the other".into()
        }
        SegwitHrpstringError::Checksum(_) => format!("its checksum does not match: it is {COPY}"),
        SegwitHrpstringError::InvalidWitnessVersion(_) => format!("no address has its witness version: it is {COPY}"),
        _ => format!("it is too short or too long for one: it is {COPY}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        what_is_wrong(text, &text.parse::<Address<NetworkUnchecked>>().expect_err(text))
    }

    #[test]
    fn what_is_wrong_is_said_in_the_terms_of_the_kind_of_address() {
        const ADDRESS: &str = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x";
        assert!(ADDRESS.parse::<Address<NetworkUnchecked>>().is_ok());
        for (text, wanted) in [
            (ADDRESS.replace("q6r", "q6q"), "begins with bcrt1 as a bech32 one does, but its checksum does not match"),
            (ADDRESS.replace("q6r", "q6b"), "'b' is none of its characters"),
            (ADDRESS.replace("q6r", "q6R"), "capitals and small letters"),
            (ADDRESS[..ADDRESS.len() - 1].into(), "checksum does not match: it is mistyped, or not copied whole"),
            ("bc1".into(), "begins with bc1 as a bech32 one does, but it is too short"),
            (ADDRESS.to_uppercase().replace("Q6R", "Q6Q"), "begins with bcrt1 as a bech32 one does, but its checksum"),
            (
                "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3".into(),
                "begins as a base58 one does, but its characters or its checksum",
            ),
            ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN0".into(), "begins as a base58 one does"),
            ("3".into(), "not copied whole"),
            ("account.worker".into(), "one begins with bc1"),
            (String::new(), "one begins with bc1"),
        ] {
            let said = said(&text);
            assert!(said.contains(wanted), "{text}: {said}");
            assert!(!text.to_lowercase().starts_with('b') || !said.contains("base58"), "{text}: {said}");
        }
    }
}
