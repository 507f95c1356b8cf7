//! Object headers that have begun and not ended, over the streams of a session.

use super::support::*;
use crate::{
    model::*,
    peer::*,
    track::{StreamIngest, TrackLimits},
    transport::*,
};

const EXTENSION: u32 = 20_000;

/// A stream with one object whose header is long.
fn long_header(group: u64) -> Vec<u8> {
    let header = SubgroupHeader {
        track_alias: TrackAlias(3),
        group,
        subgroup: SubgroupId::Zero,
        publisher_priority: 128,
        extensions: true,
        end_of_group: false,
    };
    let mut bytes = bytes::BytesMut::new();
    encode_stream_header(&StreamHeader::Subgroup(header), &mut bytes).unwrap();
    let mut bytes = bytes.to_vec();
    // Object ID Delta; length of the extensions; one of them: type, length, value.
    bytes.push(0);
    bytes.extend((0x8000_0000 + EXTENSION + 5).to_be_bytes());
    bytes.push(1);
    bytes.extend((0x8000_0000 + EXTENSION).to_be_bytes());
    bytes.resize(bytes.len() + EXTENSION as usize, 7);
    bytes.extend(*b"\x07payload");
    bytes
}

/// Limit `max_open_headers`: who goes over it loses that stream and nothing else, and what is complete holds nothing.
#[tokio::test]
async fn unfinished_headers_of_a_session_have_a_limit() {
    let limits = PeerLimits {
        max_open_headers: 50_000,
        ..PeerLimits::default()
    };
    let (track, upstream) = (track(), Upstream::within(&limits));
    let publisher = track.add_publisher();
    let feed = async |group: u64, first: usize, more: &tokio::sync::Notify| {
        let bytes = long_header(group);
        let mut stream = upstream.open().await;
        write(&mut stream, &bytes[..first]).await;
        let end = upstream.ingest(&track, publisher);
        let rest = async {
            more.notified().await;
            write(&mut stream, &bytes[first..]).await;
            stream.finish();
        };
        let mut end = Box::pin(end);
        let end = tokio::select! {
            biased;
            end = &mut end => end,
            () = rest => end.await,
        };
        let stopped = futures_util::poll!(std::future::poll_fn(|cx| stream.poll_closed(cx)));
        (end, stopped)
    };
    let later = tokio::sync::Notify::new();
    let first = feed(0, 10_000, &later);
    let then = async {
        tokio::task::yield_now().await;
        let (end, stopped) = feed(1, 19_000, &later).await;
        assert_eq!(end, IngestEnd::Refused);
        assert_eq!(
            stopped,
            std::task::Poll::Ready(Err(StreamError::Stopped(1)))
        );
        assert_eq!(track.largest(), None);
        later.notify_one();
    };
    let ((end, _), ()) = tokio::join!(first, then);
    assert_eq!(end, IngestEnd::Finished);
    assert_eq!(track.largest(), Some(Location::new(0, 0)));
    later.notify_one();
    let (end, _) = feed(2, 19_000, &later).await;
    assert_eq!(end, IngestEnd::Finished);
    assert_eq!(track.largest(), Some(Location::new(2, 0)));
}

/// What some publishers have under way pushes nothing out of the tracks of others.
#[test]
fn unfinished_headers_leave_others_half_of_the_budget() {
    const BUDGET: usize = 400_000;
    let pool = TrackPool::new(BUDGET);
    let busy = pool.track(TrackAlias(1), TrackLimits::default());
    let publisher = busy.add_publisher();
    let mut streams = Vec::new();
    for group in 0..40 {
        let mut bytes = bytes::Bytes::from(long_header(group));
        let header = StreamHeaderDecoder::new().decode(&mut bytes).unwrap();
        let Some(StreamHeader::Subgroup(header)) = header else {
            panic!("no subgroup");
        };
        let limits = ObjectLimits::default();
        let ingest = busy.with_log(|log| StreamIngest::new(log, publisher, &header, limits));
        let mut ingest = ingest.unwrap();
        ingest.read(bytes.slice(..19_000)).unwrap();
        assert!(ingest.prepare().is_none());
        busy.with_log(|log| ingest.note_header(log));
        streams.push(ingest);
    }
    assert!(pool.held() > 3 * BUDGET);
    let other = LocalTrack::new(pool.track(TrackAlias(2), TrackLimits::default()));
    for group in 0..10 {
        let mut subgroup = other.subgroup(options(group)).unwrap();
        for object in 0..10 {
            let payload = vec![0; 1000].into();
            let none = Extensions::default();
            subgroup.object(object, &none, payload).unwrap();
        }
        subgroup.finish().unwrap();
    }
    assert!(other.track().bytes() > 100_000, "{}", other.track().bytes());
    drop(streams);
    drop((busy, other));
    assert_eq!(pool.held(), 0);
}
