//! Values of draft 14 made out of bytes: every value that can be encoded has bytes that make it, short ones are simple,
//! and numbers at the borders of varints are frequent.

use bytes::Bytes;

use crate::model::{
    AuthToken, ClientSetup, ControlMessage as M, DatagramBody, Extensions, Fetch, FetchErrorCode,
    FetchHeader, FetchKind, FetchObjectHeader, FetchOk, Filter, FullTrackName, Goaway, GroupOrder,
    KeyValuePair, Location, MAX_VARINT, MaxRequestId, NamespacePrefix, ObjectDatagram,
    ObjectHeader, ObjectStatus, Parameter, Parameters, Publish, PublishDone, PublishDoneCode,
    PublishErrorCode, PublishNamespace, PublishNamespaceCancel, PublishNamespaceErrorCode,
    PublishOk, ReasonPhrase, RequestError, RequestId, RequestsBlocked, ServerSetup, SetupParameter,
    SetupParameters, SubgroupHeader, SubgroupId, Subscribe, SubscribeErrorCode, SubscribeNamespace,
    SubscribeNamespaceErrorCode, SubscribeOk, SubscribeUpdate, TrackAlias, TrackNamespace,
};

/// Kinds of control messages that [`Source::control_message`] makes.
pub const CONTROL_KINDS: usize = 30;

/// A data stream with whole objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A subgroup stream.
    Subgroup(SubgroupHeader, Vec<(ObjectHeader, Bytes)>),
    /// A fetch stream.
    Fetch(FetchHeader, Vec<(FetchObjectHeader, Bytes)>),
}

/// Bytes to make values of; zeros follow when they are used up.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
}

/// Version-specific parameters that a message defines (draft-14 §9.2.1).
#[derive(Clone, Copy)]
struct Defined {
    timeout: bool,
    token: bool,
    cache: bool,
}

const fn defined(timeout: bool, token: bool, cache: bool) -> Defined {
    Defined {
        timeout,
        token,
        cache,
    }
}

impl<'a> Source<'a> {
    /// A source that uses `bytes` from the front.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether all bytes are used.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.bytes {
            [first, rest @ ..] => {
                self.bytes = rest;
                *first
            }
            [] => 0,
        }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % end
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number up to 2^62 - 1.
    pub fn varint(&mut self) -> u64 {
        const BORDERS: [u64; 10] = [
            0,
            1,
            0x3f,
            0x40,
            0x3fff,
            0x4000,
            0x3fff_ffff,
            0x4000_0000,
            MAX_VARINT - 1,
            MAX_VARINT,
        ];
        match self.byte() {
            choice @ 0..=127 => u64::from(choice),
            choice @ 128..=191 => {
                let border = usize::from(choice) % BORDERS.len();
                BORDERS.get(border).copied().unwrap_or_default()
            }
            _ => {
                let bytes: [u8; 8] = std::array::from_fn(|_| self.byte());
                u64::from_be_bytes(bytes) & MAX_VARINT
            }
        }
    }

    /// Up to `max` bytes, mostly few.
    pub fn blob(&mut self, max: usize) -> Bytes {
        let len = match self.byte() {
            choice @ 0..=223 => usize::from(choice % 16),
            224..=250 => self.below(300),
            _ => self.below(5000),
        };
        let len = len.min(max);
        let taken = len.min(self.bytes.len());
        let (bytes, rest) = self.bytes.split_at(taken);
        self.bytes = rest;
        let mut blob = bytes.to_vec();
        blob.resize(len, 0);
        blob.into()
    }

    fn text(&mut self, max: usize) -> String {
        let blob = self.blob(max / 3);
        String::from_utf8_lossy(&blob).into_owned()
    }

    fn list<T>(&mut self, max: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = match self.byte() {
            0..=240 => self.below(max.min(4) + 1),
            _ => self.below(max + 1),
        };
        (0..count).map(|_| make(self)).collect()
    }

    fn request_id(&mut self) -> RequestId {
        RequestId(self.varint())
    }

    fn location(&mut self) -> Location {
        Location::new(self.varint(), self.varint())
    }

    /// A namespace prefix of 1 to 32 fields.
    pub fn prefix(&mut self) -> NamespacePrefix {
        let mut fields = vec![self.blob(4096)];
        fields.extend(self.list(31, |source| source.blob(100)));
        let simple = || NamespacePrefix::new([Bytes::new()]);
        NamespacePrefix::new(fields)
            .or_else(|_| simple())
            .unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// A namespace.
    pub fn namespace(&mut self) -> TrackNamespace {
        let prefix = self.prefix();
        TrackNamespace::try_from(prefix).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// A full track name.
    pub fn track(&mut self) -> FullTrackName {
        let namespace = self.namespace();
        let name = self.blob(4096 - namespace.byte_len());
        FullTrackName::new(namespace, name).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn order(&mut self) -> GroupOrder {
        if self.flag() {
            GroupOrder::Descending
        } else {
            GroupOrder::Ascending
        }
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn filter(&mut self) -> Filter {
        match self.below(4) {
            0 => Filter::NextGroupStart,
            1 => Filter::LargestObject,
            2 => Filter::AbsoluteStart {
                start: self.location(),
            },
            _ => Filter::AbsoluteRange {
                start: self.location(),
                end_group: self.varint(),
            },
        }
    }

    /// A Key-Value-Pair of any type.
    pub fn pair(&mut self) -> KeyValuePair {
        let key = self.varint();
        if key.is_multiple_of(2) {
            KeyValuePair::Varint {
                key,
                value: self.varint(),
            }
        } else {
            KeyValuePair::Bytes {
                key,
                value: self.blob(5000),
            }
        }
    }

    fn token(&mut self) -> AuthToken {
        match self.below(4) {
            0 => AuthToken::Delete {
                alias: self.varint(),
            },
            1 => AuthToken::Register {
                alias: self.varint(),
                token_type: self.varint(),
                value: self.blob(1000),
            },
            2 => AuthToken::UseAlias {
                alias: self.varint(),
            },
            _ => AuthToken::UseValue {
                token_type: self.varint(),
                value: self.blob(1000),
            },
        }
    }

    fn setup_parameters(&mut self) -> SetupParameters {
        let mut seen = Vec::new();
        let mut parameters = self.list(20, |source| match source.below(9) {
            0 => SetupParameter::Path(source.blob(1000)),
            1 => SetupParameter::MaxRequestId(source.varint()),
            2 => SetupParameter::MaxAuthTokenCacheSize(source.varint()),
            3 => SetupParameter::Authority(source.blob(1000)),
            4 => SetupParameter::Implementation(source.blob(1000)),
            5 | 6 => SetupParameter::AuthorizationToken(source.token()),
            _ => SetupParameter::Unknown(source.pair()),
        });
        parameters.retain(|parameter| match parameter {
            SetupParameter::AuthorizationToken(_) => true,
            SetupParameter::Unknown(pair) => !matches!(pair.key(), 1..=5 | 7),
            known => {
                let kind = std::mem::discriminant(known);
                let new = !seen.contains(&kind);
                seen.push(kind);
                new
            }
        });
        SetupParameters(parameters)
    }

    fn parameters(&mut self, defined: Defined) -> Parameters {
        let mut seen = Vec::new();
        let mut parameters = self.list(20, |source| match source.below(6) {
            0 => Parameter::DeliveryTimeout(source.varint()),
            1 => Parameter::MaxCacheDuration(source.varint()),
            2 | 3 => Parameter::AuthorizationToken(source.token()),
            _ => Parameter::Unknown(source.pair()),
        });
        parameters.retain(|parameter| match parameter {
            Parameter::AuthorizationToken(_) => defined.token,
            Parameter::Unknown(pair) => match pair.key() {
                2 => !defined.timeout,
                3 => !defined.token,
                4 => !defined.cache,
                _ => true,
            },
            known => {
                let kind = std::mem::discriminant(known);
                let new = !seen.contains(&kind);
                seen.push(kind);
                let timeout = matches!(known, Parameter::DeliveryTimeout(_));
                new && if timeout {
                    defined.timeout
                } else {
                    defined.cache
                }
            }
        });
        Parameters(parameters)
    }

    fn refusal<C>(&mut self, code: impl Fn(u64) -> C) -> RequestError<C> {
        RequestError {
            request_id: self.request_id(),
            code: code(self.varint()),
            reason: self.reason(),
        }
    }

    fn reason(&mut self) -> ReasonPhrase {
        ReasonPhrase::new(self.text(3 * 1024))
    }

    fn subscribe(&mut self) -> Subscribe {
        Subscribe {
            request_id: self.request_id(),
            track: self.track(),
            subscriber_priority: self.byte(),
            group_order: self.maybe(Self::order),
            forward: self.flag(),
            filter: self.filter(),
            parameters: self.parameters(defined(true, true, false)),
        }
    }

    fn subscribe_ok(&mut self) -> SubscribeOk {
        SubscribeOk {
            request_id: self.request_id(),
            track_alias: TrackAlias(self.varint()),
            expires_ms: self.varint(),
            group_order: self.order(),
            largest: self.maybe(Self::location),
            parameters: self.parameters(defined(true, false, true)),
        }
    }

    fn fetch_kind(&mut self) -> FetchKind {
        match self.below(3) {
            0 => FetchKind::Standalone {
                track: self.track(),
                start: self.location(),
                end: self.location(),
            },
            1 => FetchKind::RelativeJoining {
                joining: self.request_id(),
                joining_start: self.varint(),
            },
            _ => FetchKind::AbsoluteJoining {
                joining: self.request_id(),
                joining_start: self.varint(),
            },
        }
    }

    /// A control message of the kind with number `kind`, below [`CONTROL_KINDS`].
    pub fn control_message(&mut self, kind: usize) -> M {
        match kind {
            0..=4 => self.session_message(kind),
            5..=13 => self.subscription_message(kind),
            14..=20 => self.fetch_or_status_message(kind),
            _ => self.namespace_message(kind),
        }
    }

    fn session_message(&mut self, kind: usize) -> M {
        match kind {
            0 => M::ClientSetup(ClientSetup {
                versions: self.list(20, Self::varint),
                parameters: self.setup_parameters(),
            }),
            1 => M::ServerSetup(ServerSetup {
                version: self.varint(),
                parameters: self.setup_parameters(),
            }),
            2 => M::Goaway(Goaway {
                new_session_uri: self.text(8192),
            }),
            3 => M::MaxRequestId(MaxRequestId {
                limit: self.varint(),
            }),
            _ => M::RequestsBlocked(RequestsBlocked {
                limit: self.varint(),
            }),
        }
    }

    fn subscription_message(&mut self, kind: usize) -> M {
        match kind {
            5 => M::Subscribe(self.subscribe()),
            6 => M::SubscribeOk(self.subscribe_ok()),
            7 => M::SubscribeError(self.refusal(SubscribeErrorCode)),
            8 => M::SubscribeUpdate(SubscribeUpdate {
                request_id: self.request_id(),
                subscription: self.request_id(),
                start: self.location(),
                end_group: self.maybe(|source| source.varint().min(MAX_VARINT - 1)),
                subscriber_priority: self.byte(),
                forward: self.flag(),
                parameters: self.parameters(defined(true, true, false)),
            }),
            9 => M::Unsubscribe(self.request_id()),
            10 => M::PublishDone(PublishDone {
                request_id: self.request_id(),
                status: PublishDoneCode(self.varint()),
                stream_count: self.varint(),
                reason: self.reason(),
            }),
            11 => M::Publish(Publish {
                request_id: self.request_id(),
                track: self.track(),
                track_alias: TrackAlias(self.varint()),
                group_order: self.order(),
                largest: self.maybe(Self::location),
                forward: self.flag(),
                parameters: self.parameters(defined(true, true, true)),
            }),
            12 => M::PublishOk(PublishOk {
                request_id: self.request_id(),
                forward: self.flag(),
                subscriber_priority: self.byte(),
                group_order: self.order(),
                filter: self.filter(),
                parameters: self.parameters(defined(true, false, false)),
            }),
            _ => M::PublishError(self.refusal(PublishErrorCode)),
        }
    }

    fn fetch_or_status_message(&mut self, kind: usize) -> M {
        match kind {
            14 => M::Fetch(Fetch {
                request_id: self.request_id(),
                subscriber_priority: self.byte(),
                group_order: self.maybe(Self::order),
                kind: self.fetch_kind(),
                parameters: self.parameters(defined(false, true, false)),
            }),
            15 => M::FetchOk(FetchOk {
                request_id: self.request_id(),
                group_order: self.order(),
                end_of_track: self.flag(),
                end: self.location(),
                parameters: self.parameters(defined(false, false, true)),
            }),
            16 => M::FetchError(self.refusal(FetchErrorCode)),
            17 => M::FetchCancel(self.request_id()),
            18 => M::TrackStatus(self.subscribe()),
            19 => M::TrackStatusOk(self.subscribe_ok()),
            _ => M::TrackStatusError(self.refusal(SubscribeErrorCode)),
        }
    }

    fn namespace_message(&mut self, kind: usize) -> M {
        let token_only = defined(false, true, false);
        match kind {
            21 => M::PublishNamespace(PublishNamespace {
                request_id: self.request_id(),
                namespace: self.namespace(),
                parameters: self.parameters(token_only),
            }),
            22 => M::PublishNamespaceOk(self.request_id()),
            23 => M::PublishNamespaceError(self.refusal(PublishNamespaceErrorCode)),
            24 => M::PublishNamespaceDone(self.namespace()),
            25 => M::PublishNamespaceCancel(PublishNamespaceCancel {
                namespace: self.namespace(),
                code: PublishNamespaceErrorCode(self.varint()),
                reason: self.reason(),
            }),
            26 => M::SubscribeNamespace(SubscribeNamespace {
                request_id: self.request_id(),
                prefix: self.prefix(),
                parameters: self.parameters(token_only),
            }),
            27 => M::SubscribeNamespaceOk(self.request_id()),
            28 => M::SubscribeNamespaceError(self.refusal(SubscribeNamespaceErrorCode)),
            _ => M::UnsubscribeNamespace(self.prefix()),
        }
    }

    /// Extension headers, maybe none.
    pub fn extensions(&mut self) -> Extensions {
        let pairs = self.list(6, Self::pair);
        Extensions::from_pairs(&pairs).unwrap_or_else(|error| unreachable!("{error}"))
    }

    fn status(&mut self) -> ObjectStatus {
        match self.below(4) {
            0 => ObjectStatus::Normal,
            1 => ObjectStatus::DoesNotExist,
            2 => ObjectStatus::EndOfGroup,
            _ => ObjectStatus::EndOfTrack,
        }
    }

    fn object(&mut self, object: u64, with_extensions: bool) -> (ObjectHeader, Bytes) {
        let payload = self.blob(5000);
        let status = if payload.is_empty() {
            self.status()
        } else {
            ObjectStatus::Normal
        };
        let extensions = if with_extensions && status != ObjectStatus::DoesNotExist {
            self.extensions()
        } else {
            Extensions::default()
        };
        let header = ObjectHeader {
            object,
            extensions,
            status,
            payload_len: payload.len() as u64,
        };
        (header, payload)
    }

    /// The header of a subgroup stream.
    pub fn subgroup_header(&mut self) -> SubgroupHeader {
        SubgroupHeader {
            track_alias: TrackAlias(self.varint()),
            group: self.varint(),
            subgroup: match self.below(3) {
                0 => SubgroupId::Zero,
                1 => SubgroupId::FirstObject,
                _ => SubgroupId::Explicit(self.varint()),
            },
            publisher_priority: self.byte(),
            extensions: self.flag(),
            end_of_group: self.flag(),
        }
    }

    /// A whole data stream.
    pub fn stream(&mut self) -> Stream {
        if self.flag() {
            let request_id = self.request_id();
            let objects = self.list(8, |source| {
                let (group, subgroup) = (source.varint(), source.varint());
                let publisher_priority = source.byte();
                let id = source.varint();
                let (object, payload) = source.object(id, true);
                let header = FetchObjectHeader {
                    group,
                    subgroup,
                    publisher_priority,
                    object,
                };
                (header, payload)
            });
            return Stream::Fetch(FetchHeader { request_id }, objects);
        }
        let header = self.subgroup_header();
        let mut next = Some(0_u64);
        let objects = self.list(8, |source| {
            let id = next?.checked_add(source.varint())?;
            next = id.checked_add(1);
            (id <= MAX_VARINT).then(|| source.object(id, header.extensions))
        });
        Stream::Subgroup(header, objects.into_iter().flatten().collect())
    }

    /// A datagram.
    pub fn datagram(&mut self) -> ObjectDatagram {
        let is_status = self.flag();
        let object_id_absent = !is_status && self.flag();
        let object = if object_id_absent { 0 } else { self.varint() };
        let body = if is_status {
            DatagramBody::Status(self.status())
        } else {
            DatagramBody::Payload(self.blob(1500))
        };
        let extensions = if body == DatagramBody::Status(ObjectStatus::DoesNotExist) {
            Extensions::default()
        } else {
            self.extensions()
        };
        ObjectDatagram {
            track_alias: TrackAlias(self.varint()),
            group: self.varint(),
            object,
            object_id_absent,
            publisher_priority: self.byte(),
            end_of_group: !is_status && self.flag(),
            extensions,
            body,
        }
    }
}
