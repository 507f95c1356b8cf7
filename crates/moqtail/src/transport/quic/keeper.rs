//! One task per WebTransport session: it reads the request stream for the peer's close, sends ours, and keeps the
//! session's own streams until the connection is over. Browsers end a connection whose control stream is dropped.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, time::timeout};
use web_transport_proto::{Capsule, Frame, VarInt};

use super::{
    capsules::{Capsules, SessionClose},
    handshake::SessionStreams,
    shared::Shared,
};
use crate::transport::CloseReason;

/// Least time a peer gets to answer our close before the connection is closed under it.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

pub(super) async fn keep(shared: Arc<Shared>, streams: SessionStreams) {
    let SessionStreams {
        control_send,
        control_recv,
        connect_send,
        connect_recv,
    } = streams;
    // What is on its way of media must not keep our close back (draft-14 §3.4). Fails only if the stream is over.
    let _ = connect_send.set_priority(i32::MAX);
    let mut capsules = Capsules::new(connect_recv);
    let peer = tokio::select! {
        biased;
        reason = peer_close(&shared, &mut capsules) => Some(reason),
        _ = shared.ended.wait() => None,
    };
    if let Some(reason) = peer {
        // Loses against a close of ours at the same moment.
        let _ = shared.ended.set(reason);
    } else if send_close(&shared, connect_send).await.is_ok() {
        let grace = CLOSE_GRACE.max(shared.conn.rtt() * 3);
        let _ = timeout(grace, shared.conn.closed()).await;
    }
    let (code, reason) = match shared.ended.get() {
        Some(CloseReason::Local { code, reason }) => (*code, reason.as_str()),
        Some(CloseReason::Peer { code, .. }) => (*code, ""),
        Some(CloseReason::Lost(_)) | None => (0, ""),
    };
    shared
        .conn
        .close(shared.codes.encode(code), reason.as_bytes());
    if let Some(web) = &shared.web {
        let _ = web.over.set(());
    }
    drop((control_send, control_recv));
}

async fn peer_close(shared: &Shared, capsules: &mut Capsules<quinn::RecvStream>) -> CloseReason {
    match capsules.close().await {
        Ok(Some(SessionClose { code, reason })) => CloseReason::Peer { code, reason },
        // The end of the request stream without a capsule is a close without code and reason.
        Ok(None) => CloseReason::Peer {
            code: 0,
            reason: String::new(),
        },
        Err(error) => match shared.conn.close_reason() {
            Some(error) => shared.reason_of(error),
            None => CloseReason::Lost(format!("the session's request stream broke: {error}")),
        },
    }
}

async fn send_close(shared: &Shared, mut stream: quinn::SendStream) -> std::io::Result<()> {
    let Some(CloseReason::Local { code, reason }) = shared.ended.get() else {
        return Ok(());
    };
    let mut capsule = Vec::new();
    Capsule::CloseWebTransportSession {
        code: *code,
        reason: reason.clone(),
    }
    .encode(&mut capsule);
    let mut frame = Vec::new();
    Frame::DATA.encode(&mut frame);
    VarInt::from_u32(u32::try_from(capsule.len()).unwrap_or(u32::MAX)).encode(&mut frame);
    frame.extend_from_slice(&capsule);
    timeout(CLOSE_GRACE, stream.write_all(&frame)).await??;
    stream.shutdown().await
}
