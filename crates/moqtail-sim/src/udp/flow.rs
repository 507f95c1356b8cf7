//! One client as the server sees it.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{direction::Direction, weather::WeatherStation};

/// Socket buffers, as far as the system grants them: what overflows is lost against the seed's decisions.
const BUFFER: usize = 4 << 20;

/// A client, and the socket that stands for it at the server.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    pub(super) upstream: UdpSocket,
    /// What the client was before: packets to it vanish, as at a NAT that forgot it.
    retired: Vec<UdpSocket>,
    to_server: WeatherStation,
    to_client: WeatherStation,
}

impl Flow {
    /// A client whose decisions are those of `seed`.
    pub(super) fn new(client: SocketAddr, server: SocketAddr, seed: u64) -> io::Result<Self> {
        Ok(Self {
            client,
            upstream: upstream(server)?,
            retired: Vec::new(),
            to_server: WeatherStation::new(seed),
            to_client: WeatherStation::new(!seed),
        })
    }

    /// The decisions of one direction.
    pub(super) fn station(&mut self, direction: Direction) -> &mut WeatherStation {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    /// Gives the client another address at the server.
    pub(super) fn rebind(&mut self, server: SocketAddr) -> io::Result<()> {
        let before = std::mem::replace(&mut self.upstream, upstream(server)?);
        self.retired.push(before);
        Ok(())
    }
}

fn upstream(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind(SocketAddr::new(
        match server.is_ipv6() {
            true => Ipv6Addr::UNSPECIFIED.into(),
            false => Ipv4Addr::UNSPECIFIED.into(),
        },
        0,
    ))?;
    socket.connect(&server.into())?;
    UdpSocket::from_std(socket.into())
}

/// A UDP socket for a tokio runtime.
pub(super) fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
