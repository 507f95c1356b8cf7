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

/// Writes what `viewer` gets to `out` until the broadcast ends, `limit` is reached or `stop` is ready.
pub(super) async fn record(
    viewer: Viewer<'_>,
    out: &Path,
    limit: &mut Limit,
    stop: impl Future,
) -> Result<(), CliError> {
    let output = Output::open(out).await?;
    let mut recording = Recording {
        output,
        muxer: None,
        broadcast: viewer.namespace.to_string(),
        told: false,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let viewing = until(stop, viewer.run(sender));
    recording.write_viewed(viewing, receiver, limit).await
}

/// What `viewing` comes to, given up when `stop` is ready.
async fn until(
    stop: impl Future,
    viewing: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    tokio::select! {
        viewed = viewing => viewed,
        _ = stop => Ok(()),
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
    /// Writes what is `received` from `viewing` until that has ended.
    async fn write_viewed(
        &mut self,
        viewing: impl Future<Output = Result<(), CliError>>,
        received: mpsc::Receiver<Received>,
        limit: &mut Limit,
    ) -> Result<(), CliError> {
        let writing = self.write_all(received, limit);
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
        self.output.write(muxer.header().clone()).await?;
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
                Ok(Some(fragment)) => self.output.write(fragment).await?,
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
    use std::{io::Cursor, time::Duration};

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

    /// A broadcast of two tracks, the second of which is silent, so that all of the first waits for it.
    struct Silence {
        tracks: Vec<CatalogTrack>,
        fragments: Vec<Bytes>,
    }

    impl Silence {
        fn new(count: usize) -> Self {
            let mut file = Mp4File::open(Cursor::new(sample())).unwrap();
            let tracks = file.init().tracks.clone();
            let mut fragments = Vec::new();
            while fragments.len() < count {
                let fragment = file.next_fragment().unwrap().unwrap().fragment;
                if fragment.track_id == tracks[0].id {
                    fragments.push(fragment.data);
                }
            }
            Self {
                tracks: Catalog::of_tracks(&tracks, None).tracks,
                fragments,
            }
        }
    }

    async fn recording(path: &Path) -> Recording {
        Recording {
            output: Output::open(path).await.unwrap(),
            muxer: None,
            broadcast: "live/film".to_owned(),
            told: false,
        }
    }

    fn temporary(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("moqtail-{name}-{}", std::process::id()))
    }

    /// How many fragments are in the file, which is not needed any more.
    fn fragments_in(path: &Path) -> usize {
        let mut reader = Fmp4Reader::new();
        reader.push(&std::fs::read(path).unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
        let mut fragments = 0;
        while let Some(event) = reader.next_event().unwrap() {
            fragments += usize::from(matches!(event, Event::Fragment(_)));
        }
        fragments
    }

    #[tokio::test]
    async fn an_object_that_is_no_media_costs_nothing_but_itself() {
        let Silence { tracks, fragments } = Silence::new(6);
        let count = fragments.len();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let send = async |received| sender.send(received).await.unwrap();
        send(Received::Tracks(tracks)).await;
        for (number, fragment) in fragments.into_iter().enumerate() {
            if number == count / 2 {
                let moof = u32::from_be_bytes(fragment[..4].try_into().unwrap());
                let alone = fragment.slice(..moof as usize);
                send(Received::Object(0, object(100, alone))).await;
            }
            send(Received::Object(0, object(number as u64, fragment))).await;
        }
        drop(sender);
        let path = temporary("bad");
        let mut recording = recording(&path).await;
        let mut limit = Limit::new(None, None);
        recording.write_all(receiver, &mut limit).await.unwrap();
        assert!(recording.told);
        assert_eq!(fragments_in(&path), count);
    }

    /// Ctrl-C and `--timeout` end the viewing, not the file.
    #[tokio::test(start_paused = true)]
    async fn what_was_received_before_the_end_is_written() {
        let Silence { tracks, fragments } = Silence::new(20);
        let count = fragments.len();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let viewing = async move {
            sender.send(Received::Tracks(tracks)).await.unwrap();
            for (number, fragment) in fragments.into_iter().enumerate() {
                let object = object(number as u64, fragment);
                sender.send(Received::Object(0, object)).await.unwrap();
            }
            std::future::pending().await
        };
        let path = temporary("stopped");
        let mut recording = recording(&path).await;
        let mut limit = Limit::new(None, None);
        // Before the muxer gives the silent track up.
        let viewing = until(tokio::time::sleep(Duration::from_millis(1)), viewing);
        let written = recording.write_viewed(viewing, receiver, &mut limit);
        written.await.unwrap();
        assert_eq!(fragments_in(&path), count);
    }
}
