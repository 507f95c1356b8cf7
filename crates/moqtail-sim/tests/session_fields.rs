//! Fields with values that draft 14 does not have close the session, in every message that has them.

use moqtail::{model::SessionCode, session::Event};
use moqtail_sim::{Frame, Scripted, messages::publish_options};

const VIOLATION: SessionCode = SessionCode::PROTOCOL_VIOLATION;

/// Sends a frame to a server session and tells how that closed.
fn close_of_server(frame: Frame) -> Option<SessionCode> {
    let mut peer = Scripted::server(Scripted::server_config());
    peer.send_raw(&frame.build());
    peer.endpoint.closed.map(|close| close.code)
}

/// SUBSCRIBE or TRACK_STATUS up to the priority.
fn subscribe(message_type: u64, order: u8, forward: u8, filter: u64) -> Frame {
    let name = Frame::new(message_type)
        .varint(0)
        .namespace(&["live"])
        .bytes(b"a");
    let fields = name.byte(128).byte(order).byte(forward).varint(filter);
    let located = match filter {
        3 => fields.varint(1).varint(0),
        4 => fields.varint(1).varint(0).varint(1),
        _ => fields,
    };
    located.varint(0)
}

/// S9.7-01, S9.7-02, S9.7-13, S9.7-15, S9.7-16
#[test]
fn subscribe_and_track_status() {
    for message_type in [0x3, 0xD] {
        for filter in 1..=4 {
            for order in 0..=2 {
                assert_eq!(
                    close_of_server(subscribe(message_type, order, 1, filter)),
                    None
                );
            }
        }
        for filter in [0, 5, 100] {
            assert_eq!(
                close_of_server(subscribe(message_type, 0, 1, filter)),
                Some(VIOLATION)
            );
        }
        assert_eq!(
            close_of_server(subscribe(message_type, 3, 1, 2)),
            Some(VIOLATION)
        );
        assert_eq!(
            close_of_server(subscribe(message_type, 0, 2, 2)),
            Some(VIOLATION)
        );
        // A Start Location where none belongs.
        let long = subscribe(message_type, 0, 1, 2).varint(1).varint(0);
        assert_eq!(close_of_server(long), Some(VIOLATION));
    }
}

/// S9.13-04, S9.13-05, S9.13-06
#[test]
fn publish() {
    let publish = |order, content, forward| {
        let name = Frame::new(0x1D).varint(0).namespace(&["live"]).bytes(b"a");
        let fields = name.varint(1).byte(order).byte(content);
        let located = if content == 1 {
            fields.varint(7).varint(3)
        } else {
            fields
        };
        close_of_server(located.byte(forward).varint(0))
    };
    assert_eq!(publish(1, 0, 0), None);
    assert_eq!(publish(2, 1, 1), None);
    for (order, content, forward) in [(0, 0, 1), (3, 0, 1), (1, 2, 1), (1, 0, 2)] {
        assert_eq!(publish(order, content, forward), Some(VIOLATION));
    }
}

/// S9.8-01, S9.8-05, S9.8-06
#[test]
fn subscribe_ok() {
    let ok = |order, content| {
        let (mut peer, _) = Scripted::subscribing(moqtail::model::Filter::LargestObject);
        let fields = Frame::new(0x4)
            .varint(0)
            .varint(1)
            .varint(0)
            .byte(order)
            .byte(content);
        let located = if content == 1 {
            fields.varint(7).varint(3)
        } else {
            fields
        };
        peer.send_raw(&located.varint(0).build());
        peer.endpoint.closed.map(|close| close.code)
    };
    assert_eq!(ok(1, 0), None);
    assert_eq!(ok(2, 1), None);
    for (order, content) in [(0, 0), (3, 0), (1, 2)] {
        assert_eq!(ok(order, content), Some(VIOLATION));
    }
}

/// S9.10-12
#[test]
fn subscribe_update() {
    let update = |forward| {
        let (mut peer, _) = Scripted::serving(moqtail::model::Filter::LargestObject);
        let frame = Frame::new(0x2)
            .varint(2)
            .varint(0)
            .varint(7)
            .varint(4)
            .varint(0);
        peer.send_raw(&frame.byte(128).byte(forward).varint(0).build());
        peer.endpoint.closed.map(|close| close.code)
    };
    assert_eq!((update(0), update(1)), (None, None));
    assert_eq!(update(2), Some(VIOLATION));
}

/// S9.14-02 [A25], S9.7-13
#[test]
fn publish_ok() {
    let ok = |forward, order, filter| {
        let mut peer = Scripted::client(Scripted::client_config());
        let options = publish_options("live#a", 1);
        assert!(peer.endpoint.call(|s, now| s.publish(options, now)).is_ok());
        let frame = Frame::new(0x1E)
            .varint(0)
            .byte(forward)
            .byte(128)
            .byte(order);
        peer.send_raw(&frame.varint(filter).varint(0).build());
        peer.endpoint.closed.map(|close| close.code)
    };
    assert_eq!(ok(0, 1, 1), None);
    assert_eq!(ok(1, 2, 2), None);
    for (forward, order, filter) in [(2, 1, 2), (1, 0, 2), (1, 3, 2), (1, 1, 0), (1, 1, 5)] {
        assert_eq!(ok(forward, order, filter), Some(VIOLATION));
    }
}

/// S9.4-09
#[test]
fn goaway() {
    let goaway = |len: usize| {
        let mut peer = Scripted::client(Scripted::client_config());
        peer.send_raw(&Frame::new(0x10).bytes(&vec![b'a'; len]).build());
        peer.endpoint.closed.map(|close| close.code)
    };
    assert_eq!((goaway(0), goaway(8192)), (None, None));
    assert_eq!(goaway(8193), Some(VIOLATION));
}

/// S9.2.1.1-11, S9.2-06: in requests and in SETUP.
#[test]
fn tokens_that_cannot_be_decoded() {
    for token in [&b""[..], &[4], &[0x40], &[1, 0x40], &[3], &[0, 1, 1]] {
        let request = Frame::new(0x6)
            .varint(0)
            .namespace(&["live"])
            .varint(1)
            .varint(3);
        let close = close_of_server(request.bytes(token));
        assert_eq!(
            close,
            Some(SessionCode::KEY_VALUE_FORMATTING_ERROR),
            "{token:?}"
        );

        let mut peer = Scripted::new(Scripted::server_config());
        let setup = Frame::new(0x20)
            .varint(1)
            .varint(0xff00_000e)
            .varint(1)
            .varint(3);
        peer.send_raw(&setup.bytes(token).build());
        peer.assert_closed(SessionCode::KEY_VALUE_FORMATTING_ERROR);
    }
}

/// S9.2-05: as many parameters as fit into a message.
#[test]
fn many_parameters() {
    let mut peer = Scripted::server(Scripted::server_config());
    let mut frame = Frame::new(0x6)
        .varint(0)
        .namespace(&["live"])
        .varint(20_000);
    for _ in 0..20_000 {
        frame = frame.varint(0x20).varint(1);
    }
    peer.send_raw(&frame.build());
    let Event::NamespacePublished { parameters, .. } = peer.event() else {
        panic!()
    };
    assert_eq!(parameters.0.len(), 20_000);
    // A count that nothing follows is no reason to allocate.
    assert_eq!(
        close_of_server(Frame::new(0x6).varint(0).namespace(&["a"]).varint(1 << 61)),
        Some(VIOLATION)
    );
}
