//! How a client speaks with a relay, and whom it trusts: one choice, whichever source it comes from.

use std::path::PathBuf;

use clap::{ArgMatches, Args, parser::ValueSource};
use serde::Deserialize;

use crate::{
    program::quoted,
    values::{Congestion, Fingerprint, Tolerance},
};

/// How a client speaks with a relay, and the table `[client]`.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(
    next_help_heading = "Trust (default: the system's roots; on localhost the relay's own fingerprint)"
)]
pub(crate) struct ClientOptions {
    /// Trust certificates of this authority (PEM)
    #[arg(long, env = "MOQTAIL_CA", value_name = "PEM")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256 only
    #[arg(long, env = "MOQTAIL_FINGERPRINT", value_name = "HEX")]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Trust any certificate; for tests only
    #[arg(long, env = "MOQTAIL_INSECURE", value_name = "BOOL")]
    pub(crate) insecure: Option<bool>,
    /// Accept this deviation from the draft, known from widely used peers
    #[arg(
        long,
        env = "MOQTAIL_TOLERATE",
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Peers that deviate from the draft"
    )]
    pub(crate) tolerate: Option<Vec<Tolerance>>,
    /// How the rate of sending is found [default: cubic]
    #[arg(long, env = "MOQTAIL_CONGESTION", help_heading = "Network")]
    pub(crate) congestion: Option<Congestion>,
}

impl ClientOptions {
    /// What says whom to trust, by name. A switch that is off says nothing.
    fn trust(&self) -> impl Iterator<Item = &'static str> {
        let set = [
            ("--ca", self.ca.is_some()),
            ("--fingerprint", self.fingerprint.is_some()),
            ("--insecure", self.insecure == Some(true)),
        ];
        set.into_iter()
            .filter_map(|(name, set)| set.then_some(name))
    }

    /// Flags that say the same of whom to trust, for commands to paste; each with a space before it.
    pub(crate) fn trust_flags(&self) -> String {
        if self.insecure == Some(true) {
            return " --insecure".to_owned();
        }
        if let Some(fingerprint) = self.fingerprint {
            return format!(" --fingerprint {fingerprint}");
        }
        let ca = self.ca.as_deref().map(|path| path.display().to_string());
        ca.map_or_else(String::new, |path| format!(" --ca {}", quoted(&path)))
    }

    /// What is wrong with options of one source: they say twice whom to trust.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut trust = self.trust();
        match (trust.next(), trust.next()) {
            (Some(one), Some(other)) => Err(format!(
                "{one} and {other} exclude each other: they say whom to trust"
            )),
            _ => Ok(()),
        }
    }

    /// Leaves out what the environment says of whom to trust, where a flag says it.
    pub(crate) fn prefer_flags(&mut self, matches: &ArgMatches) {
        let is_flag = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let flags = Self {
            ca: self.ca.clone().filter(|_| is_flag("ca")),
            fingerprint: self.fingerprint.filter(|_| is_flag("fingerprint")),
            insecure: self.insecure.filter(|_| is_flag("insecure")),
            ..Self::default()
        };
        let environment = std::mem::take(self);
        *self = flags.or(environment);
    }

    /// These options, completed by those of a weaker source. Whom to trust is taken from one of them.
    pub(crate) fn or(self, weaker: Self) -> Self {
        let (ca, fingerprint, insecure) = match self.trust().next() {
            Some(_) => (None, None, None),
            None => (weaker.ca, weaker.fingerprint, weaker.insecure),
        };
        Self {
            ca: self.ca.or(ca),
            fingerprint: self.fingerprint.or(fingerprint),
            insecure: self.insecure.or(insecure),
            tolerate: self.tolerate.or(weaker.tolerate),
            congestion: self.congestion.or(weaker.congestion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insecure(insecure: bool) -> ClientOptions {
        ClientOptions {
            insecure: Some(insecure),
            ..ClientOptions::default()
        }
    }

    fn pinned() -> ClientOptions {
        ClientOptions {
            fingerprint: Some(Fingerprint([1; 32])),
            ..ClientOptions::default()
        }
    }

    fn authority() -> ClientOptions {
        ClientOptions {
            ca: Some("ca.pem".into()),
            ..ClientOptions::default()
        }
    }

    #[test]
    fn a_weaker_source_does_not_say_whom_else_to_trust() {
        for (strong, weak) in [
            (pinned(), insecure(true)),
            (authority(), insecure(true)),
            (authority(), pinned()),
            (pinned(), authority()),
            (insecure(true), pinned()),
        ] {
            assert_eq!(strong.clone().or(weak), strong);
        }
        let tolerant = ClientOptions {
            congestion: Some(Congestion::Bbr),
            ..pinned()
        };
        let both = authority().or(tolerant);
        assert_eq!(
            (both.fingerprint, both.congestion),
            (None, Some(Congestion::Bbr))
        );
    }

    #[test]
    fn commands_to_paste_trust_whom_this_one_trusts() {
        assert_eq!(ClientOptions::default().trust_flags(), "");
        assert_eq!(insecure(true).trust_flags(), " --insecure");
        assert_eq!(authority().trust_flags(), " --ca ca.pem");
        let pin = format!(" --fingerprint {}", "01".repeat(32));
        assert_eq!(pinned().trust_flags(), pin);
        let spaced = ClientOptions {
            ca: Some("my ca.pem".into()),
            ..insecure(false)
        };
        assert_eq!(spaced.trust_flags(), " --ca 'my ca.pem'");
    }

    #[test]
    fn a_switch_that_is_off_leaves_the_choice_to_weaker_sources() {
        let both = insecure(false).or(pinned());
        assert_eq!(
            (both.insecure, both.fingerprint),
            (Some(false), pinned().fingerprint)
        );
        assert_eq!(insecure(false).or(insecure(true)).insecure, Some(false));
        assert_eq!(
            ClientOptions::default().or(insecure(true)).insecure,
            Some(true)
        );
    }
}
