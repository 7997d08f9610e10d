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

/// The clocks of a world's nodes.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// Monotonic clocks start anywhere up to here.
    pub start: Duration,
    /// Millionths by which a monotonic clock is off at most.
    pub drift: u16,
    /// Seconds by which a wall-clock is off at most, unless somebody has set it wrong.
    pub skew: u16,
    /// Between two troubles with clocks, on average: a wall-clock is set wrong for a while, by seconds or by hours, or a node is suspended. None
    /// for never.
    pub trouble: Option<Duration>,
    /// A certificate begins so long before its server asks for it, ends so long after, and is renewed so often.
    pub certificate: (Duration, Duration, Duration),
}

/// How a world is set up. Everything that happens follows from it.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The preset that it was made from: what a replay is asked for.
    pub name: &'static str,
    /// What all draws come from.
    pub seed: u64,
    /// Mining devices, each with a standard channel.
    pub devices: u32,
    /// Farms: an extended channel beside a standard one on one connection.
    pub farms: u32,
    /// Peers that mean harm; six of eight bother the pool, the others the provider. Where there are some, a device or farm is sometimes
    /// lured to a false pool too.
    pub strangers: u32,
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
    /// The clocks.
    pub clocks: Clocks,
    /// Between two restarts, on average: of a device as often as of the pool and the provider together. None for never.
    pub restarts: Option<Duration>,
    /// Between two templates on one tip, on average.
    pub templates: Duration,
    /// Between two blocks that someone else finds, on average; none for never.
    pub foreign_blocks: Option<Duration>,
    /// How long the store takes to write a share, at most. What it has not written is gone when the pool's process ends.
    pub store: Duration,
    /// How long either side of a mining link bears silence. Without it a flipped length leaves its reader waiting for bytes that never come.
    /// Links to the provider have a limit of three times that.
    pub idle: Option<Duration>,
    /// Virtual time after which a world that did not end has failed.
    pub deadline: Duration,
}

impl WorldConfig {
    /// Names of all presets.
    pub const PRESETS: [&'static str; 6] = ["calm", "rough", "restarts", "clocks", "hostile", "all"];

    /// Links that delay and split, and never hurt.
    #[must_use]
    pub const fn calm(seed: u64) -> Self {
        Self {
            name: "calm",
            seed,
            devices: 10,
            farms: 2,
            strangers: 0,
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
            clocks: Clocks {
                start: Duration::from_secs(1_000_000),
                drift: 100,
                skew: 30,
                trouble: None,
                certificate: (Duration::from_secs(600), Duration::from_secs(7_200), Duration::from_secs(3_600)),
            },
            restarts: None,
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

    /// Pool, provider and devices whose processes are killed, or whose power fails, and that start anew from what they had on disk.
    #[must_use]
    pub const fn restarts(seed: u64) -> Self {
        let calm = Self::calm(seed);
        Self {
            name: "restarts",
            blocks: 5,
            restarts: Some(Duration::from_secs(20)),
            // A slow disk, so that shares are lost that were not acknowledged.
            store: Duration::from_secs(2),
            idle: Some(Duration::from_secs(300)),
            deadline: Duration::from_secs(4 * 3_600),
            ..calm
        }
    }

    /// Wall-clocks that are set wrong, by seconds and by hours, nodes that are suspended, certificates that last four minutes. Some links break,
    /// so that certificates are looked at.
    #[must_use]
    pub const fn clocks(seed: u64) -> Self {
        let calm = Self::calm(seed);
        Self {
            name: "clocks",
            blocks: 5,
            weather: Weather { cuts: 200, ..calm.weather },
            clocks: Clocks {
                drift: 200,
                trouble: Some(Duration::from_secs(10)),
                certificate: (Duration::from_secs(90), Duration::from_secs(240), Duration::from_secs(60)),
                ..calm.clocks
            },
            idle: Some(Duration::from_secs(300)),
            deadline: Duration::from_secs(4 * 3_600),
            ..calm
        }
    }

    /// Peers that mean harm in the midst of honest ones: see the module `stranger`. Some links break, so that devices are lured.
    #[must_use]
    pub const fn hostile(seed: u64) -> Self {
        let calm = Self::calm(seed);
        Self {
            name: "hostile",
            strangers: 8,
            weather: Weather { cuts: 200, ..calm.weather },
            idle: Some(Duration::from_secs(300)),
            deadline: Duration::from_secs(4 * 3_600),
            ..calm
        }
    }

    /// All of it at once.
    #[must_use]
    pub const fn all(seed: u64) -> Self {
        let (rough, restarts, clocks, hostile) =
            (Self::rough(seed), Self::restarts(seed), Self::clocks(seed), Self::hostile(seed));
        Self {
            name: "all",
            blocks: 3,
            hashes_per_block: 4_000.0,
            strangers: hostile.strangers,
            weather: Weather { segment: 300, window: 4_000, flips: 600, cuts: 600, ..rough.weather },
            clocks: Clocks { trouble: Some(Duration::from_secs(20)), ..clocks.clocks },
            restarts: Some(Duration::from_secs(40)),
            store: restarts.store,
            idle: hostile.idle,
            deadline: Duration::from_secs(8 * 3_600),
            ..rough
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn preset(name: &str, seed: u64) -> Option<Self> {
        match name {
            "calm" => Some(Self::calm(seed)),
            "rough" => Some(Self::rough(seed)),
            "restarts" => Some(Self::restarts(seed)),
            "clocks" => Some(Self::clocks(seed)),
            "hostile" => Some(Self::hostile(seed)),
            "all" => Some(Self::all(seed)),
            _ => None,
        }
    }
}
