//! One accepted share, and its bytes in the journal.

use adit::time::UnixTime;

use super::error::Problem;
use super::reader::Total;

/// A share that the pool accepted, with all that is needed to account for it later and to tell it from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Rises from share to share over the life of the store. Kept as the journal's key.
    pub(crate) ticket: u64,
    /// Whom it is credited to: `user_identity` as it stood on the wire, at most 255 bytes.
    pub(crate) account: Box<[u8]>,
    /// The pool's number for the connection that it came over.
    pub(crate) connection: u64,
    /// `channel_id` on that connection.
    pub(crate) channel: u32,
    /// `job_id` of that channel.
    pub(crate) job: u32,
    /// Header nonce.
    pub(crate) nonce: u32,
    /// Header time.
    pub(crate) ntime: u32,
    /// Header version, rolled bits included.
    pub(crate) version: u32,
    /// The channel's prefix and what the miner rolled behind it: the extranonce as it stands in the coinbase, at most 255 bytes.
    pub(crate) extranonce: Box<[u8]>,
    /// Double SHA-256 of the header, in the order in which it was computed.
    pub(crate) hash: [u8; 32],
    /// How many hashes a share of this target takes on average: 2^256 / (target + 1). Difficulty 1 is 2^32.
    pub(crate) work: u128,
    /// When the pool accepted it.
    pub(crate) time: UnixTime,
    /// Whether it is also a block.
    pub(crate) block: bool,
}

/// Everything but ticket, account and extranonce.
const FIXED: usize = 8 + 5 * 4 + 32 + 16 + 4 + 1;

impl Share {
    /// What it counts as difficulty: 1 is 2^32 expected hashes.
    pub(crate) fn difficulty(&self) -> f64 {
        Total { shares: 1, work: self.work }.difficulty()
    }

    /// The journal's value. Little-endian, fixed part first: connection, channel, job, nonce, ntime, version, hash, work,
    /// time, block, then extranonce and account, each behind one length byte.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::with_capacity(FIXED + 2 + self.extranonce.len() + self.account.len());
        bytes.extend_from_slice(&self.connection.to_le_bytes());
        for field in [self.channel, self.job, self.nonce, self.ntime, self.version] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.work.to_le_bytes());
        bytes.extend_from_slice(&self.time.as_secs().to_le_bytes());
        bytes.push(u8::from(self.block));
        for (field, value) in [("extranonce", &self.extranonce), ("account", &self.account)] {
            let len = u8::try_from(value.len()).map_err(|_| Problem::TooLong { field, len: value.len() })?;
            bytes.push(len);
            bytes.extend_from_slice(value);
        }
        Ok(bytes)
    }

    /// The share that stands under `ticket`.
    pub(super) fn decode(ticket: u64, bytes: &[u8]) -> Result<Self, Problem> {
        let mut cursor = Cursor(bytes);
        let share = (|| {
            Some(Self {
                ticket,
                connection: u64::from_le_bytes(cursor.array()?),
                channel: u32::from_le_bytes(cursor.array()?),
                job: u32::from_le_bytes(cursor.array()?),
                nonce: u32::from_le_bytes(cursor.array()?),
                ntime: u32::from_le_bytes(cursor.array()?),
                version: u32::from_le_bytes(cursor.array()?),
                hash: cursor.array()?,
                work: u128::from_le_bytes(cursor.array()?),
                time: UnixTime::from_secs(u32::from_le_bytes(cursor.array()?)),
                block: match cursor.array()? {
                    [0] => false,
                    [1] => true,
                    _ => return None,
                },
                extranonce: cursor.counted()?,
                account: cursor.counted()?,
            })
        })();
        match share {
            Some(share) if cursor.0.is_empty() => Ok(share),
            _ => Err(Problem::Corrupt(format!("the share with ticket {ticket} can't be read"))),
        }
    }
}

/// What is left to decode.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn counted(&mut self) -> Option<Box<[u8]>> {
        let [len] = self.array()?;
        let (head, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some(head.into())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A share that follows from its ticket alone, so that a test can tell what must stand in the store.
    pub(crate) fn sample(ticket: u64) -> Share {
        let low = ticket as u32;
        let mut hash = [0; 32];
        // An odd factor makes the keys of the hash index scatter and stay distinct.
        hash[..8].copy_from_slice(&ticket.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Share {
            ticket,
            account: format!("farm{}.worker", ticket % 3).into_bytes().into(),
            connection: ticket % 7,
            channel: low % 5,
            job: low / 10,
            nonce: low.wrapping_mul(0x0101_0101),
            ntime: 1_700_000_000 + low / 500,
            version: 0x2000_0000,
            extranonce: ticket.to_be_bytes().into(),
            hash,
            work: u128::from(ticket) << 32,
            time: UnixTime::from_secs(1_700_000_000 + low),
            block: ticket.is_multiple_of(11),
        }
    }

    fn any_share() -> impl Strategy<Value = Share> {
        (
            (any::<u64>(), vec(any::<u8>(), 0..=255), any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()),
            (any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..=255), any::<[u8; 32]>(), any::<u128>(), any::<u32>()),
            any::<bool>(),
        )
            .prop_map(
                |(
                    (ticket, account, connection, channel, job, nonce),
                    (ntime, version, extranonce, hash, work, time),
                    block,
                )| {
                    Share {
                        ticket,
                        account: account.into(),
                        connection,
                        channel,
                        job,
                        nonce,
                        ntime,
                        version,
                        extranonce: extranonce.into(),
                        hash,
                        work,
                        time: UnixTime::from_secs(time),
                        block,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(share in any_share()) {
            let bytes = share.encode().unwrap();
            prop_assert_eq!(Share::decode(share.ticket, &bytes).unwrap(), share);
        }

        #[test]
        fn a_cut_or_longer_value_is_refused(share in any_share(), at in any::<prop::sample::Index>()) {
            let mut bytes = share.encode().unwrap();
            prop_assert!(Share::decode(1, &bytes[..at.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(Share::decode(1, &bytes).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..700)) {
            if let Ok(share) = Share::decode(1, &bytes) {
                prop_assert_eq!(share.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        let share = Share { account: [0; 256].into(), ..sample(1) };
        assert!(matches!(share.encode(), Err(Problem::TooLong { field: "account", len: 256 })));
    }
}
