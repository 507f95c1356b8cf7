//! Our values as values of the other codec, field by field.

use moqtail::model::{
    AuthToken, ControlMessage, DatagramBody, FetchKind, FetchObjectHeader, Filter, GroupOrder,
    KeyValuePair, Location, NamespacePrefix, ObjectDatagram, ObjectHeader, ObjectStatus, Parameter,
    Parameters, RequestError, SetupParameter, SetupParameters, Subscribe, SubscribeOk,
};
use moqtap_codec::auth_token::{AuthorizationToken, TokenAliasType};
use moqtap_codec::draft14::data_stream::{
    DatagramObject, DatagramType, FetchObject, SubgroupObject,
};
use moqtap_codec::draft14::message::{self as theirs, ControlMessage as Theirs, FetchPayload};
use moqtap_codec::draft14::types::ObjectStatus as TheirStatus;
use moqtap_codec::kvp::{KeyValuePair as TheirPair, KvpValue};
use moqtap_codec::types::{
    ContentExists, FilterType, Forward, GroupOrder as TheirOrder, Location as TheirLocation,
    TrackNamespace,
};
use moqtap_codec::varint::VarInt;

fn number(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("our values stay below 2^62")
}

fn location(location: Location) -> TheirLocation {
    TheirLocation {
        group: number(location.group),
        object: number(location.object),
    }
}

fn namespace(prefix: &NamespacePrefix) -> TrackNamespace {
    TrackNamespace(prefix.fields().iter().map(|field| field.to_vec()).collect())
}

fn order(order: Option<GroupOrder>) -> TheirOrder {
    match order {
        None => TheirOrder::Publisher,
        Some(GroupOrder::Ascending) => TheirOrder::Ascending,
        Some(GroupOrder::Descending) => TheirOrder::Descending,
    }
}

fn forward(forward: bool) -> Forward {
    if forward {
        Forward::Forward
    } else {
        Forward::DontForward
    }
}

fn filter(filter: Filter) -> (FilterType, Option<TheirLocation>, Option<VarInt>) {
    match filter {
        Filter::NextGroupStart => (FilterType::NextGroupStart, None, None),
        Filter::LargestObject => (FilterType::LargestObject, None, None),
        Filter::AbsoluteStart { start } => (FilterType::AbsoluteStart, Some(location(start)), None),
        Filter::AbsoluteRange { start, end_group } => (
            FilterType::AbsoluteRange,
            Some(location(start)),
            Some(number(end_group)),
        ),
    }
}

fn content(largest: Option<Location>) -> (ContentExists, Option<TheirLocation>) {
    match largest {
        None => (ContentExists::NoLargestLocation, None),
        Some(largest) => (ContentExists::HasLargestLocation, Some(location(largest))),
    }
}

fn pair(pair: &KeyValuePair) -> TheirPair {
    let value = match pair {
        KeyValuePair::Varint { value, .. } => KvpValue::Varint(number(*value)),
        KeyValuePair::Bytes { value, .. } => KvpValue::Bytes(value.to_vec()),
    };
    TheirPair {
        key: number(pair.key()),
        value,
    }
}

fn token(token: &AuthToken) -> TheirPair {
    let (alias_type, alias, token_type, value) = match token {
        AuthToken::Delete { alias } => (TokenAliasType::Delete, Some(*alias), None, &[][..]),
        AuthToken::Register {
            alias,
            token_type,
            value,
        } => {
            let alias_type = TokenAliasType::Register;
            (alias_type, Some(*alias), Some(*token_type), &value[..])
        }
        AuthToken::UseAlias { alias } => (TokenAliasType::UseAlias, Some(*alias), None, &[][..]),
        AuthToken::UseValue { token_type, value } => (
            TokenAliasType::UseValue,
            None,
            Some(*token_type),
            &value[..],
        ),
    };
    let token = AuthorizationToken {
        alias_type,
        alias,
        token_type,
        value: value.to_vec(),
    };
    let mut out = Vec::new();
    token.encode(&mut out).expect("our values stay below 2^62");
    TheirPair {
        key: number(3),
        value: KvpValue::Bytes(out),
    }
}

fn pair_of(key: u64, value: KvpValue) -> TheirPair {
    TheirPair {
        key: number(key),
        value,
    }
}

fn setup_parameters(parameters: &SetupParameters) -> Vec<TheirPair> {
    let pair = |parameter: &SetupParameter| match parameter {
        SetupParameter::Path(value) => pair_of(1, KvpValue::Bytes(value.to_vec())),
        SetupParameter::MaxRequestId(value) => pair_of(2, KvpValue::Varint(number(*value))),
        SetupParameter::AuthorizationToken(value) => token(value),
        SetupParameter::MaxAuthTokenCacheSize(value) => {
            pair_of(4, KvpValue::Varint(number(*value)))
        }
        SetupParameter::Authority(value) => pair_of(5, KvpValue::Bytes(value.to_vec())),
        SetupParameter::Implementation(value) => pair_of(7, KvpValue::Bytes(value.to_vec())),
        SetupParameter::Unknown(unknown) => pair(unknown),
        other => unreachable!("{other:?}"),
    };
    parameters.0.iter().map(pair).collect()
}

fn parameters(parameters: &Parameters) -> Vec<TheirPair> {
    let pair = |parameter: &Parameter| match parameter {
        Parameter::DeliveryTimeout(value) => pair_of(2, KvpValue::Varint(number(*value))),
        Parameter::AuthorizationToken(value) => token(value),
        Parameter::MaxCacheDuration(value) => pair_of(4, KvpValue::Varint(number(*value))),
        Parameter::Unknown(unknown) => pair(unknown),
        other => unreachable!("{other:?}"),
    };
    parameters.0.iter().map(pair).collect()
}

fn subscribe(m: &Subscribe) -> theirs::Subscribe {
    let (filter_type, start_location, end_group) = filter(m.filter);
    theirs::Subscribe {
        request_id: number(m.request_id.0),
        track_namespace: namespace(m.track.namespace().as_prefix()),
        track_name: m.track.name().to_vec(),
        subscriber_priority: m.subscriber_priority,
        group_order: order(m.group_order),
        forward: forward(m.forward),
        filter_type,
        start_location,
        end_group,
        parameters: parameters(&m.parameters),
    }
}

fn subscribe_ok(m: &SubscribeOk) -> theirs::SubscribeOk {
    let (content_exists, largest_location) = content(m.largest);
    theirs::SubscribeOk {
        request_id: number(m.request_id.0),
        track_alias: number(m.track_alias.0),
        expires: number(m.expires_ms),
        group_order: order(Some(m.group_order)),
        content_exists,
        largest_location,
        parameters: parameters(&m.parameters),
    }
}

/// Our message as theirs.
pub fn control_message(message: &ControlMessage) -> Theirs {
    use ControlMessage as M;
    match message {
        M::ClientSetup(_)
        | M::ServerSetup(_)
        | M::Goaway(_)
        | M::MaxRequestId(_)
        | M::RequestsBlocked(_) => session_message(message),
        M::Subscribe(m) => Theirs::Subscribe(subscribe(m)),
        M::SubscribeOk(m) => Theirs::SubscribeOk(subscribe_ok(m)),
        M::SubscribeUpdate(m) => Theirs::SubscribeUpdate(theirs::SubscribeUpdate {
            request_id: number(m.request_id.0),
            subscription_request_id: number(m.subscription.0),
            start_location: location(m.start),
            end_group: number(m.end_group.map_or(0, |group| group + 1)),
            subscriber_priority: m.subscriber_priority,
            forward: forward(m.forward),
            parameters: parameters(&m.parameters),
        }),
        M::Unsubscribe(id) => Theirs::Unsubscribe(theirs::Unsubscribe {
            request_id: number(id.0),
        }),
        M::TrackStatus(m) => {
            let m = subscribe(m);
            Theirs::TrackStatus(theirs::TrackStatus {
                request_id: m.request_id,
                track_namespace: m.track_namespace,
                track_name: m.track_name,
                subscriber_priority: m.subscriber_priority,
                group_order: m.group_order,
                forward: m.forward,
                filter_type: m.filter_type,
                start_location: m.start_location,
                end_group: m.end_group,
                parameters: m.parameters,
            })
        }
        M::TrackStatusOk(m) => {
            let m = subscribe_ok(m);
            Theirs::TrackStatusOk(theirs::TrackStatusOk {
                request_id: m.request_id,
                track_alias: m.track_alias,
                expires: m.expires,
                group_order: m.group_order,
                content_exists: m.content_exists,
                largest_location: m.largest_location,
                parameters: m.parameters,
            })
        }
        M::Publish(_) | M::PublishOk(_) | M::PublishDone(_) => publish_message(message),
        M::Fetch(_) | M::FetchOk(_) | M::FetchCancel(_) => fetch_message(message),
        M::PublishNamespace(_)
        | M::PublishNamespaceOk(_)
        | M::PublishNamespaceDone(_)
        | M::PublishNamespaceCancel(_)
        | M::SubscribeNamespace(_)
        | M::SubscribeNamespaceOk(_)
        | M::UnsubscribeNamespace(_) => namespace_message(message),
        M::SubscribeError(_)
        | M::PublishError(_)
        | M::FetchError(_)
        | M::TrackStatusError(_)
        | M::PublishNamespaceError(_)
        | M::SubscribeNamespaceError(_) => error_message(message),
    }
}

fn session_message(message: &ControlMessage) -> Theirs {
    match message {
        ControlMessage::ClientSetup(m) => Theirs::ClientSetup(theirs::ClientSetup {
            supported_versions: m.versions.iter().map(|version| number(*version)).collect(),
            parameters: setup_parameters(&m.parameters),
        }),
        ControlMessage::ServerSetup(m) => Theirs::ServerSetup(theirs::ServerSetup {
            selected_version: number(m.version),
            parameters: setup_parameters(&m.parameters),
        }),
        ControlMessage::Goaway(m) => Theirs::GoAway(theirs::GoAway {
            new_session_uri: m.new_session_uri.clone().into_bytes(),
        }),
        ControlMessage::MaxRequestId(m) => Theirs::MaxRequestId(theirs::MaxRequestId {
            request_id: number(m.limit),
        }),
        ControlMessage::RequestsBlocked(m) => Theirs::RequestsBlocked(theirs::RequestsBlocked {
            maximum_request_id: number(m.limit),
        }),
        other => unreachable!("{other:?}"),
    }
}

fn publish_message(message: &ControlMessage) -> Theirs {
    match message {
        ControlMessage::Publish(m) => {
            let (content_exists, largest_location) = content(m.largest);
            Theirs::Publish(theirs::Publish {
                request_id: number(m.request_id.0),
                track_namespace: namespace(m.track.namespace().as_prefix()),
                track_name: m.track.name().to_vec(),
                track_alias: number(m.track_alias.0),
                group_order: order(Some(m.group_order)),
                content_exists,
                largest_location,
                forward: forward(m.forward),
                parameters: parameters(&m.parameters),
            })
        }
        ControlMessage::PublishOk(m) => {
            let (filter_type, start_location, end_group) = filter(m.filter);
            Theirs::PublishOk(theirs::PublishOk {
                request_id: number(m.request_id.0),
                forward: forward(m.forward),
                subscriber_priority: m.subscriber_priority,
                group_order: order(Some(m.group_order)),
                filter_type,
                start_location,
                end_group,
                parameters: parameters(&m.parameters),
            })
        }
        ControlMessage::PublishDone(m) => Theirs::PublishDone(theirs::PublishDone {
            request_id: number(m.request_id.0),
            status_code: number(m.status.0),
            stream_count: number(m.stream_count),
            reason_phrase: m.reason.as_str().into(),
        }),
        other => unreachable!("{other:?}"),
    }
}

fn fetch_message(message: &ControlMessage) -> Theirs {
    match message {
        ControlMessage::Fetch(m) => {
            let (fetch_type, fetch_payload) = fetch_kind(&m.kind);
            Theirs::Fetch(theirs::Fetch {
                request_id: number(m.request_id.0),
                subscriber_priority: m.subscriber_priority,
                group_order: order(m.group_order),
                fetch_type,
                fetch_payload,
                parameters: parameters(&m.parameters),
            })
        }
        ControlMessage::FetchOk(m) => Theirs::FetchOk(theirs::FetchOk {
            request_id: number(m.request_id.0),
            group_order: order(Some(m.group_order)),
            end_of_track: m.end_of_track.into(),
            end_location: location(m.end),
            parameters: parameters(&m.parameters),
        }),
        ControlMessage::FetchCancel(id) => Theirs::FetchCancel(theirs::FetchCancel {
            request_id: number(id.0),
        }),
        other => unreachable!("{other:?}"),
    }
}

fn fetch_kind(kind: &FetchKind) -> (theirs::FetchType, FetchPayload) {
    match kind {
        FetchKind::Standalone { track, start, end } => (
            theirs::FetchType::Standalone,
            FetchPayload::Standalone {
                track_namespace: namespace(track.namespace().as_prefix()),
                track_name: track.name().to_vec(),
                start_group: number(start.group),
                start_object: number(start.object),
                end_group: number(end.group),
                end_object: number(end.object),
            },
        ),
        FetchKind::RelativeJoining {
            joining,
            joining_start,
        } => (
            theirs::FetchType::RelativeJoining,
            FetchPayload::Joining {
                joining_request_id: number(joining.0),
                joining_start: number(*joining_start),
            },
        ),
        FetchKind::AbsoluteJoining {
            joining,
            joining_start,
        } => (
            theirs::FetchType::AbsoluteJoining,
            FetchPayload::Joining {
                joining_request_id: number(joining.0),
                joining_start: number(*joining_start),
            },
        ),
    }
}

fn namespace_message(message: &ControlMessage) -> Theirs {
    match message {
        ControlMessage::PublishNamespace(m) => Theirs::PublishNamespace(theirs::PublishNamespace {
            request_id: number(m.request_id.0),
            track_namespace: namespace(m.namespace.as_prefix()),
            parameters: parameters(&m.parameters),
        }),
        ControlMessage::PublishNamespaceOk(id) => {
            Theirs::PublishNamespaceOk(theirs::PublishNamespaceOk {
                request_id: number(id.0),
            })
        }
        ControlMessage::PublishNamespaceDone(done) => {
            Theirs::PublishNamespaceDone(theirs::PublishNamespaceDone {
                track_namespace: namespace(done.as_prefix()),
            })
        }
        ControlMessage::PublishNamespaceCancel(m) => {
            Theirs::PublishNamespaceCancel(theirs::PublishNamespaceCancel {
                track_namespace: namespace(m.namespace.as_prefix()),
                error_code: number(m.code.0),
                reason_phrase: m.reason.as_str().into(),
            })
        }
        ControlMessage::SubscribeNamespace(m) => {
            Theirs::SubscribeNamespace(theirs::SubscribeNamespace {
                request_id: number(m.request_id.0),
                track_namespace: namespace(&m.prefix),
                parameters: parameters(&m.parameters),
            })
        }
        ControlMessage::SubscribeNamespaceOk(id) => {
            Theirs::SubscribeNamespaceOk(theirs::SubscribeNamespaceOk {
                request_id: number(id.0),
            })
        }
        ControlMessage::UnsubscribeNamespace(prefix) => {
            Theirs::UnsubscribeNamespace(theirs::UnsubscribeNamespace {
                track_namespace_prefix: namespace(prefix),
            })
        }
        other => unreachable!("{other:?}"),
    }
}

fn error_message(message: &ControlMessage) -> Theirs {
    macro_rules! error {
        ($name:ident, $m:expr) => {{
            let m: &RequestError<_> = $m;
            Theirs::$name(theirs::$name {
                request_id: number(m.request_id.0),
                error_code: number(m.code.0),
                reason_phrase: m.reason.as_str().into(),
            })
        }};
    }
    match message {
        ControlMessage::SubscribeError(m) => error!(SubscribeError, m),
        ControlMessage::PublishError(m) => error!(PublishError, m),
        ControlMessage::FetchError(m) => error!(FetchError, m),
        ControlMessage::TrackStatusError(m) => error!(TrackStatusError, m),
        ControlMessage::PublishNamespaceError(m) => error!(PublishNamespaceError, m),
        ControlMessage::SubscribeNamespaceError(m) => error!(SubscribeNamespaceError, m),
        other => unreachable!("{other:?}"),
    }
}

fn status(status: ObjectStatus) -> TheirStatus {
    match status {
        ObjectStatus::Normal => TheirStatus::Normal,
        ObjectStatus::DoesNotExist => TheirStatus::ObjectDoesNotExist,
        ObjectStatus::EndOfGroup => TheirStatus::EndOfGroup,
        ObjectStatus::EndOfTrack => TheirStatus::EndOfTrack,
    }
}

/// Our object on a subgroup stream as theirs.
pub fn subgroup_object(header: &ObjectHeader, payload: &[u8]) -> SubgroupObject {
    SubgroupObject {
        object_id: number(header.object),
        extension_headers: header.extensions.as_bytes().to_vec(),
        status: payload.is_empty().then(|| status(header.status)),
        payload: payload.to_vec(),
    }
}

/// Our object on a fetch stream as theirs.
pub fn fetch_object(header: &FetchObjectHeader, payload: &[u8]) -> FetchObject {
    FetchObject {
        group_id: number(header.group),
        subgroup_id: number(header.subgroup),
        object_id: number(header.object.object),
        publisher_priority: header.publisher_priority,
        extension_headers: header.object.extensions.as_bytes().to_vec(),
        status: payload.is_empty().then(|| status(header.object.status)),
        payload: payload.to_vec(),
    }
}

/// Our datagram as theirs.
pub fn datagram(datagram: &ObjectDatagram) -> DatagramObject {
    let extensions = !datagram.extensions.is_empty();
    let (datagram_type, status, payload) = match &datagram.body {
        DatagramBody::Status(code) => (
            DatagramType::status(extensions),
            Some(status(*code)),
            &[][..],
        ),
        DatagramBody::Payload(payload) => {
            let has_id = !datagram.object_id_absent;
            let kind = DatagramType::payload(has_id, extensions, datagram.end_of_group);
            (kind, None, &payload[..])
        }
    };
    DatagramObject {
        datagram_type,
        track_alias: number(datagram.track_alias.0),
        group_id: number(datagram.group),
        object_id: number(datagram.object),
        publisher_priority: datagram.publisher_priority,
        extension_headers: datagram.extensions.as_bytes().to_vec(),
        status,
        payload: payload.to_vec(),
    }
}
