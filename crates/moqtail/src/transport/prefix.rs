//! The head of a stream on a WebTransport connection: whose stream is this, and where does its data start?
//!
//! Pure and incremental: bytes may come one by one, and nothing but the head is consumed. One session per connection is
//! supported, that of the first request stream, so its id is 0.

/// Session id of the only WebTransport session of a connection: the stream id of its CONNECT request.
pub(super) const SESSION_ID: u64 = 0;

/// Head of our unidirectional streams: stream type 0x54 and [`SESSION_ID`].
pub(super) const UNI_HEAD: &[u8] = &[0x40, 0x54, 0x00];

/// Head of our bidirectional streams: signal 0x41 and [`SESSION_ID`].
pub(super) const BIDI_HEAD: &[u8] = &[0x40, 0x41, 0x00];

const WEBTRANSPORT_UNI: u64 = 0x54;
const WEBTRANSPORT_BIDI: u64 = 0x41;

/// What a peer's stream turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamHead {
    /// A data stream of the session; its payload follows.
    Data,
    /// A data stream of another session, which does not exist here.
    OtherSession(u64),
    /// A stream HTTP/3 itself uses and that has to stay open: control 0x00, push 0x01, QPACK 0x02 and 0x03.
    /// Unidirectional only.
    Http3(u64),
    /// Any other type, reserved ("grease") ones included.
    Unknown(u64),
}

/// Reads one stream head. Feed it with [`HeadReader::read`] until that answers.
#[derive(Clone, Debug)]
pub struct HeadReader {
    signal: u64,
    typ: Option<u64>,
    varint: Varint,
}

impl HeadReader {
    /// For a stream that only the peer sends on.
    pub fn unidirectional() -> Self {
        Self {
            signal: WEBTRANSPORT_UNI,
            typ: None,
            varint: Varint::default(),
        }
    }

    /// For a stream that both sides send on.
    pub fn bidirectional() -> Self {
        Self {
            signal: WEBTRANSPORT_BIDI,
            typ: None,
            varint: Varint::default(),
        }
    }

    /// Takes the next bytes of the stream. Returns how many belong to the head, and the head once it is complete;
    /// after that it must not be called again.
    pub fn read(&mut self, bytes: &[u8]) -> (usize, Option<StreamHead>) {
        for (index, byte) in bytes.iter().enumerate() {
            let Some(value) = self.varint.push(*byte) else {
                continue;
            };
            let used = index + 1;
            match self.typ {
                Some(_) if value == SESSION_ID => return (used, Some(StreamHead::Data)),
                Some(_) => return (used, Some(StreamHead::OtherSession(value))),
                None if value == self.signal => self.typ = Some(value),
                None if self.signal == WEBTRANSPORT_UNI && value <= 0x03 => {
                    return (used, Some(StreamHead::Http3(value)));
                }
                None => return (used, Some(StreamHead::Unknown(value))),
            }
        }
        (bytes.len(), None)
    }
}

/// A variable-length integer (RFC 9000 §16) on its way in.
#[derive(Clone, Debug, Default)]
struct Varint {
    value: u64,
    missing: u8,
}

impl Varint {
    fn push(&mut self, byte: u8) -> Option<u64> {
        if self.missing == 0 {
            self.missing = 1 << (byte >> 6);
            self.value = u64::from(byte & 0x3f);
        } else {
            self.value = self.value << 8 | u64::from(byte);
        }
        self.missing -= 1;
        (self.missing == 0).then_some(self.value)
    }
}

/// Fuzz body: however the bytes are cut, the head and its length are the same, and it is at most two varints long.
///
/// # Panics
/// If that does not hold.
pub fn check_head(bytes: &[u8]) {
    for reader in [HeadReader::unidirectional(), HeadReader::bidirectional()] {
        let whole = reader.clone().read(bytes);
        assert!(whole.0 <= 16);
        let mut single = reader;
        let mut used = 0;
        let mut head = None;
        for byte in bytes {
            let (one, found) = single.read(std::slice::from_ref(byte));
            used += one;
            head = found;
            if head.is_some() {
                break;
            }
        }
        assert_eq!(whole, (used, head));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads in every pair of cuts and insists on one answer.
    fn read(reader: HeadReader, bytes: &[u8]) -> (usize, Option<StreamHead>) {
        let whole = reader.clone().read(bytes);
        for cut in 0..=bytes.len() {
            let mut split = reader.clone();
            let (front, back) = bytes.split_at(cut);
            let (mut used, mut head) = split.read(front);
            if head.is_none() {
                let (more, found) = split.read(back);
                (used, head) = (used + more, found);
            }
            assert_eq!((used, head), whole, "cut at {cut}");
        }
        whole
    }

    fn uni(bytes: &[u8]) -> (usize, Option<StreamHead>) {
        read(HeadReader::unidirectional(), bytes)
    }

    fn bidi(bytes: &[u8]) -> (usize, Option<StreamHead>) {
        read(HeadReader::bidirectional(), bytes)
    }

    #[test]
    fn our_own_heads_are_data() {
        assert_eq!(uni(UNI_HEAD), (3, Some(StreamHead::Data)));
        assert_eq!(bidi(BIDI_HEAD), (3, Some(StreamHead::Data)));
    }

    #[test]
    fn payload_is_left_alone() {
        assert_eq!(
            uni(&[0x40, 0x54, 0x00, 0x10, 0x11]),
            (3, Some(StreamHead::Data))
        );
    }

    #[test]
    fn longer_varints_mean_the_same() {
        let four = [0x80, 0, 0, 0x54, 0x40, 0x00, 0xff];
        assert_eq!(uni(&four), (6, Some(StreamHead::Data)));
        let eight = [0xc0, 0, 0, 0, 0, 0, 0, 0x54, 0xc0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(uni(&eight), (16, Some(StreamHead::Data)));
    }

    #[test]
    fn other_sessions_are_named() {
        assert_eq!(
            uni(&[0x40, 0x54, 0x04]),
            (3, Some(StreamHead::OtherSession(4)))
        );
        let last = [0x40, 0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            bidi(&last),
            (10, Some(StreamHead::OtherSession((1 << 62) - 1)))
        );
    }

    #[test]
    fn http3_streams_and_unknown_types_are_told_apart() {
        for typ in 0..=3 {
            assert_eq!(
                uni(&[typ, 0x00]),
                (1, Some(StreamHead::Http3(u64::from(typ))))
            );
        }
        assert_eq!(uni(&[0x21]), (1, Some(StreamHead::Unknown(0x21))));
        assert_eq!(
            uni(&[0x40, 0x41, 0x00]),
            (2, Some(StreamHead::Unknown(0x41)))
        );
        assert_eq!(bidi(&[0x01, 0x00]), (1, Some(StreamHead::Unknown(0x01))));
    }

    #[test]
    fn an_incomplete_head_is_no_answer() {
        assert_eq!(uni(&[]), (0, None));
        assert_eq!(uni(&[0x40]), (1, None));
        assert_eq!(uni(&[0x40, 0x54]), (2, None));
        assert_eq!(uni(&[0x40, 0x54, 0x80, 0x00, 0x00]), (5, None));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            check_head(&bytes);
        }
    }
}
