//! The messages of the core beside the catalogues of both revisions (`spec/draft.json`, `spec/current.json`), and their
//! payloads: known ones, smallest, largest, random, cut short, continued, broken.

mod payloads;
mod recode;
mod tables;

use adit::wire::Revision;
use serde_json::Value;

/// Both revisions with their catalogues as data.
fn revisions() -> [(Revision, Value); 2] {
    let parse = |text| serde_json::from_str(text).expect("the catalogues in the repository are JSON");
    [
        (Revision::Draft, parse(include_str!("../../spec/draft.json"))),
        (Revision::Current, parse(include_str!("../../spec/current.json"))),
    ]
}

/// The entries of the list `key`.
fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("`{key}` is a list in {value}"))
}

/// The string `key`.
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is a string in {value}"))
}

/// The number `key`.
fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("`{key}` is a number in {value}"))
}
