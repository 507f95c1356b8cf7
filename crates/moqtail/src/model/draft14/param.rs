//! Key-Value-Pairs, setup parameters, version-specific parameters and tokens (draft-14 §1.4.2, §9.2, §9.3.2).

use super::coding::{Reader, Stop, Wire, Writer, invalid, owned};
use super::message_type::MessageType;
use crate::model::{
    AuthToken, DecodeErrorKind, EncodeError, KeyValuePair, MAX_VALUE_LEN, Parameter, Parameters,
    SetupParameter, SetupParameters,
};

/// Setup parameters (draft-14 §9.3.2).
mod setup_type {
    pub(super) const PATH: u64 = 0x01;
    pub(super) const MAX_REQUEST_ID: u64 = 0x02;
    pub(super) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(super) const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
    pub(super) const AUTHORITY: u64 = 0x05;
    /// The draft prints 0x05, which is AUTHORITY; 0x07 is what it meant.
    pub(super) const MOQT_IMPLEMENTATION: u64 = 0x07;
}

/// Version-specific parameters (draft-14 §9.2.1).
mod version_type {
    pub(super) const DELIVERY_TIMEOUT: u64 = 0x02;
    pub(super) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(super) const MAX_CACHE_DURATION: u64 = 0x04;
}

/// Whether `message` defines the version-specific parameter `key` (draft-14 §9.2.1.1 to §9.2.1.3).
fn defined_in(key: u64, message: Option<MessageType>) -> bool {
    use MessageType::*;
    match key {
        version_type::DELIVERY_TIMEOUT => matches!(
            message,
            Some(
                TrackStatus
                    | TrackStatusOk
                    | Publish
                    | PublishOk
                    | Subscribe
                    | SubscribeOk
                    | SubscribeUpdate
            )
        ),
        version_type::AUTHORIZATION_TOKEN => matches!(
            message,
            Some(
                Publish
                    | Subscribe
                    | SubscribeUpdate
                    | SubscribeNamespace
                    | PublishNamespace
                    | TrackStatus
                    | Fetch
            )
        ),
        version_type::MAX_CACHE_DURATION => {
            matches!(
                message,
                Some(Publish | SubscribeOk | FetchOk | TrackStatusOk)
            )
        }
        _ => false,
    }
}

/// Value of a pair whose bytes are still those of the message.
pub(super) enum PairValue<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Type (i), then Value (i) if it is even, else Length (i) and Value.
#[inline(always)]
pub(super) fn read_pair<'a>(
    r: &mut Reader<'a>,
    field: &'static str,
) -> Result<(u64, PairValue<'a>), Stop> {
    let key = r.varint(field)?;
    let value = if key.is_multiple_of(2) {
        PairValue::Varint(r.varint(field)?)
    } else {
        // draft-14 §1.4.2
        PairValue::Bytes(r.sized(field, MAX_VALUE_LEN)?)
    };
    Ok((key, value))
}

impl PairValue<'_> {
    fn to_pair(&self, key: u64) -> KeyValuePair {
        match self {
            Self::Varint(value) => KeyValuePair::Varint { key, value: *value },
            Self::Bytes(value) => KeyValuePair::Bytes {
                key,
                value: owned(value),
            },
        }
    }
}

/// Writes a pair whose kind must fit the parity of its type.
pub(super) fn write_pair(
    w: &mut Writer<'_>,
    field: &'static str,
    pair: &KeyValuePair,
) -> Result<(), EncodeError> {
    w.varint(field, pair.key())?;
    match pair {
        KeyValuePair::Varint { key, value } if key.is_multiple_of(2) => w.varint(field, *value),
        KeyValuePair::Bytes { key, value } if !key.is_multiple_of(2) => {
            w.sized(field, value, MAX_VALUE_LEN)
        }
        _ => Err(EncodeError::NotAllowed(
            "a pair whose value does not fit the parity of its type",
        )),
    }
}

/// A parameter of one number space: which types are known there and what they look like.
trait Param: Sized {
    /// Type number.
    fn key(&self) -> u64;
    /// Whether `message` gives the type `key` a meaning.
    fn known(key: u64, message: Option<MessageType>) -> bool;
    /// Whether a known type may stand more than once.
    fn repeats(key: u64) -> bool;
    fn from_pair(key: u64, value: &PairValue<'_>, message: Option<MessageType>) -> Option<Self>;
    fn to_pair(&self) -> Result<KeyValuePair, EncodeError>;
    fn is_unknown(&self) -> bool;
}

const FIELD: &str = "Parameters";

/// Number of Parameters (i), then the pairs.
fn read_all<P: Param>(r: &mut Reader<'_>) -> Result<Vec<P>, Stop> {
    let count = r.varint("Number of Parameters")?;
    let mut params = Vec::<P>::new();
    for _ in 0..count {
        let offset = r.offset();
        let (key, value) = read_pair(r, FIELD)?;
        let message = r.message;
        // draft-14 §9.2: duplicates of unknown types are allowed
        if P::known(key, message)
            && !P::repeats(key)
            && params.iter().any(|earlier| earlier.key() == key)
        {
            return Err(invalid(
                FIELD,
                offset,
                DecodeErrorKind::DuplicateParameter(key),
            ));
        }
        params.push(
            P::from_pair(key, &value, message)
                .ok_or_else(|| invalid(FIELD, offset, DecodeErrorKind::KeyValueFormat(key)))?,
        );
    }
    Ok(params)
}

fn write_all<P: Param>(params: &[P], w: &mut Writer<'_>) -> Result<(), EncodeError> {
    w.varint("Number of Parameters", params.len() as u64)?;
    for (i, param) in params.iter().enumerate() {
        let key = param.key();
        let known = P::known(key, w.message);
        // draft-14 §9.2.1: a parameter is sent only where it is defined
        if known == param.is_unknown() {
            return Err(EncodeError::NotAllowed(
                "a parameter in a message that gives its type another meaning",
            ));
        }
        // draft-14 §9.2
        if known && !P::repeats(key) && params.iter().take(i).any(|earlier| earlier.key() == key) {
            return Err(EncodeError::NotAllowed("a repeated parameter"));
        }
        write_pair(w, FIELD, &param.to_pair()?)?;
    }
    Ok(())
}

impl Param for SetupParameter {
    fn key(&self) -> u64 {
        match self {
            Self::Path(_) => setup_type::PATH,
            Self::MaxRequestId(_) => setup_type::MAX_REQUEST_ID,
            Self::AuthorizationToken(_) => setup_type::AUTHORIZATION_TOKEN,
            Self::MaxAuthTokenCacheSize(_) => setup_type::MAX_AUTH_TOKEN_CACHE_SIZE,
            Self::Authority(_) => setup_type::AUTHORITY,
            Self::Implementation(_) => setup_type::MOQT_IMPLEMENTATION,
            Self::Unknown(pair) => pair.key(),
        }
    }

    fn known(key: u64, _message: Option<MessageType>) -> bool {
        matches!(
            key,
            setup_type::PATH
                | setup_type::MAX_REQUEST_ID
                | setup_type::AUTHORIZATION_TOKEN
                | setup_type::MAX_AUTH_TOKEN_CACHE_SIZE
                | setup_type::AUTHORITY
                | setup_type::MOQT_IMPLEMENTATION
        )
    }

    fn repeats(key: u64) -> bool {
        key == setup_type::AUTHORIZATION_TOKEN
    }

    fn from_pair(key: u64, value: &PairValue<'_>, _message: Option<MessageType>) -> Option<Self> {
        Some(match (key, value) {
            (setup_type::PATH, PairValue::Bytes(bytes)) => Self::Path(owned(bytes)),
            (setup_type::MAX_REQUEST_ID, PairValue::Varint(limit)) => Self::MaxRequestId(*limit),
            (setup_type::AUTHORIZATION_TOKEN, PairValue::Bytes(bytes)) => {
                Self::AuthorizationToken(read_token(bytes)?)
            }
            (setup_type::MAX_AUTH_TOKEN_CACHE_SIZE, PairValue::Varint(size)) => {
                Self::MaxAuthTokenCacheSize(*size)
            }
            (setup_type::AUTHORITY, PairValue::Bytes(bytes)) => Self::Authority(owned(bytes)),
            (setup_type::MOQT_IMPLEMENTATION, PairValue::Bytes(bytes)) => {
                Self::Implementation(owned(bytes))
            }
            _ => Self::Unknown(value.to_pair(key)),
        })
    }

    fn to_pair(&self) -> Result<KeyValuePair, EncodeError> {
        let key = Param::key(self);
        Ok(match self {
            Self::Path(value) | Self::Authority(value) | Self::Implementation(value) => {
                KeyValuePair::Bytes {
                    key,
                    value: value.clone(),
                }
            }
            Self::MaxRequestId(value) | Self::MaxAuthTokenCacheSize(value) => {
                KeyValuePair::Varint { key, value: *value }
            }
            Self::AuthorizationToken(token) => token_pair(key, token)?,
            Self::Unknown(pair) => pair.clone(),
        })
    }

    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl Param for Parameter {
    fn key(&self) -> u64 {
        match self {
            Self::DeliveryTimeout(_) => version_type::DELIVERY_TIMEOUT,
            Self::AuthorizationToken(_) => version_type::AUTHORIZATION_TOKEN,
            Self::MaxCacheDuration(_) => version_type::MAX_CACHE_DURATION,
            Self::Unknown(pair) => pair.key(),
        }
    }

    fn known(key: u64, message: Option<MessageType>) -> bool {
        defined_in(key, message)
    }

    fn repeats(key: u64) -> bool {
        key == version_type::AUTHORIZATION_TOKEN
    }

    fn from_pair(key: u64, value: &PairValue<'_>, message: Option<MessageType>) -> Option<Self> {
        // draft-14 §9.2.1: ignored where it is not defined
        if !defined_in(key, message) {
            return Some(Self::Unknown(value.to_pair(key)));
        }
        Some(match (key, value) {
            (version_type::DELIVERY_TIMEOUT, PairValue::Varint(ms)) => Self::DeliveryTimeout(*ms),
            (version_type::AUTHORIZATION_TOKEN, PairValue::Bytes(bytes)) => {
                Self::AuthorizationToken(read_token(bytes)?)
            }
            (version_type::MAX_CACHE_DURATION, PairValue::Varint(ms)) => {
                Self::MaxCacheDuration(*ms)
            }
            _ => Self::Unknown(value.to_pair(key)),
        })
    }

    fn to_pair(&self) -> Result<KeyValuePair, EncodeError> {
        let key = Param::key(self);
        Ok(match self {
            Self::DeliveryTimeout(value) | Self::MaxCacheDuration(value) => {
                KeyValuePair::Varint { key, value: *value }
            }
            Self::AuthorizationToken(token) => token_pair(key, token)?,
            Self::Unknown(pair) => pair.clone(),
        })
    }

    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl Wire for SetupParameters {
    fn read(r: &mut Reader<'_>, _field: &'static str) -> Result<Self, Stop> {
        read_all(r).map(Self)
    }

    fn write(&self, w: &mut Writer<'_>, _field: &'static str) -> Result<(), EncodeError> {
        write_all(&self.0, w)
    }
}

impl Wire for Parameters {
    fn read(r: &mut Reader<'_>, _field: &'static str) -> Result<Self, Stop> {
        read_all(r).map(Self)
    }

    fn write(&self, w: &mut Writer<'_>, _field: &'static str) -> Result<(), EncodeError> {
        write_all(&self.0, w)
    }
}

/// Token structure (draft-14 §9.2.1.1); `None` if it cannot be decoded. The token value runs to the end.
fn read_token(bytes: &[u8]) -> Option<AuthToken> {
    const FIELD: &str = "Token";
    let r = &mut Reader::new(bytes, 0);
    let token = match r.varint(FIELD).ok()? {
        0x0 => AuthToken::Delete {
            alias: r.varint(FIELD).ok()?,
        },
        0x1 => AuthToken::Register {
            alias: r.varint(FIELD).ok()?,
            token_type: r.varint(FIELD).ok()?,
            value: owned(r.take_rest()),
        },
        0x2 => AuthToken::UseAlias {
            alias: r.varint(FIELD).ok()?,
        },
        0x3 => AuthToken::UseValue {
            token_type: r.varint(FIELD).ok()?,
            value: owned(r.take_rest()),
        },
        _ => return None,
    };
    (r.rest().is_empty()).then_some(token)
}

fn token_pair(key: u64, token: &AuthToken) -> Result<KeyValuePair, EncodeError> {
    let mut out = bytes::BytesMut::new();
    let w = &mut Writer::new(&mut out);
    match token {
        AuthToken::Delete { alias } => {
            w.varint("Alias Type", 0x0)?;
            w.varint("Token Alias", *alias)?;
        }
        AuthToken::Register {
            alias,
            token_type,
            value,
        } => {
            w.varint("Alias Type", 0x1)?;
            w.varint("Token Alias", *alias)?;
            w.varint("Token Type", *token_type)?;
            w.bytes(value);
        }
        AuthToken::UseAlias { alias } => {
            w.varint("Alias Type", 0x2)?;
            w.varint("Token Alias", *alias)?;
        }
        AuthToken::UseValue { token_type, value } => {
            w.varint("Alias Type", 0x3)?;
            w.varint("Token Type", *token_type)?;
            w.bytes(value);
        }
    }
    Ok(KeyValuePair::Bytes {
        key,
        value: out.freeze(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::model::draft14::{ControlDecoder, encode_control};
    use crate::model::{
        ControlMessage, FetchOk, GroupOrder, Location, RequestId, ServerSetup, SetupParameter,
    };

    fn fetch_ok(parameters: Vec<Parameter>) -> ControlMessage {
        ControlMessage::FetchOk(FetchOk {
            request_id: RequestId(0),
            group_order: GroupOrder::Ascending,
            end_of_track: false,
            end: Location::new(0, 1),
            parameters: Parameters(parameters),
        })
    }

    fn setup(parameters: Vec<SetupParameter>) -> ControlMessage {
        ControlMessage::ServerSetup(ServerSetup {
            version: 1,
            parameters: SetupParameters(parameters),
        })
    }

    fn unknown(key: u64, value: u64) -> Parameter {
        Parameter::Unknown(KeyValuePair::Varint { key, value })
    }

    fn refused(message: &ControlMessage) -> bool {
        let mut out = BytesMut::new();
        let result = encode_control(message, &mut out);
        assert!(result.is_ok() || out.is_empty());
        result.is_err()
    }

    /// S9.2-01: a known parameter stands once, a token may repeat, an unknown one is the application's.
    #[test]
    fn parameters_are_not_repeated() {
        let cache = Parameter::MaxCacheDuration(1);
        assert!(refused(&fetch_ok(vec![cache.clone(), cache])));
        assert!(!refused(&fetch_ok(vec![
            unknown(0x7e, 1),
            unknown(0x7e, 1)
        ])));
        let limit = SetupParameter::MaxRequestId(1);
        assert!(refused(&setup(vec![limit.clone(), limit])));
        let token = SetupParameter::AuthorizationToken(AuthToken::UseAlias { alias: 1 });
        assert!(!refused(&setup(vec![token.clone(), token])));
    }

    /// S9.2.1-01: FETCH_OK has no DELIVERY TIMEOUT; what is known is not written as unknown.
    #[test]
    fn parameters_are_written_where_they_are_defined() {
        assert!(refused(&fetch_ok(vec![Parameter::DeliveryTimeout(1)])));
        assert!(!refused(&fetch_ok(vec![unknown(0x02, 1)])));
        assert!(refused(&fetch_ok(vec![unknown(0x04, 1)])));
        assert!(refused(&fetch_ok(vec![unknown(0x7f, 1)])));
        let path = KeyValuePair::Bytes {
            key: setup_type::PATH,
            value: Bytes::new(),
        };
        assert!(refused(&setup(vec![SetupParameter::Unknown(path)])));
    }

    /// S9.2-05: only the length of the message limits their number.
    #[test]
    fn many_unknown_parameters_are_accepted() {
        let message = fetch_ok((0..10_000).map(|value| unknown(0x7e, value)).collect());
        let mut out = BytesMut::new();
        encode_control(&message, &mut out).unwrap();
        let mut decoder = ControlDecoder::default();
        decoder.push(&out);
        assert_eq!(decoder.next(), Ok(Some(message)));
    }
}
