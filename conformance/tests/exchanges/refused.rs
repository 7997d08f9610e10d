//! Setups that a server refuses.

use adit::connection::{Event, Outbound, SetupPolicy};
use adit::message::common::SetupConnection;
use adit::protocol::{Initiator, Mining, Responder};
use adit_conformance::conversation::{Conversation, have, try_cuts, try_every_chunking, try_flips};
use adit_conformance::pair::PairConfig;

/// A client that asks for what the server has not.
struct Ask {
    flags: u32,
    versions: (u16, u16),
    /// Flags and code of the answer.
    refused: Option<(u32, String)>,
}

impl Conversation for Ask {
    type Protocol = Mining;

    fn on_client(&mut self, event: &Event<'_, Initiator, Mining>, outbound: &mut Outbound<'_, Initiator, Mining>) {
        match event {
            Event::Secured(_) => {
                let setup = SetupConnection {
                    protocol: 0,
                    min_version: self.versions.0,
                    max_version: self.versions.1,
                    flags: self.flags,
                    endpoint_host: "pool.example".into(),
                    endpoint_port: 34_254,
                    vendor: "adit".into(),
                    hardware_version: "test".into(),
                    firmware: "".into(),
                    device_id: "".into(),
                };
                outbound.send(&setup).expect("room");
            }
            Event::Refused(error) => {
                self.refused = Some((error.flags, error.error_code.to_string()));
            }
            other => panic!("{other:?}"),
        }
    }

    fn on_server(&mut self, event: &Event<'_, Responder, Mining>, _: &mut Outbound<'_, Responder, Mining>) {
        assert!(matches!(event, Event::Secured(_)), "{event:?}");
    }

    fn is_complete(&self) -> bool {
        self.refused.is_some()
    }
}

/// D-CONN-3, D-CONN-4, D-CONN-8, D-CONN-9, D-CONN-11: a refusal and the end behind it, whatever the link does. Every byte, every bit.
#[test]
fn a_refusal_survives_the_link() {
    let cases = [
        (0b101, (2, 2), 0b001, (0b100, "unsupported-feature-flags")),
        (u32::MAX, (2, 2), 0b011, (!0b011, "unsupported-feature-flags")),
        (0, (3, 4), u32::MAX, (0, "protocol-version-mismatch")),
    ];
    for (flags, versions, supported, expected) in cases {
        let make = || Ask { flags, versions, refused: None };
        let config = PairConfig { setup: SetupPolicy::new(supported), ..PairConfig::default() };
        let had = have(make(), &config, |_| ());
        had.assert_whole();
        assert_eq!(had.conversation.refused, Some((expected.0, expected.1.to_owned())));
        try_every_chunking(make, &config, 1..=40);
        try_cuts(make, &config, 1);
        try_cuts(make, &PairConfig { noise: None, ..config.clone() }, 1);
    }
    let make = || Ask { flags: 4, versions: (2, 2), refused: None };
    try_flips(make, &PairConfig { setup: SetupPolicy::new(0), ..PairConfig::default() }, 1);
}
