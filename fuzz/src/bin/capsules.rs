//! The capsules on the request stream of a WebTransport session.

#![no_main]

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, ReadBuf};

// The reader stands alone; taking the file spares this crate the whole transport.
#[path = "../../../crates/moqtail/src/transport/quic/capsules.rs"]
mod capsules;

/// What the reader uses of its own crate.
mod transport {
    pub mod limits {
        pub const MAX_CLOSE_REASON: usize = 1024;
    }
}

use capsules::Capsules;
use transport::limits::MAX_CLOSE_REASON;

const CLOSE_SESSION: u64 = 0x2843;

/// Heap that a reader may use: a buffer of 4 kB, the reason as bytes and as text, in which a bad byte takes three, and the
/// error.
const READER: usize = 8 << 10;

/// Most that a reader takes of a stream beyond what it needs.
const AHEAD: usize = 4 << 10;

moqtail_fuzz::parser!(64, check);

/// How the session ends by what was read.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Closed(u32, String),
    /// The stream ended between two capsules.
    Over,
    /// A close that is none, which nothing more can make right.
    Broken,
    /// The stream ended inside a capsule or a frame.
    Cut,
}

fn check(data: &[u8]) {
    let expected = reference(data);
    for size in [data.len().max(1), 1, data.len() / 3 + 1] {
        let (end, _) = read(data, size, None);
        assert!(
            is_same(&end, &expected),
            "{end:?} in pieces of {size}, {expected:?}"
        );
    }
    // What follows an answer is not read, however much there is.
    let (stream, expected) = match expected {
        End::Cut => return,
        End::Over => (with_broken_close(data), End::Broken),
        end => (data.to_vec(), end),
    };
    moqtail_fuzz::within(READER, || {
        let (end, taken) = read(&stream, stream.len() + AHEAD, Some(0));
        assert!(
            is_same(&end, &expected),
            "{end:?} of an endless stream, {expected:?}"
        );
        assert!(
            taken <= stream.len() + AHEAD,
            "{taken} bytes of {}",
            stream.len()
        );
    });
}

/// `data` and a close of a length that none has.
fn with_broken_close(data: &[u8]) -> Vec<u8> {
    let length = match data.len() % 5 {
        4 => 4 + MAX_CLOSE_REASON as u16 + 1,
        short => short as u16,
    };
    let [high, low] = (0x4000 | length).to_be_bytes();
    [data, &[0, 4, 0x68, 0x43, high, low]].concat()
}

fn is_same(found: &io::Result<Option<capsules::SessionClose>>, expected: &End) -> bool {
    match (found, expected) {
        (Ok(Some(close)), End::Closed(code, reason)) => {
            (close.code, &close.reason) == (*code, reason)
        }
        (Ok(None), End::Over) | (Err(_), End::Broken | End::Cut) => true,
        _ => false,
    }
}

/// What the reader says, and how many bytes it took.
fn read(
    data: &[u8],
    piece: usize,
    after: Option<u8>,
) -> (io::Result<Option<capsules::SessionClose>>, usize) {
    let mut stream = Pieces {
        data,
        piece,
        after,
        taken: 0,
    };
    let end = {
        let mut reader = Capsules::new(&mut stream);
        let close = pin!(reader.close());
        close.poll(&mut Context::from_waker(Waker::noop()))
    };
    match end {
        Poll::Ready(end) => (end, stream.taken),
        Poll::Pending => panic!("it waits though there is more"),
    }
}

/// A stream that comes in pieces, and behind its end brings a byte again and again if there is one.
struct Pieces<'a> {
    data: &'a [u8],
    piece: usize,
    after: Option<u8>,
    taken: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = to.remaining().min(self.piece);
        let (now, rest) = self.data.split_at(most.min(self.data.len()));
        to.put_slice(now);
        self.data = rest;
        self.taken += now.len();
        if let Some(byte) = self.after {
            for _ in now.len()..most {
                to.put_slice(&[byte]);
                self.taken += 1;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The same, of the whole stream at once.
fn reference(mut data: &[u8]) -> End {
    let mut capsules = Vec::new();
    let mut whole = true;
    while !data.is_empty() {
        let Some((kind, length)) = number(&mut data).zip(number(&mut data)) else {
            whole = false;
            break;
        };
        whole = length <= data.len() as u64;
        let (payload, rest) = data.split_at(length.min(data.len() as u64) as usize);
        if kind == 0 {
            capsules.extend_from_slice(payload);
        }
        data = rest;
    }
    let mut rest = &capsules[..];
    while !rest.is_empty() {
        let Some((kind, length)) = number(&mut rest).zip(number(&mut rest)) else {
            return End::Cut;
        };
        let is_close = kind == CLOSE_SESSION;
        if is_close && !(4..=4 + MAX_CLOSE_REASON as u64).contains(&length) {
            return End::Broken;
        }
        let Some((value, after)) = rest.split_at_checked(length.min(usize::MAX as u64) as usize)
        else {
            return End::Cut;
        };
        if let (true, Some((code, reason))) = (is_close, value.split_first_chunk()) {
            let reason = String::from_utf8_lossy(reason).into_owned();
            return End::Closed(u32::from_be_bytes(*code), reason);
        }
        rest = after;
    }
    if whole { End::Over } else { End::Cut }
}

/// A number as QUIC has it (RFC 9000 §16).
fn number(data: &mut &[u8]) -> Option<u64> {
    let first = *data.first()?;
    let (bytes, rest) = data.split_at_checked(1 << (first >> 6))?;
    *data = rest;
    let value = bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (66 - 8 * bytes.len())))
}
