//! Messages of FETCH (draft-14 §9.16 to §9.19).

use super::coding::{Reader, Stop, Wire, Writer, invalid, wire_fields};
use crate::model::{
    DecodeErrorKind, EncodeError, Fetch, FetchKind, FetchOk, FullTrackName, Location, RequestId,
};

wire_fields!(Fetch {
    request_id: "Request ID",
    subscriber_priority: "Subscriber Priority",
    group_order: "Group Order",
    kind: "Fetch Type",
    parameters: "Parameters",
});

wire_fields!(FetchOk {
    request_id: "Request ID",
    group_order: "Group Order",
    end_of_track: "End Of Track",
    end: "End Location",
    parameters: "Parameters",
});

/// Fetch Type (i), then a Standalone or Joining structure.
impl Wire for FetchKind {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        match r.varint(field)? {
            0x1 => Ok(Self::Standalone {
                track: FullTrackName::read(r, "Full Track Name")?,
                start: Location::read(r, "Start Location")?,
                end: Location::read(r, "End Location")?,
            }),
            0x2 => Ok(Self::RelativeJoining {
                joining: RequestId::read(r, "Joining Request ID")?,
                joining_start: r.varint("Joining Start")?,
            }),
            0x3 => Ok(Self::AbsoluteJoining {
                joining: RequestId::read(r, "Joining Request ID")?,
                joining_start: r.varint("Joining Start")?,
            }),
            // draft-14 §9.16
            other => Err(invalid(field, offset, DecodeErrorKind::InvalidValue(other))),
        }
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        match self {
            Self::Standalone { track, start, end } => {
                w.varint(field, 0x1)?;
                track.write(w, "Full Track Name")?;
                start.write(w, "Start Location")?;
                end.write(w, "End Location")
            }
            Self::RelativeJoining {
                joining,
                joining_start,
            } => {
                w.varint(field, 0x2)?;
                joining.write(w, "Joining Request ID")?;
                w.varint("Joining Start", *joining_start)
            }
            Self::AbsoluteJoining {
                joining,
                joining_start,
            } => {
                w.varint(field, 0x3)?;
                joining.write(w, "Joining Request ID")?;
                w.varint("Joining Start", *joining_start)
            }
        }
    }
}
