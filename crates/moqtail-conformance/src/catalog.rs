//! Every control message of draft 14 once, with all the fields and parameters it can have.

use crate::{
    message::{Message, Pair},
    messages::{self, VERSION},
    types,
};

/// AUTHORIZATION TOKEN by value: USE_VALUE, type 0, `tok`.
const TOKEN: Pair<'static> = Pair::Bytes(0x03, &[0x03, 0x00, b't', b'o', b'k']);

/// All of draft 14, well-formed. Requests have `id`, the rest of the messages `other`.
pub fn every_message(id: u64, other: u64) -> Vec<Message> {
    let (space, track) = (&["hostile", "catalog"][..], "track");
    let mut all = vec![
        Message::new("CLIENT_SETUP", types::CLIENT_SETUP)
            .versions(&[VERSION, 1])
            .parameters(&[
                Pair::Number(0x02, 100),
                TOKEN,
                Pair::Number(0x04, 1000),
                Pair::Bytes(0x07, b"x/1"),
                Pair::Number(0x7e, 5),
                Pair::Bytes(0x7f, b"unknown"),
            ]),
        messages::server_setup(),
        messages::goaway(""),
        messages::max_request_id(1 << 30),
        messages::requests_blocked(2),
        messages::subscribe_range(id, space, track, (1, 0), 9),
        messages::subscribe_ok(other, 5),
        messages::refusal("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR, other),
        messages::subscribe_update(id, other, (0, 0), 1),
        messages::unsubscribe(other),
        messages::publish_done(other, 3),
        Message::new("PUBLISH", types::PUBLISH)
            .id(id)
            .namespace(space)
            .bytes("Track Name", track.as_bytes())
            .number("Track Alias", 9)
            .choice("Group Order", 1)
            .choice("Content Exists", 1)
            .location(7, 3)
            .choice("Forward", 1)
            .parameters(&[Pair::Number(0x02, 500), TOKEN, Pair::Number(0x04, 5)]),
        messages::publish_ok(other),
        messages::refusal("PUBLISH_ERROR", types::PUBLISH_ERROR, other),
        messages::fetch(id, space, track, (1, 0), (3, 5)),
        messages::fetch_joining(id, other, 2),
        fetch_ok(other),
        messages::refusal("FETCH_ERROR", types::FETCH_ERROR, other),
        messages::fetch_cancel(other),
        messages::track_status(id, space, track),
        track_status_ok(other),
        messages::refusal("TRACK_STATUS_ERROR", types::TRACK_STATUS_ERROR, other),
        Message::new("PUBLISH_NAMESPACE", types::PUBLISH_NAMESPACE)
            .id(id)
            .namespace(space)
            .parameters(&[TOKEN]),
        messages::publish_namespace_done(space),
        messages::publish_namespace_cancel(space),
        messages::subscribe_namespace(id, space),
        messages::unsubscribe_namespace(space),
    ];
    all.extend(namespace_answers(other));
    all
}

fn namespace_answers(id: u64) -> [Message; 4] {
    let ok = |name, kind| messages::about(name, kind, id);
    let error = |name, kind| messages::refusal(name, kind, id);
    [
        ok("PUBLISH_NAMESPACE_OK", types::PUBLISH_NAMESPACE_OK),
        error("PUBLISH_NAMESPACE_ERROR", types::PUBLISH_NAMESPACE_ERROR),
        ok("SUBSCRIBE_NAMESPACE_OK", types::SUBSCRIBE_NAMESPACE_OK),
        error(
            "SUBSCRIBE_NAMESPACE_ERROR",
            types::SUBSCRIBE_NAMESPACE_ERROR,
        ),
    ]
}

fn fetch_ok(id: u64) -> Message {
    Message::new("FETCH_OK", types::FETCH_OK)
        .id(id)
        .choice("Group Order", 1)
        .choice("End Of Track", 0)
        .location(3, 5)
        .parameters(&[Pair::Number(0x04, 5)])
}

fn track_status_ok(id: u64) -> Message {
    Message::new("TRACK_STATUS_OK", types::TRACK_STATUS_OK)
        .id(id)
        .number("Track Alias", 0)
        .number("Expires", 0)
        .choice("Group Order", 1)
        .choice("Content Exists", 1)
        .location(7, 3)
        .parameters(&[])
}

/// All answers to a request `id`, and all that follows one up: first what is about SUBSCRIBE, its OK first of all.
pub fn every_answer(id: u64) -> Vec<Message> {
    let error = |name, kind| messages::refusal(name, kind, id);
    let mut all = vec![
        messages::subscribe_ok(id, 3),
        error("SUBSCRIBE_ERROR", types::SUBSCRIBE_ERROR),
        messages::unsubscribe(id),
        messages::publish_done(id, 0),
        messages::publish_ok(id),
        error("PUBLISH_ERROR", types::PUBLISH_ERROR),
        fetch_ok(id),
        error("FETCH_ERROR", types::FETCH_ERROR),
        messages::fetch_cancel(id),
        track_status_ok(id),
        error("TRACK_STATUS_ERROR", types::TRACK_STATUS_ERROR),
    ];
    all.extend(namespace_answers(id));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalog_has_every_message_of_draft_14() {
        let kinds: BTreeSet<u64> = every_message(0, 1).iter().map(|m| m.kind).collect();
        let draft = (0x2..=0x1a).chain(0x1d..=0x21);
        assert_eq!(kinds, draft.collect());
    }
}
