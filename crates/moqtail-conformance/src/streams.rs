//! Data streams as bytes, with MOQT codes.

use bytes::Bytes;

use crate::{failure::Failure, link::Carrier, patience::in_time};

/// Sending half of a stream. Dropped unfinished, it is finished.
#[derive(Debug)]
pub struct RawSend {
    pub(crate) carrier: Carrier,
    pub(crate) stream: quinn::SendStream,
}

impl RawSend {
    /// Writes all of it.
    ///
    /// # Errors
    /// The stream was stopped, or the connection is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|error| Failure::transport("writing to a stream", error))
    }

    /// FIN.
    pub fn finish(&mut self) {
        // Fails only on a stream that is over.
        let _ = self.stream.finish();
    }

    /// Resets the stream with a data stream code.
    pub fn reset(&mut self, code: u32) {
        // Fails only on a stream that is over.
        let _ = self.stream.reset(self.carrier.encode(code));
    }

    /// Waits until the stream is over: the code it was stopped with, or `None` if everything was taken.
    ///
    /// # Errors
    /// The connection is gone, or the stream goes on.
    pub async fn stopped(&mut self) -> Result<Option<u64>, Failure> {
        match in_time("the end of a stream", self.stream.stopped()).await? {
            Ok(Some(code)) => Ok(Some(
                self.carrier
                    .decode(code)
                    .unwrap_or_else(|| code.into_inner()),
            )),
            Ok(None) => Ok(None),
            Err(error) => Err(Failure::transport("waiting for the end of a stream", error)),
        }
    }
}

/// Receiving half of a stream, its transport head taken off.
#[derive(Debug)]
pub struct RawRecv {
    pub(crate) carrier: Carrier,
    pub(crate) stream: quinn::RecvStream,
    pub(crate) first: Bytes,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvEnd {
    /// FIN.
    Fin,
    /// RESET_STREAM with this code.
    Reset(u64),
}

impl RawRecv {
    /// STOP_SENDING with a data stream code.
    pub fn stop(&mut self, code: u32) {
        // Fails only on a stream that is over.
        let _ = self.stream.stop(self.carrier.encode(code));
    }

    /// Reads until the stream ends.
    ///
    /// # Errors
    /// The connection is gone, or nothing more comes.
    pub async fn to_end(&mut self) -> Result<(Vec<u8>, RecvEnd), Failure> {
        let mut bytes = std::mem::take(&mut self.first).to_vec();
        loop {
            let read = self.stream.read_chunk(usize::MAX, true);
            match in_time("more of a stream, or its end", read).await? {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.bytes),
                Ok(None) => return Ok((bytes, RecvEnd::Fin)),
                Err(quinn::ReadError::Reset(code)) => {
                    let code = self
                        .carrier
                        .decode(code)
                        .unwrap_or_else(|| code.into_inner());
                    return Ok((bytes, RecvEnd::Reset(code)));
                }
                Err(error) => return Err(Failure::transport("reading a stream", error)),
            }
        }
    }
}
