//! Values that several messages share: numbers, flags, locations, names, reasons and codes.

use bytes::{Buf as _, Bytes};

use super::coding::{Reader, Stop, Wire, Writer, invalid, owned};
use crate::model::{
    DecodeErrorKind, EncodeError, FetchErrorCode, Filter, FullTrackName, GroupOrder, Location,
    MAX_FULL_TRACK_NAME_LEN, MAX_NAMESPACE_FIELDS, MAX_REASON_LEN, NameError, NamespacePrefix,
    PublishDoneCode, PublishErrorCode, PublishNamespaceErrorCode, ReasonPhrase, RequestId,
    SubscribeErrorCode, SubscribeNamespaceErrorCode, TrackAlias, TrackNamespace,
};

impl Wire for u64 {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        r.varint(field)
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        w.varint(field, *self)
    }
}

/// Numbers with a type of their own.
macro_rules! wire_numbers {
    ($($type:ident,)*) => {
        $(impl Wire for $type {
            fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
                r.varint(field).map(Self)
            }

            fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
                w.varint(field, self.0)
            }
        })*
    };
}

// Codes without a name stay numbers: draft-14 §13.1 leaves the registries open.
wire_numbers! {
    RequestId,
    TrackAlias,
    SubscribeErrorCode,
    FetchErrorCode,
    PublishErrorCode,
    PublishNamespaceErrorCode,
    SubscribeNamespaceErrorCode,
    PublishDoneCode,
}

/// A priority (8).
impl Wire for u8 {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        r.byte(field)
    }

    fn write(&self, w: &mut Writer<'_>, _field: &'static str) -> Result<(), EncodeError> {
        w.byte(*self);
        Ok(())
    }
}

/// A flag (8): 0 or 1.
impl Wire for bool {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        match r.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            // draft-14 §9.7, §9.8, §9.10, §9.13
            other => Err(not_allowed(field, offset, other)),
        }
    }

    fn write(&self, w: &mut Writer<'_>, _field: &'static str) -> Result<(), EncodeError> {
        w.byte(u8::from(*self));
        Ok(())
    }
}

/// Group Order (8) where the publisher's preference cannot be asked for.
impl Wire for GroupOrder {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        // draft-14 §9.8, §9.13, §9.14, §9.17: 0x0 is an error here
        Option::read(r, field)?.ok_or_else(|| not_allowed(field, offset, 0))
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        Some(*self).write(w, field)
    }
}

/// Group Order (8) of a request; 0x0 leaves it to the publisher.
impl Wire for Option<GroupOrder> {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        match r.byte(field)? {
            0 => Ok(None),
            1 => Ok(Some(GroupOrder::Ascending)),
            2 => Ok(Some(GroupOrder::Descending)),
            // draft-14 §9.7, §9.16
            other => Err(not_allowed(field, offset, other)),
        }
    }

    fn write(&self, w: &mut Writer<'_>, _field: &'static str) -> Result<(), EncodeError> {
        w.byte(match self {
            None => 0,
            Some(GroupOrder::Ascending) => 1,
            Some(GroupOrder::Descending) => 2,
        });
        Ok(())
    }
}

fn not_allowed(field: &'static str, offset: u64, value: u8) -> Stop {
    invalid(
        field,
        offset,
        DecodeErrorKind::InvalidValue(u64::from(value)),
    )
}

/// End Group of SUBSCRIBE_UPDATE: the last group plus 1, 0 for open-ended (draft-14 §9.10).
impl Wire for Option<u64> {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        Ok(r.varint(field)?.checked_sub(1))
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        // Saturation keeps a number that is too large too large.
        w.varint(field, self.map_or(0, |group| group.saturating_add(1)))
    }
}

/// Supported Versions: a count, then each.
impl Wire for Vec<u64> {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let count = r.varint(field)?;
        let mut values = Self::new();
        for _ in 0..count {
            values.push(r.varint(field)?);
        }
        Ok(values)
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        w.varint(field, self.len() as u64)?;
        self.iter().try_for_each(|value| w.varint(field, *value))
    }
}

impl Wire for Location {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        Ok(Self::new(r.varint(field)?, r.varint(field)?))
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        w.varint(field, self.group)?;
        w.varint(field, self.object)
    }
}

/// Content Exists (8), then Largest Location if it is 1.
impl Wire for Option<Location> {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        bool::read(r, "Content Exists")?
            .then(|| Location::read(r, field))
            .transpose()
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        self.is_some().write(w, "Content Exists")?;
        self.map_or(Ok(()), |location| location.write(w, field))
    }
}

/// Filter Type (i), then Start Location and End Group where it has them.
impl Wire for Filter {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        match r.varint(field)? {
            0x1 => Ok(Self::NextGroupStart),
            0x2 => Ok(Self::LargestObject),
            0x3 => Ok(Self::AbsoluteStart {
                start: Location::read(r, "Start Location")?,
            }),
            0x4 => Ok(Self::AbsoluteRange {
                start: Location::read(r, "Start Location")?,
                end_group: r.varint("End Group")?,
            }),
            // draft-14 §9.7
            other => Err(invalid(field, offset, DecodeErrorKind::InvalidValue(other))),
        }
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        match self {
            Self::NextGroupStart => w.varint(field, 0x1),
            Self::LargestObject => w.varint(field, 0x2),
            Self::AbsoluteStart { start } => {
                w.varint(field, 0x3)?;
                start.write(w, "Start Location")
            }
            Self::AbsoluteRange { start, end_group } => {
                w.varint(field, 0x4)?;
                start.write(w, "Start Location")?;
                w.varint("End Group", *end_group)
            }
        }
    }
}

/// A tuple that was read: how many fields it has, and where the first one begins.
struct Tuple {
    count: usize,
    begin: usize,
}

impl Tuple {
    /// Reads a tuple of 0 to 32 fields.
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        let fault = |error| invalid(field, offset, DecodeErrorKind::Name(error));
        let count = usize::try_from(r.varint(field)?).unwrap_or(usize::MAX);
        // draft-14 §2.4.1
        if count > MAX_NAMESPACE_FIELDS {
            return Err(fault(NameError::TooManyFields));
        }
        let begin = r.consumed();
        let mut len = 0;
        for _ in 0..count {
            len += r.sized(field, usize::MAX)?.len();
            // draft-14 §2.4.1
            if len > MAX_FULL_TRACK_NAME_LEN {
                return Err(fault(NameError::TooLong(len)));
            }
        }
        Ok(Self { count, begin })
    }

    /// The fields, cut out of a copy of the bytes since `begin`.
    fn fields(&self, copy: &Bytes) -> Result<NamespacePrefix, NameError> {
        let mut fields = Reader::new(copy, 0);
        // Their number is known, so that they are put where they stay.
        NamespacePrefix::new((0..self.count).map(|_| {
            let field = fields.sized("Track Namespace", usize::MAX);
            field.map_or_else(|_| Bytes::new(), |field| copy.slice_ref(field))
        }))
    }
}

impl Wire for NamespacePrefix {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        let fault = |error| invalid(field, offset, DecodeErrorKind::Name(error));
        let tuple = Tuple::read(r, field)?;
        // draft-14 §9.28; the tolerance is the caller's choice
        if tuple.count == 0 && !r.options.allow_empty_namespace_prefix {
            let kind = DecodeErrorKind::EmptyNamespacePrefix;
            return Err(invalid(field, offset, kind));
        }
        // One copy for all fields; a second look at it finds them again.
        tuple.fields(&owned(r.since(tuple.begin))).map_err(fault)
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        // draft-14 §9.28
        if self.fields().is_empty() {
            return Err(EncodeError::NotAllowed("a namespace prefix without fields"));
        }
        w.varint(field, self.fields().len() as u64)?;
        self.fields()
            .iter()
            .try_for_each(|bytes| w.sized(field, bytes, MAX_FULL_TRACK_NAME_LEN))
    }
}

/// A tuple of 1 to 32 fields.
impl Wire for TrackNamespace {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        let offset = r.offset();
        let tuple = Tuple::read(r, field)?;
        let fields = tuple.fields(&owned(r.since(tuple.begin)));
        // draft-14 §2.4.1
        fields
            .and_then(Self::try_from)
            .map_err(|error| invalid(field, offset, DecodeErrorKind::Name(error)))
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        self.as_prefix().write(w, field)
    }
}

/// Track Namespace, Track Name Length (i), Track Name.
impl Wire for FullTrackName {
    fn read(r: &mut Reader<'_>, _field: &'static str) -> Result<Self, Stop> {
        let start = r.offset();
        let tuple = Tuple::read(r, "Track Namespace")?;
        // draft-14 §2.4.1
        if tuple.count == 0 {
            let kind = DecodeErrorKind::Name(NameError::NoFields);
            return Err(invalid("Track Namespace", start, kind));
        }
        let offset = r.offset();
        let fault = |error| invalid("Track Name", offset, DecodeErrorKind::Name(error));
        let len = r.sized("Track Name", usize::MAX)?.len();
        // One copy for the name and all fields.
        let mut name = owned(r.since(tuple.begin));
        let namespace = tuple.fields(&name).and_then(TrackNamespace::try_from);
        name.advance(name.len() - len);
        // draft-14 §2.4.1
        Self::new(namespace.map_err(fault)?, name).map_err(fault)
    }

    fn write(&self, w: &mut Writer<'_>, _field: &'static str) -> Result<(), EncodeError> {
        self.namespace().write(w, "Track Namespace")?;
        w.sized("Track Name", self.name(), MAX_FULL_TRACK_NAME_LEN)
    }
}

/// Reads a length (i) of at most `max` and text.
pub(super) fn read_text(
    r: &mut Reader<'_>,
    field: &'static str,
    max: usize,
) -> Result<String, Stop> {
    let offset = r.offset();
    let bytes = r.sized(field, max)?;
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| invalid(field, offset, DecodeErrorKind::NotUtf8))
}

impl Wire for ReasonPhrase {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        // draft-14 §1.4.3
        read_text(r, field, MAX_REASON_LEN).map(Self::new)
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        w.sized(field, self.as_str().as_bytes(), MAX_REASON_LEN)
    }
}
