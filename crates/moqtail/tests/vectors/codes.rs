//! The numbers of the registries, from the tables of draft-14 §13.1.

use moqtail::model::{
    FetchErrorCode, PublishDoneCode, PublishErrorCode, PublishNamespaceErrorCode, SessionCode,
    StreamCode, SubscribeErrorCode, SubscribeNamespaceErrorCode,
};

/// Names with their numbers, a line each.
macro_rules! agrees {
    ($registry:ident, $table:literal) => {
        let written: Vec<_> = $registry::REGISTERED
            .iter()
            .map(|(code, name)| format!("{name} {:#x}", code.0))
            .collect();
        let table: Vec<_> = $table.split_whitespace().collect();
        let table: Vec<_> = table.chunks(2).map(|pair| pair.join(" ")).collect();
        assert_eq!(written, table, stringify!($registry));
    };
}

/// S3.4-07, S10.4.3-15, S13.1-01: each registry is a type of its own, since one number means different things in them.
#[test]
fn registries_agree_with_the_tables_of_the_draft() {
    agrees!(
        SessionCode,
        "NO_ERROR 0x0 INTERNAL_ERROR 0x1 UNAUTHORIZED 0x2 PROTOCOL_VIOLATION 0x3 \
         INVALID_REQUEST_ID 0x4 DUPLICATE_TRACK_ALIAS 0x5 KEY_VALUE_FORMATTING_ERROR 0x6 \
         TOO_MANY_REQUESTS 0x7 INVALID_PATH 0x8 MALFORMED_PATH 0x9 GOAWAY_TIMEOUT 0x10 \
         CONTROL_MESSAGE_TIMEOUT 0x11 DATA_STREAM_TIMEOUT 0x12 \
         AUTH_TOKEN_CACHE_OVERFLOW 0x13 DUPLICATE_AUTH_TOKEN_ALIAS 0x14 \
         VERSION_NEGOTIATION_FAILED 0x15 MALFORMED_AUTH_TOKEN 0x16 \
         UNKNOWN_AUTH_TOKEN_ALIAS 0x17 EXPIRED_AUTH_TOKEN 0x18 INVALID_AUTHORITY 0x19 \
         MALFORMED_AUTHORITY 0x1a"
    );
    agrees!(
        SubscribeErrorCode,
        "INTERNAL_ERROR 0x0 UNAUTHORIZED 0x1 TIMEOUT 0x2 NOT_SUPPORTED 0x3 \
         TRACK_DOES_NOT_EXIST 0x4 INVALID_RANGE 0x5 MALFORMED_AUTH_TOKEN 0x10 \
         EXPIRED_AUTH_TOKEN 0x12"
    );
    agrees!(
        PublishDoneCode,
        "INTERNAL_ERROR 0x0 UNAUTHORIZED 0x1 TRACK_ENDED 0x2 SUBSCRIPTION_ENDED 0x3 \
         GOING_AWAY 0x4 EXPIRED 0x5 TOO_FAR_BEHIND 0x6 MALFORMED_TRACK 0x7"
    );
    agrees!(
        PublishErrorCode,
        "INTERNAL_ERROR 0x0 UNAUTHORIZED 0x1 TIMEOUT 0x2 NOT_SUPPORTED 0x3 UNINTERESTED 0x4"
    );
    agrees!(
        FetchErrorCode,
        "INTERNAL_ERROR 0x0 UNAUTHORIZED 0x1 TIMEOUT 0x2 NOT_SUPPORTED 0x3 \
         TRACK_DOES_NOT_EXIST 0x4 INVALID_RANGE 0x5 NO_OBJECTS 0x6 \
         INVALID_JOINING_REQUEST_ID 0x7 UNKNOWN_STATUS_IN_RANGE 0x8 MALFORMED_TRACK 0x9 \
         MALFORMED_AUTH_TOKEN 0x10 EXPIRED_AUTH_TOKEN 0x12"
    );
    agrees!(
        PublishNamespaceErrorCode,
        "INTERNAL_ERROR 0x0 UNAUTHORIZED 0x1 TIMEOUT 0x2 NOT_SUPPORTED 0x3 UNINTERESTED 0x4 \
         MALFORMED_AUTH_TOKEN 0x10 EXPIRED_AUTH_TOKEN 0x12"
    );
    agrees!(
        SubscribeNamespaceErrorCode,
        "INTERNAL_ERROR 0x0 UNAUTHORIZED 0x1 TIMEOUT 0x2 NOT_SUPPORTED 0x3 \
         NAMESPACE_PREFIX_UNKNOWN 0x4 NAMESPACE_PREFIX_OVERLAP 0x5 \
         MALFORMED_AUTH_TOKEN 0x10 EXPIRED_AUTH_TOKEN 0x12"
    );
    agrees!(
        StreamCode,
        "INTERNAL_ERROR 0x0 CANCELLED 0x1 DELIVERY_TIMEOUT 0x2 SESSION_CLOSED 0x3"
    );
}
