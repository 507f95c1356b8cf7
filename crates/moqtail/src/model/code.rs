//! The error and status registries of draft-14 §13.1: open numbers with names for the registered ones.

use std::fmt;

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident { $($(#[$cdoc:meta])* $code:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            $($(#[$cdoc])* pub const $code: Self = Self($value);)*

            /// Every registered code with its name.
            pub const REGISTERED: &[(Self, &str)] = &[$((Self::$code, stringify!($code)),)*];

            /// The registered name; `None` for any other number, which stays representable.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$code => Some(stringify!($code)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{name} ({:#x})", self.0),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }
    };
}

registry! {
    /// Session termination codes (draft-14 §3.4, §13.1.1).
    SessionCode {
        /// The session ended without an error.
        NO_ERROR = 0x0,
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x1,
        /// The client may not establish a session.
        UNAUTHORIZED = 0x2,
        /// The peer broke the protocol.
        PROTOCOL_VIOLATION = 0x3,
        /// A Request ID out of order, of the wrong parity, or never issued.
        INVALID_REQUEST_ID = 0x4,
        /// A Track Alias in use for another track.
        DUPLICATE_TRACK_ALIAS = 0x5,
        /// A Key-Value-Pair whose value does not fit its type.
        KEY_VALUE_FORMATTING_ERROR = 0x6,
        /// More requests than MAX_REQUEST_ID allows.
        TOO_MANY_REQUESTS = 0x7,
        /// PATH not served, or sent where it must not be.
        INVALID_PATH = 0x8,
        /// PATH that breaks URI syntax.
        MALFORMED_PATH = 0x9,
        /// The peer took too long to leave after GOAWAY.
        GOAWAY_TIMEOUT = 0x10,
        /// The peer took too long to answer a control message.
        CONTROL_MESSAGE_TIMEOUT = 0x11,
        /// The peer took too long to send expected data.
        DATA_STREAM_TIMEOUT = 0x12,
        /// More registered tokens than MAX_AUTH_TOKEN_CACHE_SIZE allows.
        AUTH_TOKEN_CACHE_OVERFLOW = 0x13,
        /// A token alias registered twice.
        DUPLICATE_AUTH_TOKEN_ALIAS = 0x14,
        /// No version in common.
        VERSION_NEGOTIATION_FAILED = 0x15,
        /// An invalid token at session level.
        MALFORMED_AUTH_TOKEN = 0x16,
        /// A token alias that is not registered.
        UNKNOWN_AUTH_TOKEN_ALIAS = 0x17,
        /// An expired token at session level.
        EXPIRED_AUTH_TOKEN = 0x18,
        /// AUTHORITY not served, or sent where it must not be.
        INVALID_AUTHORITY = 0x19,
        /// AUTHORITY that breaks URI syntax.
        MALFORMED_AUTHORITY = 0x1A,
    }
}

registry! {
    /// SUBSCRIBE_ERROR and TRACK_STATUS_ERROR codes (draft-14 §9.9).
    SubscribeErrorCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The subscriber may not have the track.
        UNAUTHORIZED = 0x1,
        /// The answer could not be found in time.
        TIMEOUT = 0x2,
        /// The endpoint does not serve this request.
        NOT_SUPPORTED = 0x3,
        /// No such track.
        TRACK_DOES_NOT_EXIST = 0x4,
        /// The range cannot be satisfied.
        INVALID_RANGE = 0x5,
        /// A token that decodes but is invalid.
        MALFORMED_AUTH_TOKEN = 0x10,
        /// A token that has expired.
        EXPIRED_AUTH_TOKEN = 0x12,
    }
}

registry! {
    /// FETCH_ERROR codes (draft-14 §9.18).
    FetchErrorCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The subscriber may not have the track.
        UNAUTHORIZED = 0x1,
        /// The answer could not be found in time.
        TIMEOUT = 0x2,
        /// The endpoint does not serve this request.
        NOT_SUPPORTED = 0x3,
        /// No such track.
        TRACK_DOES_NOT_EXIST = 0x4,
        /// The range cannot be satisfied.
        INVALID_RANGE = 0x5,
        /// A valid range that holds no object.
        NO_OBJECTS = 0x6,
        /// The joined request is no subscription of this session.
        INVALID_JOINING_REQUEST_ID = 0x7,
        /// The range holds an object of unknown status.
        UNKNOWN_STATUS_IN_RANGE = 0x8,
        /// The track broke the data model.
        MALFORMED_TRACK = 0x9,
        /// A token that decodes but is invalid.
        MALFORMED_AUTH_TOKEN = 0x10,
        /// A token that has expired.
        EXPIRED_AUTH_TOKEN = 0x12,
    }
}

registry! {
    /// PUBLISH_ERROR codes (draft-14 §9.15).
    PublishErrorCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The publisher may not publish the track.
        UNAUTHORIZED = 0x1,
        /// The answer could not be found in time.
        TIMEOUT = 0x2,
        /// The endpoint does not serve this request.
        NOT_SUPPORTED = 0x3,
        /// Nobody wants the track.
        UNINTERESTED = 0x4,
    }
}

registry! {
    /// PUBLISH_NAMESPACE_ERROR and PUBLISH_NAMESPACE_CANCEL codes (draft-14 §9.25).
    PublishNamespaceErrorCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The publisher may not publish under the namespace.
        UNAUTHORIZED = 0x1,
        /// The answer could not be found in time.
        TIMEOUT = 0x2,
        /// The endpoint does not serve this request.
        NOT_SUPPORTED = 0x3,
        /// Nobody wants the namespace.
        UNINTERESTED = 0x4,
        /// A token that decodes but is invalid.
        MALFORMED_AUTH_TOKEN = 0x10,
        /// A token that has expired.
        EXPIRED_AUTH_TOKEN = 0x12,
    }
}

registry! {
    /// SUBSCRIBE_NAMESPACE_ERROR codes (draft-14 §9.30).
    SubscribeNamespaceErrorCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The subscriber may not have the prefix.
        UNAUTHORIZED = 0x1,
        /// The answer could not be found in time.
        TIMEOUT = 0x2,
        /// The endpoint does not serve this request.
        NOT_SUPPORTED = 0x3,
        /// Nothing is known under the prefix.
        NAMESPACE_PREFIX_UNKNOWN = 0x4,
        /// The prefix overlaps an active one of this session.
        NAMESPACE_PREFIX_OVERLAP = 0x5,
        /// A token that decodes but is invalid.
        MALFORMED_AUTH_TOKEN = 0x10,
        /// A token that has expired.
        EXPIRED_AUTH_TOKEN = 0x12,
    }
}

registry! {
    /// PUBLISH_DONE status codes (draft-14 §9.12).
    PublishDoneCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The authorization was withdrawn.
        UNAUTHORIZED = 0x1,
        /// The track is no longer published.
        TRACK_ENDED = 0x2,
        /// The end of the filter was reached.
        SUBSCRIPTION_ENDED = 0x3,
        /// One side sent GOAWAY.
        GOING_AWAY = 0x4,
        /// The time told in Expires is over.
        EXPIRED = 0x5,
        /// The subscriber reads too slowly.
        TOO_FAR_BEHIND = 0x6,
        /// A relay found the track malformed.
        MALFORMED_TRACK = 0x7,
    }
}

registry! {
    /// Codes of RESET_STREAM and STOP_SENDING on data streams (draft-14 §10.4.3).
    StreamCode {
        /// A failure of the implementation.
        INTERNAL_ERROR = 0x0,
        /// The subscriber or publisher no longer wants the stream.
        CANCELLED = 0x1,
        /// An object exceeded its delivery timeout.
        DELIVERY_TIMEOUT = 0x2,
        /// The session is closing.
        SESSION_CLOSED = 0x3,
    }
}
