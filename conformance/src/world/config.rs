//! What a world is made of: how many, how fast, over which links, for how long.

use std::time::Duration;

/// The links of a world. All odds are "once in so many segments", 0 for never.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Shortest and longest way of a segment. Segments of one direction never overtake each other.
    pub delay: (Duration, Duration),
    /// Most bytes of a segment; how many it has is drawn.
    pub segment: usize,
    /// Bytes that a direction takes while they have not arrived; then the sender waits.
    pub window: usize,
    /// A segment is held up for [`Weather::stall_for`].
    pub stalls: u64,
    /// How long.
    pub stall_for: Duration,
    /// One bit of a segment arrives flipped.
    pub flips: u64,
    /// The link breaks inside a segment: what is behind that byte is lost, in the other direction what is on the way too.
    pub cuts: u64,
}

/// How a world is set up. Everything that happens follows from it.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The preset that it was made from: what a replay is asked for.
    pub name: &'static str,
    /// What all draws come from.
    pub seed: u64,
    /// Mining devices.
    pub devices: u32,
    /// Blocks after which the world ends: those of the pool that the provider took.
    pub blocks: usize,
    /// Hashes that a block takes on average.
    pub hashes_per_block: f64,
    /// Hashes a second of the slowest device; the fastest has three times that.
    pub hash_rate: u16,
    /// Noise on all links, else none.
    pub noise: bool,
    /// The links.
    pub weather: Weather,
    /// Between two templates on one tip, on average.
    pub templates: Duration,
    /// Between two blocks that someone else finds, on average; none for never.
    pub foreign_blocks: Option<Duration>,
    /// How long the store takes to write a share, at most.
    pub store: Duration,
    /// How long either side of a mining link bears silence. Without it a flipped length leaves its reader waiting for bytes that never come.
    /// Links to the provider have a limit of three times that.
    pub idle: Option<Duration>,
    /// Virtual time after which a world that did not end has failed.
    pub deadline: Duration,
}

impl WorldConfig {
    /// Links that delay and split, and never hurt.
    #[must_use]
    pub const fn calm(seed: u64) -> Self {
        Self {
            name: "calm",
            seed,
            devices: 12,
            blocks: 3,
            hashes_per_block: 6_000.0,
            hash_rate: 8,
            noise: true,
            weather: Weather {
                delay: (Duration::from_millis(1), Duration::from_millis(80)),
                segment: 500,
                window: 16_384,
                stalls: 0,
                stall_for: Duration::ZERO,
                flips: 0,
                cuts: 0,
            },
            templates: Duration::from_secs(20),
            foreign_blocks: Some(Duration::from_secs(90)),
            store: Duration::from_millis(300),
            idle: None,
            deadline: Duration::from_secs(3_600),
        }
    }

    /// Links that also stall, flip bits and break, in small segments and a small window.
    #[must_use]
    pub const fn rough(seed: u64) -> Self {
        let calm = Self::calm(seed);
        Self {
            name: "rough",
            weather: Weather {
                segment: 90,
                window: 1_000,
                stalls: 60,
                stall_for: Duration::from_secs(2),
                flips: 300,
                cuts: 300,
                ..calm.weather
            },
            idle: Some(Duration::from_secs(300)),
            deadline: Duration::from_secs(4 * 3_600),
            ..calm
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn preset(name: &str, seed: u64) -> Option<Self> {
        match name {
            "calm" => Some(Self::calm(seed)),
            "rough" => Some(Self::rough(seed)),
            _ => None,
        }
    }
}
