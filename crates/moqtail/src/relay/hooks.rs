//! Where an embedder decides who may do what.

use crate::{
    model::{AuthToken, FullTrackName, TrackNamespace},
    session::SetupRefusal,
};

/// A session as hooks see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Number of the session in this relay.
    pub id: u64,
    /// Host and port that the client asked for: AUTHORITY of CLIENT_SETUP on raw QUIC (draft-14 §9.3.2.1), what the request
    /// named over WebTransport.
    pub authority: Option<String>,
    /// Path and query that the client asked for: PATH of CLIENT_SETUP on raw QUIC (draft-14 §9.3.2.2), those of the request over
    /// WebTransport. The path of the root is empty. Only those of a request are without dot segments.
    pub path: String,
    /// Tokens of CLIENT_SETUP that were sent by value.
    pub tokens: Vec<AuthToken>,
}

impl SessionInfo {
    /// Notes a path, of which nothing and `/` are the same.
    pub(crate) fn set_path(&mut self, path: &str) {
        let below_root = path.strip_prefix('/').unwrap_or(path);
        let is_root = below_root.is_empty() || below_root.starts_with('?');
        self.path = if is_root { below_root } else { path }.to_owned();
    }
}

/// Answer of a hook to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Refuse with UNAUTHORIZED.
    Deny,
}

/// Decisions of the embedder (draft-14 §8.3, §8.4). Called on control messages, never per object; each must return at once.
/// No lock of the relay is held: a hook may ask it.
pub trait Hooks: Send + Sync + 'static {
    /// A client sent CLIENT_SETUP. A listener that serves some paths only has turned WebTransport away from others; on raw
    /// QUIC this is the place for that.
    ///
    /// # Errors
    /// Its session is closed with the code of the refusal (draft-14 §9.2.1.1, §9.3.2.1, §9.3.2.2).
    fn connect(&self, _session: &SessionInfo) -> Result<(), SetupRefusal> {
        Ok(())
    }

    /// PUBLISH_NAMESPACE.
    fn publish_namespace(&self, _session: &SessionInfo, _namespace: &TrackNamespace) -> Verdict {
        Verdict::Allow
    }

    /// PUBLISH.
    fn publish(&self, _session: &SessionInfo, _track: &FullTrackName) -> Verdict {
        Verdict::Allow
    }

    /// SUBSCRIBE.
    fn subscribe(&self, _session: &SessionInfo, _track: &FullTrackName) -> Verdict {
        Verdict::Allow
    }
}

/// Allows everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Hooks for AllowAll {}
