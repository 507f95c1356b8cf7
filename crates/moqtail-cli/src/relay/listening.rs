//! Opens the listeners of a relay.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use moqtail::transport::{Identity, ListenConfig, ListenError, Listener, TransportLimits};
use tokio::net::TcpListener;

use crate::{
    errors::{CliError, plain},
    values::{HttpAddr, ListenAddr},
};

type Bound = (Vec<Arc<Listener>>, Vec<TcpListener>);

/// Opens all listeners, or none.
pub(super) async fn bind_all(
    listen: &[ListenAddr],
    http: Option<&HttpAddr>,
    identity: &Identity,
    transport: &TransportLimits,
) -> Result<Bound, CliError> {
    let mut listeners = Vec::new();
    let mut before: &[ListenAddr] = &[];
    for (number, address) in listen.iter().enumerate() {
        let bound = bind_udp(address, identity, transport).await;
        listeners.extend(bound.map_err(|error| match overlap(before, address) {
            Some(twice) if matches!(error, CliError::PortInUse { .. }) => CliError::Usage(twice),
            _ => error,
        })?);
        before = listen.get(..=number).unwrap_or_default();
    }
    let bound = match http {
        Some(HttpAddr::Off) => Vec::new(),
        Some(HttpAddr::At(address)) => bind_http(address).await?,
        None => {
            let same = listeners.iter().map(Listener::local_addr);
            bind_tcp(&same.collect::<Vec<_>>(), "--http").await?
        }
    };
    Ok((listeners.into_iter().map(Arc::new).collect(), bound))
}

/// What to say where an address is taken by one that was given before it.
fn overlap(before: &[ListenAddr], address: &ListenAddr) -> Option<String> {
    /// How much of a port an address takes: `[::]` is IPv4, too, on most systems.
    fn width(address: &ListenAddr) -> u8 {
        match address.host.parse() {
            Ok(IpAddr::V6(ip)) if ip.is_unspecified() => 2,
            Ok(IpAddr::V4(ip)) if ip.is_unspecified() => 1,
            _ => 0,
        }
    }
    let is_v6 = |address: &ListenAddr| address.host.contains(':');
    let taken_by = |other: &&ListenAddr| {
        let is_taken = match width(address).max(width(other)) {
            2 => true,
            1 => !is_v6(address) && !is_v6(other),
            _ => address.host == other.host,
        };
        is_taken && address.port == other.port
    };
    let other = before.iter().find(taken_by)?;
    let wider = match width(address) > width(other) {
        true => address,
        false => other,
    };
    Some(format!(
        "Cannot listen on {other} and on {address}: {wider} takes the other one, too. Give only {wider} with `--listen`"
    ))
}

async fn bind_http(address: &ListenAddr) -> Result<Vec<TcpListener>, CliError> {
    let addresses = resolve(address, "--http").await?;
    match addresses.split_first() {
        Some((v4, v6)) if address.host == "localhost" => bind_localhost(*v4, v6).await,
        _ => bind_tcp(&addresses, "--http").await,
    }
}

/// As QUIC does it: a machine may have no IPv6.
async fn bind_localhost(v4: SocketAddr, v6: &[SocketAddr]) -> Result<Vec<TcpListener>, CliError> {
    let mut bound = bind_tcp(&[v4], "--http").await?;
    match bind_tcp(v6, "--http").await {
        Ok(more) => bound.extend(more),
        Err(error @ CliError::PortInUse { .. }) => return Err(error),
        Err(error) => tracing::debug!("no HTTP over IPv6: {error}"),
    }
    Ok(bound)
}

async fn bind_tcp(
    addresses: &[SocketAddr],
    option: &'static str,
) -> Result<Vec<TcpListener>, CliError> {
    let mut bound = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        let failed = |error: std::io::Error| CliError::from_bind("TCP", address, option, &error);
        bound.push(listener.map_err(failed)?);
    }
    Ok(bound)
}

async fn bind_udp(
    address: &ListenAddr,
    identity: &Identity,
    transport: &TransportLimits,
) -> Result<Vec<Listener>, CliError> {
    let config = |at: SocketAddr| {
        let mut config = ListenConfig::new(at, identity.clone());
        config.limits = transport.clone();
        config
    };
    if address.host == "localhost" {
        let any = SocketAddr::from(([127, 0, 0, 1], address.port));
        return Listener::bind_localhost(config(any)).map_err(udp_failed);
    }
    let addresses = resolve(address, "--listen").await?;
    addresses
        .into_iter()
        .map(|at| Listener::bind(config(at)).map_err(udp_failed))
        .collect()
}

async fn resolve(address: &ListenAddr, option: &'static str) -> Result<Vec<SocketAddr>, CliError> {
    let failed = |reason| CliError::Listen {
        address: address.to_string(),
        reason,
        option,
    };
    let found = address
        .resolve()
        .await
        .map_err(|error| failed(plain(error)))?;
    match found.is_empty() {
        true => Err(failed("the name has no address".to_owned())),
        false => Ok(found),
    }
}

fn udp_failed(error: ListenError) -> CliError {
    match error {
        ListenError::Bind { addr, source } => CliError::from_bind("UDP", addr, "--listen", &source),
        error => CliError::Start {
            reason: plain(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn http_on_localhost_does_without_an_address_that_is_not_there() {
        let v4 = SocketAddr::from(([127, 0, 0, 1], 0));
        let nowhere = "[2001:db8::1]:0".parse().unwrap();
        let bound = bind_localhost(v4, &[nowhere]).await.unwrap();
        assert_eq!(bound.len(), 1);
        let taken = bound[0].local_addr().unwrap();
        let error = bind_localhost(v4, &[taken]).await.unwrap_err();
        assert!(matches!(error, CliError::PortInUse { .. }), "{error}");
    }

    #[test]
    fn an_address_that_another_one_takes_is_told_from_one_of_another_program() {
        let overlap = |before: &str, address: &str| {
            let before: Vec<ListenAddr> = before.split(' ').map(|a| a.parse().unwrap()).collect();
            super::overlap(&before, &address.parse().unwrap())
        };
        assert_eq!(
            overlap("0.0.0.0:4443", "[::]:4443").unwrap(),
            "Cannot listen on 0.0.0.0:4443 and on [::]:4443: [::]:4443 takes the other one, too. \
             Give only [::]:4443 with `--listen`"
        );
        for (before, address) in [
            ("[::]:1", "0.0.0.0:1"),
            ("[::]:1", "localhost:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("localhost:2 localhost:1", "localhost:1"),
        ] {
            assert!(overlap(before, address).is_some(), "{before} {address}");
        }
        for (before, address) in [
            ("[::]:1", "0.0.0.0:2"),
            ("0.0.0.0:1", "[::1]:1"),
            ("192.0.2.1:1", "192.0.2.2:1"),
        ] {
            assert!(overlap(before, address).is_none(), "{before} {address}");
        }
    }
}
