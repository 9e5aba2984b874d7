//! What proxies say of the requests that they pass on, and which are believed.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

use super::Peer;

/// Bytes of a request's id that is taken from a proxy.
const ID_LIMIT_BYTES: usize = 128;

/// The proxies that are believed.
#[derive(Debug, Default)]
pub(in crate::server) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those in this list, which the configuration has checked.
    pub(in crate::server) fn new(list: &str) -> Self {
        Self(crate::config::parse_networks(list).unwrap_or_default())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        // An IPv4 address may come as one of IPv6.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether what a peer says of a request's way here is believed.
    pub(in crate::server) fn is_proxy(&self, peer: Peer) -> bool {
        self.trusts(peer.address.ip())
    }

    /// From which address a request comes: the last one that no trusted proxy has. What is before it, whoever has that address may have
    /// written.
    pub(in crate::server) fn origin(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        let mut origin = peer.address.ip();
        let passed = headers.get_all("x-forwarded-for").iter();
        let mut passed = passed.rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        while self.trusts(origin) {
            match passed.next().map(|address| parse(address.trim())) {
                Some(Some(before)) => origin = before,
                Some(None) | None => break,
            }
        }
        origin.to_canonical()
    }

    /// Whether a browser has spoken TLS, with this server or with a proxy.
    pub(in crate::server) fn is_secure(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let is_https =
            |value: &str| value.rsplit(',').next().unwrap_or_default().trim().eq_ignore_ascii_case("https");
        let said =
            || headers.get_all("x-forwarded-proto").iter().next_back().and_then(|value| value.to_str().ok());
        peer.is_tls || self.trusts(peer.address.ip()) && said().is_some_and(is_https)
    }

    /// The id that a proxy has given a request.
    pub(in crate::server) fn request_id(&self, peer: Peer, headers: &HeaderMap) -> Option<String> {
        let id = headers.get("x-request-id").filter(|_| self.trusts(peer.address.ip()))?.to_str().ok()?;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
        ((1..=ID_LIMIT_BYTES).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.to_owned())
    }
}

/// An address, which some proxies write with a port.
fn parse(address: &str) -> Option<IpAddr> {
    let with_port = || address.parse::<SocketAddr>().map(|address| address.ip());
    address.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn peer(address: &str) -> Peer {
        Peer { address: SocketAddr::new(address.parse().unwrap(), 1), is_tls: false }
    }

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_who_asks() {
        let proxies = Proxies::new("127.0.0.1 10.0.0.0/8 fd00::/8");
        for (from, passed, expected) in [
            ("127.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.9, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.9", "192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.9, 192.0.2.1, 10.1.2.3", "fd00::1"], "192.0.2.1"),
            ("::ffff:127.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &["192.0.2.9, nonsense, 10.0.0.1"], "10.0.0.1"),
            ("127.0.0.1", &[""], "127.0.0.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("192.0.2.7", &["192.0.2.1"], "192.0.2.7"),
            ("127.0.0.2", &["192.0.2.1"], "127.0.0.2"),
        ] {
            let origin = proxies.origin(peer(from), &headers("x-forwarded-for", passed));
            assert_eq!(origin, expected.parse::<IpAddr>().unwrap(), "{from} {passed:?}");
        }
    }

    #[test]
    fn what_others_say_is_not_believed() {
        let proxies = Proxies::new("::1");
        for (from, scheme, expected) in [
            ("::1", "https", true),
            ("::1", "http, HTTPS", true),
            ("::1", "https, http", false),
            ("::2", "https", false),
        ] {
            assert_eq!(proxies.is_secure(peer(from), &headers("x-forwarded-proto", &[scheme])), expected);
        }
        assert!(proxies.is_secure(Peer { is_tls: true, ..peer("::2") }, &HeaderMap::new()));
        let long = "x".repeat(129);
        for (from, id, is_taken) in [
            ("::1", "a-1.b_2:3", true),
            ("::2", "a-1", false),
            ("::1", "", false),
            ("::1", "a b", false),
            ("::1", "<b>", false),
            ("::1", &long, false),
        ] {
            let taken = proxies.request_id(peer(from), &headers("x-request-id", &[id]));
            assert_eq!(taken.is_some(), is_taken, "{from} {id}");
        }
    }
}
