//! Seeds, damage, and values of the other codec.

use moqtail::fuzzing::arbitrary::Source;
use moqtap_codec::auth_token::{AuthorizationToken, TokenAliasType};
use moqtap_codec::draft14::message::{self as theirs, ControlMessage as Theirs, FetchPayload};
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::types::{
    ContentExists, FilterType, Forward, GroupOrder, Location, TrackNamespace,
};
use moqtap_codec::varint::VarInt;

/// A sequence of numbers that is the same in every run.
#[derive(Debug)]
pub struct Seeds(u64);

impl Seeds {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next_number() >> 1) as usize % end
    }

    /// Bytes to make a value of.
    pub fn bytes(&mut self) -> Vec<u8> {
        let len = self.below(300);
        (0..len).map(|_| self.next_number() as u8).collect()
    }

    /// `bytes` with one to three bytes changed, removed or put in.
    pub fn damaged(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.insert(at, self.next_number() as u8),
                1 if at < bytes.len() => {
                    bytes.remove(at);
                }
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                // Small numbers are flags, counts and types.
                3 | 4 if at < bytes.len() => bytes[at] = self.below(9) as u8,
                _ if at < bytes.len() => bytes[at] = self.next_number() as u8,
                _ => bytes.truncate(at),
            }
        }
        bytes
    }

    /// A control frame with a damaged payload and a length that fits it.
    pub fn damaged_frame(&mut self, frame: &[u8]) -> Vec<u8> {
        let (head, payload) = frame.split_at(3);
        let payload = self.damaged(payload);
        let length = u16::try_from(payload.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        [&[head[0]], &length[..], &payload].concat()
    }
}

/// Makes values of the other codec, without using ours.
#[derive(Debug)]
pub struct TheirSource<'a>(pub Source<'a>);

impl TheirSource<'_> {
    fn number(&mut self) -> VarInt {
        VarInt::from_u64(self.0.varint()).expect("the source stays below 2^62")
    }

    fn flag(&mut self) -> bool {
        self.0.byte() & 1 == 1
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        self.0.blob(max).to_vec()
    }

    fn reason(&mut self) -> Vec<u8> {
        let mut text = self.bytes(1024);
        text.iter_mut().for_each(|byte| *byte &= 0x7f);
        text
    }

    fn namespace(&mut self) -> TrackNamespace {
        let count = 1 + self.0.below(32);
        TrackNamespace((0..count).map(|_| self.bytes(60)).collect())
    }

    fn location(&mut self) -> Location {
        Location {
            group: self.number(),
            object: self.number(),
        }
    }

    fn maybe_location(&mut self) -> (ContentExists, Option<Location>) {
        if self.flag() {
            (ContentExists::HasLargestLocation, Some(self.location()))
        } else {
            (ContentExists::NoLargestLocation, None)
        }
    }

    fn order(&mut self) -> GroupOrder {
        if self.flag() {
            GroupOrder::Descending
        } else {
            GroupOrder::Ascending
        }
    }

    fn any_order(&mut self) -> GroupOrder {
        if self.flag() {
            GroupOrder::Publisher
        } else {
            self.order()
        }
    }

    fn forward(&mut self) -> Forward {
        if self.flag() {
            Forward::Forward
        } else {
            Forward::DontForward
        }
    }

    /// A filter whose range does not end before it starts.
    fn filter(&mut self) -> (FilterType, Option<Location>, Option<VarInt>) {
        match self.0.below(4) {
            0 => (FilterType::NextGroupStart, None, None),
            1 => (FilterType::LargestObject, None, None),
            2 => (FilterType::AbsoluteStart, Some(self.location()), None),
            _ => {
                let start = self.location();
                let end = self.number().max(start.group);
                (FilterType::AbsoluteRange, Some(start), Some(end))
            }
        }
    }

    /// Parameters without repetition but of tokens.
    fn parameters(&mut self) -> Vec<KeyValuePair> {
        let mut parameters = Vec::<KeyValuePair>::new();
        for _ in 0..self.0.below(6) {
            let key = if self.flag() {
                VarInt::from_usize(self.0.below(9))
            } else {
                self.number()
            };
            let value = match key.into_inner() {
                3 => KvpValue::Bytes(self.token()),
                even if even.is_multiple_of(2) => KvpValue::Varint(self.number()),
                _ => KvpValue::Bytes(self.bytes(1000)),
            };
            let known = parameters.iter().any(|parameter| parameter.key == key);
            if key.into_inner() == 3 || !known {
                parameters.push(KeyValuePair { key, value });
            }
        }
        parameters
    }

    fn token(&mut self) -> Vec<u8> {
        let (alias_type, alias, token_type) = match self.0.below(4) {
            0 => (TokenAliasType::Delete, true, false),
            1 => (TokenAliasType::Register, true, true),
            2 => (TokenAliasType::UseAlias, true, false),
            _ => (TokenAliasType::UseValue, false, true),
        };
        let token = AuthorizationToken {
            alias_type,
            alias: alias.then(|| self.0.varint()),
            token_type: token_type.then(|| self.0.varint()),
            value: self.bytes(200),
        };
        let mut out = Vec::new();
        token.encode(&mut out).expect("the source stays below 2^62");
        out
    }

    /// A control message of the kind with number `kind`, below [`THEIR_KINDS`].
    pub fn control_message(&mut self, kind: usize) -> Theirs {
        match kind {
            0..=12 => self.session_or_answer(kind),
            13..=21 => self.request(kind),
            _ => self.ok_or_publish(kind),
        }
    }

    fn session_or_answer(&mut self, kind: usize) -> Theirs {
        let request_id = self.number();
        match kind {
            0 => Theirs::ClientSetup(theirs::ClientSetup {
                supported_versions: (0..self.0.below(5)).map(|_| self.number()).collect(),
                parameters: self.parameters(),
            }),
            1 => Theirs::ServerSetup(theirs::ServerSetup {
                selected_version: self.number(),
                parameters: self.parameters(),
            }),
            2 => Theirs::GoAway(theirs::GoAway {
                new_session_uri: self.reason(),
            }),
            3 => Theirs::MaxRequestId(theirs::MaxRequestId { request_id }),
            4 => Theirs::RequestsBlocked(theirs::RequestsBlocked {
                maximum_request_id: request_id,
            }),
            5 => Theirs::Unsubscribe(theirs::Unsubscribe { request_id }),
            6 => Theirs::FetchCancel(theirs::FetchCancel { request_id }),
            7 => Theirs::PublishNamespaceOk(theirs::PublishNamespaceOk { request_id }),
            8 => Theirs::SubscribeNamespaceOk(theirs::SubscribeNamespaceOk { request_id }),
            9 => Theirs::PublishNamespaceDone(theirs::PublishNamespaceDone {
                track_namespace: self.namespace(),
            }),
            10 => Theirs::UnsubscribeNamespace(theirs::UnsubscribeNamespace {
                track_namespace_prefix: self.namespace(),
            }),
            11 => Theirs::PublishNamespaceCancel(theirs::PublishNamespaceCancel {
                track_namespace: self.namespace(),
                error_code: self.number(),
                reason_phrase: self.reason(),
            }),
            _ => Theirs::PublishDone(theirs::PublishDone {
                request_id,
                status_code: self.number(),
                stream_count: self.number(),
                reason_phrase: self.reason(),
            }),
        }
    }

    fn request(&mut self, kind: usize) -> Theirs {
        let request_id = self.number();
        let (filter_type, start_location, end_group) = self.filter();
        match kind {
            13 => Theirs::Subscribe(theirs::Subscribe {
                request_id,
                track_namespace: self.namespace(),
                track_name: self.bytes(100),
                subscriber_priority: self.0.byte(),
                group_order: self.any_order(),
                forward: self.forward(),
                filter_type,
                start_location,
                end_group,
                parameters: self.parameters(),
            }),
            14 => Theirs::TrackStatus(theirs::TrackStatus {
                request_id,
                track_namespace: self.namespace(),
                track_name: self.bytes(100),
                subscriber_priority: self.0.byte(),
                group_order: self.any_order(),
                forward: self.forward(),
                filter_type,
                start_location,
                end_group,
                parameters: self.parameters(),
            }),
            15 => Theirs::PublishOk(theirs::PublishOk {
                request_id,
                forward: self.forward(),
                subscriber_priority: self.0.byte(),
                group_order: self.order(),
                filter_type,
                start_location,
                end_group,
                parameters: self.parameters(),
            }),
            16 => {
                let start_location = self.location();
                let end_group = if self.flag() {
                    VarInt::from_usize(0)
                } else {
                    self.number().max(start_location.group)
                };
                Theirs::SubscribeUpdate(theirs::SubscribeUpdate {
                    request_id,
                    subscription_request_id: self.number(),
                    start_location,
                    end_group,
                    subscriber_priority: self.0.byte(),
                    forward: self.forward(),
                    parameters: self.parameters(),
                })
            }
            17 | 18 => {
                let (fetch_type, fetch_payload) = self.fetch_payload();
                Theirs::Fetch(theirs::Fetch {
                    request_id,
                    subscriber_priority: self.0.byte(),
                    group_order: self.any_order(),
                    fetch_type,
                    fetch_payload,
                    parameters: self.parameters(),
                })
            }
            19 => Theirs::PublishNamespace(theirs::PublishNamespace {
                request_id,
                track_namespace: self.namespace(),
                parameters: self.parameters(),
            }),
            20 => Theirs::SubscribeNamespace(theirs::SubscribeNamespace {
                request_id,
                track_namespace: self.namespace(),
                parameters: self.parameters(),
            }),
            _ => {
                let (content_exists, largest_location) = self.maybe_location();
                Theirs::Publish(theirs::Publish {
                    request_id,
                    track_namespace: self.namespace(),
                    track_name: self.bytes(100),
                    track_alias: self.number(),
                    group_order: self.order(),
                    content_exists,
                    largest_location,
                    forward: self.forward(),
                    parameters: self.parameters(),
                })
            }
        }
    }

    fn fetch_payload(&mut self) -> (theirs::FetchType, FetchPayload) {
        let joining = |source: &mut Self| FetchPayload::Joining {
            joining_request_id: source.number(),
            joining_start: source.number(),
        };
        match self.0.below(3) {
            0 => {
                let start_group = self.number();
                let payload = FetchPayload::Standalone {
                    track_namespace: self.namespace(),
                    track_name: self.bytes(100),
                    start_group,
                    start_object: self.number(),
                    end_group: self.number().max(start_group),
                    end_object: VarInt::from_usize(0),
                };
                (theirs::FetchType::Standalone, payload)
            }
            1 => (theirs::FetchType::RelativeJoining, joining(self)),
            _ => (theirs::FetchType::AbsoluteJoining, joining(self)),
        }
    }

    fn ok_or_publish(&mut self, kind: usize) -> Theirs {
        let request_id = self.number();
        let error_code = self.number();
        match kind {
            22 => {
                let (content_exists, largest_location) = self.maybe_location();
                Theirs::SubscribeOk(theirs::SubscribeOk {
                    request_id,
                    track_alias: self.number(),
                    expires: self.number(),
                    group_order: self.order(),
                    content_exists,
                    largest_location,
                    parameters: self.parameters(),
                })
            }
            23 => {
                let (content_exists, largest_location) = self.maybe_location();
                Theirs::TrackStatusOk(theirs::TrackStatusOk {
                    request_id,
                    track_alias: self.number(),
                    expires: self.number(),
                    group_order: self.order(),
                    content_exists,
                    largest_location,
                    parameters: self.parameters(),
                })
            }
            24 => Theirs::FetchOk(theirs::FetchOk {
                request_id,
                group_order: self.order(),
                end_of_track: self.0.byte() & 1,
                end_location: self.location(),
                parameters: self.parameters(),
            }),
            25 => Theirs::SubscribeError(theirs::SubscribeError {
                request_id,
                error_code,
                reason_phrase: self.reason(),
            }),
            26 => Theirs::PublishError(theirs::PublishError {
                request_id,
                error_code,
                reason_phrase: self.reason(),
            }),
            27 => Theirs::FetchError(theirs::FetchError {
                request_id,
                error_code,
                reason_phrase: self.reason(),
            }),
            28 => Theirs::TrackStatusError(theirs::TrackStatusError {
                request_id,
                error_code,
                reason_phrase: self.reason(),
            }),
            29 => Theirs::PublishNamespaceError(theirs::PublishNamespaceError {
                request_id,
                error_code,
                reason_phrase: self.reason(),
            }),
            _ => Theirs::SubscribeNamespaceError(theirs::SubscribeNamespaceError {
                request_id,
                error_code,
                reason_phrase: self.reason(),
            }),
        }
    }
}

/// Kinds of messages that [`TheirSource::control_message`] makes, one of them twice.
pub const THEIR_KINDS: usize = 31;
