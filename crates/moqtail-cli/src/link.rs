//! The way to a relay: whom to trust, connecting, waiting for it, and what went wrong.

mod roots;
mod trust;

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use moqtail::{
    client::{Client, ClientConfig, ConnectError, Farewell},
    model::SessionCode,
    session::Blame,
    transport::{self, CloseReason, MoqtUrl, Scheme, TransportKind, Trust},
};

use self::{
    roots::Roots,
    trust::{GIVE_FINGERPRINT, GIVE_TRUST, with_roots},
};
use crate::{
    backoff::{self, Backoff},
    client_options::ClientOptions,
    errors::{CliError, clipped, is_out_of_descriptors, plain},
    fingerprint::{self, FetchError},
    logging::say,
    values::Tolerance,
};

/// Longest time of one attempt where more follow.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Silence after which a packet is sent, and after which the relay counts as gone: what is live should not wait for long
/// for a relay that died without a word. One that is back with its key answers that packet with a reset.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(6);

/// Streams that a narrow link holds, and bytes unread on each.
const NARROW_STREAMS: u32 = 16;
const NARROW_WINDOW: u32 = 64 << 10;

/// A relay asks all its clients to leave at once: each goes at a time of its own within this. Together with the farewell
/// that is within the grace of our relay.
const SPREAD: Duration = Duration::from_millis(750);

/// How long a session that a relay asks to leave may take to end well, before the next one begins.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often a fetched fingerprint may fail in a row: a relay that starts anew has another certificate.
const STALE_FINGERPRINTS: u32 = 3;

/// What the file of `--ca` should hold.
const CA_WANTED: &str = "certificates in PEM form with `--ca`";

/// One relay, and how to get to it.
#[derive(Debug)]
pub(crate) struct Link {
    url: MoqtUrl,
    options: ClientOptions,
    wait: bool,
    quiet: bool,
    narrow: bool,
    roots: Roots,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// The session that was opened last.
    client: Option<Client>,
    /// When that was.
    opened: Option<Instant>,
    /// What comes before the next one if that one is short.
    backoff: Backoff,
    /// What was told of the end of the one before.
    end: String,
    /// Where a relay asked to go.
    moved: Option<MoqtUrl>,
    /// The turn is with the first URL, as there was no relay at the other.
    is_back: bool,
}

/// Whom to trust, and where that came from.
struct Trusted {
    trust: Trust,
    /// Asked from the relay on this machine just now.
    fetched: bool,
    /// Why it could not be asked.
    fetch_error: Option<String>,
    /// Why the system's roots, which count then, cannot be used.
    no_roots: Option<String>,
}

impl From<Trust> for Trusted {
    fn from(trust: Trust) -> Self {
        Self {
            trust,
            fetched: false,
            fetch_error: None,
            no_roots: None,
        }
    }
}

/// A failed attempt.
#[derive(Debug)]
struct Failure {
    error: CliError,
    kind: FailureKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// A relay may come up.
    Waitable,
    /// The fingerprint may be that of a relay that just ended.
    Stale,
    /// Trying again changes nothing.
    Final,
}

impl Link {
    /// The relay at `url`. With `wait` it is waited for while it cannot be reached.
    pub(crate) fn new(url: &str, options: ClientOptions, wait: bool) -> Result<Self, CliError> {
        let url = url.parse().map_err(|error| {
            let line = format!("`{url}` is no URL of a relay: {}", plain(error));
            CliError::Usage(format!(
                "{}. Write moqt://HOST:PORT or https://HOST:PORT",
                clipped(&line)
            ))
        })?;
        Ok(Self {
            url,
            options,
            wait,
            quiet: false,
            narrow: false,
            roots: Roots::default(),
            current: Mutex::default(),
        })
    }

    /// The same without telling the person at the terminal about waiting and connecting.
    pub(crate) fn quiet(self) -> Self {
        Self {
            quiet: true,
            ..self
        }
    }

    /// The same with a transport that takes about a megabyte ahead of its reader and not hundreds, so that a reader who is
    /// slow is slow to the relay, too.
    pub(crate) fn narrow(self) -> Self {
        Self {
            narrow: true,
            ..self
        }
    }

    /// Tells the person at the terminal.
    pub(crate) fn tell(&self, line: impl std::fmt::Display) {
        match self.quiet {
            true => tracing::debug!("{line}"),
            false => say(line),
        }
    }

    /// Host and port of the relay whose turn it is, as errors name it.
    pub(crate) fn authority(&self) -> String {
        self.target().authority().to_owned()
    }

    /// Where the next attempt goes, and where the session is.
    fn target(&self) -> MoqtUrl {
        let current = self.current();
        match &current.moved {
            Some(moved) if !current.is_back => moved.clone(),
            _ => self.url.clone(),
        }
    }

    /// The URL that was given.
    pub(crate) fn url(&self) -> &MoqtUrl {
        &self.url
    }

    /// Flags by which another program trusts the same relays; each with a space before it.
    pub(crate) fn trust_flags(&self) -> String {
        self.options.trust_flags()
    }

    /// Connects, or waits and tries again where that can help. Cancel safe.
    pub(crate) async fn connect(&self) -> Result<Client, CliError> {
        let (mut backoff, opened) = {
            let current = self.current();
            (current.backoff.clone(), current.opened)
        };
        if let Some(opened) = opened {
            backoff.wait_after(opened.elapsed()).await;
        }
        let mut told: Vec<String> = Vec::new();
        let mut stale = 0;
        loop {
            let Failure { error, kind } = match self.attempt().await {
                Ok(client) => {
                    if !told.is_empty() {
                        self.tell(format_args!("Connected to {}.", self.authority()));
                    }
                    self.arrived(&client, backoff);
                    tracing::info!(
                        relay = %self.authority(),
                        transport = transport_name(client.transport()),
                        "connected, MOQT draft 14"
                    );
                    return Ok(client);
                }
                Err(failure) => failure,
            };
            stale = if kind == FailureKind::Stale {
                stale + 1
            } else {
                0
            };
            let final_now = kind == FailureKind::Final || stale > STALE_FINGERPRINTS;
            if final_now && self.turn_back() {
                self.tell(format_args!("Going back to {}: {error}", self.authority()));
                stale = 0;
                backoff.wait().await;
                continue;
            }
            if final_now || (!self.wait && kind == FailureKind::Waitable) {
                return Err(error);
            }
            if kind == FailureKind::Waitable {
                let line = error.to_string();
                if !told.contains(&line) {
                    self.tell(format_args!("Waiting: {line}"));
                    // Of two relays in turn, each has its last line here.
                    told.truncate(1);
                    told.insert(0, line);
                }
                self.take_turns();
            }
            backoff.wait().await;
        }
    }

    /// A session was opened at the target.
    fn arrived(&self, client: &Client, backoff: Backoff) {
        let mut current = self.current();
        current.backoff = backoff;
        current.client = Some(client.clone());
        current.opened = Some(Instant::now());
        if std::mem::take(&mut current.is_back) {
            current.moved = None;
        }
    }

    /// A relay that was named by another one may be gone while that one is there.
    fn take_turns(&self) {
        let mut current = self.current();
        current.is_back = current.moved.is_some() && !current.is_back;
    }

    /// Gives up the relay that another one named, if the turn is with it: the first one may be all right.
    fn turn_back(&self) -> bool {
        let mut current = self.current();
        !current.is_back && current.moved.take().is_some()
    }

    /// Goes where a relay asked to go with GOAWAY.
    fn move_to(&self, uri: &str) {
        // draft-14 §9.4: a URI of zero bytes stands for the current one.
        if uri.is_empty() {
            return;
        }
        match uri.parse() {
            Ok(url) => self.current().moved = Some(url).filter(|url| *url != self.url),
            Err(error) => tracing::info!(
                uri = %clipped(uri),
                %error,
                "the relay asks to go where nobody can; connecting to it again"
            ),
        }
    }

    async fn attempt(&self) -> Result<Client, Failure> {
        let target = self.target();
        let mut trusted = self.trusted(&target).await?;
        let mut connected = Client::connect(&target, self.config(&trusted)).await;
        // It may be about to be written.
        if let Err(ConnectError::Transport(transport::ConnectError::Tls(error))) = &connected
            && let Trust::Roots(pem) = &trusted.trust
            && let Some(before) = self.roots.instead_of(pem)
        {
            tracing::info!(%error, "the file of --ca is of no use now; what it held before is");
            trusted.trust = Trust::Roots(before);
            connected = Client::connect(&target, self.config(&trusted)).await;
        }
        // A relay of this machine may come up, and tell its fingerprint then: without roots it cannot be trusted until it does.
        if let Err(ConnectError::Transport(transport::ConnectError::Tls(error))) = &connected
            && trusted.fetch_error.is_some()
        {
            trusted.no_roots = Some(plain(error));
            trusted.trust = Trust::Fingerprints(Vec::new());
            connected = Client::connect(&target, self.config(&trusted)).await;
        }
        if let (Ok(_), Trust::Roots(pem)) = (&connected, &trusted.trust) {
            self.roots.keep(pem);
        }
        connected.map_err(|error| self.failure(error, &trusted))
    }

    fn config(&self, trusted: &Trusted) -> ClientConfig {
        let mut config = ClientConfig::default().trust(trusted.trust.clone());
        config.tolerances = Tolerance::all(self.options.tolerate.as_deref());
        if let Some(congestion) = self.options.congestion {
            config.transport.congestion = congestion.into();
        }
        if self.narrow {
            config.transport.stream_window = NARROW_WINDOW;
            config.transport.initial_incoming_uni = NARROW_STREAMS;
            config.peer.publisher_streams = NARROW_STREAMS;
        }
        config.transport.keep_alive = KEEP_ALIVE;
        config.transport.idle_timeout = IDLE;
        if self.wait {
            config.transport.connect_timeout = ATTEMPT;
        }
        config
    }

    async fn trusted(&self, target: &MoqtUrl) -> Result<Trusted, Failure> {
        if self.options.insecure == Some(true) {
            return Ok(Trust::Insecure.into());
        }
        if let Some(fingerprint) = self.options.fingerprint {
            return Ok(Trust::Fingerprints(vec![fingerprint.0]).into());
        }
        if let Some(path) = &self.options.ca {
            let read = self.roots.read(path).await;
            let unreadable = |error| Failure::last(self.unusable_trust(plain(error)));
            return read.map(|pem| Trust::Roots(pem).into()).map_err(unreadable);
        }
        if !fingerprint::is_loopback(target.host()) {
            return Ok(Trust::System.into());
        }
        match fingerprint::fetch(target.host(), target.port()).await {
            Ok(fingerprint) => Ok(Trusted {
                fetched: true,
                ..Trust::Fingerprints(vec![fingerprint.0]).into()
            }),
            Err(FetchError::NoDescriptor(error)) => Err(self.no_descriptor(&error)),
            Err(error) => Ok(Trusted {
                fetch_error: Some(error.to_string()),
                ..Trust::System.into()
            }),
        }
    }

    fn failure(&self, error: ConnectError, trusted: &Trusted) -> Failure {
        let authority = self.authority();
        match error {
            ConnectError::Setup(reason) => self.session_failure(&reason),
            ConnectError::Violation { code, reason } => Failure {
                error: self.broken(code, &reason),
                kind: match is_final_code(code) {
                    true => FailureKind::Final,
                    false => FailureKind::Waitable,
                },
            },
            ConnectError::Transport(error) => self.transport_failure(error, trusted),
            error => Failure::last(CliError::Connect {
                authority,
                reason: plain(error),
            }),
        }
    }

    fn transport_failure(&self, error: transport::ConnectError, trusted: &Trusted) -> Failure {
        use transport::ConnectError as E;
        let authority = self.authority();
        let text = plain(&error);
        match error {
            E::Refused(_) | E::Timeout { .. } => Failure::waitable(CliError::NoRelay { authority }),
            E::Busy(_) => Failure::waitable(CliError::Busy { authority }),
            E::Resolve { host, reason } => Failure::waitable(CliError::Resolve {
                host,
                reason: plain(reason),
            }),
            E::Untrusted { reason, .. } => self.untrusted(&reason, trusted),
            E::Socket(error) if is_out_of_descriptors(&error) => self.no_descriptor(&error),
            E::Protocol { alpn, .. } => {
                let other = match self.target().scheme() {
                    Scheme::Moqt => "https:// for WebTransport",
                    Scheme::Https => "moqt:// for raw QUIC",
                };
                Failure::last(CliError::Alpn {
                    authority,
                    alpn,
                    other,
                })
            }
            // RFC 9110 §15.6, RFC 6585 §4: what the server cannot do now, or not for so many.
            E::Rejected {
                status: status @ (429 | 500..=599),
            } => Failure::waitable(CliError::Unable { authority, status }),
            E::Rejected { .. } | E::WebTransport(_) => Failure::last(CliError::WebTransport {
                authority,
                reason: text,
            }),
            E::Handshake { reason, .. } => Failure::waitable(CliError::Connect {
                authority,
                reason: plain(reason),
            }),
            E::Tls(error) => Failure::last(self.unusable_trust(plain(error))),
            _ => Failure::last(CliError::Connect {
                authority,
                reason: text,
            }),
        }
    }

    /// Others may close theirs. One of a crowd waits for that in vain, and does not say so.
    fn no_descriptor(&self, error: &io::Error) -> Failure {
        let error = CliError::NoDescriptor {
            authority: self.authority(),
            reason: plain(error),
        };
        match self.quiet {
            true => Failure::last(error),
            false => Failure::waitable(error),
        }
    }

    /// What to say when what is to be trusted cannot be used.
    fn unusable_trust(&self, reason: String) -> CliError {
        match &self.options.ca {
            Some(path) => CliError::Pem {
                path: path.clone(),
                reason,
                wanted: CA_WANTED,
            },
            None => CliError::Certificate {
                authority: self.authority(),
                reason,
                next: GIVE_TRUST,
            },
        }
    }

    fn untrusted(&self, reason: &str, trusted: &Trusted) -> Failure {
        let authority = self.authority();
        let (reason, next) = match (&trusted.trust, &trusted.fetch_error) {
            (_, Some(fetch)) => {
                let reason = trusted.no_roots.as_deref().unwrap_or(reason);
                (
                    format!("{}, and {}", plain(reason), plain(fetch)),
                    GIVE_TRUST,
                )
            }
            (Trust::Fingerprints(_), None) => (
                "its SHA-256 is not the expected one".to_owned(),
                GIVE_FINGERPRINT,
            ),
            (Trust::Roots(_), None) => (plain(reason), with_roots(reason)),
            (_, None) => (plain(reason), GIVE_TRUST),
        };
        let error = CliError::Certificate {
            authority,
            reason,
            next,
        };
        // Between asking for the fingerprint and using it, a relay may have come or gone.
        let local = trusted.fetched || trusted.fetch_error.is_some();
        Failure {
            error,
            kind: if local {
                FailureKind::Stale
            } else {
                FailureKind::Final
            },
        }
    }

    fn session_failure(&self, reason: &CloseReason) -> Failure {
        let error = self.session_ended(reason, None);
        match is_final(reason) {
            true => Failure::last(error),
            false => Failure::waitable(error),
        }
    }

    /// What to say when this side ended a session because of the relay.
    fn broken(&self, code: SessionCode, reason: &str) -> CliError {
        CliError::SessionClosed {
            authority: self.authority(),
            reason: format!("{code}, {}", plain(reason)),
        }
    }

    /// What to say when a session ended that should not have; `blame` as the client tells it.
    pub(crate) fn session_ended(&self, reason: &CloseReason, blame: Option<Blame>) -> CliError {
        let authority = self.authority();
        let (reason, next) = match reason {
            CloseReason::Peer { code, reason } => {
                let code = SessionCode(u64::from(*code));
                let text = match reason.is_empty() {
                    true => code.to_string(),
                    false => format!("{code}, {}", plain(reason)),
                };
                (text, advice(code))
            }
            CloseReason::Local { code, reason } if blame == Some(Blame::Peer) => {
                return self.broken(SessionCode(u64::from(*code)), reason);
            }
            other => (plain(other), "Check the network, then run it again."),
        };
        CliError::SessionEnded {
            authority,
            reason,
            next,
        }
    }

    /// Waits until the session is over: its end, or that the relay asks to leave (GOAWAY). `Ok`: connect again, which the
    /// person at the terminal is told.
    pub(crate) async fn over(&self, client: &Client) -> Result<(), CliError> {
        let line = self.left(client).await?;
        self.tell_end(line);
        Ok(())
    }

    /// Tells why the session has ended, unless one after the other ends at once and for the same reason.
    pub(crate) fn tell_end(&self, line: String) {
        let mut current = self.current();
        let lasted = current.opened.map(|opened| opened.elapsed());
        let is_short = lasted.is_some_and(|lasted| lasted < Backoff::LASTING);
        let before = std::mem::replace(&mut current.end, line.clone());
        drop(current);
        match is_short && before == line {
            true => tracing::debug!("{line}"),
            false => self.tell(line),
        }
    }

    /// The same without telling, for those that may not have to connect again. `Ok`: the line to tell if they do.
    pub(crate) async fn left(&self, client: &Client) -> Result<String, CliError> {
        tokio::select! {
            reason = client.closed() => {
                tracing::info!(%reason, "the session has ended");
                let error = self.session_ended(&reason, client.blame());
                match self.may_reconnect(&reason) {
                    true => Ok(format!("Connecting again: {error}")),
                    false => Err(error),
                }
            }
            uri = client.goaway() => {
                let authority = self.authority();
                self.move_to(&uri);
                // What is under way in the session goes on meanwhile; where it ends first, the time is waited for all the same.
                sleep(backoff::up_to(SPREAD)).await;
                client.shutdown(FAREWELL).await;
                Ok(format!("Connecting again: the relay at {authority} is going away."))
            }
        }
    }

    /// Whether there is a session, and it is not over.
    pub(crate) fn is_open(&self) -> bool {
        let client = self.current().client.clone();
        client.is_some_and(|client| client.closed().now_or_never().is_none())
    }

    /// Waits until what was published in the session, if there is one, has arrived, or the session is over.
    pub(crate) async fn delivered(&self) {
        let client = self.current().client.clone();
        if let Some(client) = client {
            let _ = client.delivered().await;
        }
    }

    /// Ends the session, if there is one; what was published in it has `grace` to arrive. Tells whether it did.
    pub(crate) async fn leave(&self, grace: Duration) -> Option<Farewell> {
        let client = self.current().client.take()?;
        Some(client.shutdown(grace).await)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session that ended this way may be opened again.
    fn may_reconnect(&self, reason: &CloseReason) -> bool {
        self.wait && !is_final(reason)
    }
}

impl Failure {
    fn last(error: CliError) -> Self {
        Self {
            error,
            kind: FailureKind::Final,
        }
    }

    fn waitable(error: CliError) -> Self {
        Self {
            error,
            kind: FailureKind::Waitable,
        }
    }
}

/// Whether the next attempt would end the same way.
fn is_final(reason: &CloseReason) -> bool {
    let (CloseReason::Peer { code, .. } | CloseReason::Local { code, .. }) = reason else {
        return false;
    };
    is_final_code(SessionCode(u64::from(*code)))
}

fn is_final_code(code: SessionCode) -> bool {
    matches!(
        code,
        SessionCode::UNAUTHORIZED
            | SessionCode::PROTOCOL_VIOLATION
            | SessionCode::INVALID_PATH
            | SessionCode::MALFORMED_PATH
            | SessionCode::INVALID_AUTHORITY
            | SessionCode::MALFORMED_AUTHORITY
            | SessionCode::VERSION_NEGOTIATION_FAILED
            | SessionCode::MALFORMED_AUTH_TOKEN
            | SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS
            | SessionCode::EXPIRED_AUTH_TOKEN
    )
}

fn advice(code: SessionCode) -> &'static str {
    match code {
        SessionCode::VERSION_NEGOTIATION_FAILED => "Use a relay that speaks MOQT draft 14.",
        SessionCode::INVALID_PATH | SessionCode::MALFORMED_PATH => "Check the path of the URL.",
        SessionCode::INVALID_AUTHORITY | SessionCode::MALFORMED_AUTHORITY => {
            "Check the host of the URL."
        }
        SessionCode::UNAUTHORIZED
        | SessionCode::MALFORMED_AUTH_TOKEN
        | SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS
        | SessionCode::EXPIRED_AUTH_TOKEN => "Ask the relay's operator for access.",
        SessionCode::NO_ERROR => "Run it again when the relay is back.",
        _ => "Run again with `-v` to see more.",
    }
}

/// A transport as people call it.
pub(crate) fn transport_name(kind: TransportKind) -> &'static str {
    match kind {
        TransportKind::Quic => "QUIC",
        TransportKind::WebTransport => "WebTransport",
        _ => "memory",
    }
}

#[cfg(test)]
mod tests;
