//! The slots of a cluster.
//!
//! *In*: a key, or the part of it in braces. *Out*: the number by which the cluster chooses a node.

/// Returns the slot of a key: CRC-16 (XMODEM), modulo 16384. If the key has a part in braces, the text is that part.
pub(crate) fn slot(text: &str) -> u16 {
    let sum = text.bytes().fold(0_u16, |sum, byte| {
        (0..8).fold(
            sum ^ (u16::from(byte) << 8),
            |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
            },
        )
    });
    sum % SLOTS
}

/// Number of slots.
pub(crate) const SLOTS: u16 = 16_384;
