//! Takes connections, each into a task of its own, whatever the ones before do.

use std::{collections::VecDeque, convert::Infallible, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

use super::limits::HttpLimits;
use crate::errors::plain;

/// How long to wait where the system gives no connection and none can be closed for it.
const RETRY: Duration = Duration::from_millis(200);

/// How long to be quiet about connections that cannot be taken, after saying so.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Runs `serve` on each connection of `listener`, until the future is dropped.
pub(super) async fn all<F>(
    listener: TcpListener,
    limits: &HttpLimits,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) -> Infallible
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut open = Open::default();
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = open.ended(), if !open.is_empty() => continue,
        };
        let error = match accepted {
            Ok((stream, peer)) => {
                if open.len() >= limits.connections {
                    open.close_oldest().await;
                }
                open.spawn(serve(stream, peer));
                continue;
            }
            // The peer went away again.
            Err(error) if is_of_peer(&error) => continue,
            Err(error) => error,
        };
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            tracing::warn!(
                "{}: an HTTP connection has to wait, sessions go on. Raise the limit of open files (`ulimit -n`) if this comes again.",
                plain(&error)
            );
        }
        match open.is_empty() {
            true => sleep(RETRY).await,
            false => open.close_oldest().await,
        }
    }
}

fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// The open connections, the oldest first.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Open {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(connection);
        self.by_age.push_back(handle);
    }

    /// Waits until one has ended. Cancel safe.
    async fn ended(&mut self) {
        self.tasks.join_next().await;
        self.by_age.retain(|connection| !connection.is_finished());
    }

    /// Closes the oldest one and waits until its descriptor is free.
    async fn close_oldest(&mut self) {
        if let Some(oldest) = self.by_age.pop_front() {
            oldest.abort();
            self.ended().await;
        }
    }
}
