//! The capsules that a peer sends on a session's request stream (RFC 9297 §3.2), of which one matters: its close. Nothing
//! else is kept, however long it is.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use web_transport_proto::{Frame, VarInt};

use crate::transport::limits::MAX_CLOSE_REASON;

/// Type of the capsule that closes a session (draft-ietf-webtrans-http3 §6).
const CLOSE_SESSION: u64 = 0x2843;

/// Most bytes read at once.
const READ: usize = 4096;

/// How the peer closed its session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SessionClose {
    pub(super) code: u32,
    pub(super) reason: String,
}

/// The capsules of one session.
#[derive(Debug)]
pub(super) struct Capsules<S> {
    stream: BufReader<S>,
    /// What is left of the DATA frame at hand.
    left: u64,
}

impl<S: AsyncRead + Unpin> Capsules<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream: BufReader::with_capacity(READ, stream),
            left: 0,
        }
    }

    /// Waits for the close of the session; `None`: the stream ended between two capsules, which is one without code and
    /// reason.
    ///
    /// # Errors
    /// The stream was reset, or ended inside a capsule, or brought a close that is none.
    pub(super) async fn close(&mut self) -> io::Result<Option<SessionClose>> {
        loop {
            let Some(kind) = self.varint().await? else {
                return Ok(None);
            };
            let len = self.varint().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if kind != CLOSE_SESSION {
                self.skip(len).await?;
                continue;
            }
            let reason_len = len
                .checked_sub(4)
                .filter(|len| *len <= MAX_CLOSE_REASON as u64);
            let Some(reason_len) = reason_len else {
                return Err(io::Error::other(format!("a close capsule of {len} bytes")));
            };
            let mut code = [0; 4];
            self.read(&mut code).await?;
            let mut reason = vec![0; reason_len as usize];
            self.read(&mut reason).await?;
            return Ok(Some(SessionClose {
                code: u32::from_be_bytes(code),
                reason: String::from_utf8_lossy(&reason).into_owned(),
            }));
        }
    }

    /// Goes on to the next DATA frame that holds something, if the one at hand is over. False: there is none.
    async fn find_data(&mut self) -> io::Result<bool> {
        while self.left == 0 {
            if self.stream.fill_buf().await?.is_empty() {
                return Ok(false);
            }
            let kind = frame_varint(&mut self.stream).await?;
            let len = frame_varint(&mut self.stream).await?.into_inner();
            match Frame(kind) {
                Frame::DATA => self.left = len,
                _ => skip(&mut self.stream, len).await?,
            }
        }
        Ok(true)
    }

    async fn read(&mut self, mut to: &mut [u8]) -> io::Result<()> {
        while !to.is_empty() {
            if !self.find_data().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let len = to
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (now, later) = to.split_at_mut(len);
            self.stream.read_exact(now).await?;
            self.left -= len as u64;
            to = later;
        }
        Ok(())
    }

    /// A number, which may lie in several frames; `None`: the stream ended before it.
    async fn varint(&mut self) -> io::Result<Option<u64>> {
        if !self.find_data().await? {
            return Ok(None);
        }
        let mut bytes = [0; 8];
        let (first, rest) = bytes.split_at_mut(1);
        self.read(first).await?;
        let more = (1 << (first[0] >> 6)) - 1;
        self.read(&mut rest[..more]).await?;
        let number = VarInt::decode(&mut &bytes[..=more]);
        let number = number.map_err(|_| io::ErrorKind::UnexpectedEof)?;
        Ok(Some(number.into_inner()))
    }

    async fn skip(&mut self, mut len: u64) -> io::Result<()> {
        while len > 0 {
            if !self.find_data().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = len.min(self.left);
            skip(&mut self.stream, now).await?;
            self.left -= now;
            len -= now;
        }
        Ok(())
    }
}

async fn frame_varint(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<VarInt> {
    let number = VarInt::read(stream).await;
    number.map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// Passes over `len` bytes without keeping them.
async fn skip<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, mut len: u64) -> io::Result<()> {
    while len > 0 {
        let there = stream.fill_buf().await?.len();
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = there.min(usize::try_from(len).unwrap_or(usize::MAX));
        stream.consume(now);
        len -= now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u32) -> Vec<u8> {
        let mut out = Vec::new();
        VarInt::from_u32(value).encode(&mut out);
        out
    }

    fn frame(kind: u32, payload: &[u8]) -> Vec<u8> {
        [number(kind), number(payload.len() as u32), payload.to_vec()].concat()
    }

    fn capsule(kind: u32, payload: &[u8]) -> Vec<u8> {
        frame(kind, payload)
    }

    fn closing(code: u32, reason: &str) -> Vec<u8> {
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        capsule(CLOSE_SESSION as u32, &payload)
    }

    async fn read(bytes: &[u8]) -> io::Result<Option<SessionClose>> {
        Capsules::new(bytes).close().await
    }

    fn closed(code: u32, reason: &str) -> Option<SessionClose> {
        Some(SessionClose {
            code,
            reason: reason.to_owned(),
        })
    }

    #[tokio::test]
    async fn a_close_is_found_behind_what_means_nothing_and_in_any_frames() {
        let capsules = [
            capsule(0x17, b""),
            capsule(0x1234, &[7; 10_000]),
            closing(0x1a4, "gone"),
        ]
        .concat();
        for size in [1, 2, 3, 7, 1000, capsules.len()] {
            let frames: Vec<u8> = capsules
                .chunks(size)
                .flat_map(|piece| [frame(0x21, b"grease"), frame(0, b""), frame(0, piece)].concat())
                .collect();
            let expected = closed(0x1a4, "gone");
            assert_eq!(read(&frames).await.unwrap(), expected, "{size}");
        }
    }

    #[tokio::test]
    async fn the_longest_reason_is_taken_and_a_longer_one_is_not() {
        let longest = "r".repeat(MAX_CLOSE_REASON);
        let bytes = frame(0, &closing(1, &longest));
        assert_eq!(read(&bytes).await.unwrap(), closed(1, &longest));
        let bytes = frame(0, &closing(1, &(longest + "r")));
        assert!(read(&bytes).await.is_err());
    }

    /// It is complete, so nothing more can make it right.
    #[tokio::test]
    async fn a_close_without_a_whole_code_is_an_error_at_once() {
        for len in 0..4 {
            let bytes = frame(0, &capsule(CLOSE_SESSION as u32, &vec![0; len]));
            // Whatever follows is not read.
            let (mut send, recv) = tokio::io::duplex(100);
            tokio::io::AsyncWriteExt::write_all(&mut send, &bytes)
                .await
                .unwrap();
            assert!(Capsules::new(recv).close().await.is_err(), "{len}");
        }
    }

    #[tokio::test]
    async fn an_end_between_capsules_is_a_close_and_one_inside_is_not() {
        let bytes = [frame(0x21, b"x"), frame(0, &capsule(0x40, b"unknown"))].concat();
        assert_eq!(read(&bytes).await.unwrap(), None);
        assert_eq!(read(b"").await.unwrap(), None);
        for cut in [1, 2, bytes.len() - 1, bytes.len() - 8] {
            assert!(read(&bytes[..cut]).await.is_err(), "{cut}");
        }
    }
}
