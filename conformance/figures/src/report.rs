//! The outcome as a table, or as one JSON object a row.

use serde_json::json;

use crate::measure::Outcome;

impl Outcome {
    pub fn to_limit(&self) -> Option<f64> {
        Some(self.ours / self.limit?)
    }

    pub fn to_peer(&self) -> Option<f64> {
        Some(self.peer.as_ref()?.1 / self.ours)
    }

    /// How many times faster than the peer the primitives alone are: what no code around them can exceed.
    pub fn bound(&self) -> Option<f64> {
        Some(self.peer.as_ref()?.1 / self.limit?)
    }

    /// Whether ours allocates although it must not.
    pub fn allocates(&self) -> bool {
        self.no_allocation && self.ours_allocations != Some(0.0)
    }

    /// Whether the aims are met; none for a row without any.
    pub fn meets_aims(&self) -> Option<bool> {
        let aims = [
            self.no_allocation.then(|| !self.allocates()),
            self.aim_limit.map(|aim| self.to_limit().is_some_and(|ratio| ratio <= aim)),
            self.aim_peer.map(|aim| self.to_peer().is_some_and(|ratio| ratio >= aim)),
            self.aim_value.map(|aim| self.ours <= aim),
        ];
        aims.into_iter().flatten().reduce(|all, met| all && met)
    }
}

pub fn head() {
    println!(
        "{:<70} {:>10} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7} {:>9} {:>9}  aims",
        "row", "ours", "peer", "limit", "/limit", "peer/", "allocs", "peer's", "instr.", "peer's"
    );
}

pub fn print(outcome: &Outcome, json: bool) {
    if json {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        println!(
            "{}",
            json!({
                "row": outcome.name,
                "unit": outcome.unit,
                "ours_ns": rounded(outcome.ours),
                "peer": outcome.peer.as_ref().map(|(name, _)| name),
                "peer_ns": outcome.peer.as_ref().map(|(_, value)| rounded(*value)),
                "limit_ns": outcome.limit.map(rounded),
                "ours_to_limit": outcome.to_limit().map(rounded),
                "peer_to_ours": outcome.to_peer().map(rounded),
                "peer_to_limit": outcome.bound().map(rounded),
                "ours_allocs": outcome.ours_allocations.map(rounded),
                "peer_allocs": outcome.peer_allocations.map(rounded),
                "ours_instructions": outcome.ours_instructions,
                "peer_instructions": outcome.peer_instructions,
                "no_allocation": outcome.no_allocation,
                "aims_met": outcome.meets_aims(),
            })
        );
        return;
    }
    let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let whole = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    println!(
        "{:<70} {:>10.1} {:>10} {:>10} {:>7} {:>7} {:>7} {:>7} {:>9} {:>9}  {}",
        outcome.name,
        outcome.ours,
        number(outcome.peer.as_ref().map(|(_, value)| *value), 1),
        number(outcome.limit, 1),
        number(outcome.to_limit(), 2),
        number(outcome.to_peer(), 1),
        number(outcome.ours_allocations, 1),
        number(outcome.peer_allocations, 1),
        whole(outcome.ours_instructions),
        whole(outcome.peer_instructions),
        match outcome.meets_aims() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        }
    );
}
