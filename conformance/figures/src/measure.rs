//! Times, allocations and instructions of one operation.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process::Command,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The system's allocator, with a count of calls for memory.
pub struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What some operations took, without what had to be prepared for them.
pub struct Sample {
    time: Duration,
    allocations: u64,
}

/// Does so many operations.
pub type Side = Box<dyn FnMut(usize) -> Sample>;

/// Operations on a state that is made anew for each sample, outside of what is counted.
pub fn side<S: 'static>(
    mut prepare: impl FnMut(usize) -> S + 'static,
    mut operation: impl FnMut(&mut S, usize) + 'static,
) -> Side {
    Box::new(move |count| {
        let mut state = prepare(count);
        let (before, start) = (CALLS.load(Relaxed), Instant::now());
        counted_operations(&mut state, count, &mut operation);
        Sample { time: start.elapsed(), allocations: CALLS.load(Relaxed) - before }
    })
}

/// A function of its own, because valgrind counts instructions between its first and its last one.
#[inline(never)]
fn counted_operations<S>(state: &mut S, count: usize, operation: &mut impl FnMut(&mut S, usize)) {
    for at in 0..count {
        operation(state, at);
    }
}

/// One line of the table.
pub struct Row {
    pub name: &'static str,
    pub ours: Side,
    pub peer: Option<(&'static str, Side)>,
    /// The primitives alone.
    pub limit: Option<Side>,
    /// Most operations of one sample.
    pub most: usize,
    /// What `ours` and the limit do in one operation, when the peer does one: shares of a batch.
    pub batch: usize,
    /// At most so many times the limit.
    pub aim_limit: Option<f64>,
    /// At least so many times faster than the peer.
    pub aim_peer: Option<f64>,
    /// Whether ours must not allocate. The only aim that does not depend on the machine.
    pub no_allocation: bool,
}

/// What a row came to. Times in nanoseconds.
#[derive(Default)]
pub struct Outcome {
    pub name: String,
    /// `ns`, or `bytes` for a row of memory.
    pub unit: &'static str,
    pub ours: f64,
    pub peer: Option<(String, f64)>,
    pub limit: Option<f64>,
    pub ours_allocations: Option<f64>,
    pub peer_allocations: Option<f64>,
    pub ours_instructions: Option<u64>,
    pub peer_instructions: Option<u64>,
    pub aim_limit: Option<f64>,
    pub aim_peer: Option<f64>,
    /// The most that is aimed at, for rows whose aim is a number.
    pub aim_value: Option<f64>,
    pub no_allocation: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    Quick,
    Full,
}

impl Effort {
    const fn rounds(self) -> usize {
        match self {
            Self::Quick => 5,
            Self::Full => 60,
        }
    }
}

/// Time that a sample should take.
const SAMPLE: Duration = Duration::from_millis(2);

/// As many operations as take about [`SAMPLE`].
fn calibrate(side: &mut Side, most: usize) -> usize {
    let mut count = 1;
    while count < most && side(count).time < SAMPLE {
        count = (count * 2).min(most);
    }
    count
}

pub fn row(row: &mut Row, effort: Effort) -> Outcome {
    let per = |sample: &Sample, count: usize| sample.time.as_nanos() as f64 / count as f64;
    let batch = row.batch as f64;
    let mut sides = vec![(&mut row.ours, batch)];
    if let Some((_, peer)) = &mut row.peer {
        sides.push((peer, 1.0));
    }
    if let Some(limit) = &mut row.limit {
        sides.push((limit, batch));
    }
    let counts: Vec<usize> = sides.iter_mut().map(|(side, _)| calibrate(side, row.most)).collect();
    let mut best = vec![f64::INFINITY; sides.len()];
    let mut allocations = vec![f64::INFINITY; sides.len()];
    for _ in 0..effort.rounds() {
        for (at, (side, batch)) in sides.iter_mut().enumerate() {
            let sample = side(counts[at]);
            best[at] = best[at].min(per(&sample, counts[at]) / *batch);
            allocations[at] = allocations[at].min(sample.allocations as f64 / counts[at] as f64 / *batch);
        }
    }
    let (has_peer, has_limit) = (row.peer.is_some(), row.limit.is_some());
    let instructions = |side, batch| (effort == Effort::Full).then(|| instructions(row.name, side, batch)).flatten();
    Outcome {
        name: row.name.to_owned(),
        unit: "ns",
        ours: best[0],
        peer: row.peer.as_ref().map(|(name, _)| ((*name).to_owned(), best[1])),
        limit: best.last().copied().filter(|_| has_limit),
        ours_allocations: Some(allocations[0]),
        peer_allocations: has_peer.then(|| allocations[1]),
        ours_instructions: instructions("ours", row.batch as u64),
        peer_instructions: if has_peer { instructions("peer", 1) } else { None },
        aim_limit: row.aim_limit,
        aim_peer: row.aim_peer,
        aim_value: None,
        no_allocation: row.no_allocation,
    }
}

/// Instructions of one operation by valgrind, on the processor that valgrind knows: one with AVX2, without SHA instructions and AVX-512.
fn instructions(row: &str, side: &str, batch: u64) -> Option<u64> {
    const COUNT: u64 = 20;
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_operations*"])
        .arg(program)
        .args(["--operations", row, side, &COUNT.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1))?;
    let total: u64 = collected.trim().parse().ok()?;
    (output.status.success() && total > 0).then_some(total / COUNT / batch)
}
