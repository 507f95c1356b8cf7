//! The command line. The option structs are the tables of the configuration file as well, see `config.rs`.

use std::{
    ffi::OsString,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
};

use clap::{
    ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::ValueParser, parser::ValueSource,
};
use moqtail::model::TrackNamespace;
use serde::Deserialize;

use crate::{
    bench::options::BenchOptions,
    client_options::ClientOptions,
    errors::{CliError, clipped, plain},
    names,
    values::{Congestion, FilterArg, HttpAddr, ListenAddr, Size, Span, Tolerance},
};

const EXAMPLES: &str = "\
Start here:
  moqtail demo                                          a relay, a publisher and a viewer in one program

Three terminals:
  moqtail relay                                         a relay on localhost:4443
  moqtail publish https://localhost:4443 live/film film.mp4 --loop
  moqtail subscribe moqt://localhost:4443 live/film --out - | ffplay -

A URL is https:// for WebTransport or moqt:// for raw QUIC; both reach the same UDP port.
Options can also be set by MOQTAIL_<OPTION> in the environment or in a TOML file (--config), in this order; those of demo
and of the load of bench cannot.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

const PUBLISH_EXAMPLES: &str = "\
Examples:
  moqtail publish https://localhost:4443 live/film film.mp4 --loop
  ffmpeg -i INPUT -c copy -f mp4 -movflags cmaf+separate_moof+delay_moov+skip_trailer+frag_every_frame - \\
    | moqtail publish https://localhost:4443 live/cam -
  vmstat -n 1 | moqtail publish moqt://localhost:4443 site/7 --lines --track load";

const SUBSCRIBE_EXAMPLES: &str = "\
Examples:
  moqtail subscribe moqt://localhost:4443 live/cam --out - | ffplay -
  moqtail subscribe https://localhost:4443 live/cam --out recording.mp4
  moqtail subscribe moqt://localhost:4443 site/7 --track load --format jsonl --count 10
  moqtail subscribe moqt://localhost:4443 site/7 --track load --filter next-group --timeout 1m";

const BENCH_EXAMPLES: &str = "\
Examples:
  moqtail bench moqt://localhost:4443 --relay-pid $(pidof moqtail)
  moqtail bench https://localhost:4443 -n 50 --size 10000 --rate 30 --groups-per-second 1
  moqtail bench moqt://localhost:4443 -n 100 --size 120 --rate 50 --datagrams --json
  moqtail bench moqt://localhost:4443 --size 10000 --saturate

A publisher sends objects through the relay to all subscribers. Latency runs from the call that publishes an object to the
one that hands it out; between programs of two machines it is as good as their clocks. Exit code 0 also with losses, which
are counted; 1 when subscriptions ended early or nothing came.";

/// Media over QUIC: relay, publish and watch live broadcasts (MOQT draft 14).
#[derive(Debug, Parser)]
#[command(
    name = "moqtail",
    version,
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    disable_help_flag = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Place in the help of what every command has: below its own options.
const LAST: usize = 900;

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalOptions {
    /// Log more on standard error: -v what happens, -vv messages, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = LAST)]
    pub(crate) verbose: u8,
    /// Read options from this TOML file (tables: relay, client, publish, subscribe)
    #[arg(
        long,
        global = true,
        env = "MOQTAIL_CONFIG",
        value_name = "FILE",
        display_order = LAST
    )]
    pub(crate) config: Option<PathBuf>,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::HelpShort, display_order = LAST)]
    help: Option<bool>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a relay that publishers and viewers connect to
    Relay(RelayArgs),
    /// Publish media or lines of text to a relay
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(PublishArgs),
    /// Receive a broadcast or a track from a relay
    #[command(after_help = SUBSCRIBE_EXAMPLES)]
    Subscribe(SubscribeArgs),
    /// Run a relay, a looping sample broadcast and a viewer, and show what passes
    Demo(DemoArgs),
    /// Make load for a relay and measure delivery, losses and what the relay uses
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
}

impl Command {
    /// How it speaks with a relay that it is told of.
    fn client(&mut self) -> Option<&mut ClientOptions> {
        match self {
            Self::Publish(args) => Some(&mut args.client),
            Self::Subscribe(args) => Some(&mut args.client),
            Self::Bench(args) => Some(&mut args.client),
            Self::Relay(_) | Self::Demo(_) => None,
        }
    }
}

/// Arguments of `moqtail relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) options: RelayOptions,
    /// Check arguments, environment, configuration file and certificate, then exit
    #[arg(long)]
    pub(crate) check_config: bool,
}

/// Options of `moqtail relay`, and the table `[relay]`.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RelayOptions {
    /// Where to listen for QUIC and WebTransport (UDP); may be given several times [default: localhost:4443]
    #[arg(
        long,
        env = "MOQTAIL_LISTEN",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub(crate) listen: Option<Vec<ListenAddr>>,
    /// Certificate chain (PEM), reloaded when the file changes [default: a generated one]
    #[arg(long, env = "MOQTAIL_CERT", value_name = "PEM")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, env = "MOQTAIL_KEY", value_name = "PEM")]
    pub(crate) key: Option<PathBuf>,
    /// Where to serve /certificate.sha256 and /health over HTTP, with --cert over HTTPS (TCP), or `off` [default: as --listen]
    #[arg(long, env = "MOQTAIL_HTTP", value_name = "HOST:PORT")]
    pub(crate) http: Option<HttpAddr>,
    /// Accept this deviation from the draft, known from widely used peers
    #[arg(
        long,
        env = "MOQTAIL_TOLERATE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub(crate) tolerate: Option<Vec<Tolerance>>,
    /// How the rate of sending is found [default: cubic]
    #[arg(long, env = "MOQTAIL_CONGESTION")]
    pub(crate) congestion: Option<Congestion>,
    /// Sessions at once; further clients are refused [default: 10000]
    #[arg(long, env = "MOQTAIL_MAX_SESSIONS", value_name = "N")]
    pub(crate) max_sessions: Option<NonZeroU32>,
    /// Sessions of one address while half of all are taken; further clients are refused [default: 512]
    #[arg(long, env = "MOQTAIL_MAX_SESSIONS_PER_HOST", value_name = "N")]
    pub(crate) max_sessions_per_host: Option<NonZeroU32>,
    /// What the logs of all tracks hold together; beyond it the oldest groups leave [default: 512M]
    #[arg(
        long,
        env = "MOQTAIL_MAX_LOG_BYTES",
        value_name = "SIZE",
        help_heading = MEMORY
    )]
    pub(crate) max_log_bytes: Option<Size>,
    /// What the log of one track holds; beyond it its oldest groups leave [default: 48M]
    #[arg(
        long,
        env = "MOQTAIL_MAX_TRACK_BYTES",
        value_name = "SIZE",
        help_heading = MEMORY
    )]
    pub(crate) max_track_bytes: Option<Size>,
    /// How far a subscription may be behind; beyond it, it skips groups or ends [default: 16M]
    #[arg(
        long,
        env = "MOQTAIL_LAG_BYTES",
        value_name = "SIZE",
        help_heading = MEMORY
    )]
    pub(crate) lag_bytes: Option<Size>,
}

/// Heading in the help of a relay.
const MEMORY: &str = "Memory (SIZE: bytes, or a number with K, M or G)";

/// Which broadcast, and where.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The relay: https://HOST:PORT for WebTransport, moqt://HOST:PORT for raw QUIC
    pub(crate) url: String,
    /// Name of the broadcast, such as live/cam
    #[arg(value_name = "BROADCAST", value_parser = names::broadcast)]
    pub(crate) namespace: TrackNamespace,
}

/// Arguments of `moqtail publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// An MP4 file (played at its own speed), or - for fragmented MP4 on standard input
    #[arg(required_unless_present = "lines", conflicts_with = "lines")]
    pub(crate) input: Option<PathBuf>,
    /// Publish each line of standard input as an object of --track
    #[arg(long, requires = "track")]
    pub(crate) lines: bool,
    /// Name of the track for --lines
    #[arg(long, value_name = "NAME", requires = "lines")]
    pub(crate) track: Option<String>,
    #[command(flatten)]
    pub(crate) options: PublishOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

impl PublishArgs {
    /// What is wrong with flags that do nothing for this input. From weaker sources they are for all inputs.
    fn check_flags(&self, is_flag: impl Fn(&str) -> bool) -> Result<(), &'static str> {
        let is_file = self
            .input
            .as_ref()
            .is_some_and(|path| path.as_os_str() != "-");
        let options = &self.options;
        if is_flag("repeat") && options.repeat == Some(true) && !is_file {
            return Err("--loop starts a file again: give a file, or leave it out");
        }
        if is_flag("datagram") && options.datagram == Some(true) && !self.lines {
            return Err("--datagram is for --lines: media needs streams");
        }
        if is_flag("group_lines") && !self.lines {
            return Err("--group-lines is for --lines: media has its own groups");
        }
        Ok(())
    }
}

/// Options of `moqtail publish`, and the table `[publish]`.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PublishOptions {
    /// Start the file again when it ends
    #[arg(long = "loop", env = "MOQTAIL_LOOP", value_name = "BOOL")]
    #[serde(rename = "loop")]
    pub(crate) repeat: Option<bool>,
    /// Send lines as datagrams: quick, but lost ones are not repeated
    #[arg(long, env = "MOQTAIL_DATAGRAM", value_name = "BOOL")]
    pub(crate) datagram: Option<bool>,
    /// Lines in one group; a viewer that joins starts at a group [default: 1]
    #[arg(long, env = "MOQTAIL_GROUP_LINES", value_name = "N")]
    pub(crate) group_lines: Option<u32>,
    /// Publisher priority, 0 is the most urgent [default: 128]
    #[arg(long, env = "MOQTAIL_PRIORITY", value_name = "0-255")]
    pub(crate) priority: Option<u8>,
    /// How long to hold the first object for a viewer that is already waiting [default: 3s]
    #[arg(long, env = "MOQTAIL_HOLD", value_name = "TIME")]
    pub(crate) hold: Option<Span>,
    /// Fail at once when the relay cannot be reached
    #[arg(long, env = "MOQTAIL_NO_WAIT", value_name = "BOOL")]
    pub(crate) no_wait: Option<bool>,
}

/// Arguments of `moqtail subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    pub(crate) target: Target,
    /// With --out alone: only these media tracks. Else: the one track whose objects are printed
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) track: Vec<String>,
    /// Where to write: a file, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write the objects of --track as JSON, one per line, as bare payloads, or as lines [default without --out: jsonl]
    #[arg(long, requires = "track")]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) options: SubscribeOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How `moqtail subscribe` writes the objects of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object per line: group, object, bytes and the text (or base64)
    Jsonl,
    /// Payloads one after the other, nothing between them
    Raw,
    /// Payloads, each followed by a line end
    Lines,
}

/// Options of `moqtail subscribe`, and the table `[subscribe]`.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SubscribeOptions {
    /// Where to start: next-group | largest | start G,O | range G,O G [default: next-group for media, else largest]
    #[arg(long, env = "MOQTAIL_FILTER", value_name = "FILTER")]
    pub(crate) filter: Option<FilterArg>,
    /// Subscriber priority, 0 is the most urgent [default: 128]
    #[arg(long, env = "MOQTAIL_PRIORITY", value_name = "0-255")]
    pub(crate) priority: Option<u8>,
    /// Give up objects older than this where the network is too slow, instead of falling behind [default: none]
    #[arg(long, env = "MOQTAIL_DELIVERY_TIMEOUT", value_name = "TIME")]
    pub(crate) delivery_timeout: Option<Span>,
    /// Exit after this many objects
    #[arg(long, env = "MOQTAIL_COUNT", value_name = "N")]
    pub(crate) count: Option<NonZeroU64>,
    /// Exit after this time, such as 10s or 2m
    #[arg(long, env = "MOQTAIL_TIMEOUT", value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// Fail at once when the relay or the broadcast is not there
    #[arg(long, env = "MOQTAIL_NO_WAIT", value_name = "BOOL")]
    pub(crate) no_wait: Option<bool>,
}

/// Arguments of `moqtail demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the relay listens [default: localhost:4443, or a free port if that is taken]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<ListenAddr>,
    /// Name of the sample broadcast
    #[arg(long, value_name = "BROADCAST", default_value = "live/demo", value_parser = names::broadcast)]
    pub(crate) name: TrackNamespace,
}

/// Arguments of `moqtail bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The relay: https://HOST:PORT for WebTransport, moqt://HOST:PORT for raw QUIC
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) options: BenchOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How reading the command line ended without a command to run.
#[derive(Debug)]
pub(crate) enum Stop {
    /// `--help` or `--version`: the text to print.
    Show(String),
    /// Wrong usage.
    Failed(CliError),
}

/// The command line with what all options of a kind have in common.
fn command() -> clap::Command {
    complete(Cli::command())
}

fn complete(command: clap::Command) -> clap::Command {
    let is_bool =
        |arg: &clap::Arg| arg.get_value_parser().type_id() == ValueParser::bool().type_id();
    command
        .mut_args(|arg| {
            // All of them are told of in one sentence.
            let arg = arg.hide_env(true);
            // A switch that a stronger source can turn off again: `--no-wait`, `--no-wait=false`.
            match matches!(arg.get_action(), ArgAction::Set) && is_bool(&arg) {
                true => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .hide_possible_values(true),
                false => arg,
            }
        })
        .mut_subcommands(complete)
}

/// Reads the command line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    let args = join_filter(args);
    let commands = command();
    let asked = args
        .iter()
        .find(|arg| commands.find_subcommand(arg).is_some())
        .and_then(|arg| arg.to_str())
        .map_or_else(String::new, |name| format!(" {name}"));
    let parsed = commands
        .try_get_matches_from(args)
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (mut cli, matches) = parsed.map_err(|error| match error.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
            Stop::Show(error.render().to_string())
        }
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Stop::Failed(CliError::Usage(
                "No command given. Start with `moqtail demo`, or see `moqtail --help`".into(),
            ))
        }
        _ => Stop::Failed(CliError::Usage(usage_line(
            &error.render().to_string(),
            &asked,
        ))),
    })?;
    let client = cli.command.client();
    if let Some((client, (_, matches))) = client.zip(matches.subcommand()) {
        client.prefer_flags(matches);
        client
            .check()
            .map_err(|cause| Stop::Failed(CliError::Usage(usage_line(&cause, &asked))))?;
    }
    if let (Command::Publish(args), Some((_, matches))) = (&cli.command, matches.subcommand()) {
        let is_flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        args.check_flags(is_flag)
            .map_err(|cause| Stop::Failed(CliError::Usage(usage_line(cause, &asked))))?;
    }
    Ok(cli)
}

/// The first paragraph of a usage error on one line, with where to read on.
fn usage_line(text: &str, command: &str) -> String {
    let cause = text.split("\n\n").next().unwrap_or_default();
    let cause = plain(cause.strip_prefix("error: ").unwrap_or(cause));
    let mut letters = cause.chars();
    let cause: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect();
    format!("{}. See `moqtail{command} --help`", clipped(&cause))
}

/// `--filter start G,O` is written as three words; clap wants its value in one.
fn join_filter(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut joined = Vec::new();
    while let Some(arg) = args.next() {
        let is_filter = arg == "--filter";
        joined.push(arg);
        if !is_filter {
            continue;
        }
        let Some(mut value) = args.next() else {
            continue;
        };
        let more = match value.to_str() {
            Some("start") => 1,
            Some("range") => 2,
            _ => 0,
        };
        for word in args.by_ref().take(more) {
            value.push(" ");
            value.push(word);
        }
        joined.push(value);
    }
    joined
}

#[cfg(test)]
mod tests {
    use moqtail::model::{Filter, Location};

    use super::*;

    fn parse_words(line: &str) -> Result<Cli, Stop> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn usage_error(line: &str) -> String {
        match parse_words(line) {
            Err(Stop::Failed(error)) => error.to_string(),
            other => panic!("expected a usage error, got {other:?}"),
        }
    }

    fn subscribe(line: &str) -> SubscribeArgs {
        match parse_words(line) {
            Ok(Cli {
                command: Command::Subscribe(args),
                ..
            }) => args,
            other => panic!("expected subscribe, got {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_lists_every_command_and_the_first_step() {
        let Err(Stop::Show(help)) = parse_words("moqtail --help") else {
            panic!("no help")
        };
        for word in [
            "relay",
            "publish",
            "subscribe",
            "demo",
            "bench",
            "moqtail demo",
            "Exit codes",
        ] {
            assert!(help.contains(word), "{word} is missing in\n{help}");
        }
    }

    #[test]
    fn filter_takes_its_locations_as_words_of_their_own() {
        let args = subscribe("moqtail subscribe moqt://a n --track t --filter start 5,1 --count 2");
        let start = Location::new(5, 1);
        assert_eq!(
            args.options.filter,
            Some(FilterArg(Filter::AbsoluteStart { start }))
        );
        assert_eq!(args.options.count, NonZeroU64::new(2));

        let args = subscribe("moqtail subscribe --filter range 5,1 9 moqt://a n --track t");
        let range = Filter::AbsoluteRange {
            start,
            end_group: 9,
        };
        assert_eq!(args.options.filter, Some(FilterArg(range)));
        assert_eq!(args.target.url, "moqt://a");

        let args = subscribe("moqtail subscribe --filter largest moqt://a n --track t");
        assert_eq!(args.options.filter, Some(FilterArg(Filter::LargestObject)));
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_the_help_to_read() {
        assert_eq!(
            usage_error("moqtail relay --nonsense"),
            "Unexpected argument '--nonsense' found. See `moqtail relay --help`."
        );
        assert_eq!(
            usage_error("moqtail publish"),
            "The following required arguments were not provided: <URL> <BROADCAST> <INPUT>. \
             See `moqtail publish --help`."
        );
        assert_eq!(
            usage_error("moqtail publish moqt://a n f.mp4 --loop=maybe"),
            "Invalid value 'maybe' for '--loop[=<BOOL>]' [possible values: true, false]. \
             See `moqtail publish --help`."
        );
        let long = "x".repeat(9000);
        let error = usage_error(&format!("moqtail subscribe moqt://a {long} --track t"));
        assert!(error.len() < 400 && error.contains("4096 bytes"), "{error}");
        assert_eq!(
            usage_error("moqtail"),
            "No command given. Start with `moqtail demo`, or see `moqtail --help`."
        );
        assert!(
            usage_error("moqtail subscribe moqt://a n --filter start")
                .lines()
                .count()
                == 1
        );
    }

    #[test]
    fn lines_need_a_track_and_exclude_a_file() {
        assert!(usage_error("moqtail publish moqt://a n --lines").contains("--track"));
        assert!(
            usage_error("moqtail publish moqt://a n f.mp4 --lines --track t").contains("--lines")
        );
        assert!(parse_words("moqtail publish moqt://a n --lines --track t").is_ok());
        assert!(parse_words("moqtail publish moqt://a n -").is_ok());
    }

    /// Who gave them would wait for what they say.
    #[test]
    fn flags_that_do_nothing_for_the_input_are_refused() {
        for (rest, flag) in [
            ("- --loop", "--loop"),
            ("--lines --track t --loop", "--loop"),
            ("f.mp4 --datagram", "--datagram"),
            ("- --group-lines 5", "--group-lines"),
        ] {
            let error = usage_error(&format!("moqtail publish moqt://a n {rest}"));
            assert!(error.contains(&format!("{flag} ")), "{error}");
            assert!(error.ends_with("See `moqtail publish --help`."), "{error}");
        }
        for rest in [
            "f.mp4 --loop",
            "- --loop=false --datagram=false",
            "--lines --track t --datagram --group-lines 5",
        ] {
            let line = format!("moqtail publish moqt://a n {rest}");
            assert!(parse_words(&line).is_ok(), "{rest}");
        }
    }

    #[test]
    fn nothing_is_no_name_and_no_count() {
        let nameless = ["moqtail", "subscribe", "moqt://a", "", "--track", "t"];
        match parse(nameless.map(OsString::from)) {
            Err(Stop::Failed(error)) => {
                assert!(
                    error.to_string().contains("a broadcast has a name"),
                    "{error}"
                );
            }
            other => panic!("expected a usage error, got {other:?}"),
        }
        let error = usage_error("moqtail subscribe moqt://a n --track t --count 0");
        assert!(error.contains("--count"), "{error}");
    }

    #[test]
    fn whom_to_trust_is_said_once() {
        let pin = "00".repeat(32);
        for (flags, two) in [
            ("--insecure --ca a.pem".to_owned(), "--ca and --insecure"),
            (
                format!("--ca a.pem --fingerprint {pin}"),
                "--ca and --fingerprint",
            ),
            (
                format!("--fingerprint {pin} --insecure"),
                "--fingerprint and --insecure",
            ),
        ] {
            for rest in [
                "subscribe moqt://a n --track t",
                "publish moqt://a n -",
                "bench moqt://a",
            ] {
                let error = usage_error(&format!("moqtail {rest} {flags}"));
                assert!(error.contains(two) && error.contains("--help"), "{error}");
            }
        }
        assert!(parse_words("moqtail bench moqt://a --insecure=false --ca a.pem").is_ok());
    }

    #[test]
    fn a_switch_can_be_turned_off_again() {
        let args = subscribe("moqtail subscribe moqt://a n --no-wait --insecure=false");
        assert_eq!(args.options.no_wait, Some(true));
        assert_eq!(args.client.insecure, Some(false));
    }
}
