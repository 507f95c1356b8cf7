//! `moqtail relay`: listen, and tell how to use it.

mod certificate;
mod listening;
mod server;
mod validity;

use std::{fmt::Write as _, net::SocketAddr};

use moqtail::{relay::RelayConfig, transport::TransportLimits};

pub(crate) use self::{certificate::CertificateSource, server::RelayServer};
use crate::{
    args::{RelayArgs, RelayOptions},
    config::{ConfigFile, Options as _},
    errors::{CliError, plain},
    logging::say,
    output, program,
    signals::Signals,
    values::{DEFAULT_PORT, Fingerprint, ListenAddr, Tolerance},
};

/// A test picture and a tone, encoded as live media that can be published as it is.
const TEST_SOURCE: &str = "ffmpeg -loglevel error -re -f lavfi -i testsrc2=size=640x360:rate=30 \
    -f lavfi -i sine=frequency=440:sample_rate=48000 -c:v libx264 -preset ultrafast -tune zerolatency \
    -pix_fmt yuv420p -g 30 -c:a aac";

/// Runs `moqtail relay`.
pub(crate) async fn run(
    args: RelayArgs,
    config: ConfigFile,
    signals: &mut Signals,
) -> Result<(), CliError> {
    let options = args.options.or(config.relay);
    let listen = match &options.listen {
        Some(listen) if listen.is_empty() => {
            return Err(CliError::Usage("`listen` names no address".to_owned()));
        }
        Some(listen) => listen.clone(),
        None => vec![ListenAddr::localhost(DEFAULT_PORT)],
    };
    let source = CertificateSource::new(&options, &listen)?;
    if args.check_config {
        if let Some(line) = source.check()? {
            say(line);
        }
        output::print("The configuration is good.\n");
        return Ok(());
    }
    let hangups = signals.take_hangups().map_err(|error| CliError::Start {
        reason: plain(error),
    })?;
    let config = relay_config(&options);
    let transport = transport_limits(&options, &config);
    let http = options.http.as_ref();
    let server = tokio::select! {
        bound = RelayServer::bind(&listen, http, source, config, transport) => bound?,
        // The name of an address may take long to be found.
        _ = signals.next() => return Ok(()),
    };
    output::print(&banner(&server));
    if let Some(short) = server.buffer_shortfall() {
        tracing::warn!("{}", buffer_line(short.asked, short.granted));
    }
    let signals = tokio::sync::Mutex::new(signals);
    let signal = || async {
        signals.lock().await.next().await;
    };
    server.run(hangups, signal(), signal()).await
}

/// What the options say about the relay itself.
fn relay_config(options: &RelayOptions) -> RelayConfig {
    let mut config = RelayConfig::default();
    config.tolerances = Tolerance::all(options.tolerate.as_deref());
    if let Some(count) = options.max_sessions {
        config.limits.max_sessions = usize::try_from(count.get()).unwrap_or(usize::MAX);
    }
    if let Some(count) = options.max_sessions_per_host {
        config.limits.max_sessions_per_host = usize::try_from(count.get()).unwrap_or(usize::MAX);
    }
    if let Some(size) = options.max_log_bytes {
        config.limits.max_log_bytes = size.in_memory();
    }
    if let Some(size) = options.max_track_bytes {
        config.track.max_bytes = size.in_memory();
    }
    if let Some(size) = options.lag_bytes {
        config.delivery.lag_bytes = size.bytes();
    }
    config
}

/// What the options say about its listeners, each of which takes all sessions of the relay.
fn transport_limits(options: &RelayOptions, relay: &RelayConfig) -> TransportLimits {
    let mut transport = TransportLimits::default();
    if let Some(congestion) = options.congestion {
        transport.congestion = congestion.into();
    }
    transport.connections = transport.connections.max(relay.limits.max_sessions);
    transport
}

/// One line per listener, then the commands to paste.
fn banner(server: &RelayServer) -> String {
    let mut text = String::new();
    let addresses = server.addresses();
    for address in &addresses {
        let _ = writeln!(
            text,
            "listening on {address} for MOQT draft 14 over QUIC and WebTransport (UDP)"
        );
    }
    for address in server.http_addresses() {
        let _ = writeln!(
            text,
            "listening on {address} for {}: /certificate.sha256 and /health (TCP)",
            server.http_scheme()
        );
    }
    let _ = writeln!(text, "{}", server.certificate_line());
    if let Some(address) = addresses.first() {
        let commands = Commands::new(*address, server.to_pin(*address));
        let _ = writeln!(text, "publish: {}", commands.publish("live/cam"));
        let _ = writeln!(text, "watch:   {}", commands.watch("live/cam"));
    }
    text
}

/// What to say of socket buffers that are smaller than wanted.
fn buffer_line(asked: usize, granted: usize) -> String {
    let next = match cfg!(target_os = "linux") {
        true => format!(
            "`sysctl -w net.core.rmem_max={asked} net.core.wmem_max={asked}`, then start again"
        ),
        false => "raise the system's limit for socket buffers, then start again".to_owned(),
    };
    let (asked, granted) = (asked >> 10, granted >> 10);
    format!(
        "The system grants UDP sockets {granted} KiB of buffer where {asked} KiB are wanted: with many viewers packets are lost. \
         To change it: {next}."
    )
}

/// Commands to paste into another terminal.
pub(crate) struct Commands {
    program: String,
    authority: String,
    trust: String,
}

impl Commands {
    /// Commands for a relay at `address`, which name the fingerprint that a client has to be told.
    pub(crate) fn new(address: SocketAddr, to_pin: Option<Fingerprint>) -> Self {
        Self {
            program: program::name(),
            authority: match server::is_here(address) {
                true => format!("localhost:{}", address.port()),
                false => address.to_string(),
            },
            trust: to_pin.map_or_else(String::new, |pin| format!(" --fingerprint {pin}")),
        }
    }

    /// Host and port of the relay.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Publishes a test picture with ffmpeg.
    pub(crate) fn publish(&self, broadcast: &str) -> String {
        let Self {
            program,
            authority,
            trust,
        } = self;
        format!(
            "{TEST_SOURCE} {} - | {program} publish https://{authority} {broadcast} -{trust}",
            moqtail_media::FFMPEG_FLAGS
        )
    }

    /// Plays a broadcast with ffplay.
    pub(crate) fn watch(&self, broadcast: &str) -> String {
        let Self {
            program,
            authority,
            trust,
        } = self;
        format!("{program} subscribe moqt://{authority} {broadcast} --out -{trust} | ffplay -")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        args::{self, Cli, Command},
        values::HttpAddr,
    };

    fn options(flags: &str) -> RelayOptions {
        let line = format!("moqtail relay {flags}");
        match args::parse(line.split_whitespace().map(Into::into)) {
            Ok(Cli {
                command: Command::Relay(args),
                ..
            }) => args.options,
            other => panic!("expected relay, got {other:?}"),
        }
    }

    fn configured(flags: &str) -> RelayConfig {
        relay_config(&options(flags))
    }

    #[test]
    fn a_listener_has_room_for_all_sessions_of_its_relay() {
        let limits = |flags| {
            let relay = configured(flags);
            let transport = transport_limits(&options(flags), &relay);
            (relay.limits.max_sessions, transport.connections)
        };
        assert_eq!(limits(""), (10_000, 16_384));
        assert_eq!(limits("--max-sessions 5"), (5, 16_384));
        assert_eq!(limits("--max-sessions 50000"), (50_000, 50_000));
    }

    #[test]
    fn sizes_arrive_at_the_limits_that_they_name() {
        let sizes = |config: RelayConfig| {
            (
                config.limits.max_log_bytes,
                config.track.max_bytes,
                config.delivery.lag_bytes,
            )
        };
        assert_eq!(
            sizes(configured(
                "--max-log-bytes 64M --max-track-bytes 8M --lag-bytes 512K"
            )),
            (64 << 20, 8 << 20, 512 << 10)
        );
        // What the help calls the defaults.
        assert_eq!(sizes(configured("")), (512 << 20, 48 << 20, 16 << 20));
    }

    #[test]
    fn small_socket_buffers_are_told_of_with_what_to_do() {
        let line = buffer_line(4 << 20, 208 << 10);
        assert!(line.contains("208 KiB of buffer where 4096 KiB"), "{line}");
        if cfg!(target_os = "linux") {
            assert!(line.contains("net.core.rmem_max=4194304"), "{line}");
        }
    }

    /// Nor is what a first try on one machine shows.
    #[tokio::test]
    async fn listeners_on_this_machine_are_not_told_of() {
        let mut transport = TransportLimits::default();
        transport.socket_buffer = 1 << 30;
        for (address, told) in [("localhost:0", false), ("0.0.0.0:0", true)] {
            let listen = [address.parse().unwrap()];
            let source = CertificateSource::Generated(Vec::new());
            let (relay, http) = (RelayConfig::default(), Some(&HttpAddr::Off));
            let server = RelayServer::bind(&listen, http, source, relay, transport.clone()).await;
            assert_eq!(
                server.unwrap().buffer_shortfall().is_some(),
                told,
                "{address}"
            );
        }
    }

    /// After that day clients that were given the fingerprint are turned away.
    #[tokio::test]
    async fn the_banner_names_the_day_on_which_the_fingerprint_changes() {
        let listen = [ListenAddr::localhost(0)];
        let source = CertificateSource::Generated(Vec::new());
        let (relay, transport) = (RelayConfig::default(), TransportLimits::default());
        let http = Some(&HttpAddr::Off);
        let server = RelayServer::bind(&listen, http, source, relay, transport).await;
        let server = server.unwrap();
        let text = banner(&server);
        let date = validity::date(server.renewed_at().unwrap());
        assert!(
            text.contains(&format!("(SHA-256), until {date}; `--cert`")),
            "{text}"
        );
    }

    #[test]
    fn commands_name_this_machine_or_an_address_and_what_to_pin() {
        for address in ["127.0.0.1:5", "[::1]:5", "0.0.0.0:5", "[::]:5"] {
            let watch = Commands::new(address.parse().unwrap(), None).watch("live/cam");
            assert!(
                watch.ends_with("subscribe moqt://localhost:5 live/cam --out - | ffplay -"),
                "{watch}"
            );
        }
        let pin = Some(Fingerprint([1; 32]));
        let watch = Commands::new("192.0.2.1:5".parse().unwrap(), pin).watch("a");
        let end = format!(
            "moqt://192.0.2.1:5 a --out - --fingerprint {} | ffplay -",
            "01".repeat(32)
        );
        assert!(watch.ends_with(&end), "{watch}");
    }

    /// They are for pasting: where nobody gives the fingerprint out at the port of the URL, it has to be in them.
    #[tokio::test]
    async fn commands_need_no_fingerprint_where_the_port_of_the_url_tells_it() {
        for (http, is_told) in [
            (None, true),
            (Some(HttpAddr::Off), false),
            (Some(HttpAddr::At(ListenAddr::localhost(0))), false),
        ] {
            let listen = [ListenAddr::localhost(0)];
            let source = CertificateSource::Generated(Vec::new());
            let (relay, transport) = (RelayConfig::default(), TransportLimits::default());
            let server = RelayServer::bind(&listen, http.as_ref(), source, relay, transport).await;
            let server = server.unwrap();
            let pin = format!("--fingerprint {}", server.fingerprint());
            let text = banner(&server);
            let pinned = text.lines().filter(|line| line.contains(&pin)).count();
            assert_eq!(pinned, if is_told { 0 } else { 2 }, "{http:?}: {text}");
        }
    }
}
