//! UDP sockets and QUIC settings common to both sides.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{IdleTimeout, TransportConfig, VarInt, congestion::BbrConfig};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Congestion, TransportLimits};

/// A socket with large buffers, as far as the system grants them. An unspecified IPv6 address also takes IPv4 unless
/// `only_v6` is set.
pub(super) fn bind(addr: SocketAddr, buffer: usize, only_v6: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Smaller buffers than asked for cost packets under load, not correctness.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
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
        .datagram_send_buffer_size(limits.datagram_buffer)
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
