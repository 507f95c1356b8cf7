//! What each host has of something that all share, so that under pressure one of them cannot have all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use super::lock;

/// How many places each host has; there are no more hosts in it than places.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    taken: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place of a host, until it is dropped.
#[derive(Debug)]
pub(crate) struct HostPlace {
    hosts: Arc<Hosts>,
    host: IpAddr,
}

impl Hosts {
    /// Whether a host has fewer than `most` places.
    pub(crate) fn has_room(&self, address: IpAddr, most: usize) -> bool {
        let taken = lock(&self.taken);
        taken.get(&host(address)).copied().unwrap_or_default() < most
    }

    /// One more place for a host; `None`: it has `most` already.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<HostPlace> {
        let host = host(address);
        let mut taken = lock(&self.taken);
        let count = taken.entry(host).or_default();
        if *count >= most {
            if *count == 0 {
                taken.remove(&host);
            }
            return None;
        }
        *count += 1;
        Some(HostPlace {
            hosts: Arc::clone(self),
            host,
        })
    }
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        let mut taken = lock(&self.hosts.taken);
        if let Some(count) = taken.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.host);
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
        let room = |address: &str| hosts.has_room(address.parse().unwrap(), 2);
        assert_eq!((room("192.0.2.1"), room("192.0.2.2")), (false, true));
        let other = enter("192.0.2.2", 1);
        assert!(other.is_some());
        let network = enter("2001:db8::1", 1);
        assert!(network.is_some());
        assert!(enter("2001:db8::ffff:1", 1).is_none());
        assert!(enter("2001:db8:0:1::1", 1).is_some());
        assert!(enter("192.0.2.3", 0).is_none());
        drop((held, other, network));
        assert!(lock(&hosts.taken).is_empty());
    }
}
