//! Messages about the session itself: setup, GOAWAY and request credit (draft-14 §9.3 to §9.6).

use super::coding::{Reader, Stop, Wire, Writer, wire_fields};
use super::primitive::read_text;
use crate::model::{
    ClientSetup, EncodeError, Goaway, MAX_GOAWAY_URI_LEN, MaxRequestId, RequestsBlocked,
    ServerSetup,
};

wire_fields!(ClientSetup {
    versions: "Supported Versions",
    parameters: "Setup Parameters",
});

wire_fields!(ServerSetup {
    version: "Selected Version",
    parameters: "Setup Parameters",
});

wire_fields!(Goaway {
    new_session_uri: "New Session URI",
});

wire_fields!(MaxRequestId {
    limit: "Request ID",
});

wire_fields!(RequestsBlocked {
    limit: "Maximum Request ID",
});

/// New Session URI: Length (i), text.
impl Wire for String {
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, Stop> {
        // draft-14 §9.4
        read_text(r, field, MAX_GOAWAY_URI_LEN)
    }

    fn write(&self, w: &mut Writer<'_>, field: &'static str) -> Result<(), EncodeError> {
        w.sized(field, self.as_bytes(), MAX_GOAWAY_URI_LEN)
    }
}
