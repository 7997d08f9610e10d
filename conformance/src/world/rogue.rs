//! A false pool, to which miners are lured now and then: one without the pool's key, one that says nothing or nothing that has a meaning,
//! and one with a stolen key that speaks of channels, jobs and shares that there are not.

use std::collections::BTreeMap;
use std::time::Duration;

use adit::connection::{Connection, Event, ResponderConfig};
use adit::error::Error;
use adit::message::JobStart;
use adit::message::mining::{
    CloseChannel, NewMiningJob, OpenStandardMiningChannelSuccess, SetExtranoncePrefix, SetNewPrevHash, SetTarget,
    SubmitSharesError, SubmitSharesSuccess, ToServer,
};
use adit::protocol::{Mining, Responder};
use adit::time::UnixTime;
use adit::wire::U256;

use super::end::End;
use super::net::{Arrival, Direction, LineId, Net, Node, Task};
use super::security::Period;

/// What it does on a line.
enum Lure {
    /// Says nothing.
    Silence,
    /// Says something, but nothing that has a meaning.
    Garbage,
    /// Speaks the protocol.
    Talk(Box<End<Responder, Mining>>),
}

pub(super) struct Rogue {
    lines: BTreeMap<LineId, (Lure, u32)>,
    /// What it shows who does not have the pool's key.
    own: ResponderConfig,
}

impl Rogue {
    pub(super) const fn new(own: ResponderConfig) -> Self {
        Self { lines: BTreeMap::new(), own }
    }

    /// A miner takes it for its pool. `stolen` is what the pool shows now.
    pub(super) fn accept(&mut self, net: &mut Net, line: LineId, stolen: &(ResponderConfig, Period)) {
        let entropy = net.entropy.bytes32();
        let talk = |config: &ResponderConfig, net: &mut Net| {
            let connection = Connection::responder(config, entropy, net.time(Node::Rogue));
            let mut end = End::new(connection, Node::Rogue, line, Direction::ToClient);
            end.flush(net);
            Lure::Talk(Box::new(end))
        };
        let lure = match net.entropy.below(6) {
            0 => Lure::Silence,
            1 => Lure::Garbage,
            2 => {
                // No time is right for its certificate.
                net.show(line, (UnixTime::from_secs(u32::MAX), UnixTime::from_secs(0)));
                talk(&self.own, net)
            }
            _ => {
                net.show(line, stolen.1);
                talk(&stolen.0, net)
            }
        };
        self.lines.insert(line, (lure, 0));
        net.schedule_in(Duration::from_millis(200), Task::Lure(line));
    }

    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival) {
        let Some((lure, _)) = self.lines.get_mut(&line) else { return };
        let Lure::Talk(end) = lure else { return };
        end.arrive(arrival);
        end.pump(net, |event, out| match event {
            // It answers with a channel, and with another that nobody asked for.
            Event::Message(ToServer::OpenStandardMiningChannel(message)) => {
                out.send(&OpenStandardMiningChannelSuccess {
                    request_id: message.request_id,
                    channel_id: 1,
                    target: U256::MAX,
                    extranonce_prefix: (&[1; 20]).into(),
                    group_channel_id: 9,
                })
            }
            _ => Ok(()),
        });
        if end.over().is_some() {
            self.lines.remove(&line);
        }
    }

    /// Something has left on this line, or a time limit is there.
    pub(super) fn go_on(&mut self, net: &mut Net, line: LineId, limit: bool) {
        if let Some((Lure::Talk(end), _)) = self.lines.get_mut(&line) {
            if limit {
                end.handle_limit(net);
            }
            end.flush(net);
        }
        self.arrive(net, line, Arrival::Nothing);
    }

    /// It says something.
    pub(super) fn lure(&mut self, net: &mut Net, line: LineId) {
        let Some((lure, turn)) = self.lines.get_mut(&line) else { return };
        *turn += 1;
        if *turn > 12 {
            net.close(line, Direction::ToClient);
            self.lines.remove(&line);
            return;
        }
        match lure {
            Lure::Silence => {}
            Lure::Garbage => {
                let bytes: Vec<_> = (0..200).map(|_| net.entropy.next_u64() as u8).collect();
                net.send(line, Direction::ToClient, &bytes);
            }
            Lure::Talk(end) => {
                let channel_id = 2 + net.entropy.below(1 << 31) as u32;
                // Before the setup nothing can be said, later there may be no room; both are well.
                let _ = nonsense(end, channel_id, *turn);
                end.flush(net);
            }
        }
        self.arrive(net, line, Arrival::Nothing);
        let wait = net.around(Duration::from_millis(700));
        net.schedule_in(wait, Task::Lure(line));
    }
}

/// About channels that there are not, and shares that nobody sent.
fn nonsense(end: &mut End<Responder, Mining>, channel_id: u32, job_id: u32) -> Result<(), Error> {
    let mut out = end.outbound();
    let version = 0x2000_0000;
    for start in [JobStart::Future, JobStart::Now { min_ntime: None }] {
        out.send(&NewMiningJob { channel_id, job_id, start, version, merkle_root: U256([7; 32]) })?;
    }
    let (prev_hash, nbits) = (U256([6; 32]), 0x1703_a30c);
    out.send(&SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime: 1_790_000_000, nbits })?;
    out.send(&SetTarget { channel_id, maximum_target: U256::ZERO })?;
    out.send(&SetExtranoncePrefix { channel_id, extranonce_prefix: (&[9; 4]).into() })?;
    out.send(&CloseChannel { channel_id, reason_code: "".into() })?;
    for channel_id in [1, channel_id] {
        out.send(&SubmitSharesSuccess {
            channel_id,
            last_sequence_number: 9,
            new_submits_accepted_count: 9,
            new_shares_sum: 9,
        })?;
        out.send(&SubmitSharesError { channel_id, sequence_number: 3, error_code: "stale-share".into() })?;
    }
    Ok(())
}
