//! Well-formed control messages, as clients and servers send them.

use crate::{
    message::{Message, Pair},
    types,
    wire::HUGE,
};

/// Version number of draft 14.
pub const VERSION: u64 = 0xff00_000e;

/// Requests that the peer on the other side may make of us unless a test says otherwise.
pub const GENEROUS: u64 = 1 << 20;

/// CLIENT_SETUP that lets the server make requests below `limit`.
pub fn client_setup(limit: u64) -> Message {
    Message::new("CLIENT_SETUP", types::CLIENT_SETUP)
        .versions(&[VERSION])
        .parameters(&[Pair::Number(0x02, limit)])
}

/// CLIENT_SETUP that offers these versions.
pub fn client_setup_offering(versions: &[u64]) -> Message {
    Message::new("CLIENT_SETUP", types::CLIENT_SETUP)
        .versions(versions)
        .parameters(&[])
}

/// CLIENT_SETUP with PATH.
pub fn client_setup_path(path: &[u8]) -> Message {
    Message::new("CLIENT_SETUP", types::CLIENT_SETUP)
        .versions(&[VERSION])
        .parameters(&[Pair::Bytes(0x01, path)])
}

/// CLIENT_SETUP with this AUTHORIZATION TOKEN.
pub fn client_setup_token(token: &[u8]) -> Message {
    Message::new("CLIENT_SETUP", types::CLIENT_SETUP)
        .versions(&[VERSION])
        .parameters(&[Pair::Bytes(0x03, token)])
}

/// SERVER_SETUP.
pub fn server_setup() -> Message {
    server_setup_selecting(VERSION)
}

/// SERVER_SETUP with this version.
pub fn server_setup_selecting(version: u64) -> Message {
    Message::new("SERVER_SETUP", types::SERVER_SETUP)
        .number("Selected Version", version)
        .parameters(&[])
}

/// SERVER_SETUP that lets the client make requests below `limit`.
pub fn server_setup_granting(limit: u64) -> Message {
    Message::new("SERVER_SETUP", types::SERVER_SETUP)
        .number("Selected Version", VERSION)
        .parameters(&[Pair::Number(0x02, limit)])
}

/// SERVER_SETUP with PATH, which only clients send.
pub fn server_setup_path(path: &[u8]) -> Message {
    Message::new("SERVER_SETUP", types::SERVER_SETUP)
        .number("Selected Version", VERSION)
        .parameters(&[Pair::Bytes(0x01, path)])
}

/// MAX_REQUEST_ID.
pub fn max_request_id(limit: u64) -> Message {
    Message::new("MAX_REQUEST_ID", types::MAX_REQUEST_ID).id(limit)
}

/// REQUESTS_BLOCKED.
pub fn requests_blocked(limit: u64) -> Message {
    Message::new("REQUESTS_BLOCKED", types::REQUESTS_BLOCKED).id(limit)
}

/// GOAWAY.
pub fn goaway(uri: &str) -> Message {
    Message::new("GOAWAY", types::GOAWAY).bytes("New Session URI", uri.as_bytes())
}

/// SUBSCRIBE after the largest object, without parameters.
pub fn subscribe(id: u64, namespace: &[&str], track: &str) -> Message {
    subscribe_with(id, namespace, track, &[])
}

/// SUBSCRIBE with this DELIVERY TIMEOUT in milliseconds.
pub fn subscribe_timeout(id: u64, namespace: &[&str], track: &str, timeout: u64) -> Message {
    subscribe_with(id, namespace, track, &[Pair::Number(0x02, timeout)])
}

/// SUBSCRIBE with this AUTHORIZATION TOKEN.
pub fn subscribe_token(id: u64, namespace: &[&str], track: &str, token: &[u8]) -> Message {
    subscribe_with(id, namespace, track, &[Pair::Bytes(0x03, token)])
}

/// SUBSCRIBE from the next group on.
pub fn subscribe_next_group(id: u64, namespace: &[&str], track: &str) -> Message {
    Message::new("SUBSCRIBE", types::SUBSCRIBE)
        .id(id)
        .namespace(namespace)
        .bytes("Track Name", track.as_bytes())
        .priority(128)
        .choice("Group Order", 0)
        .choice("Forward", 1)
        .kind("Filter Type", 1)
        .parameters(&[])
}

fn subscribe_with(id: u64, namespace: &[&str], track: &str, pairs: &[Pair<'_>]) -> Message {
    Message::new("SUBSCRIBE", types::SUBSCRIBE)
        .id(id)
        .namespace(namespace)
        .bytes("Track Name", track.as_bytes())
        .priority(128)
        .choice("Group Order", 0)
        .choice("Forward", 1)
        .kind("Filter Type", 2)
        .parameters(pairs)
}

/// SUBSCRIBE of a range of groups.
pub fn subscribe_range(
    id: u64,
    namespace: &[&str],
    track: &str,
    start: (u64, u64),
    end: u64,
) -> Message {
    Message::new("SUBSCRIBE", types::SUBSCRIBE)
        .id(id)
        .namespace(namespace)
        .bytes("Track Name", track.as_bytes())
        .priority(128)
        .choice("Group Order", 1)
        .choice("Forward", 1)
        .kind("Filter Type", 4)
        .location(start.0, start.1)
        .number("End Group", end)
        .parameters(&[Pair::Number(0x02, 60_000)])
}

/// SUBSCRIBE_OK of a track without content.
pub fn subscribe_ok(id: u64, alias: u64) -> Message {
    Message::new("SUBSCRIBE_OK", types::SUBSCRIBE_OK)
        .id(id)
        .number("Track Alias", alias)
        .number("Expires", 0)
        .choice("Group Order", 1)
        .choice("Content Exists", 0)
        .parameters(&[])
}

/// SUBSCRIBE_OK of a track with this largest Location, and with parameters as large.
pub fn subscribe_ok_at(id: u64, alias: u64, largest: (u64, u64)) -> Message {
    Message::new("SUBSCRIBE_OK", types::SUBSCRIBE_OK)
        .id(id)
        .number("Track Alias", alias)
        .number("Expires", HUGE)
        .choice("Group Order", 1)
        .choice("Content Exists", 1)
        .location(largest.0, largest.1)
        .parameters(&[Pair::Number(0x02, HUGE), Pair::Number(0x04, HUGE)])
}

/// SUBSCRIBE_UPDATE from `start` on without end.
pub fn subscribe_update(id: u64, subscription: u64, start: (u64, u64), priority: u8) -> Message {
    Message::new("SUBSCRIBE_UPDATE", types::SUBSCRIBE_UPDATE)
        .id(id)
        .id(subscription)
        .location(start.0, start.1)
        .number("End Group", 0)
        .priority(priority)
        .choice("Forward", 1)
        .parameters(&[])
}

/// UNSUBSCRIBE.
pub fn unsubscribe(id: u64) -> Message {
    Message::new("UNSUBSCRIBE", types::UNSUBSCRIBE).id(id)
}

/// PUBLISH of a track without content.
pub fn publish(id: u64, namespace: &[&str], track: &str, alias: u64) -> Message {
    Message::new("PUBLISH", types::PUBLISH)
        .id(id)
        .namespace(namespace)
        .bytes("Track Name", track.as_bytes())
        .number("Track Alias", alias)
        .choice("Group Order", 1)
        .choice("Content Exists", 0)
        .choice("Forward", 1)
        .parameters(&[])
}

/// PUBLISH of a track with this largest Location, and with parameters as large.
pub fn publish_at(
    id: u64,
    namespace: &[&str],
    track: &str,
    alias: u64,
    largest: (u64, u64),
) -> Message {
    Message::new("PUBLISH", types::PUBLISH)
        .id(id)
        .namespace(namespace)
        .bytes("Track Name", track.as_bytes())
        .number("Track Alias", alias)
        .choice("Group Order", 1)
        .choice("Content Exists", 1)
        .location(largest.0, largest.1)
        .choice("Forward", 1)
        .parameters(&[Pair::Number(0x02, HUGE), Pair::Number(0x04, HUGE)])
}

/// PUBLISH_OK after the largest object.
pub fn publish_ok(id: u64) -> Message {
    Message::new("PUBLISH_OK", types::PUBLISH_OK)
        .id(id)
        .choice("Forward", 1)
        .priority(128)
        .choice("Group Order", 1)
        .kind("Filter Type", 2)
        .parameters(&[])
}

/// PUBLISH_DONE because the track has ended.
pub fn publish_done(id: u64, streams: u64) -> Message {
    Message::new("PUBLISH_DONE", types::PUBLISH_DONE)
        .id(id)
        .number("Status Code", 2)
        .number("Stream Count", streams)
        .bytes("Error Reason", b"over")
}

/// PUBLISH_NAMESPACE.
pub fn publish_namespace(id: u64, namespace: &[&str]) -> Message {
    Message::new("PUBLISH_NAMESPACE", types::PUBLISH_NAMESPACE)
        .id(id)
        .namespace(namespace)
        .parameters(&[])
}

/// PUBLISH_NAMESPACE_DONE.
pub fn publish_namespace_done(namespace: &[&str]) -> Message {
    Message::new("PUBLISH_NAMESPACE_DONE", types::PUBLISH_NAMESPACE_DONE).namespace(namespace)
}

/// PUBLISH_NAMESPACE_CANCEL.
pub fn publish_namespace_cancel(namespace: &[&str]) -> Message {
    Message::new("PUBLISH_NAMESPACE_CANCEL", types::PUBLISH_NAMESPACE_CANCEL)
        .namespace(namespace)
        .number("Error Code", 0)
        .bytes("Error Reason", b"no")
}

/// SUBSCRIBE_NAMESPACE.
pub fn subscribe_namespace(id: u64, prefix: &[&str]) -> Message {
    Message::new("SUBSCRIBE_NAMESPACE", types::SUBSCRIBE_NAMESPACE)
        .id(id)
        .namespace(prefix)
        .parameters(&[])
}

/// UNSUBSCRIBE_NAMESPACE.
pub fn unsubscribe_namespace(prefix: &[&str]) -> Message {
    Message::new("UNSUBSCRIBE_NAMESPACE", types::UNSUBSCRIBE_NAMESPACE).namespace(prefix)
}

/// Standalone FETCH of `start` to `end`.
pub fn fetch(
    id: u64,
    namespace: &[&str],
    track: &str,
    start: (u64, u64),
    end: (u64, u64),
) -> Message {
    Message::new("FETCH", types::FETCH)
        .id(id)
        .priority(128)
        .choice("Group Order", 1)
        .kind("Fetch Type", 1)
        .namespace(namespace)
        .bytes("Track Name", track.as_bytes())
        .location(start.0, start.1)
        .location(end.0, end.1)
        .parameters(&[])
}

/// Relative joining FETCH.
pub fn fetch_joining(id: u64, subscription: u64, groups: u64) -> Message {
    Message::new("FETCH", types::FETCH)
        .id(id)
        .priority(128)
        .choice("Group Order", 1)
        .kind("Fetch Type", 2)
        .id(subscription)
        .number("Joining Start", groups)
        .parameters(&[])
}

/// FETCH_CANCEL.
pub fn fetch_cancel(id: u64) -> Message {
    Message::new("FETCH_CANCEL", types::FETCH_CANCEL).id(id)
}

/// TRACK_STATUS.
pub fn track_status(id: u64, namespace: &[&str], track: &str) -> Message {
    let subscribe = subscribe(id, namespace, track);
    Message {
        name: "TRACK_STATUS",
        kind: types::TRACK_STATUS,
        ..subscribe
    }
}

/// A message that only names a request: PUBLISH_NAMESPACE_OK, SUBSCRIBE_NAMESPACE_OK.
pub fn about(name: &'static str, kind: u64, id: u64) -> Message {
    Message::new(name, kind).id(id)
}

/// An error message with code 4.
pub fn refusal(name: &'static str, kind: u64, id: u64) -> Message {
    Message::new(name, kind)
        .id(id)
        .number("Error Code", 4)
        .bytes("Error Reason", b"no")
}
