//! Refuses special-use addresses at the moment of the connection (RFC 6890).
//!
//! *In*: a host of a URL. *Out*: its addresses, if all of them are public. A name is resolved once for each connection, and only
//! the checked addresses are used, so a name can't change its address between check and connection.
//!
//! Names that look internal are not refused: only the address counts.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use ::url::{Host, Url};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{sync::Semaphore, task};

/// Whether loopback addresses are accepted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopbackAddresses {
    Refused,
    Accepted,
}

/// A resolver that returns only public addresses. Clones share the limit of concurrent lookups.
#[derive(Debug, Clone)]
pub(super) struct PublicAddresses {
    loopback: LoopbackAddresses,
    lookups: Arc<Semaphore>,
}

/// The cause of a [`FetchError`](super::FetchError), which has its text: the host of the URL has an address that is not public, so no connection was
/// opened. See [`public_addresses_only`](super::HttpClientBuilder::public_addresses_only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotPublicAddress;

impl NotPublicAddress {
    /// Returns the cause of an error, if the address is that.
    pub(crate) fn among_causes(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = error.source();
        while let Some(cause) = next {
            if let Some(found) = cause.downcast_ref::<Self>() {
                return Some(*found);
            }
            next = cause.source();
        }
        None
    }
}

impl PublicAddresses {
    pub(super) fn new(loopback: LoopbackAddresses) -> Self {
        Self { loopback, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// Checks the host of a URL that is an address itself, which the connector doesn't resolve. The URL is the one that is
    /// fetched, because its parser has many spellings of an address: `127.1` and `0x7f000001` are `127.0.0.1`.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), NotPublicAddress> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if self.accepts(address) { Ok(()) } else { Err(NotPublicAddress) }
    }

    fn accepts(&self, address: IpAddr) -> bool {
        is_public(address) || (self.loopback == LoopbackAddresses::Accepted && address.is_loopback())
    }
}

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let permit = Arc::clone(&this.lookups).acquire_owned().await?;
            // The permit ends with the lookup, also if the request does not wait for it any more: it occupies a thread.
            let lookup = move || {
                let addresses = (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
                drop(permit);
                addresses
            };
            let addresses = task::spawn_blocking(lookup).await??;
            // One such address refuses all, because the connector would try each of them.
            if !addresses.iter().all(|address| this.accepts(address.ip())) {
                return Err(NotPublicAddress.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl fmt::Display for NotPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host has an address that is not public")
    }
}

impl Error for NotPublicAddress {}

/// True for an address that belongs to a host of the public Internet, and that contains no address of IPv4.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|block| block.contains(address)),
        IpAddr::V6(address) => {
            let is_special = SPECIAL_V6.iter().any(|block| block.contains(address));
            PUBLIC_V6.contains(address) && !is_special && !is_isatap(address)
        }
    }
}

/// True for an interface identifier that has an address of IPv4 in its last 32 bits (RFC 5214 §6.1). A router with ISATAP
/// delivers to that address, whatever the prefix is.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [.., universal, identifier, _, _] = address.segments();
    // Only the bit `u` may differ, which says whether the address of IPv4 is unique.
    identifier == 0x5efe && universal & !0x0200 == 0
}

/// A block of addresses: its first address, and the number of bits that all of them share.
struct BlockV4(Ipv4Addr, u32);

impl BlockV4 {
    fn contains(&self, address: Ipv4Addr) -> bool {
        (self.0.to_bits() ^ address.to_bits()).leading_zeros() >= self.1
    }
}

struct BlockV6(Ipv6Addr, u32);

impl BlockV6 {
    fn contains(&self, address: Ipv6Addr) -> bool {
        (self.0.to_bits() ^ address.to_bits()).leading_zeros() >= self.1
    }
}

/// The registry of special-purpose addresses of IPv4 (RFC 6890 §2.2.2), with multicast and what is reserved.
const SPECIAL_V4: [BlockV4; 15] = [
    BlockV4(Ipv4Addr::UNSPECIFIED, 8),
    BlockV4(Ipv4Addr::new(10, 0, 0, 0), 8),
    BlockV4(Ipv4Addr::new(100, 64, 0, 0), 10),
    BlockV4(Ipv4Addr::new(127, 0, 0, 0), 8),
    BlockV4(Ipv4Addr::new(169, 254, 0, 0), 16),
    BlockV4(Ipv4Addr::new(172, 16, 0, 0), 12),
    BlockV4(Ipv4Addr::new(192, 0, 0, 0), 24),
    BlockV4(Ipv4Addr::new(192, 0, 2, 0), 24),
    BlockV4(Ipv4Addr::new(192, 88, 99, 0), 24),
    BlockV4(Ipv4Addr::new(192, 168, 0, 0), 16),
    BlockV4(Ipv4Addr::new(198, 18, 0, 0), 15),
    BlockV4(Ipv4Addr::new(198, 51, 100, 0), 24),
    BlockV4(Ipv4Addr::new(203, 0, 113, 0), 24),
    BlockV4(Ipv4Addr::new(224, 0, 0, 0), 4),
    BlockV4(Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Global unicast (RFC 4291 §2.4). Outside of it are loopback, link-local and unique local addresses, multicast, and the forms
/// with an address of IPv4: mapped addresses and NAT64.
const PUBLIC_V6: BlockV6 = BlockV6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// What global unicast has of special purpose: protocol assignments with Teredo, documentation, and 6to4.
const SPECIAL_V6: [BlockV6; 4] = [
    BlockV6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    BlockV6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    BlockV6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    BlockV6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
/// Maximum number of concurrent lookups. Each occupies a thread until the system's resolver gives up.
const MAX_LOOKUPS: usize = 16;

#[cfg(test)]
mod tests {
    use super::is_public;

    /// Threat T61
    #[test]
    fn only_public_addresses_are_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:10::1",
            "2001:1ff:ffff::",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001:470:1:2:0:5efe:a00:1",
            "2606:4700::5efe:a9fe:a9fe",
            "2606:4700::200:5efe:7f00:1",
            "2606:4700::5efe:808:808",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1:a00:0:100::",
            "64:ff9b:1:ffff::7f00:1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1",
            "2606:4700::100:5efe:a00:1",
            "2606:4700::5eff:a00:1",
            "2a00:1450::1",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
