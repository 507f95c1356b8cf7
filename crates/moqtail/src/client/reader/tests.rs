//! Reading byte by byte what a publisher sends, over the in-memory twin.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    client::{
        IntegrityLimits, ending::EndSlot, gather::Gathering, handler::State, inspection::Inspection,
    },
    model::{DecodeErrorKind, Extensions, ObjectStatus, SubgroupEncoder, SubgroupId, TrackAlias},
    peer::now,
    session::{Carrier, RequestHandle, Role, Session, SessionConfig},
    transport::{Connection as _, MemoryConnection, MemorySend, SendStream as _, TransportLimits},
};

/// What the transport holds of a stream that nobody reads.
const WINDOW: u32 = 1000;

/// Longer objects are not handed out whole.
const MAX_WHOLE: u64 = 5000;

/// So much is held of objects that are not complete.
const MAX_GATHERED: u64 = 4000;

fn header() -> SubgroupHeader {
    SubgroupHeader {
        track_alias: TrackAlias(1),
        group: 7,
        subgroup: SubgroupId::FirstObject,
        publisher_priority: 128,
        extensions: false,
        end_of_group: false,
    }
}

/// The publisher's end of a subgroup stream.
struct Publisher {
    stream: MemorySend,
    encoder: SubgroupEncoder,
    _connections: [MemoryConnection; 2],
}

impl Publisher {
    /// How many of these bytes the transport takes now.
    fn write(&mut self, bytes: impl Into<Bytes>) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match self.stream.poll_write(&mut cx, &mut [bytes.into()]) {
            Poll::Ready(written) => written.unwrap(),
            Poll::Pending => 0,
        }
    }

    fn begin(&mut self, object: u64, payload_len: u64) {
        let mut head = BytesMut::new();
        let object = ObjectHeader {
            object,
            extensions: Extensions::default(),
            status: ObjectStatus::Normal,
            payload_len,
        };
        self.encoder.object(&object, &mut head).unwrap();
        assert_eq!(self.write(head.clone()), head.len());
    }

    fn object(&mut self, object: u64, payload: &'static str) {
        self.begin(object, payload.len() as u64);
        assert_eq!(self.write(payload), payload.len());
    }
}

async fn stream() -> (Publisher, SubgroupReader) {
    let limits = TransportLimits {
        stream_window: WINDOW,
        ..TransportLimits::default()
    };
    let (here, there) = MemoryConnection::pair(limits);
    let send = poll_fn(|cx| there.poll_open_uni(cx)).await.unwrap();
    let mut publisher = Publisher {
        stream: send,
        encoder: SubgroupEncoder::new(&header()),
        _connections: [here.clone(), there],
    };
    // A stream is seen by its first byte.
    publisher.begin(3, 6);
    let stream = Box::new(here.accept_uni().await.unwrap());
    let config = SessionConfig::new(Role::Server, Carrier::Raw);
    let peer = PeerHandle::new(Session::new(config, now()).unwrap());
    let inspection = Inspection::new(
        IntegrityLimits::default(),
        EndSlot::default(),
        RequestHandle(0),
        peer.clone(),
        std::sync::Weak::<std::sync::Mutex<State>>::new(),
    );
    (
        publisher,
        SubgroupReader::new(
            header(),
            stream,
            peer,
            MAX_WHOLE,
            Gathering::new(MAX_GATHERED).part(),
            StreamInspection::new(inspection, &header()),
        ),
    )
}

/// What a future that is polled once has to say.
fn once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_last_are_sent() {
    let (mut publisher, mut reader) = stream().await;
    let mut object = reader.open_object().await.unwrap().unwrap();
    assert_eq!(
        (object.location(), object.header().payload_len),
        (Location::new(7, 3), 6)
    );
    assert!(once(object.chunk()).is_none());
    publisher.write("fir");
    assert_eq!(object.chunk().await, Ok(Some("fir".into())));
    assert_eq!(object.received(), 3);
    assert!(once(object.chunk()).is_none());
    publisher.write("st!");
    assert_eq!(object.chunk().await, Ok(Some("st!".into())));
    for _ in 0..2 {
        assert_eq!(object.chunk().await, Ok(None));
    }
    assert_eq!(object.received(), 6);
    assert_eq!(reader.subgroup(), Some(3));
    publisher.object(4, "next");
    publisher.stream.finish();
    assert_eq!(reader.next_object().await.unwrap().unwrap().payload, "next");
    assert!(reader.open_object().await.unwrap().is_none());
}

#[tokio::test]
async fn a_reset_in_the_middle_tells_what_arrived() {
    let cut = |received| ReadError::Partial {
        object: 3,
        received,
        len: 6,
        cause: StreamError::Reset(2),
    };
    let (mut publisher, mut reader) = stream().await;
    let mut object = reader.open_object().await.unwrap().unwrap();
    publisher.write("firs");
    assert_eq!(object.chunk().await, Ok(Some("firs".into())));
    publisher.stream.reset(2);
    for _ in 0..2 {
        assert_eq!(object.chunk().await, Err(cut(4)));
    }
    assert_eq!(reader.next_object().await, Err(cut(4)));

    let (mut publisher, mut reader) = stream().await;
    publisher.write("fi");
    assert!(once(reader.next_object()).is_none());
    publisher.stream.reset(2);
    assert_eq!(reader.next_object().await, Err(cut(2)));
    assert_eq!(
        cut(2).to_string(),
        "object 3 broke off after 2 of 6 bytes: peer reset the stream with code 0x2"
    );
}

#[tokio::test]
async fn a_reset_between_objects_is_none_inside_one() {
    let (mut publisher, mut reader) = stream().await;
    publisher.write("first!");
    assert!(reader.next_object().await.unwrap().is_some());
    publisher.stream.reset(1);
    let end = reader.open_object().await.map(|object| object.is_some());
    assert_eq!(end, Err(StreamError::Reset(1).into()));
}

/// S10.4-02
#[tokio::test]
async fn a_fin_in_the_middle_is_a_violation() {
    let (mut publisher, mut reader) = stream().await;
    let mut object = reader.open_object().await.unwrap().unwrap();
    publisher.write("firs");
    publisher.stream.finish();
    assert!(object.chunk().await.is_ok());
    let Err(ReadError::Malformed(error)) = object.chunk().await else {
        panic!("no violation");
    };
    assert_eq!(error.kind, DecodeErrorKind::UnexpectedEnd);
}

#[tokio::test]
async fn what_is_left_of_an_object_is_passed_over() {
    let (mut publisher, mut reader) = stream().await;
    publisher.write("fir");
    let mut object = reader.open_object().await.unwrap().unwrap();
    assert!(object.chunk().await.unwrap().is_some());
    publisher.write("st!");
    publisher.object(4, "second");
    publisher.object(5, "third");
    assert!(reader.open_object().await.unwrap().is_some());
    assert_eq!(
        reader.next_object().await.unwrap().unwrap().payload,
        "third"
    );
}

#[tokio::test]
async fn dropped_futures_lose_nothing() {
    let (mut publisher, mut reader) = stream().await;
    assert!(once(reader.next_object()).is_none());
    publisher.write("fi");
    assert!(once(reader.next_object()).is_none());
    publisher.write("rs");
    assert!(once(reader.next_object()).is_none());
    let mut object = reader.open_object().await.unwrap().unwrap();
    assert_eq!(object.chunk().await, Ok(Some("firs".into())));
    assert!(once(object.chunk()).is_none());
    publisher.write("t!");
    assert_eq!(object.chunk().await, Ok(Some("t!".into())));
    assert_eq!((object.chunk().await, object.received()), (Ok(None), 6));

    assert!(once(reader.open_object()).is_none());
    publisher.object(4, "second");
    assert!(once(reader.open_object()).is_some());
}

#[tokio::test]
async fn an_object_too_large_to_be_handed_out_whole_can_be_read_in_pieces() {
    let (mut publisher, mut reader) = stream().await;
    publisher.write("first!");
    publisher.begin(4, MAX_WHOLE + 1);
    assert!(reader.next_object().await.unwrap().is_some());
    let too_large = ReadError::TooLarge {
        len: MAX_WHOLE + 1,
        max: MAX_WHOLE,
    };
    assert_eq!(reader.next_object().await, Err(too_large));

    let (mut publisher, mut reader) = stream().await;
    publisher.write("first!");
    publisher.begin(4, MAX_WHOLE + 1);
    assert!(reader.next_object().await.unwrap().is_some());
    let mut object = reader.open_object().await.unwrap().unwrap();
    while object.received() <= MAX_WHOLE {
        let left = MAX_WHOLE + 1 - object.received();
        publisher.write(vec![0; left.min(800) as usize]);
        object.chunk().await.unwrap().unwrap();
    }
    assert_eq!(object.chunk().await, Ok(None));
}

/// The publisher gets ahead of a reader by what the transport holds, and no further.
#[tokio::test]
async fn what_is_not_asked_for_waits_at_the_sender() {
    let (mut publisher, mut reader) = stream().await;
    publisher.write("first!");
    assert!(reader.next_object().await.unwrap().is_some());
    publisher.begin(4, 100_000);
    let mut object = reader.open_object().await.unwrap().unwrap();
    let mut given = 0;
    for _ in 0..20 {
        while let written @ 1.. = publisher.write(vec![0; 300]) {
            given += written as u64;
        }
        assert_eq!(given - object.received(), u64::from(WINDOW));
        let piece = object.chunk().await.unwrap().unwrap();
        assert!(!piece.is_empty() && piece.len() <= 300);
    }
}

/// What was not complete counts until it is taken over, given up or passed on.
#[tokio::test]
async fn only_what_is_gathered_counts_as_held() {
    let (mut publisher, mut reader) = stream().await;
    publisher.write("first!");
    assert!(reader.next_object().await.unwrap().is_some());
    publisher.begin(4, MAX_WHOLE);
    let refused = loop {
        publisher.write(vec![0; 800]);
        match once(reader.next_object()) {
            None => {}
            Some(refused) => break refused,
        }
    };
    assert_eq!(refused, Err(ReadError::TooMuchAtOnce { max: MAX_GATHERED }));

    let (mut publisher, mut reader) = stream().await;
    publisher.write("first!");
    assert!(reader.next_object().await.unwrap().is_some());
    for object in 4..7 {
        publisher.begin(object, MAX_WHOLE);
        publisher.write(vec![0; 800]);
        assert!(once(reader.next_object()).is_none());
        let mut opened = reader.open_object().await.unwrap().unwrap();
        assert_eq!(opened.chunk().await.unwrap().unwrap().len(), 800);
        while opened.received() < MAX_WHOLE {
            let left = MAX_WHOLE - opened.received();
            publisher.write(vec![0; left.min(800) as usize]);
            opened.chunk().await.unwrap().unwrap();
        }
    }
}
