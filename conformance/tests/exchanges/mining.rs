//! The mining protocol: a scripted client, honest or not, and the core's server behind it.

use std::fmt::Write as _;

use adit::connection::{Event, Outbound, reconnect_target};
use adit::message::common::{Reconnect, SetupConnection};
use adit::message::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetupFlags, SubmitSharesExtended,
    SubmitSharesStandard, ToClient, UpdateChannel,
};
use adit::mining::extranonce::ExtranonceSpace;
use adit::mining::job::{NewJob, PrevHash};
use adit::mining::server::{MiningServer, Opened, Received, Refusal, ServerConfig, Shared};
use adit::mining::target::Target;
use adit::protocol::{Initiator, Mining, Responder};
use adit::storage::Heap;
use adit::time::Instant;
use adit::wire::{Revision, U256};
use adit_conformance::conversation::{
    Conversation, have, try_cuts, try_every_chunking, try_flips, try_flips_on_plain_link,
};
use adit_conformance::pair::PairConfig;

const NOW: Instant = Instant::from_secs(100);
const TIME: u32 = 1_790_000_000;
const VERSION: u32 = 0x2000_0000;

/// Bits of a standard share that differ from a good one.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    channel: u32,
    job: u32,
    ntime: u32,
    version: u32,
}

/// What the client says; each step waits for its answer, the name of a message behind a colon and a detail.
#[derive(Clone, Copy, Debug)]
enum Say {
    OpenStandard {
        user: &'static str,
        max_target: U256,
    },
    OpenExtended {
        min_extranonce: u16,
    },
    Share {
        nonce: u32,
        wrong: Wrong,
    },
    ShareExtended {
        nonce: u32,
        extranonce: &'static [u8],
    },
    /// A share of the job before the current one.
    OldShare,
    Update {
        hash_rate: f32,
        max_target: U256,
    },
    Close,
}

const RIGHT: Wrong = Wrong { channel: 0, job: 0, ntime: 0, version: 0 };

/// Everything that the exchange has, and what must be heard before the next step.
const SCRIPT: &[(Say, &str)] = &[
    (Say::OpenStandard { user: "nobody", max_target: U256::MAX }, "error unknown-user"),
    (Say::OpenStandard { user: "worker", max_target: U256::ZERO }, "error max-target-out-of-range"),
    (Say::OpenExtended { min_extranonce: 33 }, "error min-extranonce-size-too-large"),
    (Say::OpenStandard { user: "worker", max_target: U256::MAX }, "prevhash"),
    (Say::OpenExtended { min_extranonce: 4 }, "prevhash"),
    (Say::Share { nonce: 1, wrong: RIGHT }, "accepted 1"),
    // With the first share came another job.
    (Say::ShareExtended { nonce: 1, extranonce: &[1, 2, 3, 4, 5] }, "accepted 1"),
    (Say::Share { nonce: 2, wrong: Wrong { channel: 64, ..RIGHT } }, "error invalid-channel-id"),
    (Say::Share { nonce: 2, wrong: Wrong { job: 64, ..RIGHT } }, "error invalid-job-id"),
    (Say::Share { nonce: 2, wrong: Wrong { ntime: 1 << 20, ..RIGHT } }, "error invalid-share"),
    (Say::Share { nonce: 2, wrong: Wrong { version: 1, ..RIGHT } }, "error invalid-non-rollable-version-bit"),
    (Say::Share { nonce: 2, wrong: Wrong { version: 1 << 13, ..RIGHT } }, "accepted 1"),
    (Say::Share { nonce: 2, wrong: Wrong { version: 1 << 13, ..RIGHT } }, "error duplicate-share"),
    (Say::ShareExtended { nonce: 2, extranonce: &[1, 2, 3, 4] }, "error bad-extranonce-size"),
    (Say::Share { nonce: 3, wrong: RIGHT }, "accepted 1"),
    // With the fourth share came another block.
    (Say::OldShare, "error stale-share"),
    (Say::Share { nonce: 4, wrong: RIGHT }, "accepted 1"),
    (Say::Update { hash_rate: 1.0, max_target: U256::ZERO }, "error max-target-out-of-range"),
    (Say::Update { hash_rate: 1.0e15, max_target: U256::MAX }, "job"),
    (Say::Share { nonce: 5, wrong: RIGHT }, "error difficulty-too-low"),
    (Say::Close, "reconnect"),
];

/// The client of a server that fixes the version (D-ALG-8).
const FIXED: &[(Say, &str)] = &[
    (Say::OpenStandard { user: "worker", max_target: U256::MAX }, "prevhash"),
    (Say::Share { nonce: 1, wrong: Wrong { version: 1 << 13, ..RIGHT } }, "error version-rolling-not-allowed"),
    (Say::Share { nonce: 1, wrong: RIGHT }, "accepted 1"),
    (Say::Close, "reconnect"),
];

struct Talk {
    revision: Revision,
    script: &'static [(Say, &'static str)],
    step: usize,
    /// What was heard in answer, one line for each step.
    heard: Vec<String>,
    sequence: u32,
    standard: u32,
    extended: u32,
    /// The job in work on either channel, and the one before on the standard one.
    job: u32,
    extended_job: u32,
    old_job: u32,
    server: Option<MiningServer<Heap>>,
    shared: Shared<Heap>,
    templates: u64,
    /// Shares that the server accepted.
    accepted: u32,
}

impl Talk {
    fn new(revision: Revision, script: &'static [(Say, &'static str)], config: ServerConfig) -> Self {
        let space = ExtranonceSpace::new(&[0xab], 2, 8).expect("a layout");
        let mut talk = Self {
            revision,
            script,
            step: 0,
            heard: vec![],
            sequence: 0,
            standard: 0,
            extended: 0,
            job: 0,
            extended_job: 0,
            old_job: 0,
            server: None,
            shared: Shared::new(config, space, 0),
            templates: 0,
            accepted: 0,
        };
        talk.next_job(true);
        talk.next_block();
        talk
    }

    fn whole(revision: Revision) -> Self {
        Self::new(revision, SCRIPT, ServerConfig::default())
    }

    fn next_job(&mut self, future: bool) {
        self.templates += 1;
        let job = NewJob {
            template_id: self.templates,
            future,
            version: VERSION,
            coinbase_prefix: b"coinbase in front of the extranonce",
            coinbase_suffix: &self.templates.to_le_bytes(),
        };
        self.shared.add_job(&job, [[0x11; 32], [0x22; 32]]).expect("a place");
    }

    /// The prevhash for the future job that came last.
    fn next_block(&mut self) {
        let prev = PrevHash {
            prev_hash: [self.templates as u8; 32],
            min_ntime: TIME,
            nbits: 0x1703_a30c,
            network_target: Target::from_nbits(0x1703_a30c).expect("a target"),
        };
        self.shared.set_prev_hash(NOW, prev, self.templates).expect("a future job");
    }

    fn share(&mut self, nonce: u32, job_id: u32, wrong: Wrong) -> SubmitSharesStandard {
        self.sequence += 1;
        SubmitSharesStandard {
            channel_id: self.standard ^ wrong.channel,
            sequence_number: self.sequence,
            job_id: job_id ^ wrong.job,
            nonce,
            ntime: TIME ^ wrong.ntime,
            version: VERSION ^ wrong.version,
        }
    }

    /// Says the next step's part.
    fn say(&mut self, out: &mut Outbound<'_, Initiator, Mining>) {
        let Some((say, _)) = self.script.get(self.step) else { return };
        let request_id = self.step as u32;
        match *say {
            Say::OpenStandard { user, max_target } => out.send(&OpenStandardMiningChannel {
                request_id,
                user_identity: user.into(),
                nominal_hash_rate: 0.0,
                max_target,
            }),
            Say::OpenExtended { min_extranonce } => out.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity: "worker".into(),
                nominal_hash_rate: 0.0,
                max_target: U256::MAX,
                min_extranonce_size: min_extranonce,
            }),
            Say::Share { nonce, wrong } => {
                let share = self.share(nonce, self.job, wrong);
                out.send(&share)
            }
            Say::OldShare => {
                let share = self.share(77, self.old_job, RIGHT);
                out.send(&share)
            }
            Say::ShareExtended { nonce, extranonce } => {
                let SubmitSharesStandard { sequence_number, ntime, version, .. } =
                    self.share(nonce, self.extended_job, RIGHT);
                out.send(&SubmitSharesExtended {
                    channel_id: self.extended,
                    sequence_number,
                    job_id: self.extended_job,
                    nonce,
                    ntime,
                    version,
                    extranonce: extranonce.into(),
                })
            }
            Say::Update { hash_rate, max_target } => out.send(&UpdateChannel {
                channel_id: self.standard,
                nominal_hash_rate: hash_rate,
                maximum_target: max_target,
            }),
            Say::Close => out.send(&CloseChannel { channel_id: self.standard, reason_code: "bye".into() }),
        }
        .expect("room");
    }

    /// Goes on when this is what the step waits for.
    fn hear(&mut self, what: &str, out: &mut Outbound<'_, Initiator, Mining>) {
        if let Some((_, awaited)) = self.script.get(self.step)
            && *awaited == what
        {
            self.heard.push(what.to_owned());
            self.step += 1;
            self.say(out);
        }
    }

    fn new_job(&mut self, channel_id: u32, job_id: u32) {
        if channel_id == self.standard {
            self.old_job = std::mem::replace(&mut self.job, job_id);
        } else {
            self.extended_job = job_id;
        }
    }

    fn on_client_message(&mut self, message: &ToClient<'_>, out: &mut Outbound<'_, Initiator, Mining>) {
        let mut what = String::new();
        match message {
            ToClient::OpenStandardMiningChannelSuccess(opened) => self.standard = opened.channel_id,
            ToClient::OpenExtendedMiningChannelSuccess(opened) => self.extended = opened.channel_id,
            ToClient::NewMiningJob(job) if !job.start.is_future() => {
                self.new_job(job.channel_id, job.job_id);
                what.push_str("job");
            }
            ToClient::NewExtendedMiningJob(job) if !job.start.is_future() => self.new_job(job.channel_id, job.job_id),
            ToClient::SetNewPrevHash(prev) => {
                self.new_job(prev.channel_id, prev.job_id);
                what.push_str("prevhash");
            }
            ToClient::SubmitSharesSuccess(ack) => {
                write!(what, "accepted {}", ack.new_submits_accepted_count).expect("a string");
            }
            ToClient::SubmitSharesError(error) => write!(what, "error {}", error.error_code).expect("a string"),
            ToClient::OpenMiningChannelError(error) => write!(what, "error {}", error.error_code).expect("a string"),
            ToClient::UpdateChannelError(error) => write!(what, "error {}", error.error_code).expect("a string"),
            _ => {}
        }
        self.hear(&what, out);
    }
}

impl Conversation for Talk {
    type Protocol = Mining;

    fn on_client(&mut self, event: &Event<'_, Initiator, Mining>, out: &mut Outbound<'_, Initiator, Mining>) {
        match event {
            Event::Secured(_) => {
                let setup = SetupConnection {
                    protocol: 0,
                    min_version: 2,
                    max_version: 2,
                    flags: 0,
                    endpoint_host: "pool.example".into(),
                    endpoint_port: 34_254,
                    vendor: "adit".into(),
                    hardware_version: "test".into(),
                    firmware: "".into(),
                    device_id: "".into(),
                };
                out.send(&setup).expect("room");
            }
            Event::Opened(_) => self.say(out),
            Event::Message(message) => self.on_client_message(message, out),
            // D-RECON-3: what is left empty stays as it is.
            Event::Reconnect(message)
                if reconnect_target(message, "pool.example", 34_254) == Some(("pool.example", 3_336)) =>
            {
                self.hear("reconnect", out);
            }
            _ => {}
        }
    }

    fn on_server(&mut self, event: &Event<'_, Responder, Mining>, out: &mut Outbound<'_, Responder, Mining>) {
        let Some(server) = &mut self.server else {
            if let Event::Opened(setup) = event {
                self.server = Some(MiningServer::new(self.revision, SetupFlags::from_bits(setup.flags)));
            }
            return;
        };
        let Event::Message(message) = event else { return };
        match server.receive(NOW, &mut self.shared, message, out).expect("room for an answer") {
            Received::Open(request) if request.user_identity.as_bytes() != b"worker" => {
                server.refuse(&request.open, Refusal::UnknownUser, out).expect("room");
            }
            Received::Open(request) => {
                let opened = server.accept(NOW, &mut self.shared, &request.open, 1, out).expect("room");
                assert!(matches!(opened, Opened::Channel(_) | Opened::Refused(_)));
            }
            Received::Custom(request) => server.refuse_custom(&request, "no-custom-jobs", out).expect("room"),
            Received::Share(prepared) => match server.conclude(NOW, &mut self.shared, &prepared, &prepared.hash()) {
                Err(rejection) => out.send(&rejection.answer()).expect("room"),
                Ok(share) => {
                    server.stored(share.ticket);
                    self.accepted += 1;
                    match self.accepted {
                        1 => self.next_job(false),
                        4 => {
                            self.next_job(true);
                            self.next_block();
                        }
                        _ => {}
                    }
                }
            },
            Received::Closed(_) => out.send(&Reconnect { new_host: "".into(), new_port: 3_336 }).expect("room"),
            Received::Done | Received::Rejected(_) => {}
        }
        let Some(server) = &mut self.server else { return };
        server.poll_outbound(&mut self.shared, out).expect("room");
    }

    fn is_complete(&self) -> bool {
        self.step == self.script.len()
    }
}

fn config(revision: Revision) -> PairConfig {
    PairConfig { revision, output: (1 << 16, 1 << 16), ..PairConfig::default() }
}

fn fixed() -> Talk {
    Talk::new(Revision::Draft, FIXED, ServerConfig { fixed_version: true, ..ServerConfig::default() })
}

/// D-OPEN-1, D-OPEN-3, D-OPEN-5 to D-OPEN-7, D-MIN-4 to D-MIN-6, D-MIN-10, D-SHARE-1 to D-SHARE-4, D-SHARE-6, D-ALG-8, D-ALG-9,
/// D-UPD-1, D-UPD-3, D-UPD-4, D-TGT-1, D-TGT-3, D-CLOSE-1, D-RECON-2, D-RECON-3: every refusal and rejection has its code, and everything
/// else goes on.
#[test]
fn the_whole_script() {
    for revision in [Revision::Draft, Revision::Current] {
        let had = have(Talk::whole(revision), &config(revision), |_| ());
        had.assert_whole();
        assert_eq!(had.conversation.heard, SCRIPT.iter().map(|(_, awaited)| *awaited).collect::<Vec<_>>());
        assert_eq!(had.conversation.accepted, 5);
    }
    have(fixed(), &config(Revision::Draft), |_| ()).assert_whole();
}

/// D-SEC-9, D-FRAME-1: every chunk size up to 80 bytes and some above.
#[test]
fn every_chunking() {
    for noise in [config(Revision::Draft).noise, None] {
        let config = PairConfig { noise, ..config(Revision::Draft) };
        try_every_chunking(|| Talk::whole(Revision::Draft), &config, (1..=80).chain((81..2_000).step_by(151)));
    }
}

/// Every byte of the plain link; with Noise every seventh, and the end of every record.
#[test]
fn cuts() {
    try_cuts(|| Talk::whole(Revision::Draft), &PairConfig { noise: None, ..config(Revision::Draft) }, 1);
    try_cuts(|| Talk::whole(Revision::Draft), &config(Revision::Draft), 7);
}

/// With Noise every 29th bit, so each place in a byte; of the plain link every 13th.
#[test]
fn flipped_bits() {
    try_flips(|| Talk::whole(Revision::Draft), &config(Revision::Draft), 29);
    try_flips_on_plain_link(
        || Talk::whole(Revision::Draft),
        &PairConfig { noise: None, ..config(Revision::Draft) },
        13,
    );
}
