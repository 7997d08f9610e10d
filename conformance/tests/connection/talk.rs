//! A conversation that uses every stage: handshake, setup, a channel, a job, shares, an orderly end.

use adit::connection::{Event, Outbound};
use adit::message::JobStart;
use adit::message::common::SetupConnection;
use adit::message::mining::{
    NewMiningJob, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetNewPrevHash, SubmitSharesStandard,
    SubmitSharesSuccess, ToClient, ToServer,
};
use adit::protocol::{Initiator, Mining, Responder};
use adit::wire::U256;
use adit_conformance::conversation::Conversation;

/// Shares that the client submits, one after the other's acknowledgement.
const SHARES: u32 = 2;

/// The conversation, and how far it is.
#[derive(Default)]
pub(crate) struct Talk {
    acknowledged: u32,
}

/// The setup that the tests use.
pub(crate) fn setup() -> SetupConnection<'static> {
    SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags: 1,
        endpoint_host: "pool.example".into(),
        endpoint_port: 34_254,
        vendor: "adit".into(),
        hardware_version: "test".into(),
        firmware: "".into(),
        device_id: "".into(),
    }
}

fn share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id: 7,
        sequence_number,
        job_id: 1,
        nonce: 42,
        ntime: 1_790_000_001,
        version: 0x2000_0000,
    }
}

impl Conversation for Talk {
    type Protocol = Mining;

    fn on_client(&mut self, event: &Event<'_, Initiator, Mining>, outbound: &mut Outbound<'_, Initiator, Mining>) {
        let sent = match event {
            Event::Secured(_) => outbound.send(&setup()),
            Event::Opened(_) => outbound.send(&OpenStandardMiningChannel {
                request_id: 3,
                user_identity: "worker".into(),
                nominal_hash_rate: 1.0e12,
                max_target: U256::MAX,
            }),
            Event::Message(ToClient::SetNewPrevHash(_)) => outbound.send(&share(0)),
            Event::Message(ToClient::SubmitSharesSuccess(_)) => {
                self.acknowledged += 1;
                if self.acknowledged < SHARES { outbound.send(&share(self.acknowledged)) } else { Ok(()) }
            }
            _ => Ok(()),
        };
        sent.expect("there is room for an answer");
    }

    fn on_server(&mut self, event: &Event<'_, Responder, Mining>, outbound: &mut Outbound<'_, Responder, Mining>) {
        match event {
            Event::Message(ToServer::OpenStandardMiningChannel(open)) => {
                let opened = OpenStandardMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id: 7,
                    target: U256::MAX,
                    extranonce_prefix: (&[1, 2, 3, 4]).into(),
                    group_channel_id: 1,
                };
                let job = NewMiningJob {
                    channel_id: 7,
                    job_id: 1,
                    start: JobStart::Future,
                    version: 0x2000_0000,
                    merkle_root: U256([0xab; 32]),
                };
                let prev_hash = SetNewPrevHash {
                    channel_id: 7,
                    job_id: 1,
                    prev_hash: U256([0xcd; 32]),
                    min_ntime: 1_790_000_000,
                    nbits: 0x1d00_ffff,
                };
                outbound.send(&opened).expect("room");
                outbound.send(&job).expect("room");
                outbound.send(&prev_hash).expect("room");
            }
            Event::Message(ToServer::SubmitSharesStandard(share)) => {
                let success = SubmitSharesSuccess {
                    channel_id: 7,
                    last_sequence_number: share.sequence_number,
                    new_submits_accepted_count: 1,
                    new_shares_sum: 1,
                };
                outbound.send(&success).expect("room");
            }
            _ => {}
        }
    }

    fn is_complete(&self) -> bool {
        self.acknowledged == SHARES
    }
}
