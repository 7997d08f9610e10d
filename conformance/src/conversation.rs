//! Conversations, and every way to hurt their bytes: all chunkings, a cut at each byte, each bit flipped.
//!
//! A conversation is what two sides say; here it is had again and again over real connections, each time with one thing wrong, and
//! held against the undisturbed one: nothing may panic, nothing may be delivered that was not sent, and the side that was wronged must
//! say so with the right error. What is said belongs to those who implement [`Conversation`].

use std::cell::RefCell;
use std::thread;

use adit::connection::{Ending, Event, Outbound, State};
use adit::error::{Error, PeerError};
use adit::protocol::{Initiator, Protocol, Responder};

use crate::pair::{Pair, PairConfig};

/// What two sides say to each other, from the handshake on. Both react to events only, so the same bytes give the same answers however
/// they arrive.
pub trait Conversation: Sync {
    /// The sub-protocol that it is held in.
    type Protocol: Protocol;

    /// The client heard this and may answer.
    fn on_client(
        &mut self,
        event: &Event<'_, Initiator, Self::Protocol>,
        outbound: &mut Outbound<'_, Initiator, Self::Protocol>,
    );

    /// The server heard this and may answer.
    fn on_server(
        &mut self,
        event: &Event<'_, Responder, Self::Protocol>,
        outbound: &mut Outbound<'_, Responder, Self::Protocol>,
    );

    /// Whether the client has heard all that it waits for; it closes the connection then.
    fn is_complete(&self) -> bool;
}

/// A conversation that was had: what each side heard, as text, and how both ends were left.
#[derive(Debug)]
pub struct Had<C: Conversation> {
    /// Events of the client, in order.
    pub client: Vec<String>,
    /// Events of the server, in order.
    pub server: Vec<String>,
    /// The conversation itself.
    pub conversation: C,
    /// Both ends and everything that was sent.
    pub pair: Pair<C::Protocol>,
}

impl<C: Conversation> Had<C> {
    /// Begins a conversation on a pair; nothing is said yet.
    pub const fn begin(conversation: C, pair: Pair<C::Protocol>) -> Self {
        Self { client: vec![], server: vec![], conversation, pair }
    }

    /// Lets both sides talk until neither has anything to say.
    pub fn run(&mut self) {
        let Self { client, server, conversation, pair } = self;
        let conversation = RefCell::new(conversation);
        pair.run(
            &mut |event, outbound| {
                client.push(format!("{event:?}"));
                conversation.borrow_mut().on_client(&event, outbound);
            },
            &mut |event, outbound| {
                server.push(format!("{event:?}"));
                conversation.borrow_mut().on_server(&event, outbound);
            },
        );
    }

    /// Whether each side heard no more than in `whole`, and that in the same order.
    #[must_use]
    pub fn is_part_of(&self, whole: &Self) -> bool {
        whole.client.starts_with(&self.client) && whole.server.starts_with(&self.server)
    }

    /// Asserts that everything was said and both ends closed in order, by the client's wish or because it was refused.
    ///
    /// # Panics
    /// When it was not.
    pub fn assert_whole(&self) {
        assert!(self.conversation.is_complete(), "client heard {:#?}\nserver heard {:#?}", self.client, self.server);
        let Pair { client, server, .. } = &self.pair;
        assert_eq!((client.error, server.error), (None, None));
        let endings = (client.session.connection().ending(), server.session.connection().ending());
        let in_order = matches!(
            endings,
            (Some(Ending::Local), Some(Ending::Peer)) | (Some(Ending::RefusedByPeer), Some(Ending::Refused(_)))
        );
        assert!(in_order, "{endings:?}");
    }
}

/// Has a conversation on a fresh pair, which `prepare` may set up to hurt. Ended by the client when it is complete, by the link when it
/// comes to nothing more.
pub fn have<C: Conversation>(
    conversation: C,
    config: &PairConfig,
    prepare: impl FnOnce(&mut Pair<C::Protocol>),
) -> Had<C> {
    let mut pair = Pair::new(config);
    prepare(&mut pair);
    let mut had = Had::begin(conversation, pair);
    had.run();
    if had.conversation.is_complete() {
        had.pair.client.session.close();
    } else {
        had.pair.to_server.close();
        had.pair.to_client.close();
    }
    had.run();
    had
}

/// Where the units of a stream end that arrive whole or not at all: frames on a plain link; on a sealed one records, of which a frame
/// fills all but the last (D-SEC-9, D-FRAME-1).
///
/// # Panics
/// When the stream does not end with a unit.
#[must_use]
pub fn unit_ends(stream: &[u8], sealed: bool) -> Vec<usize> {
    let mut ends = vec![];
    let mut rest = stream;
    while !rest.is_empty() {
        let len = match rest {
            [low, high, ..] if sealed => 2 + usize::from(u16::from_le_bytes([*low, *high])),
            [_, _, _, low, mid, high, ..] if !sealed => {
                6 + usize::from(*low) + (usize::from(*mid) << 8) + (usize::from(*high) << 16)
            }
            _ => panic!("the stream ends inside a header"),
        };
        assert!(len <= rest.len(), "the stream ends inside a unit");
        rest = &rest[len..];
        let goes_on = sealed && len == FULL_RECORD;
        if !goes_on {
            ends.push(stream.len() - rest.len());
        }
    }
    ends
}

/// A record that holds as much as one can, with its length before it.
const FULL_RECORD: usize = 2 + 65_535;

/// Messages of each side in a handshake: none on a plain link.
const fn handshake_messages(config: &PairConfig) -> usize {
    if config.noise.is_some() { 2 } else { 0 }
}

/// D-SEC-9, D-FRAME-1: how bytes are cut on the way never shows. Has the conversation at each of these chunk sizes, and expects the
/// same events and the same bytes.
///
/// # Panics
/// When they differ.
pub fn try_every_chunking<C: Conversation>(
    make: impl Fn() -> C + Sync,
    config: &PairConfig,
    chunks: impl IntoIterator<Item = usize>,
) {
    let whole = have(make(), config, |_| ());
    whole.assert_whole();
    let expected = (&whole.client, &whole.server, &whole.pair.to_server.sent, &whole.pair.to_client.sent);
    let chunks: Vec<_> = chunks.into_iter().collect();
    on_all_cores(chunks.len(), |n| {
        let had = have(make(), &PairConfig { chunk: chunks[n], ..config.clone() }, |_| ());
        had.assert_whole();
        let seen = (&had.client, &had.server, &had.pair.to_server.sent, &had.pair.to_client.sent);
        assert!(seen == expected, "chunk {}: not the same events and bytes", chunks[n]);
    });
}

/// Which direction is hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Client to server.
    Server,
    /// Server to client.
    Client,
}

impl To {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];

    fn stream<Pr: Protocol>(self, pair: &Pair<Pr>) -> &[u8] {
        match self {
            Self::Server => &pair.to_server.sent,
            Self::Client => &pair.to_client.sent,
        }
    }
}

/// Cuts the stream at every `step`th byte and at every end of a record or frame: inside of one it is truncation, and so is an end
/// inside the handshake or before the setup is answered (D-CONN-2); between two of them it is the peer's orderly end.
///
/// # Panics
/// When an end is taken for another one, or anything was heard that the undisturbed conversation does not have.
pub fn try_cuts<C: Conversation>(make: impl Fn() -> C + Sync, config: &PairConfig, step: usize) {
    let whole = have(make(), config, |_| ());
    whole.assert_whole();
    let handshake = handshake_messages(config);
    for to in To::BOTH {
        let stream = to.stream(&whole.pair);
        let ends = unit_ends(stream, config.noise.is_some());
        let orderly: Vec<usize> = match (to, handshake) {
            // A client may leave as soon as the handshake is over.
            (To::Server, 0) => std::iter::once(0).chain(ends.iter().copied()).collect(),
            (To::Server, n) => ends[n - 1..].to_vec(),
            // A server owes the answer to the setup.
            (To::Client, n) => ends[n..].to_vec(),
        };
        let mut cuts: Vec<_> = (0..stream.len()).step_by(step).chain(ends).filter(|cut| *cut < stream.len()).collect();
        cuts.sort_unstable();
        cuts.dedup();
        on_all_cores(cuts.len(), |n| {
            let cut = cuts[n];
            let had = have(make(), config, |pair| match to {
                To::Server => pair.to_server.cut = Some(cut),
                To::Client => pair.to_client.cut = Some(cut),
            });
            assert!(had.is_part_of(&whole), "to {to:?}, cut {cut}: {:#?} {:#?}", had.client, had.server);
            let (error, closed, ending, state) = had.receiver(to);
            if orderly.contains(&cut) {
                assert_eq!((error, closed), (None, true), "to {to:?}, cut {cut}");
                assert!(
                    matches!(ending, Some(Ending::Peer | Ending::Refused(_) | Ending::RefusedByPeer)),
                    "{ending:?}"
                );
            } else {
                let truncated = matches!(error, Some(Error::Peer(PeerError::Truncated(_))));
                assert!(truncated, "to {to:?}, cut {cut}: {error:?}");
                assert_eq!(state, State::Failed);
            }
        });
    }
}

impl<C: Conversation> Had<C> {
    fn receiver(&self, to: To) -> (Option<Error>, bool, Option<Ending>, State) {
        match to {
            To::Server => {
                let end = &self.pair.server;
                (end.error, end.closed, end.session.connection().ending(), end.session.connection().state())
            }
            To::Client => {
                let end = &self.pair.client;
                (end.error, end.closed, end.session.connection().ending(), end.session.connection().state())
            }
        }
    }
}

/// D-SEC-7, D-SEC-12 in effect, on a link with Noise: flips every `step`th bit of each direction, one in each run. Whatever bit it is, what
/// is delivered was sent, and the receiver reports a fault at the altered record or at the end of the stream; in the handshake it may be
/// the other side that notices, because keys differ.
///
/// A step that is odd meets each bit of a byte equally often.
///
/// # Panics
/// When a flip goes unnoticed, or anything else is noticed.
pub fn try_flips<C: Conversation>(make: impl Fn() -> C + Sync, config: &PairConfig, step: usize) {
    assert!(config.noise.is_some(), "a plain link protects nothing");
    let whole = have(make(), config, |_| ());
    whole.assert_whole();
    for to in To::BOTH {
        let stream = to.stream(&whole.pair);
        let transport = unit_ends(stream, true)[handshake_messages(config) - 1];
        let bits: Vec<_> = (0..8 * stream.len()).step_by(step).collect();
        on_all_cores(bits.len(), |n| {
            let bit = bits[n];
            let had = have(make(), config, |pair| match to {
                To::Server => pair.to_server.flip = Some(bit),
                To::Client => pair.to_client.flip = Some(bit),
            });
            assert!(had.is_part_of(&whole), "to {to:?}, bit {bit}: {:#?} {:#?}", had.client, had.server);
            assert!(!had.conversation.is_complete(), "to {to:?}, bit {bit}: it did not matter");
            let (error, ..) = had.receiver(to);
            if bit / 8 >= transport {
                // Only the record layer can notice, or the end of the stream inside a length that grew.
                let seen = matches!(
                    error,
                    Some(Error::Peer(PeerError::Record(_) | PeerError::TooLong { .. } | PeerError::Truncated(_)))
                );
                assert!(seen, "to {to:?}, bit {bit}: {error:?}");
            } else {
                assert!(had.pair.client.error.is_some() || had.pair.server.error.is_some(), "to {to:?}, bit {bit}");
            }
        });
    }
}

/// Flips every `step`th bit of each direction of a plain link, which protects nothing: nothing may panic or hang, and both sides must end.
///
/// # Panics
/// When a side does not end.
pub fn try_flips_on_plain_link<C: Conversation>(make: impl Fn() -> C + Sync, config: &PairConfig, step: usize) {
    assert!(config.noise.is_none(), "a link with Noise has more to keep");
    let whole = have(make(), config, |_| ());
    whole.assert_whole();
    for to in To::BOTH {
        let bits: Vec<_> = (0..8 * to.stream(&whole.pair).len()).step_by(step).collect();
        on_all_cores(bits.len(), |n| {
            let had = have(make(), config, |pair| match to {
                To::Server => pair.to_server.flip = Some(bits[n]),
                To::Client => pair.to_client.flip = Some(bits[n]),
            });
            assert!(had.pair.client.is_over() && had.pair.server.is_over(), "to {to:?}, bit {}", bits[n]);
        });
    }
}

/// Runs `case` for all numbers below `cases`, spread over the cores. Each case stands alone, so the order shows nowhere.
fn on_all_cores(cases: usize, case: impl Fn(usize) + Sync) {
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for worker in 0..workers {
            let case = &case;
            scope.spawn(move || (worker..cases).step_by(workers).for_each(case));
        }
    });
}
