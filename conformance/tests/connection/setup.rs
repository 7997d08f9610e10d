//! Connection setup (§3.7): who may say what when, and how it fails.

use adit::config::Limits;
use adit::connection::{Ending, Event, Progress, Refusal, SetupPolicy, State};
use adit::error::{Error, Misuse, Part, PeerError, Rule};
use adit::frame::Header;
use adit::message::Message;
use adit::message::common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use adit::message::mining::{SubmitSharesStandard, SuccessFlags};
use adit::protocol::Mining;
use adit::wire::Revision;
use adit_conformance::pair::{Pair, PairConfig};

use crate::solo::{client, client_asking, client_before_setup, frame, raw, server, server_before_setup};
use crate::talk::setup;

const DRAFT: Revision = Revision::Draft;
const LIMITS: Limits = Limits::DEFAULT;

fn rule(rule: Rule, msg_type: u8) -> Error {
    Error::Peer(PeerError::Rule { rule, msg_type })
}

fn share() -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 1, sequence_number: 0, job_id: 1, nonce: 0, ntime: 0, version: 0 }
}

/// D-CONN-1
#[test]
fn a_client_begins_with_setup_connection_and_sends_it_once() {
    let mut early = server_before_setup(SetupPolicy::new(0), LIMITS, DRAFT);
    assert_eq!(early.feed(&frame(&share(), DRAFT)).error(), rule(Rule::SetupFirst, 0x1a));
    // Not even what would be dropped later.
    let mut early = server_before_setup(SetupPolicy::new(0), LIMITS, DRAFT);
    assert_eq!(early.feed(&raw(0x4000, false, 9, &[])).error(), rule(Rule::SetupFirst, 9));
    let mut twice = server(LIMITS, DRAFT);
    assert_eq!(twice.feed(&frame(&setup(), DRAFT)).error(), rule(Rule::SetupOnce, 0));
}

/// D-CONN-1, from the sending side: misuse changes nothing.
#[test]
fn our_own_client_cannot_break_the_order() {
    let misuse = |misuse| Err(Error::Misuse(misuse));
    let mut asking = client_before_setup(LIMITS, DRAFT);
    assert_eq!(asking.session.outbound().send(&share()), misuse(Misuse::NotNow));
    let other = SetupConnection { protocol: 2, ..setup() };
    assert_eq!(asking.session.outbound().send(&other), misuse(Misuse::WrongProtocol));
    assert!(asking.sent().is_empty());
    asking.session.outbound().send(&setup()).unwrap();
    assert_eq!(asking.session.outbound().send(&setup()), misuse(Misuse::NotNow));
    assert_eq!(asking.session.outbound().send(&share()), misuse(Misuse::NotNow));
    assert_eq!(asking.sent(), frame(&setup(), DRAFT));
    assert_eq!(asking.session.connection().state(), State::Asked);
    asking.session.close();
    assert_eq!(asking.session.outbound().send(&share()), misuse(Misuse::Closed));
    // Nor does an extension go before the setup, or the setup after itself.
    let header = Header::new(0x4000, false, 1, 0).unwrap();
    let mut early = client_before_setup(LIMITS, DRAFT);
    assert_eq!(early.session.outbound().send_extension(header, &[]), misuse(Misuse::NotNow));
    let mut open = client(LIMITS, DRAFT);
    assert_eq!(open.session.outbound().send(&setup()), misuse(Misuse::NotNow));
    assert_eq!((early.sent(), open.sent()), (vec![], vec![]));
    // A server's answers are the connection's own.
    let mut server = server(LIMITS, DRAFT);
    let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
    assert_eq!(server.session.outbound().send(&success), misuse(Misuse::NotNow));
}

/// D-CONN-2, D-CONN-7: the answer's flags reach the owner.
#[test]
fn success_opens_both_sides() {
    let policy = SetupPolicy::new(1).answering(SuccessFlags::REQUIRES_EXTENDED_CHANNELS.bits());
    let mut server = server_before_setup(policy, LIMITS, DRAFT);
    let mut client = client_asking(LIMITS, DRAFT);
    assert_eq!(server.feed(&frame(&setup(), DRAFT)).events, [format!("Opened({:?})", setup())]);
    let answer = server.sent();
    assert_eq!(answer, frame(&SetupConnectionSuccess { used_version: 2, flags: 2 }, DRAFT));
    assert_eq!(client.feed(&answer).events, ["Opened(SetupConnectionSuccess { used_version: 2, flags: 2 })"]);
    assert_eq!(client.session.connection().state(), State::Open);
    assert_eq!(server.session.connection().state(), State::Open);
}

/// D-CONN-2, C-CONN-13
#[test]
fn a_server_only_answers_and_only_with_an_answer() {
    let success = frame(&SetupConnectionSuccess { used_version: 2, flags: 0 }, DRAFT);
    let mut early = client_before_setup(LIMITS, DRAFT);
    assert_eq!(early.feed(&success).error(), rule(Rule::ServerFirst, 1));
    let mut other = client_asking(LIMITS, DRAFT);
    assert_eq!(other.feed(&raw(0, true, 0x21, &[0; 36])).error(), rule(Rule::SetupAnswer, 0x21));
    let mut silent = client_asking(LIMITS, DRAFT);
    silent.session.handle_eof();
    assert_eq!(silent.advance().error(), Error::Peer(PeerError::Truncated(Part::Setup)));
    let mut twice = client(LIMITS, DRAFT);
    assert_eq!(twice.feed(&success).error(), rule(Rule::SetupOnce, 1));
}

/// D-CONN-3, D-CONN-4
#[test]
fn a_version_that_was_not_offered_is_refused() {
    for used_version in [0, 1, 3, u16::MAX] {
        let mut client = client_asking(LIMITS, DRAFT);
        let outcome = client.feed(&frame(&SetupConnectionSuccess { used_version, flags: 0 }, DRAFT));
        assert_eq!(outcome.error(), rule(Rule::VersionNotOffered, 1));
        // A fault sticks, in every call.
        assert_eq!(client.advance().error(), outcome.error());
        assert_eq!(client.session.outbound().send(&share()), Err(outcome.error()));
        assert_eq!(client.session.handle_timeout(client.now), Err(outcome.error()));
        assert_eq!((client.session.poll_timeout(), client.session.connection().fault()), (None, Some(outcome.error())));
    }
}

/// D-CONN-8, D-CONN-9: the refusal is in the output buffer before the connection closes.
#[test]
fn a_refusal_is_sent_and_then_the_connection_closes() {
    let asked = |protocol, min_version, max_version, flags| SetupConnection {
        protocol,
        min_version,
        max_version,
        flags,
        ..setup()
    };
    let unsupported = Refusal::UnsupportedFlags(0b110);
    for (asked, refusal, flags, code) in [
        // D-NET-3: protocol 3 is numbered and not specified.
        (asked(3, 2, 2, 0b111), Refusal::UnsupportedProtocol, 0, "unsupported-protocol"),
        (asked(2, 2, 2, 0b111), Refusal::UnsupportedProtocol, 0, "unsupported-protocol"),
        (asked(255, 9, 1, 0), Refusal::UnsupportedProtocol, 0, "unsupported-protocol"),
        (asked(0, 3, 9, 0b111), Refusal::VersionMismatch, 0, "protocol-version-mismatch"),
        (asked(0, 3, 2, 0), Refusal::VersionMismatch, 0, "protocol-version-mismatch"),
        (asked(0, 2, 2, 0b111), unsupported, 0b110, "unsupported-feature-flags"),
    ] {
        let mut server = server_before_setup(SetupPolicy::new(0b001), LIMITS, DRAFT);
        let outcome = server.feed(&frame(&asked, DRAFT));
        assert_eq!((outcome.events.len(), outcome.end), (0, Ok(Progress::Closed)));
        assert_eq!(server.session.connection().ending(), Some(Ending::Refused(refusal)));
        assert_eq!(server.session.outbound().send(&share_success()), Err(Error::Misuse(Misuse::Closed)));
        let error = SetupConnectionError { flags, error_code: code.into() };
        assert_eq!(server.sent(), frame(&error, DRAFT));
        assert_eq!(server.advance().end, Ok(Progress::Closed));
        assert_eq!(server.session.poll_timeout(), None);
    }
}

fn share_success() -> adit::message::mining::SubmitSharesSuccess {
    adit::message::mining::SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: 0,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    }
}

/// D-CONN-8, D-CONN-11: a probe with all flags set learns those that are not served, through the encrypted link.
#[test]
fn a_probe_learns_the_flags_and_both_sides_end_in_order() {
    let mut pair = Pair::<Mining>::new(&PairConfig { setup: SetupPolicy::new(0b101), ..PairConfig::default() });
    let mut learned = None;
    pair.run(
        &mut |event, outbound| match event {
            Event::Secured(_) => outbound.send(&SetupConnection { flags: u32::MAX, ..setup() }).unwrap(),
            Event::Refused(error) => learned = Some(error.flags),
            other => panic!("{other:?}"),
        },
        &mut |event, _| assert!(matches!(event, Event::Secured(_)), "{event:?}"),
    );
    assert_eq!(learned, Some(!0b101));
    assert_eq!((pair.client.error, pair.server.error), (None, None));
    assert!(pair.client.closed && pair.server.closed);
    assert_eq!(pair.client.session.connection().ending(), Some(Ending::RefusedByPeer));
    assert_eq!(pair.server.session.connection().ending(), Some(Ending::Refused(Refusal::UnsupportedFlags(!0b101))));
}

/// A malformed message is a fault that names the field, before and after setup.
#[test]
fn malformed_setup_messages_are_faults() {
    let bytes = frame(&setup(), DRAFT);
    for missing in 1..bytes.len() - 6 {
        let payload = &bytes[6..bytes.len() - missing];
        let mut server = server_before_setup(SetupPolicy::new(0), LIMITS, DRAFT);
        let error = server.feed(&raw(0, false, 0, payload)).error();
        let Error::Peer(PeerError::Message(error)) = error else { panic!("{error:?}") };
        assert_eq!(error.message(), Some(SetupConnection::SPEC.name));
        assert!(error.field().is_some());
        assert!(server.sent().is_empty());
    }
    let mut client = client_asking(LIMITS, DRAFT);
    assert!(matches!(client.feed(&raw(0, false, 2, &[0])).error(), Error::Peer(PeerError::Message(_))));
    let mut client = client_asking(LIMITS, DRAFT);
    assert!(matches!(client.feed(&raw(0, false, 1, &[2, 0])).error(), Error::Peer(PeerError::Message(_))));
}
