//! `moqtail bench`: load for a relay, and what it makes of it.

mod behaviour;
mod crowd;
mod limit;
mod meter;
mod odd;
pub(crate) mod options;
mod plan;
mod publisher;
mod report;
mod run;
mod stamp;
mod taking;
mod tally;
mod times;
mod usage;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use self::{
    crowd::Crowd,
    meter::measure,
    plan::Plan,
    publisher::Publisher,
    report::Report,
    run::{GRACE, Run},
    usage::Process,
};
use crate::{
    args::BenchArgs,
    client_options::ClientOptions,
    config::ConfigFile,
    errors::{CliError, plain},
    link::Link,
    logging::say,
    output::try_print,
    signals::Signals,
};

/// How long a relay that has subscribers may take to ask for what they want.
const FIRST_VIEWER: Duration = Duration::from_secs(30);

/// Runs `moqtail bench`.
pub(crate) async fn run(
    args: BenchArgs,
    config: ConfigFile,
    signals: &mut Signals,
) -> Result<(), CliError> {
    let plan = Plan::new(&args.options)?;
    let relay = args.options.relay_pid.map(Process::of).transpose()?;
    let trust = args.client.or(config.client);
    // Subscribers alone may come before everything else.
    let link = Link::new(&args.url, trust.clone(), !plan.publishes())?;
    let run = Arc::new(Run::new(&plan));
    let load = load(&args.url, &link, &trust, &plan, relay.as_ref(), &run);
    tokio::pin!(load);
    let ended = loop {
        tokio::select! {
            ended = &mut load => break ended?,
            _ = signals.next() => run.interrupt(),
        }
    };
    let printed = match (&ended.report, &ended.failure) {
        (Some(report), _) => try_print(&match args.options.json {
            true => report.json(),
            false => report.text(),
        }),
        (None, None) => {
            say("Stopped before anything was measured.");
            Ok(())
        }
        (None, Some(_)) => Ok(()),
    };
    let lost = printed.err().map(|error| CliError::Unprinted {
        reason: plain(error),
    });
    ended.failure.or(lost).map_or(Ok(()), Err)
}

/// How a run ended.
#[derive(Default)]
struct Ended {
    /// What was measured, if anything was.
    report: Option<Report>,
    /// What the relay did not do.
    failure: Option<CliError>,
}

/// Runs the load to its end.
async fn load(
    url: &str,
    link: &Link,
    trust: &ClientOptions,
    plan: &Plan,
    relay: Option<&Process>,
    run: &Arc<Run>,
) -> Result<Ended, CliError> {
    let open = async {
        let publisher = match plan.publishes() {
            true => Some(Publisher::open(link, plan).await?),
            false => None,
        };
        let crowd = match plan.subscribes() {
            true => Some(Crowd::open(url, trust, plan, run).await?),
            false => None,
        };
        Ok::<_, CliError>((publisher, crowd))
    };
    let (publisher, crowd) = tokio::select! {
        opened = open => opened?,
        () = run.ending() => return Ok(Ended::default()),
    };
    // Subscribers of other programs may come at any time.
    let patience = match crowd {
        Some(_) => FIRST_VIEWER,
        None => Duration::MAX,
    };
    let measuring = measure(run, relay);
    let (measured, published) = match publisher {
        Some(publisher) => {
            let (measured, published) =
                tokio::join!(measuring, publisher.publish(link, run, patience));
            (measured, Some(published?))
        }
        None => {
            let measured = measuring.await;
            crowd::stop_soon(run).await;
            (measured, None)
        }
    };
    let (seen, _) = tokio::join!(
        async {
            match crowd {
                Some(crowd) => Some(crowd.finish(run).await),
                None => None,
            }
        },
        async {
            let leaving = async {
                // Its last words need some time of their own.
                let grace = match timeout(GRACE, link.delivered()).await {
                    Ok(()) => GRACE,
                    Err(_) => Duration::ZERO,
                };
                link.leave(grace).await
            };
            tokio::select! {
                left = leaving => left,
                () = run.stopped() => link.leave(Duration::ZERO).await,
            }
        }
    );
    let report = measured.map(|measured| {
        let (url, pid) = (link.url(), relay.map(Process::pid));
        Report::new(plan, url, pid, &measured, published.as_ref(), seen.as_ref())
    });
    let nothing = report.as_ref().is_some_and(Report::is_empty);
    let failure = seen.as_ref().and_then(crowd::cut).or_else(|| {
        nothing.then(|| CliError::NothingCame {
            authority: link.authority(),
        })
    });
    Ok(Ended { report, failure })
}
