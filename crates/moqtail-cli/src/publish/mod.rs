//! `moqtail publish`: media or lines of text to a relay.

mod announcement;
mod defaults;
mod input;
mod lines;
mod media;
mod session;

use std::{path::Path, time::Duration};

use moqtail::model::TrackNamespace;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::announcement::{tell, until_published};
use self::defaults::DEFAULT_HOLD;
use self::session::{Stop, leave};
pub(crate) use self::{
    announcement::Announced,
    defaults::DEFAULT_PRIORITY,
    input::Input,
    media::{MediaBroadcast, Sent},
    session::keep_published,
};
use crate::{
    args::{PublishArgs, PublishOptions, Target},
    clock::unix_ms,
    config::{ConfigFile, Options as _},
    errors::CliError,
    link::Link,
    logging::say,
    signals::Signals,
};

/// Runs `moqtail publish`.
pub(crate) async fn run(
    args: PublishArgs,
    config: ConfigFile,
    signals: &mut Signals,
) -> Result<(), CliError> {
    let options = args.options.or(config.publish);
    let Target { url, namespace } = args.target;
    let link = Link::new(
        &url,
        args.client.or(config.client),
        options.no_wait != Some(true),
    )?;
    match (&args.input, &args.track) {
        (Some(path), _) => media(&link, &namespace, path, &options, signals).await,
        (None, Some(track)) => lines::run(&link, &namespace, track, &options, signals).await,
        (None, None) => Err(CliError::Usage(
            "Give a file, -, or --lines with --track".to_owned(),
        )),
    }
}

async fn media(
    link: &Link,
    namespace: &TrackNamespace,
    path: &Path,
    options: &PublishOptions,
    signals: &mut Signals,
) -> Result<(), CliError> {
    let opened = tokio::select! {
        opened = Input::open(path, options.repeat == Some(true)) => opened?,
        _ = signals.next() => return Ok(()),
    };
    let (mut input, init) = opened;
    let priority = options.priority.unwrap_or(DEFAULT_PRIORITY);
    let mut broadcast = MediaBroadcast::new(namespace, &init, unix_ms(), priority)?;
    for left_out in &init.ignored {
        say(format_args!(
            "Leaving out a track that cannot be published ({left_out})."
        ));
    }
    let published = watch::Sender::new(Announced::NotYet);
    let hold = options.hold.map_or(DEFAULT_HOLD, |hold| hold.0);
    let (url, trust) = (link.url(), link.trust_flags());
    let watch = format!("subscribe {url} {namespace} --out -{trust} | ffplay -");
    let announced = broadcast.broadcast().clone();
    let played = tokio::select! {
        error = keep_published(link, &announced, &published) => Err(error),
        played = play(&mut input, &mut broadcast, hold, published.subscribe(), |_| ()) => {
            played.map(|()| Stop::ForGood)
        }
        () = tell(published.subscribe(), namespace.to_string(), watch) => Ok(Stop::ForGood),
        signal = signals.next() => Ok(signal.into()),
    };
    let stop = Stop::of(&played);
    // What was read before is published, also before a failure.
    let mut last = Ok(());
    while let (Ok(()), Some(fragment)) = (&last, input.read_before()) {
        last = broadcast.write(&fragment).map(drop);
    }
    // Dropped, it would end for good, so it stays until the session is over.
    let _paused = match stop {
        Stop::ForGood => {
            last = last.and(broadcast.end(unix_ms()));
            None
        }
        Stop::ForNow => {
            last = last.and(broadcast.pause());
            Some(broadcast)
        }
    };
    leave(link, *published.borrow(), &played, signals).await;
    played.map(drop).and(last)
}

/// Publishes the input as it comes, and its catalog again and again; returns when the input has ended.
/// Nothing but what [`Input::open`] needs is taken from the input before there is a session. `sent` is told of each object.
pub(crate) async fn play(
    input: &mut Input,
    broadcast: &mut MediaBroadcast,
    hold: Duration,
    mut published: watch::Receiver<Announced>,
    mut sent: impl FnMut(Sent),
) -> Result<(), CliError> {
    broadcast.publish_catalog(unix_ms())?;
    until_published(&mut published).await;
    let mut catalog_due = interval(media::CATALOG_EVERY);
    catalog_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut catalog_viewers = broadcast.catalog_interest();
    let mut waiting = true;
    let wait_until = Instant::now() + hold;
    loop {
        tokio::select! {
            _ = catalog_due.tick() => broadcast.publish_catalog(unix_ms())?,
            Ok(()) = catalog_viewers.changed() => {
                // Who just came need not wait for the next turn.
                if catalog_viewers.borrow_and_update().forwarding > 0 {
                    broadcast.publish_catalog(unix_ms())?;
                }
            }
            () = broadcast.wait_for_viewer(), if waiting => waiting = false,
            () = sleep_until(wait_until), if waiting => waiting = false,
            fragment = input.next(), if !waiting => {
                let Some(fragment) = fragment? else { return Ok(()) };
                if let Some(object) = broadcast.write(&fragment)? {
                    sent(object);
                }
            }
        }
    }
}
