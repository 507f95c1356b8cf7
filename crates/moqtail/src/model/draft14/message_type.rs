//! The table of control messages (draft-14 §9, table 1).

/// Hands all rows to the macro `$then`: type, name in the draft, variant of `ControlMessage`, and the name of the field if
/// the message has just one.
macro_rules! for_each_message {
    ($then:ident) => {
        $then! {
            0x20 CLIENT_SETUP ClientSetup,
            0x21 SERVER_SETUP ServerSetup,
            0x10 GOAWAY Goaway,
            0x15 MAX_REQUEST_ID MaxRequestId,
            0x1A REQUESTS_BLOCKED RequestsBlocked,
            0x3 SUBSCRIBE Subscribe,
            0x4 SUBSCRIBE_OK SubscribeOk,
            0x5 SUBSCRIBE_ERROR SubscribeError,
            0x2 SUBSCRIBE_UPDATE SubscribeUpdate,
            0xA UNSUBSCRIBE Unsubscribe "Request ID",
            0xB PUBLISH_DONE PublishDone,
            0x1D PUBLISH Publish,
            0x1E PUBLISH_OK PublishOk,
            0x1F PUBLISH_ERROR PublishError,
            0x16 FETCH Fetch,
            0x18 FETCH_OK FetchOk,
            0x19 FETCH_ERROR FetchError,
            0x17 FETCH_CANCEL FetchCancel "Request ID",
            0xD TRACK_STATUS TrackStatus,
            0xE TRACK_STATUS_OK TrackStatusOk,
            0xF TRACK_STATUS_ERROR TrackStatusError,
            0x6 PUBLISH_NAMESPACE PublishNamespace,
            0x7 PUBLISH_NAMESPACE_OK PublishNamespaceOk "Request ID",
            0x8 PUBLISH_NAMESPACE_ERROR PublishNamespaceError,
            0x9 PUBLISH_NAMESPACE_DONE PublishNamespaceDone "Track Namespace",
            0xC PUBLISH_NAMESPACE_CANCEL PublishNamespaceCancel,
            0x11 SUBSCRIBE_NAMESPACE SubscribeNamespace,
            0x12 SUBSCRIBE_NAMESPACE_OK SubscribeNamespaceOk "Request ID",
            0x13 SUBSCRIBE_NAMESPACE_ERROR SubscribeNamespaceError,
            0x14 UNSUBSCRIBE_NAMESPACE UnsubscribeNamespace "Track Namespace Prefix",
        }
    };
}
pub(super) use for_each_message;

macro_rules! message_types {
    ($($type:literal $name:ident $variant:ident $($field:literal)?,)*) => {
        /// Type of a control message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum MessageType {
            $($variant = $type,)*
        }

        impl MessageType {
            pub(super) fn from_number(number: u64) -> Option<Self> {
                match number {
                    $($type => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub(super) fn number(self) -> u64 {
                self as u64
            }
        }
    };
}

for_each_message!(message_types);
