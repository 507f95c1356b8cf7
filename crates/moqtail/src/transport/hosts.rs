//! Which hosts the handshakes of a listener come from, so that under pressure one of them cannot have all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use super::lock;

/// How many handshakes each host runs; there are no more hosts in it than handshakes.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    running: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A handshake of a host, until it is dropped.
#[derive(Debug)]
pub(super) struct HostHandshake {
    hosts: Arc<Hosts>,
    host: IpAddr,
}

impl Hosts {
    /// One more handshake of a host; `None`: it runs `most` already.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<HostHandshake> {
        let host = host(address);
        let mut running = lock(&self.running);
        let count = running.entry(host).or_default();
        if *count >= most {
            if *count == 0 {
                running.remove(&host);
            }
            return None;
        }
        *count += 1;
        Some(HostHandshake {
            hosts: Arc::clone(self),
            host,
        })
    }
}

impl Drop for HostHandshake {
    fn drop(&mut self) {
        let mut running = lock(&self.hosts.running);
        if let Some(count) = running.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.host);
            }
        }
    }
}

/// What addresses of one host have in common: an IPv4 address, or the network of an IPv6 address, which has as many as it
/// likes in it.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        IpAddr::V4(address) => Ipv4Addr::into(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_own_count_and_leaves_nothing_behind() {
        let hosts = Arc::new(Hosts::default());
        let enter = |address: &str, most| hosts.enter(address.parse().unwrap(), most);
        let held = [enter("192.0.2.1", 2), enter("::ffff:192.0.2.1", 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(enter("192.0.2.1", 2).is_none());
        let other = enter("192.0.2.2", 1);
        assert!(other.is_some());
        let network = enter("2001:db8::1", 1);
        assert!(network.is_some());
        assert!(enter("2001:db8::ffff:1", 1).is_none());
        assert!(enter("2001:db8:0:1::1", 1).is_some());
        assert!(enter("192.0.2.3", 0).is_none());
        drop((held, other, network));
        assert!(lock(&hosts.running).is_empty());
    }
}
