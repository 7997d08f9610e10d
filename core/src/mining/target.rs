//! Targets: which hashes count. Comparison, difficulty, hash rate and the header's compact form.
//!
//! A hash counts when its 32 bytes, read as one little-endian number, are at or below the target (D-ALG-6). Floating point only
//! enters where people or `F32` fields do: comparisons and conversions between targets are integers.

use core::cmp::Ordering;
use core::fmt;

use crate::wire::U256;

/// 2 to the 64th.
const TWO_64: f64 = 18_446_744_073_709_551_616.0;
/// 2 to the 128th.
const TWO_128: f64 = TWO_64 * TWO_64;
/// All hashes.
const TWO_256: f64 = TWO_128 * TWO_128;
/// The target of difficulty 1: `0xffff << 208`.
const DIFFICULTY_1: f64 = 65_535.0 * 65_536.0 * TWO_64 * TWO_128;

/// The highest of four 64-bit digits.
#[inline]
fn top_limb(bytes: &[u8; 32]) -> u64 {
    bytes.last_chunk().map_or(0, |top| u64::from_le_bytes(*top))
}

/// A 256-bit number in wire order: little-endian bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target([u8; 32]);

impl Target {
    /// The easiest target: every hash counts.
    pub const MAX: Self = Self([0xff; 32]);
    /// The hardest target: only the hash of zeros counts. No server sends it and no header can carry it.
    pub const ZERO: Self = Self([0; 32]);
    /// The target of difficulty 1: `0xffff << 208`.
    pub const DIFFICULTY_1: Self = {
        let mut bytes = [0; 32];
        bytes[26] = 0xff;
        bytes[27] = 0xff;
        Self(bytes)
    };

    /// From 32 little-endian bytes, as in messages.
    #[must_use]
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As 32 little-endian bytes, as in messages.
    #[must_use]
    pub const fn to_le_bytes(self) -> [u8; 32] {
        self.0
    }

    /// D-ALG-6, D-TGT-3: whether a hash in raw SHA-256 order counts under this target.
    #[inline]
    #[must_use]
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        // The highest digit decides nearly always.
        let (digit, own) = (top_limb(hash), top_limb(&self.0));
        if digit == own { Self(*hash) <= *self } else { digit < own }
    }

    /// Four 64-bit digits, lowest first.
    fn limbs(self) -> [u64; 4] {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        limbs
    }

    fn from_limbs(limbs: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(limbs) {
            *chunk = limb.to_le_bytes();
        }
        Self(bytes)
    }

    /// `mantissa << shift`, saturating at [`Self::MAX`]; bits shifted out below are dropped when `shift` is negative.
    fn shifted(mantissa: u64, shift: i32) -> Self {
        if mantissa == 0 {
            return Self::ZERO;
        }
        // Position of the highest bit after the shift.
        let top = 63 - mantissa.leading_zeros().cast_signed() + shift;
        if top > 255 {
            return Self::MAX;
        }
        if top < 0 {
            return Self::ZERO;
        }
        let mut limbs = [0; 4];
        for (limb, base) in limbs.iter_mut().zip([0, 64, 128, 192]) {
            let by = shift - base;
            *limb = match by {
                0..64 => mantissa << by,
                -63..0 => mantissa >> -by,
                _ => 0,
            };
        }
        Self::from_limbs(limbs)
    }

    /// The nearest `f64`; the relative error is below 2 to the minus 50th.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "rounding is what this function is for")]
    pub fn to_f64(self) -> f64 {
        // Two halves that do not wait for each other: a server does this several times for a share.
        let [first, second, third, fourth] = self.limbs().map(|limb| limb as f64);
        (fourth * TWO_64 + third) * TWO_128 + (second * TWO_64 + first)
    }

    /// `value` rounded down to a whole number; zero for what is not positive, [`Self::MAX`] for what is too large.
    fn from_f64(value: f64) -> Self {
        if value.is_nan() || value < 1.0 {
            return Self::ZERO;
        }
        if value.is_infinite() {
            return Self::MAX;
        }
        // A normal number here: 52 stored bits below a leading one, biased exponent above them.
        let bits = value.to_bits();
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default() - 1075;
        Self::shifted(mantissa, exponent)
    }

    /// The difficulty as everyone shows it: the target of difficulty 1 divided by this one. Infinite for a target of zero.
    #[must_use]
    pub fn difficulty(self) -> f64 {
        DIFFICULTY_1 / self.to_f64()
    }

    /// The target of a difficulty, rounded down. None unless the difficulty is a positive number; saturates at [`Self::MAX`].
    #[must_use]
    pub fn from_difficulty(difficulty: f64) -> Option<Self> {
        (difficulty > 0.0).then(|| Self::from_f64(DIFFICULTY_1 / difficulty))
    }

    /// The difficulty as a whole number, rounded down, by integer division: what one share adds to `new_shares_sum` when
    /// sums are kept in integers. 0 for targets easier than difficulty 1; saturates at `u64::MAX`.
    #[must_use]
    pub fn share_difficulty(self) -> u64 {
        let divisor = self.limbs();
        if divisor == [0; 4] {
            return u64::MAX;
        }
        // Binary long division of 0xffff << 208 by the target: 224 bits of dividend, one quotient bit each.
        let (mut rest, mut quotient) = ([0_u64; 4], 0_u64);
        for bit in (0..224).rev() {
            let dividend_bit = u64::from(bit >= 208);
            let mut carry = dividend_bit;
            for limb in &mut rest {
                let out = *limb >> 63;
                *limb = (*limb << 1) | carry;
                carry = out;
            }
            if quotient >> 63 != 0 {
                return u64::MAX;
            }
            quotient <<= 1;
            if rest.iter().rev().cmp(divisor.iter().rev()) != Ordering::Less {
                let mut borrow = false;
                for (limb, sub) in rest.iter_mut().zip(divisor) {
                    let (value, under) = limb.overflowing_sub(sub);
                    let (value, under_again) = value.overflowing_sub(u64::from(borrow));
                    *limb = value;
                    borrow = under || under_again;
                }
                quotient |= 1;
            }
        }
        quotient
    }

    /// Hashes that it takes on average to find one that counts.
    #[must_use]
    pub fn expected_hashes(self) -> f64 {
        TWO_256 / (self.to_f64() + 1.0)
    }

    /// The target that takes this many hashes on average, rounded down. None unless `hashes` is a positive number;
    /// [`Self::MAX`] for one hash or less.
    #[must_use]
    pub fn from_expected_hashes(hashes: f64) -> Option<Self> {
        (hashes > 0.0).then(|| Self::from_f64(TWO_256 / hashes - 1.0))
    }

    /// The target at which `hash_rate` (hashes a second) finds `shares_per_minute` shares on average. None unless both are
    /// positive numbers.
    #[must_use]
    pub fn from_hash_rate(hash_rate: f64, shares_per_minute: f64) -> Option<Self> {
        if shares_per_minute > 0.0 { Self::from_expected_hashes(hash_rate * 60.0 / shares_per_minute) } else { None }
    }

    /// The hash rate in hashes a second that finds `shares_per_minute` shares under this target.
    #[must_use]
    pub fn hash_rate(self, shares_per_minute: f64) -> f64 {
        self.expected_hashes() * shares_per_minute / 60.0
    }

    /// A header's `nbits` as a target, with the checks that consensus makes.
    pub fn from_nbits(nbits: u32) -> Result<Self, NbitsError> {
        let (size, mantissa) = (nbits >> 24, nbits & 0x007f_ffff);
        // A mantissa of zero, or one whose digits all fall off below, is zero whatever its sign says.
        let shift = 8 * (size.min(64).cast_signed() - 3);
        let target = Self::shifted(u64::from(mantissa), shift);
        if mantissa == 0 || target == Self::ZERO {
            return Err(NbitsError::Zero);
        }
        if nbits & 0x0080_0000 != 0 {
            return Err(NbitsError::Negative);
        }
        let digits = (32 - mantissa.leading_zeros()).div_ceil(8);
        if size + digits > 32 + 3 {
            return Err(NbitsError::Overflow);
        }
        Ok(target)
    }

    /// The compact form of this target, rounded down to its three highest bytes.
    #[must_use]
    pub fn to_nbits(self) -> u32 {
        let Some(top) = self.0.iter().rposition(|byte| *byte != 0) else { return 0 };
        let mut size = u32::try_from(top).unwrap_or_default() + 1;
        let digit =
            |back: usize| top.checked_sub(back).and_then(|at| self.0.get(at)).map_or(0, |byte| u32::from(*byte));
        let mut mantissa = digit(0) << 16 | digit(1) << 8 | digit(2);
        if mantissa & 0x0080_0000 != 0 {
            // The highest bit would read as a sign.
            mantissa >>= 8;
            size += 1;
        }
        size << 24 | mantissa
    }
}

impl From<U256> for Target {
    fn from(number: U256) -> Self {
        Self(number.0)
    }
}

impl From<Target> for U256 {
    fn from(target: Target) -> Self {
        Self(target.0)
    }
}

impl Ord for Target {
    fn cmp(&self, other: &Self) -> Ordering {
        self.limbs().iter().rev().cmp(other.limbs().iter().rev())
    }
}

impl PartialOrd for Target {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Shown as people write targets: highest digit first.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is wrong with a header's `nbits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NbitsError {
    /// The target is zero.
    Zero,
    /// The sign bit is set.
    Negative,
    /// The target does not fit into 256 bits.
    Overflow,
}

impl fmt::Display for NbitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "nbits: the target is zero",
            Self::Negative => "nbits: the target is negative",
            Self::Overflow => "nbits: the target is above 256 bits",
        })
    }
}

impl core::error::Error for NbitsError {}

/// A target of 24 significant bits in four bytes: `mantissa << shift`, the mantissa's top bit set unless the target is tiny.
///
/// What a server sets is made of hash rates and difficulties, of which nobody knows more digits; a channel remembers one target
/// for each live job, so 28 bytes saved each time matter. Making one rounds down, never past what a client asked for.
///
/// The order is that of the numbers: a mantissa without its top bit has shift 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackedTarget(u32);

impl PackedTarget {
    /// `target` rounded down to 24 significant bits.
    #[must_use]
    pub fn floor(target: Target) -> Self {
        let limbs = target.limbs();
        let top = limbs.iter().zip([0_u32, 1, 2, 3]).rev().find(|(limb, _)| **limb != 0);
        let bits = top.map_or(0, |(limb, index)| 64 * index + 64 - limb.leading_zeros());
        let shift = bits.saturating_sub(24);
        // The 24 bits from `shift` on, taken from two neighbouring limbs.
        let at = (shift / 64) as usize;
        let low = u128::from(limbs.get(at).copied().unwrap_or(0));
        let high = u128::from(limbs.get(at + 1).copied().unwrap_or(0));
        let mantissa = ((high << 64 | low) >> (shift % 64)) as u32 & 0x00ff_ffff;
        Self(shift << 24 | mantissa)
    }

    /// `target` rounded up to 24 significant bits; down when that is past 256 bits.
    #[must_use]
    pub fn ceil(target: Target) -> Self {
        const TOP: u32 = 232 << 24 | 0x00ff_ffff;
        let floor = Self::floor(target);
        if floor.0 >= TOP || floor.target() >= target {
            return floor;
        }
        match floor.0 & 0x00ff_ffff {
            0x00ff_ffff => Self(((floor.0 >> 24) + 1) << 24 | 0x0080_0000),
            _ => Self(floor.0 + 1),
        }
    }

    /// The highest of four 64-bit digits, which nearly always decides whether a hash counts.
    #[inline]
    pub(crate) fn top_digit(self) -> u64 {
        // It begins 192 bits up, and the 24 bits end 232 bits up at the highest.
        let bits = u64::from(self.0 & 0x00ff_ffff) << 40;
        bits.checked_shr(232_u32.saturating_sub((self.0 >> 24).max(168))).unwrap_or(0)
    }

    /// [`Target::is_met_by`] of this target, of which the [highest digit](Self::top_digit) is known: all that is laid out of it then.
    #[inline]
    pub(crate) fn is_met_by(self, top_digit: u64, hash: &[u8; 32]) -> bool {
        let digit = top_limb(hash);
        if digit == top_digit { self.target().is_met_by(hash) } else { digit < top_digit }
    }

    /// The target.
    #[must_use]
    pub fn target(self) -> Target {
        Target::shifted(u64::from(self.0 & 0x00ff_ffff), (self.0 >> 24).cast_signed())
    }

    /// The same number as [`Target::to_f64`] gives, without a detour over 32 bytes: exact, since the mantissa fits and the exponent is below 256.
    #[inline]
    fn to_f64(self) -> f64 {
        let power = f64::from_bits(u64::from(1_023 + (self.0 >> 24)) << 52);
        f64::from(self.0 & 0x00ff_ffff) * power
    }

    /// [`Target::difficulty`] of this target.
    #[inline]
    #[must_use]
    pub fn difficulty(self) -> f64 {
        DIFFICULTY_1 / self.to_f64()
    }

    /// [`Target::expected_hashes`] of this target.
    #[inline]
    #[must_use]
    pub fn expected_hashes(self) -> f64 {
        TWO_256 / (self.to_f64() + 1.0)
    }
}

impl fmt::Debug for PackedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn be(hex_digits: &str) -> Target {
        let mut bytes: [u8; 32] = hex::decode(hex_digits).unwrap().try_into().unwrap();
        bytes.reverse();
        Target::from_le_bytes(bytes)
    }

    /// D-ALG-6: the genesis block's hash meets its own target and not the next harder one.
    #[test]
    fn the_genesis_hash_counts_as_a_little_endian_number() {
        let mut hash: [u8; 32] = hex::decode("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
            .unwrap()
            .try_into()
            .unwrap();
        hash.reverse();
        let own = Target::from_le_bytes(hash);
        assert!(own.is_met_by(&hash), "at the target counts");
        assert!(Target::from_nbits(0x1d00_ffff).unwrap().is_met_by(&hash));
        let mut harder = hash;
        harder[0] -= 1;
        assert!(!Target::from_le_bytes(harder).is_met_by(&hash));
        assert!(Target::MAX.is_met_by(&[0xff; 32]) && !Target::ZERO.is_met_by(&hash));
    }

    /// The edge cases that Bitcoin Core's own tests list, and the neighbours of the overflow line.
    #[test]
    fn nbits_follow_consensus() {
        use NbitsError::{Negative, Overflow, Zero};
        for zero in [0, 0x0012_3456, 0x0100_3456, 0x0200_0056, 0x0300_0000, 0x0400_0000, 0x0092_3456, 0x0180_3456] {
            assert_eq!(Target::from_nbits(zero), Err(Zero), "{zero:08x}");
        }
        for negative in [0x01fe_dcba, 0x0492_3456, 0x0380_0001, 0x2080_0001] {
            assert_eq!(Target::from_nbits(negative), Err(Negative), "{negative:08x}");
        }
        for overflow in [0xff12_3456, 0x2300_0001, 0x2200_0100, 0x2101_0000, 0x2300_00ff, 0xff00_0001] {
            assert_eq!(Target::from_nbits(overflow), Err(Overflow), "{overflow:08x}");
        }
        let small = |n: u8| {
            let mut bytes = [0; 32];
            bytes[0] = n;
            Target::from_le_bytes(bytes)
        };
        assert_eq!(Target::from_nbits(0x0112_3456), Ok(small(0x12)));
        assert_eq!(Target::from_nbits(0x0300_0012), Ok(small(0x12)));
        assert_eq!(Target::from_nbits(0x1d00_ffff), Ok(Target::DIFFICULTY_1));
        assert_eq!(
            Target::from_nbits(0x2012_3456),
            Ok(be("1234560000000000000000000000000000000000000000000000000000000000"))
        );
        assert_eq!(
            Target::from_nbits(0x2200_00ff),
            Ok(be("ff00000000000000000000000000000000000000000000000000000000000000"))
        );
        assert_eq!(
            Target::from_nbits(0x2100_ffff),
            Ok(be("ffff000000000000000000000000000000000000000000000000000000000000"))
        );
    }

    #[test]
    fn nbits_round_trip_where_they_are_canonical() {
        for nbits in [0x1d00_ffff, 0x207f_ffff, 0x1703_a30c, 0x0112_0000, 0x0500_9234, 0x2100_ffff] {
            assert_eq!(Target::from_nbits(nbits).unwrap().to_nbits(), nbits, "{nbits:08x}");
        }
        assert_eq!(Target::ZERO.to_nbits(), 0);
    }

    #[test]
    fn difficulties_of_known_blocks() {
        assert!((Target::DIFFICULTY_1.difficulty() - 1.0).abs() < f64::EPSILON);
        // Block 100,000: 0x1b04864c is shown as 14484.1623612254 everywhere.
        let target = Target::from_nbits(0x1b04_864c).unwrap();
        assert!((target.difficulty() - 14_484.162_361_225_4).abs() < 1e-9);
        assert_eq!(target.share_difficulty(), 14_484);
        assert_eq!(Target::DIFFICULTY_1.share_difficulty(), 1);
        assert_eq!(Target::MAX.share_difficulty(), 0);
        assert_eq!(Target::ZERO.share_difficulty(), u64::MAX);
        assert_eq!(Target::from_nbits(0x0300_0001).unwrap().share_difficulty(), u64::MAX);
    }

    #[test]
    fn nonsense_gives_no_target() {
        for nonsense in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Target::from_difficulty(nonsense), None);
            assert_eq!(Target::from_expected_hashes(nonsense), None);
            assert_eq!(Target::from_hash_rate(1e12, nonsense), None);
            assert_eq!(Target::from_hash_rate(nonsense, 6.0), None);
        }
        assert_eq!(Target::from_difficulty(f64::INFINITY), Some(Target::ZERO));
        assert_eq!(Target::from_difficulty(1e-300), Some(Target::MAX));
        assert_eq!(Target::from_expected_hashes(1.0), Some(Target::MAX));
    }

    fn any_target() -> impl Strategy<Value = Target> {
        // All magnitudes, not only numbers near 2 to the 256th.
        (any::<[u8; 32]>(), 0_usize..=32).prop_map(|(mut bytes, zeros)| {
            bytes.iter_mut().rev().take(zeros).for_each(|byte| *byte = 0);
            Target::from_le_bytes(bytes)
        })
    }

    #[test]
    fn rounding_up_carries_and_stops_at_the_top() {
        let mut bytes = [0xff; 32];
        bytes[31] = 0;
        let all_ones = Target::from(U256(bytes));
        assert_eq!(PackedTarget::ceil(all_ones).target(), Target::shifted(1, 248));
        assert_eq!(PackedTarget::ceil(Target::MAX), PackedTarget::floor(Target::MAX));
    }

    proptest! {
        /// The order of targets is the order of the numbers, highest byte first.
        #[test]
        fn order_is_numeric(a in any_target(), b in any_target()) {
            let reversed = |t: Target| { let mut bytes = t.to_le_bytes(); bytes.reverse(); bytes };
            prop_assert_eq!(a.cmp(&b), reversed(a).cmp(&reversed(b)));
            prop_assert_eq!(a.is_met_by(&b.to_le_bytes()), b <= a);
        }

        #[test]
        fn difficulty_and_target_undo_each_other(exponent in -6_i32..50, digits in 1.0_f64..10.0) {
            let difficulty = digits * 10_f64.powi(exponent);
            let back = Target::from_difficulty(difficulty).unwrap().difficulty();
            prop_assert!((back / difficulty - 1.0).abs() < 1e-9, "{} became {}", difficulty, back);
        }

        #[test]
        fn hash_rate_and_target_undo_each_other(exponent in 3_i32..22, digits in 1.0_f64..10.0, spm in 1.0_f64..60.0) {
            let rate = digits * 10_f64.powi(exponent);
            let back = Target::from_hash_rate(rate, spm).unwrap().hash_rate(spm);
            prop_assert!((back / rate - 1.0).abs() < 1e-9, "{} became {}", rate, back);
        }

        /// Integer and floating difficulty agree where the latter is exact enough.
        #[test]
        fn whole_difficulty_is_the_floor_of_the_difficulty(difficulty in 1.0_f64..1e12) {
            let target = Target::from_difficulty(difficulty).unwrap();
            let whole = target.share_difficulty();
            #[allow(clippy::cast_precision_loss, reason = "below 2 to the 53rd")]
            let off = target.difficulty() - whole as f64;
            prop_assert!((-1e-3..1.001).contains(&off), "{} against {}", target.difficulty(), whole);
        }

        #[test]
        fn nbits_round_down(target in any_target()) {
            if let Ok(back) = Target::from_nbits(target.to_nbits()) {
                prop_assert!(back <= target);
                prop_assert_eq!(back.to_nbits(), target.to_nbits());
            } else {
                prop_assert_eq!(target, Target::ZERO);
            }
        }

        /// Rounding up is never harder, a neighbour of rounding down, and in the order of numbers.
        /// D-ALG-6: by the highest digit alone where it decides, at, around and far from the target.
        #[test]
        fn packed_targets_are_met_as_whole_ones(shift in 0_u32..=232, mantissa in 0_u32..1 << 24, hash: [u8; 32], at in 0_usize..32) {
            let packed = PackedTarget(shift << 24 | mantissa);
            let mut near = packed.target().to_le_bytes();
            prop_assert!(packed.is_met_by(packed.top_digit(), &near));
            near[at] = near[at].wrapping_add(1);
            for hash in [hash, near, [0; 32], [0xff; 32]] {
                prop_assert_eq!(packed.is_met_by(packed.top_digit(), &hash), packed.target().is_met_by(&hash));
            }
        }

        #[test]
        fn packed_targets_round_up_a_little(target in any_target(), other in any_target()) {
            let (floor, ceil) = (PackedTarget::floor(target), PackedTarget::ceil(target));
            let past = target > PackedTarget::floor(Target::MAX).target();
            prop_assert!(ceil.target() >= target || past);
            prop_assert!(ceil.target().to_f64() <= target.to_f64() * (1.0 + 2_f64.powi(-22)));
            prop_assert_eq!(PackedTarget::ceil(floor.target()), floor);
            let other = PackedTarget::floor(other);
            prop_assert_eq!(floor.cmp(&other), floor.target().cmp(&other.target()));
        }

        /// A packed target is never easier than what it was made of, and at most 2 to the minus 23rd harder.
        #[test]
        fn packed_targets_round_down_a_little(target in any_target()) {
            let packed = PackedTarget::floor(target);
            prop_assert!(packed.target() <= target);
            prop_assert!(packed.target().to_f64() >= target.to_f64() * (1.0 - 2_f64.powi(-22)));
            prop_assert_eq!(PackedTarget::floor(packed.target()), packed);
            prop_assert_eq!(packed.difficulty().to_bits(), packed.target().difficulty().to_bits());
            prop_assert_eq!(packed.expected_hashes().to_bits(), packed.target().expected_hashes().to_bits());
        }
    }
}
