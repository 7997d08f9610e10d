//! The page `docs/figures.md` and its drawing: the template beside this package's manifest with the figures put in.
//!
//! In the template `{{drawing}}`, `{{table}}`, `{{primitives}}`, `{{missed}}`, `{{lines}}` and `{{machine}}` stand for what is made here, and
//! `{{WHAT: ROW}}` for one figure of a row, so that no sentence keeps a number that a later run contradicts. WHAT is `ours`, `peer`,
//! `limit`, `ratio` (peer to ours), `bound` (peer to limit), `over` (ours to limit) or `fewer` (the peer's instructions to ours, which a quick
//! run does not count: it makes no page).

use std::{collections::BTreeSet, error::Error, fmt::Write as _, fs, path::Path, process::Command};

use crate::{lines, measure::Outcome, plot};

const TEMPLATE: &str = include_str!("../figures.md");

/// The drawing's file, beside the page: a link to it in the template would lead nowhere.
const DRAWING: &str = "figures.svg";

/// How the names of rows of bare primitives begin. They have a table of their own.
const BARE: &str = "bare ";

/// Writes `figures.md` and [`DRAWING`].
pub fn write(folder: &Path, outcomes: &[Outcome]) -> Result<(), Box<dyn Error>> {
    fs::write(folder.join("figures.md"), page(TEMPLATE, outcomes)?)?;
    let drawn: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.name.starts_with(BARE)).collect();
    fs::write(folder.join(DRAWING), plot::svg(&drawn))?;
    Ok(())
}

fn page(template: &str, outcomes: &[Outcome]) -> Result<String, Box<dyn Error>> {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (wanted, after) = after.split_once("}}").ok_or("a place without an end")?;
        page.push_str(before);
        page.push_str(&filled(wanted, outcomes)?);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn filled(wanted: &str, outcomes: &[Outcome]) -> Result<String, Box<dyn Error>> {
    let Some((what, name)) = wanted.split_once(": ") else {
        return Ok(match wanted {
            "drawing" => DRAWING.to_owned(),
            "table" => table(outcomes),
            "primitives" => primitives(outcomes),
            "missed" => missed(outcomes),
            "lines" => code_lines()?,
            "machine" => machine(),
            _ => return Err(format!("the template wants {wanted}").into()),
        });
    };
    let row = outcomes.iter().find(|row| row.name == name).ok_or(format!("the template wants the row \"{name}\""))?;
    let figure = match what {
        "ours" => Some(amount(row.ours, row.unit)),
        "peer" => row.peer.as_ref().map(|(_, peer)| amount(*peer, row.unit)),
        "limit" => row.limit.map(|limit| amount(limit, row.unit)),
        "ratio" => row.to_peer().map(times),
        "bound" => row.bound().map(times),
        "fewer" => {
            row.peer_instructions.zip(row.ours_instructions).map(|(peer, ours)| times(peer as f64 / ours as f64))
        }
        "over" => row.to_limit().map(|ratio| format!("{ratio:.2}")),
        _ => None,
    };
    figure.ok_or_else(|| format!("the row \"{name}\" has no {what}").into())
}

/// With its unit, as people write it.
fn amount(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value < 10.0 => format!("{value:.2} ns"),
        "ns" if value < 1_000.0 => format!("{value:.0} ns"),
        "ns" => format!("{:.1} µs", value / 1_000.0),
        _ => format!("{} B", grouped(value as u64)),
    }
}

fn times(ratio: f64) -> String {
    format!("{ratio:.1}")
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Ours and the peer's, if they were counted.
fn pair(ours: Option<String>, peer: Option<String>) -> String {
    match (ours, peer) {
        (Some(ours), Some(peer)) => format!("{ours} : {peer}"),
        (Some(ours), None) => ours,
        (None, _) => String::new(),
    }
}

fn verdict(row: &Outcome) -> &'static str {
    match row.meets_aims() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = "| row | ours | peer | limit | ours / limit | peer / ours | allocations | instructions | aims |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in outcomes.iter().filter(|row| !row.name.starts_with(BARE)) {
        let whole = |count: f64| format!("{count:.0}");
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            amount(row.ours, row.unit),
            row.peer.as_ref().map_or(String::new(), |(_, peer)| amount(*peer, row.unit)),
            row.limit.map_or(String::new(), |limit| amount(limit, row.unit)),
            row.to_limit().map_or(String::new(), |ratio| format!("{ratio:.2}")),
            row.to_peer().map_or(String::new(), times),
            pair(row.ours_allocations.map(whole), row.peer_allocations.map(whole)),
            pair(row.ours_instructions.map(grouped), row.peer_instructions.map(grouped)),
            verdict(row),
        );
    }
    text.trim_end().to_owned()
}

fn primitives(outcomes: &[Outcome]) -> String {
    let mut text = "| primitive | time | instead | time | instead / first |\n|---|---|---|---|---|\n".to_owned();
    for row in outcomes {
        let Some(name) = row.name.strip_prefix(BARE) else { continue };
        let Some((peer, time)) = &row.peer else { continue };
        let (ours, theirs) = (amount(row.ours, row.unit), amount(*time, row.unit));
        let _ = writeln!(text, "| {name} | {ours} | {peer} | {theirs} | {:.2} |", time / row.ours);
    }
    text.trim_end().to_owned()
}

/// Rows that miss an aim, and whether the primitives alone, or an echo, would reach it.
fn missed(outcomes: &[Outcome]) -> String {
    let mut text = "| row | aim | reached | the limit |\n|---|---|---|---|\n".to_owned();
    for row in outcomes.iter().filter(|row| row.meets_aims() == Some(false)) {
        if let (Some(aim), Some(ratio)) = (row.aim_peer, row.to_peer())
            && ratio < aim
        {
            let bound = row.bound().map_or(String::new(), |bound| {
                let reach = if bound < aim { "out of their reach" } else { "within it" };
                format!("{bound:.1} times the peer: {reach}")
            });
            let _ = writeln!(text, "| {} | {aim} times the peer | {ratio:.1} times | {bound} |", row.name);
        }
        if let (Some(aim), Some(ratio)) = (row.aim_limit, row.to_limit())
            && ratio > aim
        {
            let _ = writeln!(text, "| {} | within {aim} of the limit | {ratio:.2} | |", row.name);
        }
        if let Some(aim) = row.aim_value
            && row.ours > aim
        {
            let bound = row.limit.map_or(String::new(), |limit| {
                let reach = if limit > aim { "out of its reach" } else { "within it" };
                format!("a bare echo {}: {reach}", amount(limit, row.unit))
            });
            let (aim, ours) = (amount(aim, row.unit), amount(row.ours, row.unit));
            let _ = writeln!(text, "| {} | {aim} | {ours} | {bound} |", row.name);
        }
        if row.allocates() {
            let _ = writeln!(text, "| {} | no allocation | {} | |", row.name, row.ours_allocations.unwrap_or_default());
        }
    }
    text.trim_end().to_owned()
}

fn code_lines() -> Result<String, Box<dyn Error>> {
    let counted = lines::FOLDERS.map(lines::of).into_iter().collect::<Result<Vec<_>, _>>()?;
    let modules: BTreeSet<&String> = counted.iter().flat_map(|modules| modules.keys()).collect();
    let mut text =
        format!("| module | {} |\n|---|---|---|---|---|\n", lines::FOLDERS.map(|name| format!("`{name}`")).join(" | "));
    let mut line = |name: &str, of: &dyn Fn(usize) -> Option<usize>| {
        let cells: Vec<_> = (0..counted.len()).map(|at| of(at).map_or(String::new(), |n| grouped(n as u64))).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    };
    for module in modules {
        line(&format!("`{module}`"), &|at| counted[at].get(module).copied());
    }
    line("together", &|at| Some(counted[at].values().sum()));
    Ok(text.trim_end().to_owned())
}

/// What it ran on.
fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let flags = field("flags").unwrap_or_default();
    let known =
        [("sha_ni", "SHA instructions"), ("avx2", "AVX2"), ("avx512f", "AVX-512"), ("avx512ifma", "AVX-512 IFMA")];
    let has: Vec<&str> =
        known.iter().filter(|(flag, _)| flags.split(' ').any(|one| one == *flag)).map(|(_, name)| *name).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = Command::new("rustc").arg("-V").output().ok();
    let rustc = rustc.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    let rustc = rustc.split(' ').take(2).collect::<Vec<_>>().join(" ");
    format!("{cores} cores ({processor} with {}), {rustc}", has.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Outcome {
        Outcome {
            name: "a row".into(),
            unit: "ns",
            ours: 150.0,
            peer: Some(("peer".into(), 1_200.0)),
            limit: Some(100.0),
            aim_peer: Some(10.0),
            aim_limit: Some(1.2),
            ..Outcome::default()
        }
    }

    #[test]
    fn places_are_filled_and_unknown_ones_refused() {
        let rows = [row()];
        let text = "a {{ours: a row}}, {{peer: a row}}, {{bound: a row}}, {{over: a row}}.";
        assert_eq!(page(text, &rows).expect("known"), "a 150 ns, 1.2 µs, 12.0, 1.50.");
        for unknown in ["{{colour}}", "{{ours: no row}}", "{{colour: a row}}", "{{ours"] {
            assert!(page(unknown, &rows).is_err(), "{unknown}");
        }
    }

    #[test]
    fn what_is_missed_says_whether_it_can_be_reached() {
        let text = missed(&[row()]);
        assert!(text.contains("| a row | 10 times the peer | 8.0 times | 12.0 times the peer: within it |"), "{text}");
        assert!(text.contains("| a row | within 1.2 of the limit | 1.50 | |"), "{text}");
    }

    #[test]
    fn an_aim_in_time_is_compared_with_the_echo() {
        let row =
            |limit| Outcome { aim_value: Some(120.0), aim_peer: None, aim_limit: None, limit: Some(limit), ..row() };
        assert!(missed(&[row(100.0)]).contains("| a row | 120 ns | 150 ns | a bare echo 100 ns: within it |"));
        assert!(missed(&[row(130.0)]).contains("| a bare echo 130 ns: out of its reach |"));
    }

    #[test]
    fn digits_go_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
