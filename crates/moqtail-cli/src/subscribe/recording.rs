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
    logging::say,
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
        told: false,
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
    /// It was told that something of it cannot be played.
    told: bool,
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
                        self.push(track, &object);
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

    /// Takes an object in; one that is no media is left out, as the ones around it can be played without.
    fn push(&mut self, track: usize, object: &Object) {
        let Some((_, muxer)) = &mut self.muxer else {
            return;
        };
        if object.payload.is_empty() {
            return;
        }
        if let Err(error) = muxer.push(track, object.group, &object.payload, clock::now()) {
            self.leave_out(&error);
        }
    }

    /// Writes what is due.
    async fn drain(&mut self) -> Result<(), CliError> {
        while let Some((_, muxer)) = &mut self.muxer {
            match muxer.next_fragment(clock::now()) {
                Ok(Some(fragment)) => self.output.write(&fragment).await?,
                Ok(None) => break,
                Err(error) => self.leave_out(&error),
            }
        }
        Ok(())
    }

    /// Tells of the first object that cannot be played; there may be many.
    fn leave_out(&mut self, error: &moqtail_media::Error) {
        tracing::info!(%error, "an object is left out");
        if !self.told {
            self.told = true;
            say(format_args!(
                "Objects of {} cannot be played and are left out: {}. Tell its publisher.",
                self.broadcast,
                plain(error)
            ));
        }
    }

    fn unplayable(&self, error: &moqtail_media::Error) -> CliError {
        CliError::Unplayable {
            broadcast: self.broadcast.clone(),
            reason: plain(error),
            next: "Tell its publisher, or fetch a track as it is with `--track NAME --format raw`.",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use bytes::Bytes;
    use moqtail::model::{DatagramBody, Extensions, ObjectDatagram, TrackAlias};
    use moqtail_media::{Catalog, Event, Fmp4Reader, Mp4File, sample};

    use super::*;

    fn object(object: u64, payload: Bytes) -> Object {
        let datagram = ObjectDatagram {
            track_alias: TrackAlias(0),
            group: 0,
            object,
            object_id_absent: false,
            publisher_priority: 128,
            end_of_group: false,
            extensions: Extensions::default(),
            body: DatagramBody::Payload(payload),
        };
        datagram.into()
    }

    #[tokio::test]
    async fn an_object_that_is_no_media_costs_nothing_but_itself() {
        const FRAGMENTS: u64 = 6;
        let mut file = Mp4File::open(Cursor::new(sample())).unwrap();
        let tracks = file.init().tracks.clone();
        let catalog = Catalog::of_tracks(&tracks, None);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let send = async |received| sender.send(received).await.unwrap();
        send(Received::Tracks(catalog.tracks)).await;
        // The other track is silent, so all of this waits for it.
        let mut number = 0;
        while number < FRAGMENTS {
            let fragment = file.next_fragment().unwrap().unwrap().fragment;
            if fragment.track_id != tracks[0].id {
                continue;
            }
            if number == FRAGMENTS / 2 {
                let moof = u32::from_be_bytes(fragment.data[..4].try_into().unwrap());
                let alone = fragment.data.slice(..moof as usize);
                send(Received::Object(0, object(100, alone))).await;
            }
            send(Received::Object(0, object(number, fragment.data))).await;
            number += 1;
        }
        drop(sender);
        let path = std::env::temp_dir().join(format!("moqtail-bad-{}", std::process::id()));
        let mut recording = Recording {
            output: Output::open(&path).await.unwrap(),
            muxer: None,
            broadcast: "live/film".to_owned(),
            told: false,
        };
        let mut limit = Limit::new(None, None);
        recording.write_all(receiver, &mut limit).await.unwrap();
        assert!(recording.told);
        let mut reader = Fmp4Reader::new();
        reader.push(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut fragments = 0;
        while let Some(event) = reader.next_event().unwrap() {
            fragments += u64::from(matches!(event, Event::Fragment(_)));
        }
        assert_eq!(fragments, FRAGMENTS);
    }
}
