//! Where media comes from: a stream on standard input, a file played at its own speed, or the built-in sample.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufReader, Cursor, ErrorKind, Read, Seek},
    path::Path,
    time::Duration,
};

use moqtail_media::{Error, Event, Fmp4Reader, Fragment, Init, Mp4File};
use tokio::{
    io::AsyncReadExt as _,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use crate::{
    errors::{CliError, plain},
    logging::say,
};

/// Bytes read from standard input at a time.
const READ: usize = 64 * 1024;

/// Behind by more than this, playback goes on from here instead of hurrying after its schedule.
const MAX_LATE: Duration = Duration::from_secs(2);

/// A source of media: first its header, then fragments, each when it is due.
pub(crate) struct Input {
    name: String,
    source: Source,
}

enum Source {
    Stream(Box<Stream>),
    File(Paced),
}

struct Stream {
    reader: Option<Fmp4Reader>,
    stdin: tokio::io::Stdin,
    buffer: Vec<u8>,
    /// Nothing has come so far.
    is_empty: bool,
    ready: VecDeque<Fragment>,
}

struct Paced {
    file: Box<Mp4File<Box<dyn ReadSeek>>>,
    /// When playback time zero is; set by the first fragment.
    start: Option<Instant>,
    next: Option<(Fragment, Duration)>,
}

trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

impl Input {
    /// Opens `path`; `-` is standard input. Waits until header and first fragment are in.
    pub(crate) async fn open(path: &Path, repeat: bool) -> Result<(Self, Init), CliError> {
        if path == Path::new("-") {
            return Self::stdin().await;
        }
        let (name, path) = (path.display().to_string(), path.to_owned());
        let opened = spawn_blocking({
            let name = name.clone();
            move || Self::open_file(name, &path, repeat)
        });
        opened.await.unwrap_or_else(|error| {
            Err(CliError::Input {
                input: name,
                reason: plain(error),
            })
        })
    }

    /// Opens a file and reads its first fragment, for which it may wait.
    fn open_file(name: String, path: &Path, repeat: bool) -> Result<(Self, Init), CliError> {
        // A pipe is not opened: that waits until somebody writes to it.
        if is_pipe(path) {
            return Err(CliError::Pipe { input: name });
        }
        let file = File::open(path).map_err(|error| CliError::from_read(&name, &error))?;
        Self::file(name, Box::new(BufReader::new(file)), repeat)
    }

    /// The built-in sample, over and over.
    pub(crate) fn sample() -> Result<(Self, Init), CliError> {
        Self::file(
            "The sample".to_owned(),
            Box::new(Cursor::new(moqtail_media::sample())),
            true,
        )
    }

    async fn stdin() -> Result<(Self, Init), CliError> {
        let name = "Standard input".to_owned();
        let mut stream = Stream {
            reader: Some(Fmp4Reader::new()),
            stdin: tokio::io::stdin(),
            buffer: vec![0; READ],
            is_empty: true,
            ready: VecDeque::new(),
        };
        // What its first fragment shows is known before anything is published.
        let mut header = None;
        while stream.ready.is_empty() {
            let (init, more) = stream.read(&name).await?;
            header = header.or(init);
            if !more && stream.ready.is_empty() {
                return Err(CliError::EmptyInput { input: name });
            }
        }
        let Some(init) = header else {
            return Err(CliError::EmptyInput { input: name });
        };
        let source = Source::Stream(Box::new(stream));
        Ok((Self { name, source }, init))
    }

    fn file(name: String, file: Box<dyn ReadSeek>, repeat: bool) -> Result<(Self, Init), CliError> {
        let mut file = Mp4File::open(file)
            .map_err(|error| refused_file(&name, &error))?
            .repeating(repeat);
        let init = file.init().clone();
        // What its first fragment shows is known before anything is published.
        let first = file
            .next_fragment()
            .map_err(|error| refused_file(&name, &error))?;
        let paced = Paced {
            file: Box::new(file),
            start: None,
            next: first.map(|timed| (timed.fragment, timed.time)),
        };
        Ok((
            Self {
                name,
                source: Source::File(paced),
            },
            init,
        ))
    }

    /// Waits for the next fragment; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Fragment>, CliError> {
        match &mut self.source {
            Source::Stream(stream) => loop {
                if let Some(fragment) = stream.ready.pop_front() {
                    return Ok(Some(fragment));
                }
                if !stream.read(&self.name).await?.1 {
                    return Ok(stream.ready.pop_front());
                }
            },
            Source::File(paced) => paced.next(&self.name).await,
        }
    }

    /// A fragment that was read whole from a stream and not asked for yet. A file is not read ahead of its time.
    pub(super) fn read_before(&mut self) -> Option<Fragment> {
        match &mut self.source {
            Source::Stream(stream) => stream.ready.pop_front(),
            Source::File(_) => None,
        }
    }
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Elsewhere pipes are no files.
#[cfg(not(unix))]
fn is_pipe(_path: &Path) -> bool {
    false
}

impl Stream {
    /// Reads once; tells the header if it came, and whether more can come.
    async fn read(&mut self, name: &str) -> Result<(Option<Init>, bool), CliError> {
        let Some(reader) = &mut self.reader else {
            return Ok((None, false));
        };
        let read = self.stdin.read(&mut self.buffer).await;
        let read = read.map_err(|error| CliError::from_read(name, &error))?;
        let mut init = None;
        let bytes = self.buffer.get(..read).unwrap_or_default();
        let parsed = reader.push(bytes).and_then(|()| {
            while let Some(event) = reader.next_event()? {
                match event {
                    Event::Init(found) => init = Some(found),
                    Event::Fragment(fragment) => self.ready.push_back(fragment),
                    _ => {}
                }
            }
            Ok(())
        });
        parsed.map_err(|error| refused(name, &error))?;
        self.is_empty &= read == 0;
        if read == 0
            && let Some(reader) = self.reader.take()
        {
            match reader.finish() {
                Err(_) if self.is_empty => {
                    let input = name.to_owned();
                    return Err(CliError::EmptyInput { input });
                }
                Ok(()) => {}
                // The program that writes was stopped: what is complete was published.
                Err(Error::Truncated { .. }) => say(
                    "The input ended in the middle of what was being written: the program that writes it was stopped.",
                ),
                Err(error) => return Err(refused(name, &error)),
            }
        }
        Ok((init, read > 0))
    }
}

impl Paced {
    async fn next(&mut self, name: &str) -> Result<Option<Fragment>, CliError> {
        if self.next.is_none() {
            let timed = self
                .file
                .next_fragment()
                .map_err(|error| refused_file(name, &error))?;
            self.next = timed.map(|timed| (timed.fragment, timed.time));
        }
        let Some((_, time)) = &self.next else {
            return Ok(None);
        };
        let now = Instant::now();
        let mut due = *self.start.get_or_insert(now) + *time;
        if now > due + MAX_LATE {
            self.start = now.checked_sub(*time);
            due = now;
        }
        sleep_until(due).await;
        Ok(self.next.take().map(|(fragment, _)| fragment))
    }
}

/// Next step for a pipe with media in a form that cannot be published.
const PIPE_ADVICE: &str = "Give a file instead of a pipe, or make ffmpeg write `-f mp4 -movflags \
    cmaf+separate_moof+delay_moov+skip_trailer+frag_every_frame`.";

/// The same for a file.
const FILE_ADVICE: &str = "Make an ordinary MP4 of it with `ffmpeg -i INPUT film.mp4`, or pipe what ffmpeg writes with \
    `-f mp4 -movflags cmaf+separate_moof+delay_moov+skip_trailer+frag_every_frame`.";

/// What to say of a stream that the media library refused.
fn refused(input: &str, error: &Error) -> CliError {
    refusal(input, error, PIPE_ADVICE)
}

/// What to say of a file that the media library refused.
fn refused_file(input: &str, error: &Error) -> CliError {
    refusal(input, error, FILE_ADVICE)
}

fn refusal(input: &str, error: &Error, advice: &'static str) -> CliError {
    let input = input.to_owned();
    match error {
        Error::Unsuitable(why) => CliError::NotMp4 {
            input,
            reason: plain(why),
            next: advice,
        },
        Error::Io(error) if error.kind() == ErrorKind::NotSeekable => CliError::Pipe { input },
        Error::Io(error) => CliError::from_read(&input, error),
        Error::Truncated { .. } => CliError::NotMp4 {
            input,
            reason: plain(error),
            next: "Get the rest of it, or publish another input.",
        },
        error => CliError::NotMp4 {
            input,
            reason: plain(error),
            next: "Convert it with ffmpeg, or publish another input.",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_for_an_unsuitable_input_is_what_the_reader_accepts() {
        let error = Error::Unsuitable(moqtail_media::Unsuitable::NotFragmented);
        for refused in [refused, refused_file] {
            let line = refused("Standard input", &error).to_string();
            assert!(line.contains(moqtail_media::FFMPEG_FLAGS), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_not_to_be_converted() {
        let cut = Cursor::new(&moqtail_media::sample()[..2000]);
        let refused = Input::file("film.mp4".to_owned(), Box::new(cut), false);
        let line = refused.err().unwrap().to_string();
        assert!(
            line.contains("the input ended inside a `moov` box"),
            "{line}"
        );
        assert!(
            line.ends_with("Get the rest of it, or publish another input."),
            "{line}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_plays_at_its_own_speed() {
        let (mut input, init) = Input::sample().unwrap();
        assert_eq!(init.tracks.len(), 2);
        let begin = Instant::now();
        let video = init.tracks[0].id;
        let mut frames = 0;
        while begin.elapsed() < Duration::from_secs(10) {
            let fragment = input.next().await.unwrap().unwrap();
            frames += usize::from(fragment.track_id == video);
        }
        assert!(
            (299..=302).contains(&frames),
            "{frames} frames in 10 s of 30 frames/s"
        );
    }

    #[tokio::test]
    async fn a_file_that_is_missing_or_no_media_is_told() {
        let error = Input::open(Path::new("/nonexistent.mp4"), false)
            .await
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("Cannot read /nonexistent.mp4: "),
            "{error}"
        );
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = Input::open(&manifest, false).await.err().unwrap();
        assert!(error.to_string().contains("it is not MP4 but"), "{error}");
    }
}
