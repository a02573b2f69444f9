//! The keys of clients that use the API often, so that they are not parsed again for each proof.
//!
//! *In*: the encoded header of a proof. *Out*: its checked key, if a token was bound to it and it has signed a proof before.
//!
//! A client writes the same header into all of its proofs, and parsing an RSA key costs a third of a signature check. Only keys that
//! the authorization server has bound to a token get in, so a client without such a token can't evict one.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;

use crate::keys::SenderKey;

/// Bounded in number and size: each entry has the text of a header and a key, together at most about 4 KB.
pub(crate) struct KnownKeys(Cache<Box<[u8]>, Arc<SenderKey>>);

impl KnownKeys {
    /// Returns the key of a header that is, byte for byte, one that was checked before.
    pub(super) fn find(&self, header: &[u8]) -> Option<Arc<SenderKey>> {
        self.0.get(header)
    }

    /// Stores the key of a header that was checked.
    pub(super) fn store(&self, header: &[u8], key: &Arc<SenderKey>) {
        if header.len() <= MAX_HEADER_BYTES {
            self.0.insert(header.into(), Arc::clone(key));
        }
    }
}

impl Default for KnownKeys {
    fn default() -> Self {
        Self(Cache::new(MAX_KEYS))
    }
}

impl fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownKeys").finish_non_exhaustive()
    }
}

const MAX_KEYS: usize = 1_000;
/// The header of an RSA key with 4096 bits has about 1000 bytes.
const MAX_HEADER_BYTES: usize = 1_280;
