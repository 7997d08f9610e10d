//! Where the corpora begin: scripts in which honest peers do all that the protocols know. Written to `corpus/*/seed-*` by the replay test.

use adit::message::{Direction, Family, JobStart, Message, catalogue, common, mining, template};
use adit::wire::{B064K, B0255, Revision, Seq0255, U256};

/// A seed: the target, the file's name, the bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// A frame as [`Script::frame`](super::script::Script) reads it, behind the operation that means one.
fn frame<M: Message>(operation: u8, message: &M) -> Vec<u8> {
    let mut bytes = vec![0; 1_024];
    let n = message.encode_frame(&mut bytes, Revision::Draft).expect("a short message");
    let [low, high, msg_type, payload_low, payload_high, _, payload @ ..] = &bytes[..n] else { unreachable!() };
    [&[operation, *low, *high, *msg_type, *payload_low, *payload_high], payload].concat()
}

/// All seeds, in an order that does not change.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = messages();
    seeds.extend(parsers());
    seeds.extend(handshakes());
    seeds.extend(sessions());
    seeds.push(("pool", "seed-mining".into(), mining_script()));
    seeds.push(("pool", "seed-extended".into(), extended_script()));
    seeds.push(("device", "seed-mining".into(), device_script()));
    seeds.push(("provider", "seed-client".into(), template_client_script()));
    seeds.push(("upstream", "seed-provider".into(), template_provider_script()));
    seeds
}

/// The smallest payload of every row of the catalogue, and one filled with ones.
fn messages() -> Vec<Seed> {
    let mut seeds = vec![];
    for (bit, revision) in [(0, Revision::Draft), (1, Revision::Current)] {
        for row in catalogue(revision) {
            let to_client = row.direction() != Direction::ToServer;
            let set = match row.family() {
                Family::Common => 0,
                Family::Mining => 2,
                Family::TemplateDistribution => 4,
            } + u8::from(to_client);
            let name = format!("seed-{revision:?}-{:02x}-{}", row.msg_type(), row.name());
            let payload = vec![0; row.min_payload()];
            seeds.push(("messages", name.to_lowercase(), [&[bit | set << 1, row.msg_type()], &payload[..]].concat()));
        }
    }
    seeds
}

fn parsers() -> Vec<Seed> {
    let key = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
    let url = format!("\0stratum2+tcp://[::1]:34254/{key}");
    let coinbase = [
        &[3, 2, 0, 0, 0, 0, 1, 1][..],
        &[0; 32],
        &[0xff; 4],
        &[2, 1, 7],
        &[0xff; 4],
        &[1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 1, 32],
        &[0; 32],
        &[0; 4],
    ]
    .concat();
    let outputs = [&[4, 2][..], &[0; 9], &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0x51, 0x52]].concat();
    [
        ("url", url.into_bytes()),
        ("key", format!("\u{1}{key}").into_bytes()),
        ("header", vec![2, 0, 0x80, 0x1a, 4, 0, 0, 1, 0, 0, 0]),
        ("coinbase", coinbase),
        ("outputs", outputs),
        ("sigops", vec![5, 0x76, 0xa9, 0x01, 0xac, 0xac, 0xae]),
        ("size", vec![6, 0xfd, 0xfd, 0x00]),
        ("sized", vec![7, 2, 9, 9, 1, 9]),
    ]
    .map(|(name, bytes)| ("parsers", format!("seed-{name}"), bytes))
    .to_vec()
}

fn handshakes() -> Vec<Seed> {
    let mut seeds = vec![];
    for selector in 0..16 {
        seeds.push(("handshake", format!("seed-genuine-{selector:02}"), vec![selector, 1]));
        seeds.push(("handshake", format!("seed-changed-{selector:02}"), vec![selector, 1, 0, 0, 0, 1, 9, 0, 1]));
    }
    let offer = [&[0, 2, 14][..], b"\x0d\0STR3\x02AESGCHCH", &[33], &[32, 0], &[9; 32]].concat();
    seeds.push(("handshake", "seed-offer".into(), offer));
    seeds.push((
        "handshake",
        "seed-choice".into(),
        [&[0, 0, 5][..], b"\x04\0CHCH", &[171, 170, 0], &[9; 170]].concat(),
    ));
    seeds
}

fn open_standard() -> mining::OpenStandardMiningChannel<'static> {
    mining::OpenStandardMiningChannel {
        request_id: 1,
        user_identity: "worker".into(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
    }
}

fn share(channel_id: u32, job_id: u32, nonce: u32) -> mining::SubmitSharesStandard {
    mining::SubmitSharesStandard {
        channel_id,
        sequence_number: nonce,
        job_id,
        nonce,
        ntime: 1_700_000_000,
        version: 0x2000_0000,
    }
}

fn sessions() -> Vec<Seed> {
    let success = common::SetupConnectionSuccess { used_version: 2, flags: 0 };
    let server = [
        frame(0, &super::session::SETUP),
        frame(1, &open_standard()),
        [&[2, 9][..], &frame(0, &share(1, 1, 7))[1..]].concat(),
        vec![5, 10, 6],
    ]
    .concat();
    let client = [frame(0, &success), frame(1, &set_target()), vec![7]].concat();
    let mut seeds = vec![];
    for selector in 0..32 {
        let script = if selector & 1 == 0 { &server } else { &client };
        seeds.push(("session", format!("seed-{selector:02}"), [&[selector], &script[..]].concat()));
    }
    seeds
}

fn set_target() -> mining::SetTarget {
    mining::SetTarget { channel_id: 1, maximum_target: U256::MAX }
}

fn mining_script() -> Vec<u8> {
    let update = mining::UpdateChannel { channel_id: 1, nominal_hash_rate: 1e6, maximum_target: U256::MAX };
    let close = mining::CloseChannel { channel_id: 1, reason_code: "bye".into() };
    let mut script = vec![1];
    script.extend(frame(0, &open_standard()));
    script.extend([8, 9, 255]);
    for channel in 1..4 {
        for job in 1..4 {
            script.extend(frame(0, &share(channel, job, channel * 16 + job)));
        }
    }
    script.extend([13, 8, 11, 0, 8]);
    script.extend(frame(0, &share(1, 2, 60)));
    script.extend([11, 1, 12, 8]);
    for job in 3..6 {
        script.extend(frame(0, &share(1, job, 60 + job)));
    }
    script.extend([10, 70, 13, 8]);
    script.extend(frame(0, &update));
    script.extend(frame(0, &share(1, 4, 99)));
    script.extend(frame(0, &close));
    script.extend([14, 0]);
    script.extend(frame(0, &open_standard()));
    script
}

fn extended_script() -> Vec<u8> {
    let open = mining::OpenExtendedMiningChannel {
        request_id: 7,
        user_identity: "farm".into(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
        min_extranonce_size: 4,
    };
    let share = mining::SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 1,
        job_id: 1,
        nonce: 5,
        ntime: 1_700_000_000,
        version: 0x2000_2000,
        extranonce: (&[7; 16]).into(),
    };
    let mut script = vec![4];
    script.extend(frame(0, &open));
    script.extend(frame(0, &open_standard()));
    script.extend([8, 9, 255]);
    for channel_id in 1..4 {
        script.extend(frame(0, &mining::SubmitSharesExtended { channel_id, ..share }));
    }
    script.extend([13, 12, 8]);
    script
}

fn device_script() -> Vec<u8> {
    let success = common::SetupConnectionSuccess { used_version: 2, flags: 0 };
    let opened = mining::OpenStandardMiningChannelSuccess {
        request_id: 1,
        channel_id: 1,
        target: U256::MAX,
        extranonce_prefix: (&[1; 20]).into(),
        group_channel_id: 9,
    };
    let job = mining::NewMiningJob {
        channel_id: 1,
        job_id: 1,
        start: JobStart::Future,
        version: 0x2000_0000,
        merkle_root: U256([5; 32]),
    };
    let prev_hash = mining::SetNewPrevHash {
        channel_id: 1,
        job_id: 1,
        prev_hash: U256([6; 32]),
        min_ntime: 1_700_000_000,
        nbits: 0x207f_ffff,
    };
    let accepted = mining::SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: 1,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    };
    let reconnect = common::Reconnect { new_host: "".into(), new_port: 0 };
    let mut script = vec![1];
    script.extend(frame(0, &success));
    script.push(6);
    script.extend(frame(0, &opened));
    script.extend(frame(0, &job));
    script.extend(frame(0, &prev_hash));
    script.extend([7, 0, 0, 1, 5, 3, 7, 255, 255, 2, 6]);
    script.extend(frame(0, &accepted));
    script.extend(frame(0, &set_target()));
    script.extend(frame(0, &mining::NewMiningJob { job_id: 2, ..job }));
    script.extend(frame(0, &mining::SetNewPrevHash { job_id: 2, ..prev_hash }));
    script.extend([7, 0, 0, 1]);
    script.extend(frame(0, &reconnect));
    script
}

fn template_client_script() -> Vec<u8> {
    let constraints = template::CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 100,
        coinbase_output_max_additional_sigops: 0.into(),
    };
    let mut script = frame(0, &constraints);
    script.extend([4, 5]);
    script.extend(frame(0, &template::RequestTransactionData { template_id: 1 }));
    let solution = template::SubmitSolution {
        template_id: 1,
        version: 0x2000_0000,
        header_timestamp: 1_700_000_000,
        header_nonce: 1,
        coinbase_tx: B064K::new(&[2, 0, 0, 0, 1]),
    };
    script.extend(frame(0, &solution));
    script.extend([7, 0, 7, 1, 7, 2, 4, 5]);
    script
}

fn template_provider_script() -> Vec<u8> {
    let path = [U256([3; 32])];
    let template = template::NewTemplate {
        template_id: 1,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(&[1, 7]),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 5_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: B064K::new(&[]),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::new(&path),
    };
    let prev_hash = template::SetNewPrevHash {
        template_id: 1,
        prev_hash: U256([9; 32]),
        header_timestamp: 1_700_000_000,
        n_bits: 0x207f_ffff,
        target: U256::MAX,
    };
    let mut script = frame(0, &template);
    script.extend(frame(0, &prev_hash));
    script.push(5);
    script.extend(frame(0, &template::NewTemplate { template_id: 2, future_template: false, ..template }));
    script.extend(frame(0, &template::NewTemplate { template_id: 3, ..template }));
    script.extend(frame(0, &template::SetNewPrevHash { template_id: 3, ..prev_hash }));
    script.extend([6, 30]);
    script
}
