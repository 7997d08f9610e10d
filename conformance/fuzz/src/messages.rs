//! Every message of both revisions: what decodes can be printed, and comes back the same when it can be sent.

use adit::frame::Header;
use adit::message::{MessageSet, common, mining, template};
use adit::wire::{Encode, Revision, Writer};

/// A byte for revision, family and direction; the number; the payload.
pub fn messages(data: &[u8]) {
    let [selector, msg_type, payload @ ..] = data else { return };
    let revision = if selector & 1 == 0 { Revision::Draft } else { Revision::Current };
    let Some(header) = Header::new(0, false, *msg_type, payload.len()) else { return };
    macro_rules! decoded_and_encoded {
        ($set:ty) => {{
            type Set<'a> = $set;
            if let Ok(message) = <Set<'_> as MessageSet<'_>>::decode(header, payload, revision) {
                let text = format!("{message:?}");
                assert_eq!(message.entry(revision).map(|entry| entry.msg_type), Some(*msg_type), "{text}");
                let mut bytes = vec![0; message.encoded_len(revision)];
                let mut writer = Writer::new(&mut bytes);
                if message.encode(&mut writer, revision).is_ok() {
                    assert_eq!(writer.room(), 0, "{text}: not as long as announced");
                    let header = Header::new(0, false, *msg_type, bytes.len()).expect("not longer than before");
                    let again = <Set<'_> as MessageSet<'_>>::decode(header, &bytes, revision);
                    assert_eq!(again.map(|again| format!("{again:?}")), Ok(text));
                }
            }
        }};
    }
    match selector >> 1 & 7 {
        0 => decoded_and_encoded!(common::ToServer<'a>),
        1 => decoded_and_encoded!(common::ToClient<'a>),
        2 => decoded_and_encoded!(mining::ToServer<'a>),
        3 => decoded_and_encoded!(mining::ToClient<'a>),
        4 => decoded_and_encoded!(template::ToServer<'a>),
        _ => decoded_and_encoded!(template::ToClient<'a>),
    }
}
