//! A peer that keeps to draft 14 in everything it says.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{
    rules::{By, Request, Rules, What},
    setting::{filter, location, namespace, track},
};
use crate::model::{
    AuthToken, ClientSetup, ControlDecoder, ControlMessage as M, Fetch, FetchKind, Goaway,
    GroupOrder, KeyValuePair, Location, MAX_VARINT, MaxRequestId, Parameter, Parameters, Publish,
    PublishDone, PublishDoneCode, PublishErrorCode, PublishNamespace, PublishNamespaceCancel,
    PublishNamespaceErrorCode, PublishOk, ReasonPhrase, RequestError, RequestId, RequestsBlocked,
    ServerSetup, SetupParameter, SetupParameters, Subscribe, SubscribeErrorCode,
    SubscribeNamespace, SubscribeOk, SubscribeUpdate, TrackAlias, UNKNOWN_STREAM_COUNT, VERSION,
    encode_control,
};
use crate::session::StreamKey;

/// Operations of [`Peer::operate`].
pub(super) const OPERATIONS: u8 = 23;

/// How much of a stream has come to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Nothing,
    Begun,
    Header,
}

/// A data stream that is open.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) alias: TrackAlias,
    pub(super) arrived: Arrived,
    id: RequestId,
}

pub(super) struct Peer {
    pub(super) rules: Rules,
    decoder: ControlDecoder,
    /// Control bytes on their way to the other side.
    pub(super) control: VecDeque<u8>,
    pub(super) streams: Vec<Stream>,
    /// How many streams it has opened for each subscription.
    opened: BTreeMap<RequestId, u64>,
    next_stream: u64,
    server: bool,
}

impl Peer {
    pub(super) fn new(server: bool) -> Self {
        Self {
            rules: Rules::new(u64::from(server)),
            decoder: ControlDecoder::default(),
            control: VecDeque::new(),
            streams: Vec::new(),
            opened: BTreeMap::new(),
            next_stream: 0,
            server,
        }
    }

    /// Its SETUP, with a first limit.
    pub(super) fn set_up(&mut self, number: u8) {
        let mut parameters = Vec::new();
        match number % 8 {
            0 => {}
            1 => parameters.push(SetupParameter::MaxRequestId(MAX_VARINT)),
            small => parameters.push(SetupParameter::MaxRequestId(u64::from(small - 2) * 3)),
        }
        if number & 0x80 != 0 {
            parameters.push(SetupParameter::Unknown(KeyValuePair::Varint {
                key: 0x20,
                value: 1,
            }));
            parameters.push(SetupParameter::MaxAuthTokenCacheSize(9));
        }
        let parameters = SetupParameters(parameters);
        self.say(&if self.server {
            M::ServerSetup(ServerSetup {
                version: VERSION,
                parameters,
            })
        } else {
            let versions = vec![1, VERSION];
            M::ClientSetup(ClientSetup {
                versions,
                parameters,
            })
        });
    }

    /// Says a message if draft 14 lets it.
    fn say(&mut self, message: &M) {
        if self.rules.check(message).is_err() {
            return;
        }
        let mut bytes = BytesMut::new();
        let written = encode_control(message, &mut bytes);
        assert_eq!(written, Ok(()), "{message:?}");
        self.rules.note(message, By::Me);
        self.control.extend(bytes);
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
        while let Some(message) = self.decoder.next().expect("draft 14") {
            self.rules.note(&message, By::Peer);
        }
        let rules = &self.rules;
        let open: Vec<_> = rules.begun(By::Me).map(|(id, _)| id).collect();
        self.opened.retain(|id, _| open.contains(id));
    }

    /// Says one thing of its choice.
    pub(super) fn operate(&mut self, operation: u8, [a, b, c]: [u8; 3]) {
        let message = match operation {
            0 | 3 | 9 | 14..=16 => Some(self.request(operation, [a, b, c])),
            1 | 2 | 6 => self.about_subscription(operation, [a, b, c]),
            4 | 5 | 7 | 8 | 10 | 11 => self.answer(operation, [a, b, c]),
            12 => Some(M::PublishNamespaceDone(namespace(a))),
            13 => Some(M::PublishNamespaceCancel(PublishNamespaceCancel {
                namespace: namespace(a),
                code: PublishNamespaceErrorCode(u64::from(b)),
                reason: reason(c),
            })),
            17 => Some(M::UnsubscribeNamespace(namespace(a).as_prefix().clone())),
            18 => {
                let mine = self.rules.unanswered(By::Me);
                choose(mine.filter(|(_, request)| request.what == What::Fetch), a)
                    .map(|(id, _)| M::FetchCancel(id))
            }
            19 => {
                let more = if b == u8::MAX {
                    MAX_VARINT
                } else {
                    u64::from(b)
                };
                let limit = self.rules.given().saturating_add(more).min(MAX_VARINT);
                Some(M::MaxRequestId(MaxRequestId { limit }))
            }
            20 => Some(M::RequestsBlocked(RequestsBlocked {
                limit: self.rules.limit(),
            })),
            21 => Some(M::Goaway(Goaway {
                new_session_uri: if self.server && a & 1 == 1 {
                    "moqt://b:1".to_owned()
                } else {
                    String::new()
                },
            })),
            _ => {
                self.open_stream(a);
                None
            }
        };
        if let Some(message) = message {
            self.say(&message);
        }
    }

    fn request(&self, operation: u8, [a, b, c]: [u8; 3]) -> M {
        let request_id = self.rules.next_id();
        let subscribe = || Subscribe {
            request_id,
            track: track(a),
            subscriber_priority: c,
            group_order: order(c),
            forward: c & 1 == 0,
            filter: filter(b),
            parameters: parameters(a, true),
        };
        match operation {
            0 => M::Subscribe(subscribe()),
            3 => M::Publish(Publish {
                request_id,
                track: track(a),
                track_alias: TrackAlias(u64::from(b % 4)),
                group_order: order(c).unwrap_or_default(),
                largest: (b & 4 == 4).then(|| location(c)),
                forward: b & 8 == 8,
                parameters: parameters(a, true),
            }),
            9 => M::PublishNamespace(PublishNamespace {
                request_id,
                namespace: namespace(a),
                parameters: parameters(b, false),
            }),
            14 => M::Fetch(Fetch {
                request_id,
                subscriber_priority: c,
                group_order: order(c),
                kind: fetch_kind([a, b, c]),
                parameters: parameters(a, false),
            }),
            15 => M::TrackStatus(subscribe()),
            _ => M::SubscribeNamespace(SubscribeNamespace {
                request_id,
                prefix: namespace(a).as_prefix().clone(),
                parameters: parameters(b, false),
            }),
        }
    }

    fn about_subscription(&self, operation: u8, [a, b, c]: [u8; 3]) -> Option<M> {
        let publisher = if operation == 6 { By::Me } else { By::Peer };
        let (id, request) = choose(self.rules.begun(publisher), a)?;
        Some(match operation {
            1 => {
                let asked = request.asked;
                let start = match b & 1 {
                    0 => asked.start,
                    _ => asked.start.max(location(c)),
                };
                let lowest = start.group.saturating_add(u64::from(b >> 6));
                let end = (b & 2 == 2).then_some(lowest);
                let end_group = match (asked.end_group, end) {
                    (Some(asked), Some(end)) => Some(end.min(asked)),
                    (asked, end) => asked.or(end),
                };
                M::SubscribeUpdate(SubscribeUpdate {
                    request_id: self.rules.next_id(),
                    subscription: id,
                    start,
                    // What the message cannot say is as good as none.
                    end_group: end_group.filter(|end| *end < MAX_VARINT),
                    subscriber_priority: c,
                    forward: b & 4 == 4,
                    parameters: parameters(a, true),
                })
            }
            2 => M::Unsubscribe(id),
            _ => {
                // draft-14 §9.12
                if self.streams.iter().any(|stream| stream.id == id) {
                    return None;
                }
                let count = self.opened.get(&id).copied().unwrap_or_default();
                let known = b & 1 == 0;
                M::PublishDone(PublishDone {
                    request_id: id,
                    status: PublishDoneCode(u64::from(c)),
                    stream_count: if known { count } else { UNKNOWN_STREAM_COUNT },
                    reason: reason(c),
                })
            }
        })
    }

    /// Answers one of the requests that this operation is for.
    fn answer(&self, operation: u8, [a, b, c]: [u8; 3]) -> Option<M> {
        let fits = |(_, request): &(RequestId, &Request)| match operation {
            4 | 5 => matches!(request.what, What::Subscribe(_)),
            7 | 8 => matches!(request.what, What::Publish(_)),
            _ => matches!(request.what, What::Namespace(_)),
        };
        let (request_id, _) = choose(self.rules.unanswered(By::Peer).filter(fits), a)?;
        Some(match operation {
            4 => M::SubscribeOk(SubscribeOk {
                request_id,
                track_alias: TrackAlias(u64::from(b % 4)),
                expires_ms: u64::from(b >> 4),
                group_order: order(c).unwrap_or_default(),
                largest: (b & 4 == 4).then(|| location(c)),
                parameters: parameters(a, false),
            }),
            5 => M::SubscribeError(RequestError {
                request_id,
                code: SubscribeErrorCode(u64::from(b)),
                reason: reason(c),
            }),
            7 => M::PublishOk(PublishOk {
                request_id,
                forward: c & 1 == 0,
                subscriber_priority: c,
                group_order: order(c).unwrap_or_default(),
                filter: filter(b),
                parameters: parameters(a, false),
            }),
            8 => M::PublishError(RequestError {
                request_id,
                code: PublishErrorCode(u64::from(b)),
                reason: reason(c),
            }),
            10 => M::PublishNamespaceOk(request_id),
            _ => M::PublishNamespaceError(RequestError {
                request_id,
                code: PublishNamespaceErrorCode(u64::from(b)),
                reason: reason(c),
            }),
        })
    }

    fn open_stream(&mut self, number: u8) {
        let Some((id, request)) = choose(self.rules.begun(By::Me), number) else {
            return;
        };
        let Some(alias) = request.alias else {
            return;
        };
        *self.opened.entry(id).or_default() += 1;
        self.next_stream += 1;
        self.streams.push(Stream {
            key: StreamKey(self.next_stream),
            alias,
            arrived: Arrived::Nothing,
            id,
        });
    }

    /// Answers what it was asked, and accepts what it may.
    pub(super) fn answer_all(&mut self) {
        for number in 0..4 {
            for operation in [4, 7, 10] {
                while self.rules.unanswered(By::Peer).count() > 0 {
                    let before = self.rules.unanswered(By::Peer).count();
                    self.operate(operation, [0, number, number]);
                    if self.rules.unanswered(By::Peer).count() == before {
                        break;
                    }
                }
            }
        }
        for operation in [5, 8, 11] {
            for _ in 0..self.rules.unanswered(By::Peer).count() {
                self.operate(operation, [0; 3]);
            }
        }
        assert_eq!(self.rules.unanswered(By::Peer).count(), 0);
    }

    /// Ends everything; its streams have ended.
    pub(super) fn leave(&mut self) {
        for operation in [2, 6] {
            for _ in 0..self.rules.requests().count() {
                self.operate(operation, [0; 3]);
            }
        }
        for name in 0..2 {
            self.operate(12, [name, 0, 0]);
            self.operate(13, [name, 0, 0]);
        }
    }
}

/// One of `all`; newer ones have lower numbers.
fn choose<'a>(
    all: impl Iterator<Item = (RequestId, &'a Request)>,
    number: u8,
) -> Option<(RequestId, &'a Request)> {
    let mut all: Vec<_> = all.collect();
    let back = usize::from(number) % all.len().max(1);
    (!all.is_empty()).then(|| all.swap_remove(all.len() - 1 - back))
}

fn order(number: u8) -> Option<GroupOrder> {
    match number % 3 {
        0 => None,
        1 => Some(GroupOrder::Ascending),
        _ => Some(GroupOrder::Descending),
    }
}

fn reason(number: u8) -> ReasonPhrase {
    ReasonPhrase::new(if number & 1 == 1 { "why" } else { "" })
}

/// Known ones, if the message has them, and unknown ones.
fn parameters(number: u8, known: bool) -> Parameters {
    let unknown = match number % 4 {
        0 | 1 => None,
        2 => Some(KeyValuePair::Varint {
            key: 0x20,
            value: MAX_VARINT,
        }),
        _ => Some(KeyValuePair::Bytes {
            key: 0x21,
            value: Bytes::from_static(&[7; 90]),
        }),
    };
    let mut parameters: Vec<_> = unknown.map(Parameter::Unknown).into_iter().collect();
    if known && number & 0x10 != 0 {
        parameters.push(Parameter::DeliveryTimeout(u64::from(number) << 4));
    }
    if known && number & 0x20 != 0 {
        parameters.push(Parameter::AuthorizationToken(AuthToken::UseValue {
            token_type: 0,
            value: Bytes::from_static(&[7; 30]),
        }));
    }
    Parameters(parameters)
}

fn fetch_kind([a, b, c]: [u8; 3]) -> FetchKind {
    let (joining, joining_start) = (RequestId(u64::from(b)), u64::from(c));
    match b % 3 {
        0 => FetchKind::Standalone {
            track: track(a),
            start: Location::default(),
            end: location(c),
        },
        1 => FetchKind::RelativeJoining {
            joining,
            joining_start,
        },
        _ => FetchKind::AbsoluteJoining {
            joining,
            joining_start,
        },
    }
}
