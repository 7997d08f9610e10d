//! What all connections of a pool have in common.

use core::fmt;

use crate::message::mining::{SetupFlags, SuccessFlags};
use crate::mining::extranonce::ExtranonceSpace;
use crate::mining::header::{VERSION_MASK_BIP320, VERSION_MASK_BIP323};
use crate::mining::job::{BookError, JobBook, JobId, NewJob, PrevHash};
use crate::mining::target::Target;
use crate::mining::vardiff::VardiffConfig;
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::Revision;

/// What a pool's operator decides about its channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerConfig {
    /// What variable difficulty aims at.
    pub vardiff: VardiffConfig,
    /// The easiest target that a channel gets: the pool's minimum difficulty.
    pub easiest_target: Target,
    /// Channels whose client accepts only harder targets than this are refused.
    pub hardest_target: Target,
    /// Seconds that a share's time may be ahead of the time that passed since the prevhash came (D-SHARE-2).
    pub ntime_slack: u32,
    /// Jobs forbid version rolling (`REQUIRES_FIXED_VERSION`); clients that require it can't connect (D-FLAG-4).
    pub fixed_version: bool,
    /// Standard channels are refused (`REQUIRES_EXTENDED_CHANNELS`, D-FLAG-6).
    pub extended_channels_only: bool,
    /// Clients may bring their own jobs (D-FLAG-2).
    pub custom_jobs: bool,
    /// From how many members on a job is sent once for the whole group. A group job is some 400 bytes, a standard job 51.
    pub group_jobs_from: usize,
    /// Most channels of one connection; the storage's bound holds as well.
    pub max_channels: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            vardiff: VardiffConfig::default(),
            easiest_target: Target::MAX,
            hardest_target: Target::ZERO,
            // Devices roll time ahead when they are fast, and their clocks differ; consensus would allow two hours.
            ntime_slack: 600,
            fixed_version: false,
            extended_channels_only: false,
            custom_jobs: false,
            group_jobs_from: 4,
            max_channels: 4_096,
        }
    }
}

impl ServerConfig {
    /// The setup flags with which a client can connect; all others are unsupported (D-CONN-9).
    #[must_use]
    pub fn supported_flags(&self) -> SetupFlags {
        let mut flags = SetupFlags::REQUIRES_STANDARD_JOBS;
        if self.custom_jobs {
            flags = flags | SetupFlags::REQUIRES_WORK_SELECTION;
        }
        if !self.fixed_version {
            // D-FLAG-3, D-FLAG-4: a client that needs to roll versions and a server that forbids it can't agree.
            flags = flags | SetupFlags::REQUIRES_VERSION_ROLLING;
        }
        if self.extended_channels_only {
            // A client that takes standard jobs only could open nothing here.
            flags = SetupFlags::from_bits(flags.bits() & !SetupFlags::REQUIRES_STANDARD_JOBS.bits());
        }
        flags
    }

    /// The flags of `SetupConnection.Success` (D-FLAG-4, D-FLAG-6).
    #[must_use]
    pub fn success_flags(&self) -> SuccessFlags {
        let mut flags = SuccessFlags::from_bits(0);
        if self.fixed_version {
            flags = flags | SuccessFlags::REQUIRES_FIXED_VERSION;
        }
        if self.extended_channels_only {
            flags = flags | SuccessFlags::REQUIRES_EXTENDED_CHANNELS;
        }
        flags
    }

    /// D-ALG-8, D-ALG-9: the version bits that a share may change.
    #[must_use]
    pub const fn version_mask(&self, revision: Revision) -> u32 {
        match (self.fixed_version, revision) {
            (true, _) => 0,
            (false, Revision::Draft) => VERSION_MASK_BIP320,
            (false, Revision::Current) => VERSION_MASK_BIP323,
        }
    }
}

/// Settings, jobs and extranonce space of a pool, and the tickets of its shares.
pub struct Shared<S: Storage> {
    config: ServerConfig,
    book: JobBook<S>,
    pub(super) space: ExtranonceSpace<S>,
    last_ticket: u64,
}

impl<S: Storage> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .field("book", &self.book)
            .field("space", &self.space)
            .field("last_ticket", &self.last_ticket)
            .finish()
    }
}

impl<S: Storage> Shared<S> {
    /// A pool without jobs. Tickets begin behind `last_ticket`: 0, or what the storage of an earlier run ended with.
    #[must_use]
    pub fn new(config: ServerConfig, space: ExtranonceSpace<S>, last_ticket: u64) -> Self {
        Self { config, book: JobBook::new(), space, last_ticket }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Other settings, for what comes from now on: channels keep their targets until something moves them.
    pub const fn set_config(&mut self, config: ServerConfig) {
        self.config = config;
    }

    /// The jobs.
    #[must_use]
    pub const fn book(&self) -> &JobBook<S> {
        &self.book
    }

    /// The extranonce space.
    #[must_use]
    pub const fn space(&self) -> &ExtranonceSpace<S> {
        &self.space
    }

    /// The ticket of the share that was accepted last.
    #[must_use]
    pub const fn last_ticket(&self) -> u64 {
        self.last_ticket
    }

    /// A new job for all channels; see [`JobBook::add`]. Every connection wants to send now.
    pub fn add_job<I>(&mut self, job: &NewJob<'_>, merkle_path: I) -> Result<JobId, BookError>
    where
        I: IntoIterator<Item = [u8; 32]>,
    {
        self.book.add(job, merkle_path)
    }

    /// A new prevhash; see [`JobBook::set_prev_hash`]. Every connection wants to send now.
    pub fn set_prev_hash(&mut self, now: Instant, prev: PrevHash, template_id: u64) -> Result<JobId, BookError> {
        self.space.prev_hash_changed();
        self.book.set_prev_hash(now, prev, template_id)
    }

    pub(super) fn next_ticket(&mut self) -> u64 {
        self.last_ticket = self.last_ticket.saturating_add(1);
        self.last_ticket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D-FLAG-1 to D-FLAG-6: what can connect, and what the server says about itself.
    #[test]
    fn flags_follow_the_settings() {
        let all = SetupFlags::REQUIRES_STANDARD_JOBS
            | SetupFlags::REQUIRES_WORK_SELECTION
            | SetupFlags::REQUIRES_VERSION_ROLLING;
        let config = ServerConfig { custom_jobs: true, ..ServerConfig::default() };
        assert_eq!(config.supported_flags(), all);
        assert_eq!(config.success_flags().bits(), 0);

        let fixed = ServerConfig { fixed_version: true, ..ServerConfig::default() };
        assert_eq!(fixed.supported_flags(), SetupFlags::REQUIRES_STANDARD_JOBS);
        assert_eq!(fixed.success_flags(), SuccessFlags::REQUIRES_FIXED_VERSION);
        assert_eq!(fixed.version_mask(Revision::Draft), 0);

        let extended = ServerConfig { extended_channels_only: true, ..ServerConfig::default() };
        assert_eq!(extended.supported_flags(), SetupFlags::REQUIRES_VERSION_ROLLING);
        assert_eq!(extended.success_flags(), SuccessFlags::REQUIRES_EXTENDED_CHANNELS);
    }

    /// D-ALG-9 in each revision.
    #[test]
    fn the_mask_is_the_revisions() {
        let config = ServerConfig::default();
        assert_eq!(config.version_mask(Revision::Draft), 0x1fff_e000);
        assert_eq!(config.version_mask(Revision::Current), 0x1fff_ffe0);
    }
}
