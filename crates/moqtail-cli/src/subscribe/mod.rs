//! `moqtail subscribe`: a broadcast as one stream, or the objects of a track.

mod choice;
mod following;
mod gaps;
mod limit;
mod losses;
mod objects;
mod ordered;
mod recording;
mod viewer;
mod waiting;

use std::{
    io::IsTerminal as _,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use moqtail::{client::SubscribeOptions, model::Filter};
use tokio::{sync::oneshot, time::sleep};

use self::{limit::Limit, objects::Objects, recording::record};
pub(crate) use self::{
    viewer::{Memory, Received, Viewer},
    waiting::{Asker, NotSubscribed},
};
use crate::{
    args::{Format, SubscribeArgs},
    config::{ConfigFile, Options as _},
    errors::CliError,
    link::Link,
    names,
    signals::Signals,
};

/// How long what was received may take to be written when no more is wanted.
const LAST_WRITES: Duration = Duration::from_millis(500);

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// The broadcast, or the named tracks of it, as one playable stream.
    Media(PathBuf),
    /// The objects of one track.
    Objects(Format, PathBuf),
}

/// Runs `moqtail subscribe`.
pub(crate) async fn run(
    args: SubscribeArgs,
    config: ConfigFile,
    signals: &mut Signals,
) -> Result<(), CliError> {
    let mode = mode(&args, std::io::stdout().is_terminal())?;
    let options = args.options.or(config.subscribe);
    let wait = options.no_wait != Some(true);
    let link = Link::new(&args.target.url, args.client.or(config.client), wait)?;
    let mut limit = Limit::new(options.count.map(NonZeroU64::get), options.timeout);
    let over = limit.over();
    let mut subscribe = SubscribeOptions::default();
    subscribe.priority = options.priority.unwrap_or(subscribe.priority);
    subscribe.delivery_timeout = options.delivery_timeout.map(|timeout| timeout.0);
    let filter = options.filter.map(|filter| filter.0);
    let (stopping, stop) = oneshot::channel::<()>();
    let received = async {
        match mode {
            Mode::Media(out) => {
                subscribe.filter = filter.unwrap_or(Filter::NextGroupStart);
                let viewer = Viewer {
                    link: &link,
                    namespace: &args.target.namespace,
                    wanted: &args.track,
                    options: subscribe,
                    wait,
                    memory: Memory::default(),
                };
                record(viewer, &out, &mut limit, stop).await
            }
            Mode::Objects(format, out) => {
                subscribe.filter = filter.unwrap_or(Filter::LargestObject);
                let name = args.track.first().map_or("", String::as_str);
                let track = names::track(&args.target.namespace, name)?;
                let objects = Objects {
                    link: &link,
                    track,
                    options: subscribe,
                    wait,
                    format,
                    last: None,
                };
                objects.run(&out, &mut limit, stop).await
            }
        }
    };
    let (received, is_time_over) = {
        tokio::pin!(received);
        let is_time_over = tokio::select! {
            received = &mut received => {
                link.leave(Duration::ZERO).await;
                return received;
            }
            _ = signals.next() => false,
            () = over => true,
        };
        drop(stopping);
        // Whoever reads the output may read no more.
        let received = tokio::select! {
            received = received => received,
            () = sleep(LAST_WRITES) => match is_time_over {
                true => Err(CliError::Unread),
                false => Ok(()),
            },
            _ = signals.next() => Ok(()),
        };
        (received, is_time_over)
    };
    link.leave(Duration::ZERO).await;
    match received {
        received if is_time_over => received.and_then(|()| limit.verdict()),
        // The signal was for the reader of the output, too.
        Err(CliError::ClosedPipe { .. }) => Ok(()),
        received => received,
    }
}

fn mode(args: &SubscribeArgs, terminal: bool) -> Result<Mode, CliError> {
    let out = || {
        args.out
            .clone()
            .unwrap_or_else(|| Path::new("-").to_owned())
    };
    let wants_objects = args.format.is_some() || (!args.track.is_empty() && args.out.is_none());
    if wants_objects {
        return match args.track.as_slice() {
            [_] => Ok(Mode::Objects(args.format.unwrap_or(Format::Jsonl), out())),
            _ => Err(CliError::Usage(
                "Objects are of one track: give `--track` one name".to_owned(),
            )),
        };
    }
    if out() == Path::new("-") && terminal {
        return Err(CliError::Usage(
            "Media is not for a terminal: write to a file with `--out FILE`, or append `--out - | ffplay -`"
                .to_owned(),
        ));
    }
    Ok(Mode::Media(out()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, parse};

    fn mode_of(line: &str, terminal: bool) -> Result<Mode, String> {
        let parsed = parse(line.split_whitespace().map(Into::into)).unwrap();
        let Command::Subscribe(args) = parsed.command else {
            panic!("not subscribe")
        };
        mode(&args, terminal).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_follows_from_track_out_and_format() {
        let stdout = || PathBuf::from("-");
        for (arguments, expected) in [
            ("--out f.mp4", Mode::Media("f.mp4".into())),
            ("--out f.mp4 --track video0", Mode::Media("f.mp4".into())),
            ("--track temp", Mode::Objects(Format::Jsonl, stdout())),
            (
                "--track temp --format raw",
                Mode::Objects(Format::Raw, stdout()),
            ),
            (
                "--track temp --format raw --out f",
                Mode::Objects(Format::Raw, "f".into()),
            ),
        ] {
            let line = format!("moqtail subscribe moqt://h:1 n {arguments}");
            assert_eq!(mode_of(&line, true), Ok(expected), "{arguments}");
        }
        assert_eq!(
            mode_of("moqtail subscribe moqt://h:1 n", false),
            Ok(Mode::Media(stdout()))
        );
        assert!(
            mode_of("moqtail subscribe moqt://h:1 n", true)
                .unwrap_err()
                .contains("ffplay")
        );
        let two = mode_of(
            "moqtail subscribe moqt://h:1 n --track a,b --format raw",
            true,
        );
        assert!(two.unwrap_err().contains("one name"));
    }
}
