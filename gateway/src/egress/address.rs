//! Which addresses control traffic may reach.
//!
//! An address is judged after resolving and connected to as judged, so a name that answers differently
//! the second time (DNS rebinding) gains nothing. IPv6 forms that carry an IPv4 address are judged by
//! both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address may be trusted, from harmless to never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Globally routable.
    Public,
    /// Loopback, private, shared or special purpose: only for what the config names itself.
    Private,
    /// Link-local, cloud metadata, unspecified, multicast, reserved: for nobody.
    Never,
}

/// Metadata services that live outside the link-local ranges.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure's host
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), // AWS
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254), // Google Cloud
];

/// The class of an address (IANA special-purpose registries, RFC 6890 and its updates).
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Class {
    let [a, b, c, _] = ip.octets();
    let never = a == 0                      // "this network", 0.0.0.0 among it
        || ip.is_link_local()
        || a >= 224                         // multicast, reserved, broadcast
        || METADATA_V4.contains(&ip);
    let private = ip.is_private()
        || ip.is_loopback()
        || (a == 100 && (64..128).contains(&b)) // shared address space
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113);
    if never {
        Class::Never
    } else if private {
        Class::Private
    } else {
        Class::Public
    }
}

fn classify_v6(ip: Ipv6Addr) -> Class {
    let segments = ip.segments();
    if let Some(v4) = ip.to_ipv4_mapped() {
        return classify_v4(v4);
    }
    if ip.is_loopback() {
        return Class::Private;
    }
    let first = segments[0];
    let never = ip.is_unspecified()
        || ip.is_multicast()
        || first & 0xffc0 == 0xfe80 // link-local
        || first & 0xffc0 == 0xfec0 // site-local, deprecated
        || METADATA_V6.contains(&ip);
    if never {
        return Class::Never;
    }
    if let Some(v4) = embedded(&segments) {
        return classify_v4(v4).max(Class::Private);
    }
    if let Some(v4) = nat64(&segments) {
        return classify_v4(v4);
    }
    let private = first & 0xfe00 == 0xfc00               // unique local
        || first & 0xe000 != 0x2000                      // outside global unicast
        || (first == 0x2001 && segments[1] < 0x0200)     // protocol assignments, Teredo
        || (first == 0x2001 && segments[1] == 0x0db8)    // documentation
        || (first == 0x3fff && segments[1] < 0x1000); // documentation
    if private {
        Class::Private
    } else {
        Class::Public
    }
}

/// The IPv4 address inside an IPv4-compatible, 6to4, local NAT64 or ISATAP address: transition forms
/// that nobody needs for control traffic.
fn embedded(segments: &[u16; 8]) -> Option<Ipv4Addr> {
    let tail = || v4(segments[6], segments[7]);
    match *segments {
        [0, 0, 0, 0, 0, 0, _, _] => Some(tail()),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x0064, 0xff9b, 0x0001, ..] => Some(tail()),
        [_, _, _, _, 0 | 0x0200, 0x5efe, _, _] => Some(tail()),
        _ => None,
    }
}

/// The IPv4 address behind the well-known NAT64 prefix 64:ff9b::/96 (RFC 6052), which is how an
/// IPv6-only network reaches public IPv4.
fn nat64(segments: &[u16; 8]) -> Option<Ipv4Addr> {
    match *segments {
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Whether a host reads as a number to some resolver although it is no canonical IPv4 address:
/// `2130706433`, `0x7f.1`, `017700000001`, `127.1` (the "ends in a number" rule of the URL standard).
pub(super) fn is_disguised_number(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() {
        return false;
    }
    let last = host
        .strip_suffix('.')
        .unwrap_or(host)
        .rsplit('.')
        .next()
        .unwrap_or("");
    let digits = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    let hex = last
        .strip_prefix("0x")
        .or_else(|| last.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    digits || hex
}
