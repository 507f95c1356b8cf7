//! Ctrl-C, SIGTERM and SIGHUP.

use std::io;

/// What asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C: a person ends what runs.
    Interrupt,
    /// SIGTERM, or SIGHUP of a terminal that closes (on Windows: the console closes): a supervisor ends the process, and may
    /// start it again.
    Terminate,
}

/// Waits for the signals that end the process. From its creation on they no longer kill it.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    terminate: tokio::signal::windows::CtrlClose,
    /// `None`: they end nothing.
    hangups: Option<Hangups>,
}

/// Waits for SIGHUP.
#[derive(Debug)]
pub(crate) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(windows)]
    hangup: std::convert::Infallible,
}

impl Signals {
    /// Takes the signals over. Needs a tokio runtime.
    #[cfg(unix)]
    pub(crate) fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            // `nohup` has it ignored, which has to stay so.
            hangups: match ignores_hangup() {
                true => None,
                false => Some(Hangups::install()?),
            },
        })
    }

    /// Takes the signals over. Needs a tokio runtime.
    #[cfg(windows)]
    pub(crate) fn install() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_close};
        Ok(Self {
            interrupt: ctrl_c()?,
            terminate: ctrl_close()?,
            hangups: None,
        })
    }

    /// From now on SIGHUP ends nothing, but is for who calls this; not where it means that a terminal closes.
    #[cfg(unix)]
    pub(crate) fn take_hangups(&mut self) -> io::Result<Option<Hangups>> {
        use std::io::IsTerminal as _;
        if io::stdin().is_terminal() {
            return Ok(None);
        }
        self.hangups
            .take()
            .map_or_else(Hangups::install, Ok)
            .map(Some)
    }

    /// There is no SIGHUP.
    #[cfg(windows)]
    pub(crate) fn take_hangups(&mut self) -> io::Result<Option<Hangups>> {
        Ok(self.hangups.take())
    }

    /// Waits for the next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangups {
                Some(hangups) => hangups.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            () = hangup => Signal::Terminate,
        }
    }
}

impl Hangups {
    #[cfg(unix)]
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel safe.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        self.hangup.recv().await;
    }

    /// There is none.
    #[cfg(windows)]
    pub(crate) async fn next(&mut self) {
        match self.hangup {}
    }
}

/// Whether whoever started this process has SIGHUP ignored, as far as the system tells.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        // Then it does to this process what it did before.
        return true;
    };
    is_first_ignored(&status)
}

/// The same from what Linux tells of a process.
#[cfg(unix)]
fn is_first_ignored(status: &str) -> bool {
    /// SIGHUP is the signal 1.
    const HANGUP: u64 = 1;
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & HANGUP != 0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_has_ignored_stays_ignored() {
        assert!(is_first_ignored(
            "Name:\tmoqtail\nSigIgn:\t0000000000001001\n"
        ));
        assert!(!is_first_ignored(
            "Name:\tmoqtail\nSigIgn:\t0000000000001000\n"
        ));
        assert!(is_first_ignored(""));
    }
}
