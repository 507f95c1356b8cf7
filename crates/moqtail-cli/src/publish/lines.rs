//! `moqtail publish --lines`: each line of standard input is an object.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use moqtail::{
    client::{Broadcast, LocalSubgroup, LocalTrack, TrackOptions},
    model::{
        DatagramBody, Extensions, ObjectDatagram, PublishDoneCode, TrackAlias, TrackNamespace,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::watch,
    time::timeout,
};

use super::{
    announcement::{Announced, tell, until_published},
    defaults::{DEFAULT_HOLD, DEFAULT_PRIORITY},
    media::whole_group,
    session::{Stop, keep_published, leave},
};
use crate::{
    args::PublishOptions,
    clock::unix_ms,
    errors::{CliError, plain},
    link::Link,
    logging::say,
    names,
    signals::Signals,
};

/// Longest line that is published, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Longest line that is sure to fit a datagram, in bytes.
const MAX_DATAGRAM: usize = 1100;

/// Publishes standard input as a track until it ends.
pub(super) async fn run(
    link: &Link,
    namespace: &TrackNamespace,
    track: &str,
    options: &PublishOptions,
    signals: &mut Signals,
) -> Result<(), CliError> {
    let name = names::track(namespace, track)?;
    let broadcast = Broadcast::new(namespace.clone());
    let writer = broadcast
        .track(name.name().clone(), TrackOptions::default())
        .map_err(|error| CliError::Usage(plain(error)))?;
    let mut output = LineTrack::new(writer, options, unix_ms());
    let mut lines = Lines::new(tokio::io::stdin());
    let published = watch::Sender::new(Announced::NotYet);
    let hold = options.hold.map_or(DEFAULT_HOLD, |hold| hold.0);
    let (url, trust) = (link.url(), link.trust_flags());
    let watch = format!("subscribe {url} {namespace} --track {track}{trust}");
    let copied = tokio::select! {
        error = keep_published(link, &broadcast, &published) => Err(error),
        copied = copy(&mut lines, &mut output, hold, published.subscribe()) => {
            copied.map(|()| Stop::ForGood)
        }
        () = tell(published.subscribe(), name.to_string(), watch) => Ok(Stop::ForGood),
        signal = signals.next() => Ok(signal.into()),
    };
    let stop = Stop::of(&copied);
    // What was read before is published, also before a failure.
    let mut last = Ok(());
    while let (Ok(()), Some(line)) = (&last, lines.read_before()) {
        last = output.write(line);
    }
    last = last.and(output.close_group());
    // Dropped, it would end for good, so it stays until the session is over.
    let _paused = match stop {
        Stop::ForGood => {
            output.end();
            None
        }
        Stop::ForNow => Some(output),
    };
    leave(link, *published.borrow(), &copied, signals).await;
    copied.map(drop).and(last)
}

/// Publishes each of `lines`. The first one waits for a session, and a while for a subscriber.
async fn copy<R: AsyncRead + Unpin>(
    lines: &mut Lines<R>,
    track: &mut LineTrack,
    hold: Duration,
    mut published: watch::Receiver<Announced>,
) -> Result<(), CliError> {
    until_published(&mut published).await;
    let mut interest = track.writer.track().interest();
    // Nobody may come; then the lines go on without.
    let _ = timeout(hold, interest.wait_for(|interest| interest.forwarding > 0)).await;
    while let Some(line) = lines.next().await? {
        track.write(line)?;
    }
    Ok(())
}

/// A track of lines: a group holds a fixed number of them.
struct LineTrack {
    writer: LocalTrack,
    priority: u8,
    datagram: bool,
    lines_per_group: u64,
    group: u64,
    object: u64,
    open: Option<LocalSubgroup>,
    line: u64,
}

impl LineTrack {
    fn new(writer: LocalTrack, options: &PublishOptions, first_group: u64) -> Self {
        Self {
            writer,
            priority: options.priority.unwrap_or(DEFAULT_PRIORITY),
            datagram: options.datagram == Some(true),
            lines_per_group: options.group_lines.unwrap_or(1).max(1).into(),
            group: first_group,
            object: 0,
            open: None,
            line: 0,
        }
    }

    fn write(&mut self, line: Bytes) -> Result<(), CliError> {
        self.line += 1;
        if self.datagram && line.len() > MAX_DATAGRAM {
            say(format_args!(
                "Line {} is left out: {} bytes do not fit a datagram. Leave `--datagram` out for long lines.",
                self.line,
                line.len()
            ));
            return Ok(());
        }
        tracing::trace!(group = self.group, object = self.object, "published");
        if self.datagram {
            self.send(line)?;
        } else {
            let subgroup = match &mut self.open {
                Some(open) => open,
                None => {
                    let options = whole_group(self.group, self.priority);
                    let subgroup = self.writer.subgroup(options).map_err(refused)?;
                    self.open.insert(subgroup)
                }
            };
            subgroup
                .object(self.object, &Extensions::default(), line)
                .map_err(refused)?;
        }
        self.object += 1;
        if self.object == self.lines_per_group {
            self.close_group()?;
            self.group += 1;
            self.object = 0;
        }
        Ok(())
    }

    fn send(&self, line: Bytes) -> Result<(), CliError> {
        let datagram = ObjectDatagram {
            track_alias: TrackAlias(0),
            group: self.group,
            object: self.object,
            object_id_absent: self.object == 0,
            publisher_priority: self.priority,
            end_of_group: self.object + 1 == self.lines_per_group,
            extensions: Extensions::default(),
            body: DatagramBody::Payload(line),
        };
        self.writer.datagram(datagram).map_err(refused)
    }

    fn close_group(&mut self) -> Result<(), CliError> {
        self.open
            .take()
            .map_or(Ok(()), |open| open.finish().map_err(refused))
    }

    fn end(self) {
        self.writer
            .end(PublishDoneCode::TRACK_ENDED, "standard input has ended");
    }
}

fn refused(error: impl std::fmt::Display) -> CliError {
    CliError::Input {
        input: "standard input as a track".to_owned(),
        reason: plain(error),
    }
}

/// Cuts bytes into lines; a line end is `\n` or `\r\n`, and not part of the line.
struct Lines<R> {
    input: R,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line end.
    searched: usize,
    count: u64,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            buffer: BytesMut::new(),
            searched: 0,
            count: 0,
            ended: false,
        }
    }

    /// The next line; `None` at the end. Cancel safe.
    async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            if let Some(line) = self.read_before() {
                return Ok(Some(line));
            }
            if self.searched > MAX_LINE {
                return Err(CliError::LineTooLong {
                    line: self.count + 1,
                    size: self.searched,
                    limit: MAX_LINE,
                    next: "Publish shorter lines.",
                });
            }
            if self.ended {
                let rest = self.buffer.split();
                return Ok((!rest.is_empty()).then(|| self.line(rest)));
            }
            let read = self.input.read_buf(&mut self.buffer).await;
            let read = read.map_err(|error| CliError::from_read("standard input", &error))?;
            self.ended = read == 0;
        }
    }

    /// The next line, if its end was read already.
    fn read_before(&mut self) -> Option<Bytes> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at);
        self.buffer.advance(1);
        Some(self.line(line))
    }

    fn line(&mut self, line: BytesMut) -> Bytes {
        self.searched = 0;
        self.count += 1;
        let mut line = line.freeze();
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8]) -> Result<Vec<Bytes>, CliError> {
        let mut lines = Lines::new(input);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await? {
            found.push(line);
        }
        Ok(found)
    }

    #[tokio::test]
    async fn lines_are_cut_at_their_ends() {
        assert_eq!(lines(b"").await.unwrap(), Vec::<Bytes>::new());
        assert_eq!(
            lines(b"one\n\ntwo\r\nthree").await.unwrap(),
            ["one", "", "two", "three"]
        );
    }

    #[tokio::test]
    async fn a_line_in_pieces_is_one_line() {
        let (mut writer, reader) = tokio::io::duplex(2);
        let write = async {
            tokio::io::AsyncWriteExt::write_all(&mut writer, b"hello\nworld\n")
                .await
                .unwrap();
            drop(writer);
        };
        let mut lines = Lines::new(reader);
        let read = async {
            (
                lines.next().await.unwrap(),
                lines.next().await.unwrap(),
                lines.next().await.unwrap(),
            )
        };
        let ((), (one, two, none)) = tokio::join!(write, read);
        assert_eq!(
            (one.unwrap(), two.unwrap(), none),
            ("hello".into(), "world".into(), None)
        );
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let error = lines(&vec![b'x'; MAX_LINE + 1]).await.unwrap_err();
        assert!(
            error.to_string().starts_with("Line 1 has 1048577 bytes"),
            "{error}"
        );
    }
}
