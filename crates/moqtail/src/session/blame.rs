//! Whose doing the end of a session is.

use std::fmt;

/// Whose doing the end of a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer broke the protocol or a limit, or took too long.
    Peer,
    /// This side failed.
    Local,
    /// Nobody: this side's application wanted it.
    Application,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "peer",
            Self::Local => "local",
            Self::Application => "application",
        })
    }
}
