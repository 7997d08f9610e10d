//! A share's frame as plain bytes.

use std::hint::black_box;

use adit::{
    frame::Header,
    message::{
        Message as _,
        mining::{SubmitSharesStandard, ToServer},
    },
    protocol::{Mining, Responder, decode_incoming},
    wire::Revision,
};
use codec_sv2::EncodableFrame as _;
use framing_sv2::framing::{MessageFrame, SerializedFrame};

use crate::measure::{Row, side};

const LEN: usize = 30;

const SHARE: SubmitSharesStandard = SubmitSharesStandard {
    channel_id: 1,
    sequence_number: 2,
    job_id: 3,
    nonce: 0x1234_5678,
    ntime: 1_800_000_000,
    version: 0x2000_0000,
};

fn their_share() -> mining_sv2::SubmitSharesStandard {
    let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = SHARE;
    mining_sv2::SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }
}

/// The frame; both sides write the same.
pub fn frame() -> [u8; LEN] {
    let mut frame = [0; LEN];
    assert_eq!(SHARE.encode_frame(&mut frame, Revision::Current), Ok(LEN));
    frame
}

pub fn rows() -> Vec<Row> {
    let mut theirs = [0; LEN];
    their_frame().encode_into(&mut theirs).expect("room");
    assert_eq!(frame(), theirs, "both write the same bytes");
    vec![
        Row {
            name: "encode a share's frame",
            ours: side(
                |_| [0; LEN],
                |buffer, _| {
                    let share = black_box(&SHARE);
                    share.encode_frame(black_box(buffer), black_box(Revision::Current)).expect("room");
                },
            ),
            peer: Some((
                "binary_sv2 7",
                side(|_| [0; LEN], |buffer, _| black_box(their_frame()).encode_into(black_box(buffer)).expect("room")),
            )),
            limit: Some(copy()),
            most: 100_000,
            batch: 1,
            aim_limit: None,
            aim_peer: Some(20.0),
            no_allocation: true,
        },
        Row {
            name: "decode a share's frame",
            ours: side(
                |_| frame(),
                |frame, _| {
                    let (head, payload) = black_box(&*frame).split_first_chunk().expect("a header");
                    let header = Header::decode(*head);
                    let message = decode_incoming::<Responder, Mining>(header, payload, black_box(Revision::Current));
                    // The same as the peer's: the share itself, once it is known to be one.
                    let Ok(ToServer::SubmitSharesStandard(share)) = message else { panic!("a share") };
                    black_box(share);
                },
            ),
            peer: Some((
                "binary_sv2 7",
                side(
                    |_| frame(),
                    |frame, _| {
                        let bytes: &mut [u8] = black_box(frame);
                        let mut frame = SerializedFrame::from_bytes(bytes).expect("a frame");
                        assert_eq!(frame.header().msg_type(), mining_sv2::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD);
                        let share: mining_sv2::SubmitSharesStandard =
                            binary_sv2::from_bytes(frame.payload()).expect("a message");
                        black_box(share);
                    },
                ),
            )),
            limit: Some(copy()),
            most: 100_000,
            batch: 1,
            aim_limit: None,
            aim_peer: Some(50.0),
            no_allocation: true,
        },
    ]
}

fn their_frame() -> MessageFrame<mining_sv2::SubmitSharesStandard> {
    let kind = mining_sv2::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD;
    MessageFrame::from_message(black_box(their_share()), kind, 0, true).expect("a frame")
}

/// Copying the bytes.
fn copy() -> crate::measure::Side {
    side(|_| (frame(), [0; LEN]), |(from, to), _| black_box(&mut *to).copy_from_slice(black_box(&*from)))
}
