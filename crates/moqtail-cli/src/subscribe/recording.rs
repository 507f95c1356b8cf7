//! `moqtail subscribe --out`: a media broadcast as one playable stream.

use std::path::Path;

use moqtail::client::Object;
use moqtail_media::{CatalogTrack, Remuxer};
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    limit::Limit,
    viewer::{Received, Viewer},
};
use crate::{
    clock,
    errors::{CliError, plain},
    output::Output,
};

/// Objects that wait between the network and the output.
const QUEUE: usize = 64;

/// Writes what `viewer` gets to `out` until the broadcast ends or `limit` is reached.
pub(super) async fn record(
    viewer: Viewer<'_>,
    out: &Path,
    limit: &mut Limit,
) -> Result<(), CliError> {
    let output = Output::open(out).await?;
    let mut recording = Recording {
        output,
        muxer: None,
        broadcast: viewer.namespace.to_string(),
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let viewing = viewer.run(sender);
    let writing = recording.write_all(receiver, limit);
    tokio::pin!(viewing, writing);
    tokio::select! {
        viewed = &mut viewing => {
            // What was received is still to be written.
            let written = writing.await;
            viewed.and(written)
        }
        written = &mut writing => written,
    }
}

struct Recording {
    output: Output,
    muxer: Option<(Vec<CatalogTrack>, Remuxer)>,
    broadcast: String,
}

impl Recording {
    async fn write_all(
        &mut self,
        mut received: mpsc::Receiver<Received>,
        limit: &mut Limit,
    ) -> Result<(), CliError> {
        loop {
            let deadline = self.muxer.as_ref().and_then(|(_, muxer)| muxer.deadline());
            let due = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                received = received.recv() => match received {
                    Some(Received::Tracks(tracks)) => self.begin(tracks).await?,
                    Some(Received::Object(track, object)) => {
                        self.push(track, &object)?;
                        if limit.reached() {
                            break;
                        }
                    }
                    Some(Received::TrackEnded(track)) => {
                        if let Some((_, muxer)) = &mut self.muxer {
                            muxer.end(track);
                        }
                    }
                    None => break,
                },
                () = due => {}
            }
            self.drain().await?;
        }
        self.finish().await
    }

    /// Writes what still waits for its turn.
    async fn finish(&mut self) -> Result<(), CliError> {
        if let Some((tracks, muxer)) = &mut self.muxer {
            (0..tracks.len()).for_each(|track| muxer.end(track));
        }
        self.drain().await
    }

    /// Writes the header; when the broadcast comes back the same, the stream just goes on.
    async fn begin(&mut self, tracks: Vec<CatalogTrack>) -> Result<(), CliError> {
        let inits = || tracks.iter().filter_map(|track| track.init_data.as_deref());
        if let Some((_, muxer)) = &self.muxer {
            if muxer
                .continues_with(inits())
                .map_err(|error| self.unplayable(&error))?
            {
                return Ok(());
            }
            self.finish().await?;
            return Err(CliError::Unplayable {
                broadcast: self.broadcast.clone(),
                reason: "it came back with other tracks or codecs, which one file cannot follow; what came before is written"
                    .to_owned(),
                next: "Run it again for the broadcast as it is now.",
            });
        }
        let muxer = Remuxer::new(inits()).map_err(|error| self.unplayable(&error))?;
        self.output.write(muxer.header()).await?;
        self.muxer = Some((tracks, muxer));
        Ok(())
    }

    fn push(&mut self, track: usize, object: &Object) -> Result<(), CliError> {
        let Some((_, muxer)) = &mut self.muxer else {
            return Ok(());
        };
        if object.payload.is_empty() {
            return Ok(());
        }
        let pushed = muxer.push(track, object.group, &object.payload, clock::now());
        pushed.map_err(|error| self.unplayable(&error))
    }

    async fn drain(&mut self) -> Result<(), CliError> {
        while let Some((_, muxer)) = &mut self.muxer {
            let next = muxer.next_fragment(clock::now());
            let Some(fragment) = next.map_err(|error| self.unplayable(&error))? else {
                break;
            };
            self.output.write(&fragment).await?;
        }
        Ok(())
    }

    fn unplayable(&self, error: &moqtail_media::Error) -> CliError {
        CliError::Unplayable {
            broadcast: self.broadcast.clone(),
            reason: plain(error),
            next: "Tell its publisher, or fetch a track as it is with `--track NAME --format raw`.",
        }
    }
}
