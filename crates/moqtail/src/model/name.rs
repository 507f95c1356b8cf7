//! Namespaces and track names: opaque bytes with the limits of draft-14 §2.4.1, and one text form for people.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;

/// Most fields in a Track Namespace or Track Namespace Prefix (draft-14 §2.4.1).
pub const MAX_NAMESPACE_FIELDS: usize = 32;

/// Most bytes in a Full Track Name: all namespace fields and the track name together (draft-14 §2.4.1).
pub const MAX_FULL_TRACK_NAME_LEN: usize = 4096;

/// A name broke the limits of draft-14 §2.4.1, or its text form could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A Track Namespace without fields.
    #[error("a namespace needs at least one field")]
    NoFields,
    /// More than [`MAX_NAMESPACE_FIELDS`] fields.
    #[error("a namespace has at most {MAX_NAMESPACE_FIELDS} fields")]
    TooManyFields,
    /// More than [`MAX_FULL_TRACK_NAME_LEN`] bytes.
    #[error("a full track name has at most {MAX_FULL_TRACK_NAME_LEN} bytes, this one has {0}")]
    TooLong(usize),
    /// `%` not followed by two hexadecimal digits.
    #[error("`%` at byte {0} is not followed by two hexadecimal digits")]
    BadEscape(usize),
}

/// A Track Namespace: 1 to 32 fields of opaque bytes, compared bytewise. Clones share the fields.
///
/// The text form puts `/` between fields and writes `%XX` for `/`, `#`, `%` and all that is not printable ASCII.
///
/// ```
/// use moqtail::model::TrackNamespace;
///
/// let namespace: TrackNamespace = "live/cam%20one".parse()?;
/// assert_eq!(namespace.fields()[1], b"cam one"[..]);
/// assert_eq!(namespace.to_string(), "live/cam%20one");
/// # Ok::<(), moqtail::model::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackNamespace(NamespacePrefix);

impl TrackNamespace {
    /// A namespace of these fields, checked against the limits.
    pub fn new(fields: impl IntoIterator<Item = impl Into<Bytes>>) -> Result<Self, NameError> {
        NamespacePrefix::new(fields)?.try_into()
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Bytes] {
        self.0.fields()
    }

    /// Sum of the field lengths in bytes.
    pub fn byte_len(&self) -> usize {
        self.0.byte_len()
    }

    /// This namespace as a prefix that matches itself and everything below it.
    pub fn as_prefix(&self) -> &NamespacePrefix {
        &self.0
    }
}

impl TryFrom<NamespacePrefix> for TrackNamespace {
    type Error = NameError;

    fn try_from(prefix: NamespacePrefix) -> Result<Self, NameError> {
        if prefix.fields().is_empty() {
            return Err(NameError::NoFields);
        }
        Ok(Self(prefix))
    }
}

impl FromStr for TrackNamespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut start = 0;
        let mut fields = Vec::new();
        for field in text.split('/') {
            fields.push(unescape(field, start)?);
            start += field.len() + 1;
        }
        Self::new(fields)
    }
}

impl fmt::Display for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackNamespace({self})")
    }
}

/// A Track Namespace Prefix: what SUBSCRIBE_NAMESPACE names. Draft 14 forbids the empty prefix on the wire (§9.28);
/// it is representable because peers in the field send it and a relay can be told to tolerate it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacePrefix(Arc<[Bytes]>);

impl NamespacePrefix {
    /// A prefix of these fields, checked against the limits.
    pub fn new(fields: impl IntoIterator<Item = impl Into<Bytes>>) -> Result<Self, NameError> {
        let fields = fields.into_iter().take(MAX_NAMESPACE_FIELDS + 1);
        let prefix = Self(fields.map(Into::into).collect());
        if prefix.fields().len() > MAX_NAMESPACE_FIELDS {
            return Err(NameError::TooManyFields);
        }
        match prefix.byte_len() {
            0..=MAX_FULL_TRACK_NAME_LEN => Ok(prefix),
            len => Err(NameError::TooLong(len)),
        }
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Sum of the field lengths in bytes.
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether `namespace` starts with all fields of this prefix (draft-14 §8.4).
    pub fn matches(&self, namespace: &TrackNamespace) -> bool {
        namespace.fields().starts_with(&self.0)
    }

    /// Whether one of the two is a leading part of the other, or both are equal (draft-14 §9.28).
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl From<TrackNamespace> for NamespacePrefix {
    fn from(namespace: TrackNamespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for NamespacePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            escape(field, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for NamespacePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamespacePrefix({self})")
    }
}

/// Name of one track: its namespace and its track name (draft-14 §2.4.1). Text form: `namespace#name`.
///
/// ```
/// use moqtail::model::FullTrackName;
///
/// let track: FullTrackName = "live/cam#video".parse()?;
/// assert_eq!(track.name()[..], b"video"[..]);
/// assert_eq!(track.to_string(), "live/cam#video");
/// # Ok::<(), moqtail::model::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullTrackName {
    namespace: TrackNamespace,
    name: Bytes,
}

impl FullTrackName {
    /// A track name in a namespace, checked against the limits.
    pub fn new(namespace: TrackNamespace, name: impl Into<Bytes>) -> Result<Self, NameError> {
        let name = name.into();
        let len = namespace.byte_len() + name.len();
        if len > MAX_FULL_TRACK_NAME_LEN {
            return Err(NameError::TooLong(len));
        }
        Ok(Self { namespace, name })
    }

    /// The namespace.
    pub fn namespace(&self) -> &TrackNamespace {
        &self.namespace
    }

    /// The track name; may be empty.
    pub fn name(&self) -> &Bytes {
        &self.name
    }
}

impl FromStr for FullTrackName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.split_once('#').unwrap_or((text, ""));
        Self::new(namespace.parse()?, unescape(name, namespace.len() + 1)?)
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#", self.namespace)?;
        escape(&self.name, f)
    }
}

impl fmt::Debug for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullTrackName({self})")
    }
}

fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;
    for &byte in bytes {
        if byte.is_ascii_graphic() && !matches!(byte, b'/' | b'#' | b'%') {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// Bytes of the text form `text`, which starts at byte `start` of what the user wrote.
fn unescape(text: &str, start: usize) -> Result<Vec<u8>, NameError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let bad = || NameError::BadEscape(start + text.len() - tail.len() - 1);
        let [high, low, tail @ ..] = tail else {
            return Err(bad());
        };
        let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(bad);
        let value = digit(*high)? * 16 + digit(*low)?;
        bytes.push(u8::try_from(value).map_err(|_| bad())?);
        rest = tail;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(text: &str) -> TrackNamespace {
        text.parse().unwrap()
    }

    /// S2.4.1-02.
    #[test]
    fn a_namespace_has_one_to_thirty_two_fields() {
        let fields = |count| TrackNamespace::new(vec![Bytes::new(); count]);
        assert_eq!(fields(0), Err(NameError::NoFields));
        assert!(fields(1).is_ok());
        assert!(fields(32).is_ok());
        assert_eq!(fields(33), Err(NameError::TooManyFields));
        assert!(NamespacePrefix::new(Vec::<Bytes>::new()).is_ok());
    }

    /// S2.4.1-03: the fields and the name count, the lengths before them do not.
    #[test]
    fn a_full_track_name_has_at_most_4096_bytes() {
        let long = TrackNamespace::new([vec![0; 2000], vec![0; 2000]]).unwrap();
        assert!(FullTrackName::new(long.clone(), vec![0; 96]).is_ok());
        let error = FullTrackName::new(long, vec![0; 97]);
        assert_eq!(error, Err(NameError::TooLong(4097)));
        assert_eq!(
            TrackNamespace::new([vec![0; 4097]]),
            Err(NameError::TooLong(4097))
        );
    }

    /// S2.4.1-04.
    #[test]
    fn names_are_compared_by_their_bytes() {
        assert_ne!(namespace("Live"), namespace("live"));
        assert_ne!(namespace("a/"), namespace("a"));
        assert_ne!(namespace("a%2Fb"), namespace("a/b"));
    }

    #[test]
    fn text_says_what_is_wrong_and_where() {
        assert_eq!(
            "a/b%4".parse::<TrackNamespace>(),
            Err(NameError::BadEscape(3))
        );
        assert_eq!(
            "a/b#%zz".parse::<FullTrackName>(),
            Err(NameError::BadEscape(4))
        );
        assert_eq!(
            "a%ü".parse::<TrackNamespace>(),
            Err(NameError::BadEscape(1))
        );
    }

    /// S9.28-04: `(b)` does not overlap `(a, b)`, although it is its end.
    #[test]
    fn prefixes_overlap_when_one_leads_the_other() {
        let prefix = |text: &str| namespace(text).as_prefix().clone();
        assert!(prefix("a").overlaps(&prefix("a/b")));
        assert!(prefix("a/b").overlaps(&prefix("a")));
        assert!(prefix("a/b").overlaps(&prefix("a/b")));
        assert!(!prefix("b").overlaps(&prefix("a/b")));
        assert!(!prefix("a/c").overlaps(&prefix("a/b")));
        // Fields are matched whole.
        assert!(!prefix("a").matches(&namespace("ab")));
        assert!(prefix("a").matches(&namespace("a")));
        assert!(prefix("a").matches(&namespace("a/b")));
    }
}
