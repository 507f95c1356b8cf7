//! What a subscriber that keeps no objects thinks of what it reads twice: a copy contradicts nothing.

use bytes::Bytes;

use crate::model::{ObjectDatagram, ObjectHeader, SubgroupHeader};
use crate::track::{IntegrityLimits, MalformedTrack, StreamIntegrity, TrackIntegrity};

/// One that forgets soon.
fn forgetful() -> TrackIntegrity {
    TrackIntegrity::new(IntegrityLimits {
        max_groups: 2,
        max_subgroups: 2,
        max_objects: 3,
        max_ranges: 2,
    })
}

/// Reads a stream of these objects, with FIN, and again.
pub(super) fn read_twice(header: &SubgroupHeader, objects: &[(ObjectHeader, Bytes)]) {
    let mut track = forgetful();
    let mut read = || -> Result<(), MalformedTrack> {
        let mut stream = StreamIntegrity::new(header);
        for (object, payload) in objects {
            stream.begin(&mut track, object)?;
            stream.payload(payload);
            stream.end(&mut track)?;
        }
        stream.finish(&mut track)
    };
    if read().is_ok() {
        assert_eq!(read(), Ok(()), "a copy of a stream");
    }
}

/// Takes a datagram twice.
pub(super) fn take_twice(datagram: &ObjectDatagram) {
    let mut track = forgetful();
    if track.datagram(datagram).is_ok() {
        assert_eq!(track.datagram(datagram), Ok(()), "a copy of a datagram");
    }
}
