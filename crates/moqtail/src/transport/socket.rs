//! UDP sockets and QUIC settings common to both sides.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{IdleTimeout, TransportConfig, VarInt, congestion::BbrConfig};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Congestion, TransportLimits, limits::DATAGRAM_SLACK};

/// A socket with large buffers, as far as the system grants them. An unspecified IPv6 address also takes IPv4 unless
/// `only_v6` is set.
pub(super) fn bind(addr: SocketAddr, buffer: usize, only_v6: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Smaller buffers than asked for cost packets under load, not correctness; see `shortfall`.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// The system granted smaller socket buffers than [`TransportLimits::socket_buffer`] asks for: bursts are lost in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferShortfall {
    /// Bytes asked for in each direction.
    pub asked: usize,
    /// Bytes granted in the direction that got less.
    pub granted: usize,
}

/// How much larger than granted a buffer is reported: Linux counts its own records in.
const REPORTED_TIMES: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

/// Whether a socket has smaller buffers than asked for; no, if the system does not tell.
pub(super) fn shortfall(socket: &UdpSocket, asked: usize) -> Option<BufferShortfall> {
    let socket = SockRef::from(socket);
    let sizes = [socket.recv_buffer_size(), socket.send_buffer_size()];
    let smallest = sizes.into_iter().flatten().min()?;
    short_of(asked, smallest)
}

/// The same of the smaller buffer as it is reported.
fn short_of(asked: usize, reported: usize) -> Option<BufferShortfall> {
    let granted = reported / REPORTED_TIMES;
    (granted < asked).then_some(BufferShortfall { asked, granted })
}

pub(super) fn endpoint(
    socket: UdpSocket,
    config: quinn::EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> io::Result<quinn::Endpoint> {
    quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime))
}

/// Settings for connections of which the peer may open this many streams for HTTP/3 beside those of MOQT.
pub(super) fn transport(limits: &TransportLimits, http3_streams: u32) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(
            limits
                .initial_incoming_uni
                .saturating_add(http3_streams)
                .into(),
        )
        // One more for the request stream of WebTransport.
        .max_concurrent_bidi_streams(limits.incoming_bidi.saturating_add(1).into())
        .stream_receive_window(limits.stream_window.into())
        .receive_window(limits.initial_window.into())
        .send_window(limits.send_window.into())
        // Without it quinn finishes a stream once begun, however urgent the others are. It costs nothing as long as
        // streams have different priorities.
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(limits.datagram_buffer))
        .datagram_send_buffer_size(limits.datagram_backlog().saturating_add(DATAGRAM_SLACK))
        .keep_alive_interval(Some(limits.keep_alive))
        .max_idle_timeout(Some(idle(limits)));
    if limits.congestion == Congestion::Bbr {
        config.congestion_controller_factory(Arc::new(BbrConfig::default()));
    }
    Arc::new(config)
}

fn idle(limits: &TransportLimits) -> IdleTimeout {
    IdleTimeout::try_from(limits.idle_timeout).unwrap_or_else(|_| VarInt::MAX.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_short_only_if_less_was_granted_than_asked_for() {
        let (asked, granted) = (4 << 20, 208 << 10);
        assert_eq!(short_of(asked, asked * REPORTED_TIMES), None);
        assert_eq!(short_of(asked, 2 * asked * REPORTED_TIMES), None);
        let short = short_of(asked, granted * REPORTED_TIMES);
        assert_eq!(short, Some(BufferShortfall { asked, granted }));
    }

    #[test]
    fn a_bound_socket_tells_of_buffers_that_it_did_not_get() {
        let addr = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let socket = bind(addr, 16 << 10, true).unwrap();
        assert_eq!(shortfall(&socket, 16 << 10), None);
        if cfg!(target_os = "linux") {
            let (asked, granted) = ((16 << 10) + 1, 16 << 10);
            let short = Some(BufferShortfall { asked, granted });
            assert_eq!(shortfall(&socket, asked), short);
        }
        let asked = 1 << 30;
        let short = shortfall(&socket, asked).unwrap();
        assert!(short.asked == asked && short.granted < asked, "{short:?}");
    }
}
