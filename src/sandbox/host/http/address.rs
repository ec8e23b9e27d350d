//! Decides which addresses the name of a host may resolve to: public Internet addresses only.
//!
//! The owner of a name can point it anywhere, so a grant for a name must not give access to hosts
//! behind the firewall. An address that is not public is reachable only if the manifest lists the
//! address itself. The ranges are those of IANA's registries of special-purpose addresses. For
//! IPv6, only addresses that are assigned as global unicast count as public. An address that embeds
//! an IPv4 address is also checked by that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns what kind of address this is if it is not public, and `None` if it is public.
pub(super) fn not_public(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "an unspecified address",
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "an address of a carrier's network",
        [169, 254, ..] => "a link-local address",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an address for documentation",
        [224..=239, ..] => "a multicast address",
        // Protocol assignments, 6to4 relays, benchmarks, and the other reserved ranges.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let inside = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        not_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    Some(match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => "an unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        // NAT64, 6to4 and ISATAP: the network routes to the embedded IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => return inside(high, low),
        [0xfc00..=0xfdff, ..] => "a private address",
        [0xfe80..=0xfeff, ..] => "a link-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "an address for documentation",
        // Teredo, ORCHID, benchmarks and other protocol assignments.
        [0x2001, 0..=0x1ff, ..] => "a reserved address",
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(text: &str) -> Option<&'static str> {
        not_public(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert_eq!(judge(public), None, "{public}");
        }
    }

    #[test]
    fn special_addresses_are_named() {
        for (word, addresses) in [
            ("unspecified", vec!["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"]),
            (
                "loopback",
                vec!["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
            ),
            (
                "private",
                vec!["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1", "64:ff9b::a00:1"],
            ),
            ("carrier", vec!["100.64.0.1", "100.127.255.255"]),
            ("link-local", vec!["169.254.169.254", "fe80::1", "febf::1", "fec0::1", "2002:a9fe:a9fe::1"]),
            (
                "documentation",
                vec!["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff::1"],
            ),
            ("multicast", vec!["224.0.0.1", "239.255.255.255", "ff02::1"]),
            (
                "reserved",
                vec![
                    "192.0.0.8",
                    "198.18.0.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::127.0.0.1",
                    "2001::1",
                    "64:ff9b:1::1",
                ],
            ),
            ("reserved", vec!["100::1", "5f00::1", "4000::1", "::ffff:0:127.0.0.1"]),
            ("loopback", vec!["2a00::5efe:7f00:1", "2a00::200:5efe:127.0.0.1"]),
        ] {
            for address in addresses {
                let what = judge(address).unwrap_or("public");
                assert!(what.contains(word), "{address} is {what}");
            }
        }
    }

    proptest! {
        /// An IPv4 address that is not public stays so when an IPv6 address embeds it.
        #[test]
        fn embedded_ipv4_addresses_are_judged_like_the_plain_ones(octets in any::<[u8; 4]>()) {
            let plain = Ipv4Addr::from(octets);
            let [a, b, c, d] = octets.map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            let disguises = [
                plain.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
            ];
            for disguise in disguises {
                prop_assert_eq!(not_public(disguise.into()), not_public(plain.into()), "{}", disguise);
            }
        }

        /// What the standard library knows to be special is never public.
        #[test]
        fn nothing_special_is_public(address in any::<u32>().prop_map(Ipv4Addr::from)) {
            let special = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast()
                || address.is_broadcast() || address.is_documentation() || address.is_unspecified();
            prop_assert!(!special || not_public(address.into()).is_some());
        }
    }
}
