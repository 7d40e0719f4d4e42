//! A hash of 64 bits that is the same from run to run.

/// Spreads what differs in a few bits over all of them (the finaliser of MurmurHash3, Appleby 2011).
pub(crate) const fn mix(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ (bits >> 33)
}

/// The hash of an id.
pub(crate) fn mix_id(id: &[u8; 16]) -> u64 {
    let id = u128::from_le_bytes(*id);
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    mix(half(id) ^ mix(half(id >> 64)))
}
