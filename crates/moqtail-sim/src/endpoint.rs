//! A session with what came out of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use moqtail::{
    model::{DecodeError, StreamCode},
    session::{CallError, Close, Event, Output, RequestHandle, Session, SessionConfig, StreamKey},
};

/// One side of a simulated session: the session, its time, and its outputs sorted by kind.
#[derive(Debug)]
pub struct Endpoint {
    /// The session. After a direct call on it, [`Endpoint::drain`] takes its outputs.
    pub session: Session,
    /// The time of this side.
    pub now: Instant,
    /// Control bytes that were not taken by the link yet.
    pub control: Vec<u8>,
    /// Whether control bytes are reported as written when they are drained; `false` plays a peer that does not read.
    pub writes: bool,
    /// How the session closed.
    pub closed: Option<Close>,
    /// Parked streams that were resumed.
    pub resumed: Vec<(StreamKey, RequestHandle)>,
    /// Streams that were stopped.
    pub stopped: Vec<(StreamKey, StreamCode)>,
    events: VecDeque<Event>,
}

impl Endpoint {
    /// A session of this configuration at this time.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn new(config: SessionConfig, now: Instant) -> Result<Self, CallError> {
        let mut endpoint = Self {
            session: Session::new(config, now)?,
            now,
            control: Vec::new(),
            writes: true,
            closed: None,
            resumed: Vec::new(),
            stopped: Vec::new(),
            events: VecDeque::new(),
        };
        endpoint.drain();
        Ok(endpoint)
    }

    /// Makes a call and takes the outputs.
    pub fn call<T>(&mut self, call: impl FnOnce(&mut Session, Instant) -> T) -> T {
        let result = call(&mut self.session, self.now);
        self.drain();
        result
    }

    /// Gives control bytes to the session and takes the outputs.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.call(|session, now| session.control_bytes(bytes, now));
    }

    /// Lets the time of this side come, with all deadlines on the way.
    pub fn advance_to(&mut self, now: Instant) {
        while let Some(deadline) = self.session.deadline()
            && deadline <= now
        {
            self.now = self.now.max(deadline);
            self.call(Session::timeout);
        }
        self.now = self.now.max(now);
    }

    /// As [`Endpoint::advance_to`], from now on.
    pub fn advance(&mut self, time: Duration) {
        self.advance_to(self.now + time);
    }

    /// A data stream or datagram could not be decoded.
    pub fn data_error(&mut self, error: &DecodeError) {
        self.call(|session, _| session.data_error(error));
    }

    /// The next event, oldest first.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All events so far, oldest first.
    pub fn events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Takes the outputs of the session.
    ///
    /// # Panics
    /// Something follows [`Output::Close`].
    pub fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            assert_eq!(self.closed, None, "{output:?} follows the close");
            match output {
                Output::Control(bytes) => {
                    self.control.extend_from_slice(&bytes);
                    if self.writes {
                        self.session.control_written(bytes.len());
                    }
                }
                Output::Event(event) => self.events.push_back(event),
                Output::ResumeStream { stream, handle } => self.resumed.push((stream, handle)),
                Output::StopStream { stream, code } => self.stopped.push((stream, code)),
                Output::Close(close) => self.closed = Some(close),
            }
        }
    }
}
