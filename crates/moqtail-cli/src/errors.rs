//! What can go wrong, as one line each: the cause, then what to do about it.

use std::{io, path::PathBuf};

/// Process exit code for a command that did what it was asked.
pub(crate) const DONE: u8 = 0;
/// Process exit code for a command that failed.
pub(crate) const FAILED: u8 = 1;
/// Process exit code for arguments, environment or configuration that cannot be used.
pub(crate) const USAGE: u8 = 2;

/// A failure of the command. `Display` is one line of two sentences: the cause and the next step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Arguments that contradict each other or a value that cannot be read.
    #[error("{0}.")]
    Usage(String),
    /// The configuration file cannot be used.
    #[error("Configuration {path}: {reason}. Correct the file or leave `--config` out.")]
    Config { path: PathBuf, reason: String },
    /// A listener's UDP or TCP port is taken.
    #[error(
        "{protocol} port {address} is in use. Stop the other program, or choose a port with `{option}`."
    )]
    PortInUse {
        protocol: &'static str,
        address: String,
        option: &'static str,
    },
    /// This user may not take that port.
    #[error(
        "Cannot listen on {address}: {reason}. Ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose another port with `{option}`."
    )]
    Privileged {
        address: String,
        reason: String,
        option: &'static str,
    },
    /// A listener cannot be opened for any other reason.
    #[error(
        "Cannot listen on {address}: {reason}. Choose an address of this machine with `{option}`."
    )]
    Listen {
        address: String,
        reason: String,
        option: &'static str,
    },
    /// A PEM file of the relay or the client cannot be used.
    #[error("Cannot use {path}: {reason}. Give {wanted}.")]
    Pem {
        path: PathBuf,
        reason: String,
        wanted: &'static str,
    },

    /// The host name has no address.
    #[error("No address found for {host}: {reason}. Check the host name in the URL.")]
    Resolve { host: String, reason: String },
    /// Nothing answered, so there is no relay or not on that port.
    #[error(
        "No relay answers at {authority} over UDP. Start one with `moqtail relay`, or check host and port."
    )]
    NoRelay { authority: String },
    /// There is a relay, and it refuses connections.
    #[error(
        "The relay at {authority} takes no more sessions now: it is full, or about to end. Try again later, or use another relay."
    )]
    Busy { authority: String },
    /// The relay's certificate was not accepted.
    #[error("The certificate of {authority} is not trusted: {reason}. {next}")]
    Certificate {
        authority: String,
        reason: String,
        next: &'static str,
    },
    /// The server speaks QUIC but none of our application protocols.
    #[error(
        "The server at {authority} does not speak MOQT draft 14 (ALPN {alpn} refused). Check the port, or try {other}."
    )]
    Alpn {
        authority: String,
        alpn: &'static str,
        other: &'static str,
    },
    /// The HTTP/3 server answered the WebTransport request with an error.
    #[error(
        "The server at {authority} refused WebTransport: {reason}. Check the path of the URL, or try moqt:// for raw QUIC."
    )]
    WebTransport { authority: String, reason: String },
    /// The same with one that may pass.
    #[error(
        "The server at {authority} cannot take the WebTransport session now: HTTP status {status}. Try again later, or use another relay."
    )]
    Unable { authority: String, status: u16 },
    /// The relay ended the session on purpose.
    #[error("The relay at {authority} ended the session: {reason}. {next}")]
    SessionEnded {
        authority: String,
        reason: String,
        next: &'static str,
    },
    /// This side ended the session, because of what the relay sent or did not send.
    #[error(
        "The relay at {authority} does not keep to MOQT draft 14: {reason}. Use another relay, or tell its operator."
    )]
    SessionClosed { authority: String, reason: String },
    /// There is no descriptor for another socket.
    #[error(
        "Cannot open a socket for {authority}: {reason}. Raise the limit of open files (`ulimit -n`), or make fewer connections."
    )]
    NoDescriptor { authority: String, reason: String },
    /// A connection failed in a way that has no more precise line.
    #[error("Cannot connect to {authority}: {reason}. Run again with `-v` to see more.")]
    Connect { authority: String, reason: String },

    /// No publisher has announced the broadcast, and waiting was ruled out.
    #[error(
        "Broadcast {broadcast} not found at {authority}{or_lacks}. Start its publisher, or leave `--no-wait` out to wait for it."
    )]
    NotFound {
        broadcast: String,
        authority: String,
        /// What else may be the cause.
        or_lacks: String,
    },
    /// A subscription was neither accepted nor refused in time, and waiting was ruled out.
    #[error(
        "Nobody answers for {track} at {authority}. Check its publisher and the relay, or leave `--no-wait` out to wait."
    )]
    Unanswered { track: String, authority: String },
    /// The relay refused a subscription or a publication for good.
    #[error("The relay at {authority} refused {what}: {reason}. {next}")]
    Refused {
        authority: String,
        what: String,
        reason: String,
        next: &'static str,
    },
    /// The broadcast has no track that was asked for.
    #[error("Broadcast {broadcast} has no track {track}. It has: {available}.")]
    NoSuchTrack {
        broadcast: String,
        track: String,
        available: String,
    },
    /// The broadcast's catalog or media cannot be used.
    #[error("Cannot play {broadcast}: {reason}. {next}")]
    Unplayable {
        broadcast: String,
        reason: String,
        next: &'static str,
    },
    /// The objects of a track contradict each other.
    #[error(
        "The track {track} is malformed: {reason}. What came before is written; tell whoever publishes it."
    )]
    MalformedTrack { track: String, reason: String },
    /// The other side ended a subscription before the track ended.
    #[error("The subscription to {track} ended: {reason}. {next}")]
    EndedEarly {
        track: String,
        reason: String,
        next: &'static str,
    },
    /// The same with objects that it had and did not send.
    #[error("The subscription to {track} was cut and objects are missing: {reason}. {next}")]
    Cut {
        track: String,
        reason: String,
        next: &'static str,
    },
    /// `--timeout` passed before what was asked for had come.
    #[error(
        "Only {received} came within {limit}. Check that the publisher is sending, or give a longer `--timeout`."
    )]
    TimedOut { received: String, limit: String },

    /// No object of a benchmark arrived.
    #[error(
        "Nothing came back from {authority}. Check with `moqtail subscribe` that it forwards at all, or run again with `-v`."
    )]
    NothingCame { authority: String },
    /// Subscriptions of a benchmark ended before it did.
    #[error(
        "{ended} of {subscribers} subscriptions ended before the benchmark did: {reason}. Make less load, or look at the relay's log."
    )]
    BenchCut {
        ended: usize,
        subscribers: usize,
        reason: String,
    },

    /// The result of a benchmark was lost.
    #[error(
        "The result cannot be written to standard output: {reason}. Check what reads it, then run it again."
    )]
    Unprinted { reason: String },

    /// The input cannot be read.
    #[error("Cannot read {input}: {reason}. Check the path and its permissions.")]
    Input { input: String, reason: String },
    /// The input is a pipe where a file is wanted.
    #[error(
        "{input} is a pipe, and a file is wanted there. Give `-` and redirect it: `moqtail publish URL BROADCAST - < {input}`."
    )]
    Pipe { input: String },
    /// The input ended before there was anything to publish.
    #[error("{input} ended before the first media fragment. Check the command that writes it.")]
    EmptyInput { input: String },
    /// The input is no MP4 that can be published.
    #[error("{input} cannot be published: {reason}. {next}")]
    NotMp4 {
        input: String,
        reason: String,
        next: &'static str,
    },
    /// An object does not fit where it should go.
    #[error("Line {line} has {size} bytes, more than {limit}. {next}")]
    LineTooLong {
        line: u64,
        size: usize,
        limit: usize,
        next: &'static str,
    },

    /// The disk of the output file is full.
    #[error("No space left for {output}. Free some space or write elsewhere with `--out`.")]
    DiskFull { output: String },
    /// The reader of the output went away.
    #[error(
        "The program reading {output} has closed it. Start that program again, or write to a file with `--out FILE`."
    )]
    ClosedPipe { output: String },
    /// The reader of the output has not taken what had come by the end of `--timeout`.
    #[error(
        "Not all that came in time is written: the reader of the output does not take it. Give a longer `--timeout`, or write to a file with `--out FILE`."
    )]
    Unread,
    /// The output cannot be written for any other reason.
    #[error("Cannot write {output}: {reason}. Check the path and its permissions.")]
    Output { output: String, reason: String },
    /// The runtime could not be set up.
    #[error("Cannot start: {reason}. Check the limits of this process (`ulimit -a`).")]
    Start { reason: String },
}

impl CliError {
    /// The exit code this failure ends the process with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config { .. } => USAGE,
            _ => FAILED,
        }
    }

    /// The failure of opening a listener on `address`.
    pub(crate) fn from_bind(
        protocol: &'static str,
        address: impl ToString,
        option: &'static str,
        error: &io::Error,
    ) -> Self {
        let address = address.to_string();
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse {
                protocol,
                address,
                option,
            },
            io::ErrorKind::PermissionDenied if is_privileged(&address) => Self::Privileged {
                address,
                reason: plain(error),
                option,
            },
            _ => Self::Listen {
                address,
                reason: plain(error),
                option,
            },
        }
    }

    /// The failure of writing to `output`.
    pub(crate) fn from_write(output: &str, error: &io::Error) -> Self {
        let output = output.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { output },
            io::ErrorKind::BrokenPipe => Self::ClosedPipe { output },
            _ => Self::Output {
                output,
                reason: plain(error),
            },
        }
    }

    /// The failure of reading `input`.
    pub(crate) fn from_read(input: &str, error: &io::Error) -> Self {
        Self::Input {
            input: input.to_owned(),
            reason: plain(error),
        }
    }
}

/// Whether a port is one of those that Linux gives to few.
fn is_privileged(address: &str) -> bool {
    let port = address.rsplit(':').next();
    let port = port.and_then(|port| port.parse::<u16>().ok());
    cfg!(target_os = "linux") && port.is_some_and(|port| port < 1024)
}

/// Whether this process or the machine has as many files open as it may.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    /// ENFILE and EMFILE, which all Unix systems number like this.
    const UNIX: [i32; 2] = [23, 24];
    cfg!(unix)
        && error
            .raw_os_error()
            .is_some_and(|code| UNIX.contains(&code))
}

/// A line with what would steer a terminal shown as code: peers may have written parts of it.
pub(crate) fn escaped(line: &str) -> String {
    let mut escaped = String::new();
    for letter in line.chars() {
        match letter.is_control() {
            true => escaped.extend(letter.escape_default()),
            false => escaped.push(letter),
        }
    }
    escaped
}

/// An error's text on one line without the final full stop, as a part of a sentence.
pub(crate) fn plain(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = escaped(&words);
    while line.ends_with('.') {
        line.pop();
    }
    line
}

/// Characters of a long line that are kept at its start and at its end.
const CLIP: (usize, usize) = (80, 160);

/// A line whose middle is left out where somebody passed something very long.
pub(crate) fn clipped(line: &str) -> String {
    let (start, end) = CLIP;
    let count = line.chars().count();
    if count <= start + end + 1 {
        return line.to_owned();
    }
    let head = line.chars().take(start);
    let tail = line.chars().skip(count - end);
    head.chain(['…']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_error_names_its_cause_and_the_next_step() {
        let full = CliError::from_write("film.mp4", &io::ErrorKind::StorageFull.into());
        assert_eq!(
            full.to_string(),
            "No space left for film.mp4. Free some space or write elsewhere with `--out`."
        );
        let closed = CliError::from_write("standard output", &io::ErrorKind::BrokenPipe.into());
        assert!(
            closed
                .to_string()
                .starts_with("The program reading standard output has closed it.")
        );
        assert_eq!(closed.exit_code(), FAILED);
    }

    #[test]
    fn a_taken_port_is_told_from_an_address_of_another_machine() {
        let taken = CliError::from_bind(
            "UDP",
            "127.0.0.1:4443",
            "--listen",
            &io::ErrorKind::AddrInUse.into(),
        );
        assert_eq!(
            taken.to_string(),
            "UDP port 127.0.0.1:4443 is in use. Stop the other program, or choose a port with `--listen`."
        );
        let foreign = CliError::from_bind(
            "UDP",
            "192.0.2.1:4443",
            "--listen",
            &io::ErrorKind::AddrNotAvailable.into(),
        );
        assert!(
            foreign
                .to_string()
                .starts_with("Cannot listen on 192.0.2.1:4443: ")
        );
    }

    #[test]
    fn a_port_that_this_user_may_not_take_is_told_with_what_is_missing() {
        let denied = io::ErrorKind::PermissionDenied.into();
        let error = CliError::from_bind("UDP", "127.0.0.1:443", "--listen", &denied).to_string();
        assert!(error.contains("CAP_NET_BIND_SERVICE"), "{error}");
    }

    #[test]
    fn what_the_user_wrote_wrongly_exits_with_2() {
        assert_eq!(CliError::Usage("no".to_owned()).exit_code(), USAGE);
        let config = CliError::Config {
            path: "a.toml".into(),
            reason: "no".to_owned(),
        };
        assert_eq!(config.exit_code(), USAGE);
    }

    #[test]
    fn a_long_line_keeps_its_ends() {
        assert_eq!(clipped("short"), "short");
        let long = clipped(&format!("begin {} end", "é".repeat(9000)));
        assert_eq!(long.chars().count(), 241);
        assert!(long.starts_with("begin ") && long.ends_with(" end"));
    }

    #[test]
    fn foreign_errors_become_part_of_one_line() {
        assert_eq!(
            plain("unknown field\n  at line 3.\n"),
            "unknown field at line 3"
        );
    }

    #[test]
    fn what_a_peer_wrote_steers_no_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Jb\u{9b}c\u{7} é"),
            "a\\u{1b}[2Jb\\u{9b}c\\u{7} é"
        );
    }
}
