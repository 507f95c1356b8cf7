//! Looks at what a subscription receives, and leaves a track that is malformed (draft-14 §2.5).

use std::sync::{Arc, Mutex, Weak};

use super::{
    ReadError,
    ending::{EndSlot, Forget},
};
use crate::{
    model::{ObjectDatagram, ObjectHeader, SubgroupHeader},
    peer::PeerHandle,
    session::RequestHandle,
    track::{IntegrityLimits, MalformedTrack, StreamIntegrity, TrackIntegrity},
    transport::lock,
};

/// What the streams and datagrams of one subscription have shown together.
#[derive(Debug)]
pub(super) struct Inspection {
    track: Mutex<TrackIntegrity>,
    end: EndSlot,
    handle: RequestHandle,
    peer: PeerHandle,
    client: Weak<dyn Forget>,
}

impl Inspection {
    pub(super) fn new(
        limits: IntegrityLimits,
        end: EndSlot,
        handle: RequestHandle,
        peer: PeerHandle,
        client: Weak<dyn Forget>,
    ) -> Arc<Self> {
        Arc::new(Self {
            track: Mutex::new(TrackIntegrity::new(limits)),
            end,
            handle,
            peer,
            client,
        })
    }

    /// Looks at an object that came as a datagram.
    pub(super) fn datagram(&self, datagram: &ObjectDatagram) -> Result<(), MalformedTrack> {
        self.judge(|track| track.datagram(datagram))
    }

    /// Gives the first fault of the track, whichever this one is.
    fn judge(
        &self,
        look: impl FnOnce(&mut TrackIntegrity) -> Result<(), MalformedTrack>,
    ) -> Result<(), MalformedTrack> {
        let Err(why) = look(&mut lock(&self.track)) else {
            return Ok(());
        };
        self.end.set_malformed(&why)?;
        if let Some(client) = self.client.upgrade() {
            client.forget(self.handle);
        }
        // draft-14 §2.5
        self.peer.call(|session, _| {
            if let Err(error) = session.malformed_track(self.handle) {
                tracing::trace!(%error, "subscription ended before its track was malformed");
            }
        });
        Err(why)
    }
}

/// The part of it that one stream has.
#[derive(Debug)]
pub(super) struct StreamInspection {
    whole: Arc<Inspection>,
    stream: StreamIntegrity,
    /// This stream made the track malformed.
    failed: Option<MalformedTrack>,
}

impl StreamInspection {
    pub(super) fn new(whole: Arc<Inspection>, header: &SubgroupHeader) -> Self {
        Self {
            whole,
            stream: StreamIntegrity::new(header),
            failed: None,
        }
    }

    /// The stream may be read on.
    pub(super) fn check(&self) -> Result<(), ReadError> {
        self.failed.clone().map_or(Ok(()), |why| Err(why.into()))
    }

    /// The head of an object.
    pub(super) fn begin(&mut self, object: &ObjectHeader) -> Result<(), ReadError> {
        self.judge(|stream, track| stream.begin(track, object))
    }

    /// A piece of its payload.
    pub(super) fn payload(&mut self, piece: &[u8]) {
        self.stream.payload(piece);
    }

    /// The end of an object.
    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        self.judge(StreamIntegrity::end)
    }

    /// FIN between two objects.
    pub(super) fn finish(&mut self) -> Result<(), ReadError> {
        self.judge(|stream, track| stream.finish(track))
    }

    /// The stream ended early: because its track is malformed, or for another reason.
    pub(super) fn break_off(&mut self, reason: ReadError) -> ReadError {
        self.stream.break_off(&mut lock(&self.whole.track));
        self.whole.end.malformed().map_or(reason, ReadError::from)
    }

    fn judge(
        &mut self,
        look: impl FnOnce(&mut StreamIntegrity, &mut TrackIntegrity) -> Result<(), MalformedTrack>,
    ) -> Result<(), ReadError> {
        let Self { whole, stream, .. } = self;
        whole.judge(|track| look(stream, track)).map_err(|why| {
            self.failed = Some(why.clone());
            why.into()
        })
    }
}

impl Drop for StreamInspection {
    fn drop(&mut self) {
        self.stream.break_off(&mut lock(&self.whole.track));
    }
}
