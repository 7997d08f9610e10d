//! Everything that is read and is no message: addresses, keys, headers, coinbases, outputs, counts.

use adit::address::{AuthorityKey, Url, parse_secret, parse_tagged_secret};
use adit::frame::Header;
use adit::hash::sha256d;
use adit::message::TxOuts;
use adit::template::transaction::{CoinbaseTx, check_outputs, legacy_sigops};
use adit::wire::{CompactSize, Decode, Encode, Reader, Revision, Writer};

/// A byte says which parser, the rest is for it.
pub fn parsers(data: &[u8]) {
    let [selector, bytes @ ..] = data else { return };
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    match selector % 8 {
        0 => url(text),
        1 => {
            if let Ok(key) = text.parse::<AuthorityKey>() {
                assert_eq!(key.to_string().parse(), Ok(key));
            }
            let _ = (parse_secret(text), parse_tagged_secret(text));
        }
        2 => {
            if let Some((head, payload)) = bytes.split_first_chunk() {
                let header = Header::decode(*head);
                assert_eq!(header.encode(), *head);
                let id = header.channel_id(payload);
                assert!(id.is_none() || header.channel_msg() && payload.len() >= 4);
            }
        }
        3 => coinbase(bytes),
        4 => {
            let [count, outputs @ ..] = bytes else { return };
            let good = check_outputs(outputs, u32::from(*count)).is_ok();
            let walked: Vec<_> = TxOuts::new(outputs, u64::from(*count)).collect();
            assert!(walked.len() <= outputs.len() / 9 + 1, "an output has nine bytes at least");
            assert_eq!(good, walked.iter().all(Result::is_ok));
        }
        5 => {
            // Each opcode counts twenty at most.
            assert!(legacy_sigops(bytes) as usize <= 20 * bytes.len());
        }
        6 => compact_size(bytes),
        _ => {
            let mut reader = Reader::new(bytes);
            while let Ok(size) = CompactSize::decode(&mut reader, Revision::Draft) {
                let Ok(len) = usize::try_from(size.0) else { break };
                if reader.take(len).is_err() {
                    break;
                }
            }
            assert!(reader.rest().len() <= bytes.len());
        }
    }
}

fn url(text: &str) {
    match Url::parse(text) {
        Ok(url) => {
            let again = url.to_string();
            assert_eq!(Url::parse(&again), Ok(url), "{text:?}");
        }
        Err(error) => {
            assert!(error.at <= text.len(), "{error:?} of {text:?}");
            let _ = error.to_string();
        }
    }
}

fn coinbase(bytes: &[u8]) {
    let Ok(coinbase) = CoinbaseTx::parse(bytes) else { return };
    assert!(coinbase.outputs().all(|output| output.is_ok()), "what was checked reads back");
    // Without witness the id is the hash of all bytes.
    if bytes.get(4) != Some(&0) {
        assert_eq!(coinbase.txid(), sha256d(&[bytes]));
    }
}

fn compact_size(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(size) = CompactSize::decode(&mut reader, Revision::Draft) else { return };
    let read = bytes.len() - reader.rest().len();
    let mut buffer = [0; 9];
    let mut writer = Writer::new(&mut buffer);
    size.encode(&mut writer, Revision::Draft).expect("nine bytes are enough");
    let written = writer.written();
    assert_eq!(&buffer[..written], &bytes[..read], "only the shortest form is taken");
}
