//! What a subscriber that keeps no objects thinks of what it reads twice: a copy contradicts nothing.

use bytes::Bytes;

use crate::model::{ObjectDatagram, ObjectHeader, SubgroupHeader};
use crate::track::{IntegrityLimits, MalformedTrack, StreamIntegrity, TrackIntegrity};

/// One that remembers so many of each.
fn remembering(count: usize) -> TrackIntegrity {
    TrackIntegrity::new(IntegrityLimits {
        max_groups: count,
        max_subgroups: count,
        max_objects: count,
        max_ranges: count,
    })
}

/// Whoever remembers everything accepts a copy of what it accepts, and whoever forgets accepts that, too.
fn take_twice(mut take: impl FnMut(&mut TrackIntegrity) -> Result<(), MalformedTrack>) {
    let mut exact = remembering(usize::MAX);
    if take(&mut exact).is_err() {
        return;
    }
    assert_eq!(take(&mut exact), Ok(()), "a copy");
    let mut forgetful = remembering(2);
    for _ in 0..2 {
        assert_eq!(take(&mut forgetful), Ok(()), "half forgotten");
    }
}

/// Reads a stream of these objects, with FIN, and again.
pub(super) fn stream(header: &SubgroupHeader, objects: &[(ObjectHeader, Bytes)]) {
    take_twice(|track| {
        let mut stream = StreamIntegrity::new(header);
        for (object, payload) in objects {
            stream.begin(track, object)?;
            stream.payload(payload);
            stream.end(track)?;
        }
        stream.finish(track)
    });
}

/// Takes a datagram twice.
pub(super) fn datagram(datagram: &ObjectDatagram) {
    take_twice(|track| track.datagram(datagram));
}
