//! Every default capacity and limit of the core, each with its reason. No behaviour.

use core::time::Duration;

/// Bytes of room in the output buffer without which no frame is handed over, so that its answer always fits.
///
/// The largest message that answers another at once is SubmitShares.Error with its longest code: 264 bytes of payload, 6 of
/// header, 18 of record. Rounded up.
pub const ANSWER_ROOM: usize = 320;

/// Bytes of input buffer for a device with one standard channel. Its longest ordinary messages are an extended job for its
/// group (some 750 bytes with 12 merkle levels) and Reconnect (282 as a record).
pub const DEVICE_INPUT: usize = 1024;

/// Bytes of output buffer for a device with one standard channel: [`ANSWER_ROOM`] and a few shares behind it.
/// `SetupConnection` fits while its strings have up to 400 bytes together.
pub const DEVICE_OUTPUT: usize = 512;

/// Bytes of input buffer that a server lends a connection while bytes are in flight: some 50 shares a read.
pub const SERVER_INPUT: usize = 4096;

/// Bytes of output buffer that a server lends a connection: a new job and prevhash for several channels at once.
pub const SERVER_OUTPUT: usize = 4096;

/// Jobs of a [`JobBook`](crate::mining::job::JobBook) inline: the current one, one before it, two for the future.
pub const BOOK_JOBS_INLINE: usize = 4;

/// Jobs of a `JobBook` on the heap: a new template every 30 seconds for the quarter of an hour that most blocks take.
pub const BOOK_JOBS_HEAP: usize = 32;

/// Coinbase bytes (without extranonce) of a stored job inline: a prefix of 100, a pool's output, a witness commitment, some tags.
pub const COINBASE_INLINE: usize = 512;

/// Coinbase bytes of a stored job on the heap: what the two fields of `NewExtendedMiningJob` can carry.
pub const COINBASE_HEAP: usize = 2 * 65_535;

/// Hashes of a stored merkle path inline: 16 levels are 65,536 transactions, consensus weight allows fewer than 17,000.
pub const MERKLE_PATH_INLINE: usize = 16;

/// Hashes of a stored merkle path on the heap: what the field can carry.
pub const MERKLE_PATH_HEAP: usize = 255;

/// Channel numbers of an [`ExtranonceSpace`](crate::mining::extranonce::ExtranonceSpace) inline: for a board that serves a few
/// channels.
pub const CHANNEL_NUMBERS_INLINE: usize = 64;

/// Channel numbers of an `ExtranonceSpace` on the heap: four million channels at once are more than one process serves,
/// and the list of freed numbers stays under 16 MiB.
pub const CHANNEL_NUMBERS_HEAP: usize = 1 << 22;

/// Shares that a channel remembers inline, to know duplicates; a power of two. A board that serves others sees a few a minute.
pub const SHARES_INLINE: usize = 256;

/// Shares that a channel remembers on the heap: three quarters of an hour at six a second. 16 bytes each, with the
/// table's own room 32 at most.
pub const SHARES_HEAP: usize = 1 << 14;

/// Shares that are checked together, inline: a board that serves others has no lanes.
pub const SHARE_BATCH_INLINE: usize = 16;

/// Shares that are checked together on the heap: as many as the widest processors have lanes for. Some 400 bytes each.
pub const SHARE_BATCH_HEAP: usize = 64;

/// Channels of one downstream connection inline: a board that serves a few others.
pub const CHANNELS_INLINE: usize = 4;

/// Channels of one downstream connection on the heap: what a channel id of this server can tell apart at once.
pub const CHANNELS_HEAP: usize = 65_534;

/// Groups of one downstream connection inline.
pub const GROUPS_INLINE: usize = 2;

/// Groups of one downstream connection on the heap.
pub const GROUPS_HEAP: usize = 256;

/// Jobs that a channel can be working on, inline: the current one, the one before, two for the future.
pub const LIVE_JOBS_INLINE: usize = 4;

/// Jobs that a channel can be working on, on the heap. At a new template every 30 seconds shares may be four minutes late.
pub const LIVE_JOBS_HEAP: usize = 8;

/// Custom jobs of one downstream connection inline.
pub const CUSTOM_JOBS_INLINE: usize = 1;

/// Custom jobs of one downstream connection on the heap. Each may be as long as a message can be, so few of them; their
/// tokens were checked before they are stored.
pub const CUSTOM_JOBS_HEAP: usize = 16;

/// Outputs of a stored template inline, in bytes: five witness commitments.
pub const TEMPLATE_OUTPUTS_INLINE: usize = 256;

/// Outputs of a stored template on the heap, in bytes: what the field of `NewTemplate` can carry.
pub const TEMPLATE_OUTPUTS_HEAP: usize = 65_535;

/// Templates that a provider keeps inline: two for each of two tips, and a future one.
pub const PROVIDER_TEMPLATES_INLINE: usize = 5;

/// Templates that a provider keeps on the heap. With a new one every half minute this is half an hour on one tip; older ones
/// were replaced long before.
pub const PROVIDER_TEMPLATES_HEAP: usize = 64;

/// Templates that a client keeps inline: the one in use, a better one, a future one, and one that comes while they are there.
pub const CLIENT_TEMPLATES_INLINE: usize = 4;

/// Templates that a client keeps on the heap: as many as a provider.
pub const CLIENT_TEMPLATES_HEAP: usize = PROVIDER_TEMPLATES_HEAP;

/// Found blocks inline that wait for room in the output buffer or for a connection to the template provider.
pub const SOLUTIONS_INLINE: usize = 2;

/// Found blocks on the heap that wait. On a test network with an easy target blocks come in bursts; a real one has one.
pub const SOLUTIONS_HEAP: usize = 64;

/// Bytes of a found block's coinbase inline: [`COINBASE_INLINE`], the longest extranonce and the witness.
pub const SOLUTION_COINBASE_INLINE: usize = COINBASE_INLINE + 32 + 36;

/// Bytes of a found block's coinbase on the heap: what the field of `SubmitSolution` can carry.
pub const SOLUTION_COINBASE_HEAP: usize = 65_535;

/// Clients of a template provider inline: the pools of one house.
pub const TEMPLATE_CLIENTS_INLINE: usize = 4;

/// Clients of a template provider on the heap. Only a flood comes near it.
pub const TEMPLATE_CLIENTS_HEAP: usize = 1 << 16;

/// Downstream connections of a pool inline: a board that serves a few others.
pub const DOWNSTREAMS_INLINE: usize = 4;

/// Downstream connections of a pool on the heap: more than one process has file descriptors for.
pub const DOWNSTREAMS_HEAP: usize = 1 << 20;

/// Payouts of a pool's coinbase inline.
pub const PAYOUTS_INLINE: usize = 4;

/// Payouts of a pool's coinbase on the heap: what a job's coinbase suffix can carry of ordinary ones.
pub const PAYOUTS_HEAP: usize = 2_048;

/// Bytes of a payout's script inline: the longest ordinary ones have 34.
pub const SCRIPT_INLINE: usize = 40;

/// Bytes of a payout's script on the heap: above this nobody can spend it.
pub const SCRIPT_HEAP: usize = 10_000;

/// Users of a pool inline.
pub const USERS_INLINE: usize = 16;

/// Users of a pool on the heap: some 150 bytes each.
pub const USERS_HEAP: usize = 1 << 20;

/// Bytes of a user's name inline: an address and a worker's name.
pub const USER_NAME_INLINE: usize = 96;

/// Bytes of a user's name on the heap: what `user_identity` can carry.
pub const USER_NAME_HEAP: usize = 255;

/// Channels of one upstream connection on the heap: a proxy that gives each device behind it a channel of its own.
pub const CLIENT_CHANNELS_HEAP: usize = 4_096;

/// Jobs that a client keeps for a channel, inline: the one in work and three that wait, or whose last shares are on the way.
pub const CLIENT_JOBS_INLINE: usize = 4;

/// Jobs that a client keeps for a channel on the heap: some servers send future jobs well ahead (D-MIN-3).
pub const CLIENT_JOBS_HEAP: usize = 8;

/// What a peer may cost in time and bytes before the connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the creation of the connection to the end of the handshake. Default 15 s: two round trips on a bad link and
    /// the curve operations of a slow microcontroller take less; half-open handshakes hold places for others.
    pub handshake: Option<Duration>,
    /// From the end of the handshake to the answer to `SetupConnection`. Default 15 s, as above.
    pub setup: Option<Duration>,
    /// From one whole frame of the peer to its next. Default none: the protocol has no keep-alive, a proxy without miners
    /// and a template client are silent for hours and right to be. A device sets it to notice a dead pool.
    pub idle: Option<Duration>,
    /// Bytes of a frame, header included. Default: all that a header can announce; the input buffer's ceiling is the
    /// bound then.
    pub frame: u32,
    /// Frames dropped (unknown extension, unknown number) and records without content in a row. Default 64: honest
    /// newer peers send a few, and one frame that means something starts the count anew.
    pub dropped: u16,
    /// Refuse a channel bit that does not fit the message (D-FRAME-7). Default no: parse by number, as others do.
    pub strict: bool,
}

impl Limits {
    /// The defaults, each explained at its field.
    pub const DEFAULT: Self = Self {
        handshake: Some(Duration::from_secs(15)),
        setup: Some(Duration::from_secs(15)),
        idle: None,
        frame: 6 + 0x00FF_FFFF,
        dropped: 64,
        strict: false,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
