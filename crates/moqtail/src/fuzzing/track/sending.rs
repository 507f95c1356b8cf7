//! A subgroup on its way to the log, as a stream of a peer or from inside the process.

use std::{rc::Rc, time::Instant};

use bytes::{Bytes, BytesMut};

use super::content::{Object, Subgroup};
use crate::model::{
    Extensions, Location, ObjectHeader, ObjectLimits, ObjectStatus, StreamCode, SubgroupEncoder,
    SubgroupHeader, SubgroupId, TrackAlias,
};
use crate::track::{
    IngestError, PublisherId, StreamIngest, SubgroupOptions, SubgroupWriter, TrackLog, WriteError,
};

const UPSTREAM: TrackAlias = TrackAlias(3);

/// How a stream differs from what the track consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    Payload,
    Priority,
    Status,
    /// It ends before the last object.
    End,
    EndOfGroup,
}

impl Lie {
    pub(super) fn of(number: u8) -> Self {
        match number % 5 {
            0 => Self::Payload,
            1 => Self::Priority,
            2 => Self::Status,
            3 => Self::End,
            _ => Self::EndOfGroup,
        }
    }
}

/// How the Subgroup ID is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Explicit,
    /// As short as it goes.
    Implied,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) group: u64,
    pub(super) subgroup: Rc<Subgroup>,
    /// The first object.
    pub(super) from: usize,
    pub(super) form: Form,
    pub(super) lie: Lie,
}

impl Plan {
    pub(super) fn header(&self) -> SubgroupHeader {
        let (group, subgroup) = (self.group, &self.subgroup);
        let is_first =
            self.from == 0 && self.subgroup.objects.first().map(Object::id) == Some(subgroup.id);
        SubgroupHeader {
            track_alias: UPSTREAM,
            group,
            subgroup: match self.form {
                Form::Implied if subgroup.id == 0 => SubgroupId::Zero,
                Form::Implied if is_first => SubgroupId::FirstObject,
                _ => SubgroupId::Explicit(subgroup.id),
            },
            publisher_priority: subgroup.priority ^ u8::from(self.lie == Lie::Priority),
            extensions: subgroup.extensions,
            end_of_group: subgroup.end_of_group ^ (self.lie == Lie::EndOfGroup),
        }
    }

    /// The objects of the stream.
    pub(super) fn objects(&self) -> Vec<(ObjectHeader, Bytes)> {
        let objects = self.subgroup.objects.iter().skip(self.from);
        let mut objects: Vec<_> = objects
            .map(|object| (object.header.clone(), object.payload.clone()))
            .collect();
        if self.lie == Lie::End && objects.len() > 1 {
            objects.pop();
        }
        if let Some((header, payload)) = objects.last_mut() {
            match self.lie {
                Lie::Payload => *payload = payload.iter().map(|byte| !byte).collect(),
                Lie::Status => {
                    header.status = ObjectStatus::DoesNotExist;
                    header.payload_len = 0;
                    header.extensions = Extensions::default();
                    *payload = Bytes::new();
                }
                _ => {}
            }
        }
        objects
    }
}

/// What a piece brought.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Objects in their order, and whether each began or is complete.
    pub(super) objects: Vec<(Location, Step)>,
    /// The stream is over, and how.
    pub(super) end: Option<Over>,
}

/// How far an object came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    Complete,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Finished,
    /// The log does not take it.
    Refused,
}

enum Upstream {
    Peer {
        ingest: StreamIngest,
        bytes: Bytes,
        sent: usize,
        /// Where the head of each object is complete, and where the object is.
        places: Vec<(Location, usize, usize)>,
    },
    Local {
        writer: SubgroupWriter,
        objects: std::vec::IntoIter<(ObjectHeader, Bytes)>,
        at: Option<Location>,
        rest: Bytes,
    },
}

/// A subgroup that is open.
pub(super) struct Sending {
    pub(super) publisher: PublisherId,
    /// Its name.
    pub(super) number: u64,
    pub(super) plan: Plan,
    upstream: Upstream,
    /// The life of the track in which something of it came last.
    pub(super) counted: Option<u64>,
}

impl Sending {
    /// A stream of a peer; `None`: the log takes no more.
    pub(super) fn peer(
        log: &mut TrackLog,
        publisher: PublisherId,
        number: u64,
        plan: Plan,
    ) -> Option<Self> {
        let header = plan.header();
        let mut encoder = SubgroupEncoder::new(&header);
        let mut bytes = BytesMut::new();
        let mut places = Vec::new();
        for (object, payload) in plan.objects() {
            encoder.object(&object, &mut bytes).expect("a small object");
            let head = bytes.len();
            bytes.extend_from_slice(&payload);
            let at = Location::new(plan.group, object.object);
            places.push((at, head, bytes.len()));
        }
        Some(Self {
            publisher,
            number,
            plan,
            upstream: Upstream::Peer {
                ingest: StreamIngest::new(log, publisher, &header, ObjectLimits::default())?,
                bytes: bytes.freeze(),
                sent: 0,
                places,
            },
            counted: None,
        })
    }

    /// A subgroup of a local publisher; `None`: the log takes no more.
    pub(super) fn local(
        log: &mut TrackLog,
        publisher: PublisherId,
        number: u64,
        plan: Plan,
    ) -> Option<Self> {
        let header = plan.header();
        let options = SubgroupOptions {
            group: header.group,
            subgroup: header.subgroup,
            publisher_priority: header.publisher_priority,
            extensions: header.extensions,
            end_of_group: header.end_of_group,
        };
        let objects = plan.objects().into_iter();
        Some(Self {
            publisher,
            number,
            plan,
            upstream: Upstream::Local {
                writer: SubgroupWriter::new(log, publisher, options).ok()?,
                objects,
                at: None,
                rest: Bytes::new(),
            },
            counted: None,
        })
    }

    /// The next `len` bytes reach the log, the last ones with FIN.
    pub(super) fn send(
        mut self,
        log: &mut TrackLog,
        len: usize,
        now: Instant,
    ) -> (Option<Self>, Brought) {
        let mut brought = Brought::default();
        let writable = log.ended().is_none() && log.malformed().is_none();
        match self.upstream {
            Upstream::Peer {
                mut ingest,
                bytes,
                sent,
                places,
            } => {
                let to = bytes.len().min(sent + len);
                let read = ingest.read(bytes.slice(sent..to));
                read.expect("what the encoder wrote");
                match ingest.prepare() {
                    None => ingest.note_header(log),
                    Some(turn) => {
                        if let Err(error) = ingest.commit(log, &turn, now) {
                            assert!(!matches!(error, IngestError::Decode(_)), "{error}");
                            ingest.reset(log, StreamCode::CANCELLED);
                            brought.end = Some(Over::Refused);
                            return (None, brought);
                        }
                    }
                }
                let came = |at: usize| sent < at && at <= to;
                for (at, head, end) in places.iter().filter(|_| writable) {
                    brought
                        .objects
                        .extend(came(*head).then_some((*at, Step::Begun)));
                    brought
                        .objects
                        .extend(came(*end).then_some((*at, Step::Complete)));
                }
                if to == bytes.len() {
                    let over = match ingest.finish(log) {
                        Ok(()) if writable => Over::Finished,
                        _ => Over::Refused,
                    };
                    brought.end = Some(over);
                    return (None, brought);
                }
                self.upstream = Upstream::Peer {
                    ingest,
                    bytes,
                    sent: to,
                    places,
                };
            }
            Upstream::Local {
                mut writer,
                mut objects,
                mut at,
                mut rest,
            } => {
                let written = if !rest.is_empty() {
                    let piece = rest.split_to(len.min(rest.len()));
                    writer.payload(log, piece, now)
                } else if let Some((header, payload)) = objects.next() {
                    let location = Location::new(self.plan.group, header.object);
                    rest = payload;
                    let piece = rest.split_to(len.min(rest.len()));
                    let written = writer.object(log, &header, piece, now);
                    if written.is_ok() {
                        brought.objects.push((location, Step::Begun));
                        at = Some(location);
                    }
                    written
                } else {
                    let over = match writer.finish(log) {
                        Ok(()) if writable => Over::Finished,
                        _ => Over::Refused,
                    };
                    brought.end = Some(over);
                    return (None, brought);
                };
                if let Err(error) = written {
                    let expected = matches!(
                        error,
                        WriteError::Ended
                            | WriteError::Malformed(_)
                            | WriteError::EndElsewhere { .. }
                    );
                    assert!(expected, "{error}");
                    writer.reset(log, StreamCode::CANCELLED);
                    brought.end = Some(Over::Refused);
                    return (None, brought);
                }
                if rest.is_empty() {
                    brought
                        .objects
                        .extend(at.take().map(|at| (at, Step::Complete)));
                }
                self.upstream = Upstream::Local {
                    writer,
                    objects,
                    at,
                    rest,
                };
            }
        }
        (Some(self), brought)
    }

    /// Whether it has brought something of a subgroup.
    pub(super) fn is_of(&self, group: u64, subgroup: u64) -> bool {
        self.counted.is_some() && (self.plan.group, self.plan.subgroup.id) == (group, subgroup)
    }

    /// It ends early.
    pub(super) fn reset(self, log: &mut TrackLog, code: StreamCode) {
        match self.upstream {
            Upstream::Peer { ingest, .. } => ingest.reset(log, code),
            Upstream::Local { writer, .. } => writer.reset(log, code),
        }
    }
}
