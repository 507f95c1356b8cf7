//! The configuration file: TOML with one table per kind of command. Flags win over the environment, and both over the file.

use std::path::Path;

use serde::Deserialize;

use crate::{
    args::{PublishOptions, RelayOptions, SubscribeOptions},
    client_options::ClientOptions,
    errors::{CliError, plain},
};

/// The file as a whole; a missing table is an empty one.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConfigFile {
    pub(crate) relay: RelayOptions,
    pub(crate) client: ClientOptions,
    pub(crate) publish: PublishOptions,
    pub(crate) subscribe: SubscribeOptions,
}

impl ConfigFile {
    /// Reads `path`; without a path there is nothing configured.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let failed = |reason| CliError::Config {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(plain(error)))?;
        Self::parse(&text).map_err(failed)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: Self =
            toml::from_str(text).map_err(|error: toml::de::Error| match error.span() {
                Some(span) => {
                    let before = text.get(..span.start).unwrap_or_default();
                    let line = before.matches('\n').count() + 1;
                    format!("line {line}: {}", plain(error.message()))
                }
                None => plain(error.message()),
            })?;
        let client = file.client.check();
        client.map_err(|cause| format!("[client]: {}", cause.replace("--", "")))?;
        Ok(file)
    }
}

/// Options of which the ones not set can be taken from a weaker source.
pub(crate) trait Options {
    /// These options, completed by `weaker`.
    fn or(self, weaker: Self) -> Self;
}

macro_rules! options {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        $(impl Options for $name {
            fn or(self, weaker: Self) -> Self {
                Self { $($field: self.$field.or(weaker.$field),)* }
            }
        })*
    };
}

options! {
    RelayOptions {
        listen, cert, key, http, tolerate, congestion, max_sessions, max_sessions_per_host, max_log_bytes, max_track_bytes, lag_bytes,
    }
    PublishOptions { repeat, datagram, group_lines, priority, hold, no_wait }
    SubscribeOptions { filter, priority, delivery_timeout, count, timeout, no_wait }
}

#[cfg(test)]
mod tests {
    use std::{
        num::{NonZeroU32, NonZeroU64},
        time::Duration,
    };

    use moqtail::model::Filter;

    use super::*;
    use crate::values::{Congestion, FilterArg, HttpAddr, ListenAddr, Span, Tolerance};

    #[test]
    fn every_key_is_read() {
        let config = ConfigFile::parse(
            r#"
            [relay]
            listen = ["localhost:1", "0.0.0.0:2"]
            cert = "cert.pem"
            key = "key.pem"
            http = "off"
            tolerate = ["empty-namespace-prefix"]
            congestion = "bbr"
            max-sessions = 500
            max-sessions-per-host = 20
            max-log-bytes = "64M"
            max-track-bytes = "8M"
            lag-bytes = "512K"
            [client]
            fingerprint = "0000000000000000000000000000000000000000000000000000000000000000"
            insecure = false
            tolerate = ["empty-namespace-prefix"]
            congestion = "cubic"
            [publish]
            loop = true
            datagram = true
            group-lines = 5
            priority = 3
            hold = "1s"
            no-wait = true
            [subscribe]
            filter = "largest"
            priority = 4
            delivery-timeout = "600ms"
            count = 5
            timeout = "6s"
            no-wait = false
            "#,
        )
        .unwrap();
        assert_eq!(
            config.relay.listen.as_ref().unwrap().first(),
            Some(&ListenAddr::localhost(1))
        );
        assert_eq!(config.relay.http, Some(HttpAddr::Off));
        assert_eq!(
            config.relay.tolerate,
            Some(vec![Tolerance::EmptyNamespacePrefix])
        );
        assert_eq!(config.client.insecure, Some(false));
        assert!(config.client.fingerprint.is_some());
        assert_eq!(config.client.tolerate, config.relay.tolerate);
        assert_eq!(config.relay.congestion, Some(Congestion::Bbr));
        assert_eq!(config.relay.max_sessions, NonZeroU32::new(500));
        assert_eq!(config.relay.max_sessions_per_host, NonZeroU32::new(20));
        assert_eq!(config.relay.max_log_bytes, Some("64M".parse().unwrap()));
        assert_eq!(config.relay.max_track_bytes, Some("8M".parse().unwrap()));
        assert_eq!(config.relay.lag_bytes, Some("512K".parse().unwrap()));
        assert_eq!(config.client.congestion, Some(Congestion::Cubic));
        assert_eq!(config.publish.repeat, Some(true));
        assert_eq!(config.publish.hold, Some(Span(Duration::from_secs(1))));
        assert_eq!(
            config.subscribe.filter,
            Some(FilterArg(Filter::LargestObject))
        );
        assert_eq!(config.subscribe.count, NonZeroU64::new(5));
        assert_eq!(
            config.subscribe.delivery_timeout,
            Some(Span(Duration::from_millis(600)))
        );
    }

    #[test]
    fn times_and_sizes_may_be_numbers() {
        let config =
            ConfigFile::parse("[relay]\nmax-log-bytes = 536870912\n[subscribe]\ntimeout = 60\n");
        let config = config.unwrap();
        assert_eq!(config.relay.max_log_bytes, Some("512M".parse().unwrap()));
        let minute = Span(Duration::from_secs(60));
        assert_eq!(config.subscribe.timeout, Some(minute));
        for (text, part) in [
            ("[subscribe]\ntimeout = -1\n", "`-1` is not a time"),
            (
                "[subscribe]\ntimeout = true\n",
                "a number, or text with a unit",
            ),
            ("[relay]\nlag-bytes = 0\n", "`0` is not a size"),
        ] {
            let error = ConfigFile::parse(text).unwrap_err();
            assert!(
                error.starts_with("line 2: ") && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_says_once_whom_to_trust() {
        let config = ConfigFile::parse("[client]\nca = \"ca.pem\"\ninsecure = false\n").unwrap();
        assert!(config.client.ca.is_some());
        let error = ConfigFile::parse("[client]\nca = \"ca.pem\"\ninsecure = true\n").unwrap_err();
        assert!(
            error.starts_with("[client]: ca and insecure exclude"),
            "{error}"
        );
    }

    #[test]
    fn the_example_of_the_readme_is_a_good_file() {
        let readme = include_str!("../README.md");
        let example = readme
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let config = ConfigFile::parse(example.unwrap()).unwrap();
        assert_eq!(config.publish.hold, Some(Span(Duration::from_secs(3))));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        for (text, key) in [
            ("[relay]\nlisten = []\nlissen = []\n", "lissen"),
            ("[realy]\n", "realy"),
            ("[publish]\nno_wait = true\n", "no_wait"),
        ] {
            let error = ConfigFile::parse(text).unwrap_err();
            assert!(error.contains(key) && error.starts_with("line "), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
        let error = ConfigFile::parse("[relay]\nhttp = \"nowhere\"\n").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("HOST:PORT"),
            "{error}"
        );
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flags = SubscribeOptions {
            priority: Some(1),
            ..SubscribeOptions::default()
        };
        let file = SubscribeOptions {
            priority: Some(2),
            count: NonZeroU64::new(3),
            ..SubscribeOptions::default()
        };
        let both = flags.or(file);
        assert_eq!((both.priority, both.count), (Some(1), NonZeroU64::new(3)));
    }

    #[test]
    fn a_missing_file_is_a_configuration_error() {
        let error = ConfigFile::load(Some(Path::new("/nonexistent/moqtail.toml"))).unwrap_err();
        assert_eq!(error.exit_code(), crate::errors::USAGE);
        assert!(
            error
                .to_string()
                .starts_with("Configuration /nonexistent/moqtail.toml: ")
        );
    }
}
