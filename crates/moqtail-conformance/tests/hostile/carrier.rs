//! Steps that several stories take.

use moqtail_conformance::{Carrier, Failure, Message, RawPeer, Target, data, messages, types};

/// A peer that offers `track` of `namespace` by PUBLISH under `alias`, and was accepted.
pub(crate) async fn publisher(
    target: &Target,
    carrier: Carrier,
    namespace: &[&str],
    track: &str,
    alias: u64,
) -> Result<RawPeer, Failure> {
    let mut peer = RawPeer::established(target, carrier).await?;
    peer.send(messages::publish(0, namespace, track, alias))
        .await?;
    peer.expect(types::PUBLISH_OK).await?;
    Ok(peer)
}

/// A peer that subscribes to a track that is there, and the Track Alias it was told.
pub(crate) async fn viewer(
    target: &Target,
    carrier: Carrier,
    namespace: &[&str],
    track: &str,
) -> Result<(RawPeer, u64), Failure> {
    let mut peer = RawPeer::established(target, carrier).await?;
    peer.send(messages::subscribe(0, namespace, track)).await?;
    let ok = peer.expect(types::SUBSCRIBE_OK).await?;
    let mut reader = moqtail_conformance::wire::Reader(&ok.payload);
    let alias = (reader.varint(), reader.varint()).1.unwrap();
    Ok((peer, alias))
}

/// Codes of SUBSCRIBE_ERROR.
pub(crate) const INTERNAL_ERROR: u64 = 0x0;
pub(crate) const TIMEOUT: u64 = 0x2;
pub(crate) const TRACK_DOES_NOT_EXIST: u64 = 0x4;

/// The next answer, which has to be an error of this type: Request ID and code.
pub(crate) async fn refusal(peer: &mut RawPeer, kind: u64) -> Result<(u64, u64), Failure> {
    let error = peer.expect(kind).await?;
    let mut reader = moqtail_conformance::wire::Reader(&error.payload);
    Ok((reader.varint().unwrap(), reader.varint().unwrap()))
}

/// A subgroup with one object.
pub(crate) fn tiny(alias: u64, group: u64, payload: &[u8]) -> Vec<u8> {
    [
        data::subgroup_header(0x14, alias, group, Some(0)),
        data::object(0, payload),
    ]
    .concat()
}

/// Makes `count` requests one after the other, from the Request ID `first` on, never more than the relay allows; reads all
/// answers. Returns the next Request ID.
pub(crate) async fn make_requests(
    peer: &mut RawPeer,
    first: u64,
    count: u64,
    answers: &[u64],
    request: impl Fn(u64) -> Vec<Message>,
) -> Result<u64, Failure> {
    let end = first + 2 * count;
    let (mut next, mut answered) = (first, 0);
    while next < end || (!answers.is_empty() && answered < count) {
        let mut batch = Vec::new();
        while next < end.min(peer.request_limit()) && batch.len() < 16 * 1024 {
            for message in request(next) {
                batch.extend(message.encode());
            }
            next += 2;
        }
        if !batch.is_empty() {
            peer.send(batch).await?;
            continue;
        }
        let frame = peer.next_frame("an answer or room for requests").await?;
        if answers.contains(&frame.kind) {
            answered += 1;
        }
    }
    Ok(next)
}
