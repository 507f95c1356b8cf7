//! Extension headers of objects (draft-14 §10.2.1.2, §11).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::coding::{Reader, Stop, Writer, invalid, put_varint};
use super::param::{PairValue, read_pair, write_pair};
use crate::model::{
    DecodeError, DecodeErrorKind, EncodeError, Extensions, Gaps, KeyValuePair, Location,
    MalformedExtensions,
};

const PRIOR_GROUP_ID_GAP: u64 = 0x3C;
const PRIOR_OBJECT_ID_GAP: u64 = 0x3E;
const IMMUTABLE_EXTENSIONS: u64 = 0x0B;

const FIELD: &str = "Extension headers";

impl Extensions {
    /// The pairs in this order.
    ///
    /// # Errors
    /// A pair whose value does not fit the parity of its type, or a number or value over its limit.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = &'a KeyValuePair>,
    ) -> Result<Self, EncodeError> {
        let mut out = BytesMut::new();
        let mut w = Writer::new(&mut out);
        for pair in pairs {
            write_pair(&mut w, FIELD, pair)?;
        }
        Ok(Self(out.freeze()))
    }

    /// The pairs in `bytes`, kept as they are.
    ///
    /// # Errors
    /// `bytes` are not a sequence of Key-Value-Pairs; offsets count from their start.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        check(&bytes, 0).map_err(Stop::at_end)?;
        Ok(Self(bytes))
    }

    /// The pairs in order, not those inside Immutable Extensions. Values share the bytes.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs {
            bytes: &self.0,
            at: 0,
        }
    }

    /// The pairs of each Immutable Extensions header (0xB, draft-14 §11.2); an object has at most one in practice.
    pub fn immutable(&self) -> impl Iterator<Item = Result<Self, MalformedExtensions>> {
        self.pairs().filter_map(|pair| match pair {
            KeyValuePair::Bytes {
                key: IMMUTABLE_EXTENSIONS,
                value,
            } => Some(check_immutable(&value).map(|()| Self(value))),
            _ => None,
        })
    }

    /// The value of Prior Group ID Gap (0x3C, draft-14 §11.1), wherever it stands: so many groups before this object's
    /// group do not exist.
    ///
    /// # Errors
    /// It stands more than once, or Immutable Extensions are broken.
    pub fn prior_group_gap(&self) -> Result<Option<u64>, MalformedExtensions> {
        read_gaps(&self.0).map(|gaps| gaps.groups)
    }

    /// The value of Prior Object ID Gap (0x3E, draft-14 §11.3), wherever it stands: so many objects of the group before
    /// this one do not exist.
    ///
    /// # Errors
    /// It stands more than once, or Immutable Extensions are broken.
    pub fn prior_object_gap(&self) -> Result<Option<u64>, MalformedExtensions> {
        read_gaps(&self.0).map(|gaps| gaps.objects)
    }

    /// Both gaps of an object at `location`.
    ///
    /// # Errors
    /// All that makes a track malformed and shows in one object (draft-14 §11.1 to §11.3).
    pub fn gaps(&self, location: Location) -> Result<Gaps, MalformedExtensions> {
        gaps_of(&self.0, location)
    }
}

/// Both gaps in the pairs of an object at `location`.
pub(super) fn gaps_of(pairs: &[u8], location: Location) -> Result<Gaps, MalformedExtensions> {
    let gaps = read_gaps(pairs)?;
    // draft-14 §11.1, §11.3
    if gaps.groups.is_some_and(|gap| gap > location.group)
        || gaps.objects.is_some_and(|gap| gap > location.object)
    {
        return Err(MalformedExtensions::GapTooLarge);
    }
    Ok(gaps)
}

fn read_gaps(pairs: &[u8]) -> Result<Gaps, MalformedExtensions> {
    let mut gaps = Gaps::default();
    for (key, value) in each_pair(pairs) {
        match value {
            PairValue::Varint(value) => note_gap(&mut gaps, key, value)?,
            PairValue::Bytes(inner) if key == IMMUTABLE_EXTENSIONS => {
                check_immutable(inner)?;
                for (key, value) in each_pair(inner) {
                    if let PairValue::Varint(value) = value {
                        note_gap(&mut gaps, key, value)?;
                    }
                }
            }
            PairValue::Bytes(_) => {}
        }
    }
    Ok(gaps)
}

fn note_gap(gaps: &mut Gaps, key: u64, value: u64) -> Result<(), MalformedExtensions> {
    let gap = match key {
        PRIOR_GROUP_ID_GAP => &mut gaps.groups,
        PRIOR_OBJECT_ID_GAP => &mut gaps.objects,
        _ => return Ok(()),
    };
    // draft-14 §11.1, §11.3
    match gap.replace(value) {
        None => Ok(()),
        Some(_) => Err(MalformedExtensions::RepeatedGap),
    }
}

// draft-14 §11.2
fn check_immutable(inner: &[u8]) -> Result<(), MalformedExtensions> {
    check(inner, 0).map_err(|stop| MalformedExtensions::BrokenImmutable(stop.at_end()))?;
    if each_pair(inner).any(|(key, _)| key == IMMUTABLE_EXTENSIONS) {
        return Err(MalformedExtensions::NestedImmutable);
    }
    Ok(())
}

/// The pairs in `bytes`, up to the first that is none.
fn each_pair(bytes: &[u8]) -> impl Iterator<Item = (u64, PairValue<'_>)> {
    let mut r = Reader::new(bytes, 0);
    std::iter::from_fn(move || {
        if r.rest().is_empty() {
            return None;
        }
        read_pair(&mut r, FIELD).ok()
    })
}

/// Iterator over the pairs of [`Extensions`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Iterator for Pairs<'_> {
    type Item = KeyValuePair;

    fn next(&mut self) -> Option<KeyValuePair> {
        let rest = self.bytes.get(self.at..)?;
        let mut r = Reader::new(rest, 0);
        let (key, value) = read_pair(&mut r, FIELD).ok()?;
        self.at += r.consumed();
        Some(match value {
            PairValue::Varint(value) => KeyValuePair::Varint { key, value },
            PairValue::Bytes(value) => KeyValuePair::Bytes {
                key,
                value: self.bytes.slice_ref(value),
            },
        })
    }
}

/// Checks that `bytes`, which start at offset `base`, are a sequence of pairs.
fn check(bytes: &[u8], base: u64) -> Result<(), Stop> {
    let mut r = Reader::new(bytes, base);
    while !r.rest().is_empty() {
        read_pair(&mut r, FIELD)?;
    }
    Ok(())
}

/// Reads Extension Headers Length and that many bytes of pairs; gives where these lie.
#[inline(always)]
pub(super) fn read_extensions(r: &mut Reader<'_>, max: usize) -> Result<Range<usize>, Stop> {
    let offset = r.offset();
    let len = r.varint("Extension Headers Length")?;
    if len > max as u64 {
        let max = max as u64;
        return Err(invalid(
            "Extension Headers Length",
            offset,
            DecodeErrorKind::OverLimit { len, max },
        ));
    }
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let start = r.consumed();
    let base = r.offset();
    let bytes = r.take(FIELD, len)?;
    // draft-14 §10.2.1.2: the pairs must end where the length says
    check(bytes, base).map_err(|stop| Stop::Invalid(stop.at_end()))?;
    Ok(start..start + len)
}

/// Writes Extension Headers Length and the pairs.
pub(super) fn write_extensions(
    out: &mut BytesMut,
    extensions: &Extensions,
) -> Result<(), EncodeError> {
    put_varint(out, "Extension Headers Length", extensions.0.len() as u64)?;
    out.extend_from_slice(&extensions.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(key: u64, value: u64) -> KeyValuePair {
        KeyValuePair::Varint { key, value }
    }

    fn immutable(pairs: &[KeyValuePair]) -> KeyValuePair {
        KeyValuePair::Bytes {
            key: IMMUTABLE_EXTENSIONS,
            value: Extensions::from_pairs(pairs).unwrap().as_bytes().clone(),
        }
    }

    fn extensions(pairs: &[KeyValuePair]) -> Extensions {
        Extensions::from_pairs(pairs).unwrap()
    }

    /// S10.2.1.2-03: whatever the order and the repetition.
    #[test]
    fn pairs_come_back_in_order_and_share_the_bytes() {
        let value = Bytes::from_static(b"value");
        let odd = KeyValuePair::Bytes { key: 0x7f, value };
        let pairs = [odd.clone(), number(2, 1), odd, number(0, 5)];
        let extensions = extensions(&pairs);
        let read: Vec<_> = extensions.pairs().collect();
        assert_eq!(read, pairs);
        let Some(KeyValuePair::Bytes { value, .. }) = extensions.pairs().next() else {
            panic!("the first pair has bytes");
        };
        let kept = extensions.as_bytes().as_ptr_range();
        assert!(kept.contains(&value.as_ptr()), "the value was copied");
    }

    /// S11.1-01, S11.3-01, S11.2-01: also inside Immutable Extensions.
    #[test]
    fn gaps_are_found_wherever_they_stand() {
        let outer = extensions(&[
            number(PRIOR_GROUP_ID_GAP, 2),
            number(PRIOR_OBJECT_ID_GAP, 3),
        ]);
        let inner = extensions(&[
            number(2, 9),
            immutable(&[
                number(PRIOR_GROUP_ID_GAP, 2),
                number(PRIOR_OBJECT_ID_GAP, 3),
            ]),
        ]);
        for extensions in [outer, inner] {
            assert_eq!(extensions.prior_group_gap(), Ok(Some(2)));
            assert_eq!(extensions.prior_object_gap(), Ok(Some(3)));
            let gaps = Gaps {
                groups: Some(2),
                objects: Some(3),
            };
            assert_eq!(extensions.gaps(Location::new(10, 10)), Ok(gaps));
        }
        let none = extensions(&[number(2, 9)]);
        assert_eq!(none.gaps(Location::new(0, 0)), Ok(Gaps::default()));
    }

    /// S11.1-02, S11.3-02: told twice, also once inside and once outside.
    #[test]
    fn repeated_gaps_are_malformed() {
        for key in [PRIOR_GROUP_ID_GAP, PRIOR_OBJECT_ID_GAP] {
            let twice = extensions(&[number(key, 1), number(key, 1)]);
            let apart = extensions(&[number(key, 1), immutable(&[number(key, 1)])]);
            for extensions in [twice, apart] {
                let gaps = extensions.gaps(Location::new(10, 10));
                assert_eq!(gaps, Err(MalformedExtensions::RepeatedGap));
            }
        }
    }

    /// S11.1-02, S11.3-02.
    #[test]
    fn gaps_below_zero_are_malformed() {
        let too_large = Err(MalformedExtensions::GapTooLarge);
        let groups = extensions(&[number(PRIOR_GROUP_ID_GAP, 5)]);
        assert!(groups.gaps(Location::new(5, 0)).is_ok());
        assert_eq!(groups.gaps(Location::new(4, 9)), too_large);
        let objects = extensions(&[number(PRIOR_OBJECT_ID_GAP, 5)]);
        assert!(objects.gaps(Location::new(0, 5)).is_ok());
        assert_eq!(objects.gaps(Location::new(9, 4)), too_large);
    }

    /// S11.2-05.
    #[test]
    fn broken_and_nested_immutable_extensions_are_malformed() {
        let nested = extensions(&[immutable(&[immutable(&[])])]);
        let error = nested.gaps(Location::default());
        assert_eq!(error, Err(MalformedExtensions::NestedImmutable));
        let value = Bytes::from_static(&[0x02]);
        let broken = extensions(&[KeyValuePair::Bytes {
            key: IMMUTABLE_EXTENSIONS,
            value,
        }]);
        let error = broken.gaps(Location::default());
        assert!(
            matches!(error, Err(MalformedExtensions::BrokenImmutable(_))),
            "{error:?}"
        );
        assert!(broken.immutable().all(|inner| inner.is_err()));
    }

    #[test]
    fn pairs_that_no_peer_could_read_are_not_built() {
        let bytes = |key, len| KeyValuePair::Bytes {
            key,
            value: Bytes::from(vec![0; len]),
        };
        assert!(Extensions::from_pairs(&[number(1, 0)]).is_err());
        assert!(Extensions::from_pairs(&[bytes(2, 0)]).is_err());
        assert!(Extensions::from_pairs(&[bytes(1, 65_535)]).is_ok());
        assert!(Extensions::from_pairs(&[bytes(1, 65_536)]).is_err());
        assert!(Extensions::from_bytes(Bytes::from_static(&[2])).is_err());
    }
}
