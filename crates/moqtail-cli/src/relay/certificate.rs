//! The relay's certificate: generated in memory, or from PEM files that are watched for changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use moqtail::transport::Identity;
use tokio::time::{Instant, sleep};

use super::validity;
use crate::{
    args::RelayOptions,
    errors::{CliError, plain},
    http::{self, Shown},
    values::{Fingerprint, ListenAddr},
};

/// How often the PEM files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a generated certificate is used; it is valid for longer, and browsers pin it for less than 14 days.
const RENEW_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);

/// How often what an operator has to see to is told again.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    /// Made here, for these names besides localhost.
    Generated(Vec<String>),
    /// Read from these files.
    Files { cert: PathBuf, key: PathBuf },
}

/// A certificate in both its uses.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// For QUIC.
    pub(super) identity: Identity,
    /// For the HTTP side: TLS if it is from files, as browsers trust no other one there.
    pub(super) shown: Shown,
    /// When it is replaced if it is generated, else when it is valid no longer, as far as it says so.
    pub(super) until: Option<SystemTime>,
}

/// What tells one state of the files from the next: when each was changed, and its length.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl CertificateSource {
    /// What the options say, for a relay that listens at `listen`.
    pub(crate) fn new(options: &RelayOptions, listen: &[ListenAddr]) -> Result<Self, CliError> {
        match (&options.cert, &options.key) {
            (Some(cert), Some(key)) => Ok(Self::Files {
                cert: cert.clone(),
                key: key.clone(),
            }),
            (None, None) => {
                let specified = |address: &&ListenAddr| {
                    !address
                        .host
                        .parse()
                        .is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified())
                };
                Ok(Self::Generated(
                    listen
                        .iter()
                        .filter(specified)
                        .map(|a| a.host.clone())
                        .collect(),
                ))
            }
            (Some(_), None) => Err(CliError::Usage(
                "`--cert` needs its private key: give `--key` too".into(),
            )),
            (None, Some(_)) => Err(CliError::Usage(
                "`--key` needs its certificate: give `--cert` too".into(),
            )),
        }
    }

    /// Whether clients off this machine need to be told the fingerprint.
    pub(crate) fn is_generated(&self) -> bool {
        matches!(self, Self::Generated(_))
    }

    /// Generates or reads the certificate.
    pub(crate) fn load(&self) -> Result<Certificate, CliError> {
        match self {
            Self::Generated(names) => {
                let identity = Identity::generate(names.iter().cloned());
                let identity = identity.map_err(|error| CliError::Start {
                    reason: plain(error),
                })?;
                Ok(Certificate::new(identity, None, Some(now() + RENEW_AFTER)))
            }
            Self::Files { cert, key } => {
                let chain = read(cert, "a certificate chain in PEM form with `--cert`")?;
                let secret = read(key, "a private key in PEM form with `--key`")?;
                let unusable = |reason| CliError::Pem {
                    path: cert.clone(),
                    reason,
                    wanted: "a certificate chain with `--cert` and its own key with `--key`, both in PEM form",
                };
                let identity =
                    Identity::from_pem(&chain, &secret).map_err(|error| unusable(plain(error)))?;
                let tls = http::tls(&chain, &secret).map_err(unusable)?;
                Ok(Certificate::new(
                    identity,
                    Some(tls),
                    validity::not_after(&chain),
                ))
            }
        }
    }

    /// Calls `renewed` with each new certificate after the one that is valid `until` then; never returns. What cannot be
    /// used is logged, daily while it cannot, and the one before stays. So is a certificate from files that ends soon.
    pub(crate) async fn watch(
        &self,
        mut until: Option<SystemTime>,
        mut renewed: impl FnMut(Certificate),
    ) {
        let mut loaded = self.stamp();
        let mut failed = None;
        let (mut unusable, mut ending) = (Reminder::default(), Reminder::default());
        loop {
            match self {
                Self::Generated(_) => sleep(RENEW_AFTER).await,
                Self::Files { .. } => sleep(LOOK_EVERY).await,
            }
            let stamp = self.stamp();
            if self.is_generated() || stamp != loaded {
                match self.load() {
                    Ok(certificate) => {
                        until = certificate.until;
                        renewed(certificate);
                        tracing::info!("another certificate is in use now");
                        (loaded, failed) = (stamp, None);
                        ending = Reminder::default();
                    }
                    // The same files again: they may be readable another time.
                    Err(error) => {
                        if failed.replace(stamp) != Some(stamp) {
                            unusable = Reminder::default();
                        }
                        if unusable.is_due() {
                            tracing::warn!("The certificate stays as it was: {error}");
                        }
                    }
                }
            }
            if let Self::Files { .. } = self
                && let Some(line) = until.and_then(|until| validity::warning(until, now()))
                && ending.is_due()
            {
                tracing::warn!("{line}");
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        match self {
            Self::Generated(_) => [None, None],
            Self::Files { cert, key } => [of(cert), of(key)],
        }
    }
}

impl Certificate {
    fn new(identity: Identity, tls: Option<http::Tls>, until: Option<SystemTime>) -> Self {
        let fingerprint = Fingerprint(identity.fingerprint());
        Self {
            identity,
            shown: Shown { fingerprint, tls },
            until,
        }
    }
}

/// Tells when something is to be said again.
#[derive(Default)]
struct Reminder(Option<Instant>);

impl Reminder {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|last| now >= last + REMIND_EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are dated by the wall clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn read(path: &Path, wanted: &'static str) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| CliError::Pem {
        path: path.to_owned(),
        reason: plain(error),
        wanted,
    };
    // What comes out of a pipe can be read once, and is looked at again later; without a writer it would never come.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(cert: Option<&str>, key: Option<&str>) -> RelayOptions {
        RelayOptions {
            cert: cert.map(Into::into),
            key: key.map(Into::into),
            ..RelayOptions::default()
        }
    }

    #[test]
    fn certificate_and_key_come_together_or_not_at_all() {
        let listen = [
            ListenAddr::localhost(1),
            "192.0.2.1:1".parse().unwrap(),
            "0.0.0.0:1".parse().unwrap(),
        ];
        let generated = CertificateSource::new(&options(None, None), &listen).unwrap();
        assert_eq!(
            generated,
            CertificateSource::Generated(vec!["localhost".into(), "192.0.2.1".into()])
        );
        assert!(generated.load().is_ok());
        for (cert, key, missing) in [(Some("c"), None, "--key"), (None, Some("k"), "--cert")] {
            let error = CertificateSource::new(&options(cert, key), &listen).unwrap_err();
            assert_eq!(error.exit_code(), crate::errors::USAGE);
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named_with_its_option() {
        let source = CertificateSource::new(
            &options(Some("/nonexistent/c"), Some("/nonexistent/k")),
            &[],
        );
        let error = source.unwrap().load().unwrap_err();
        assert!(
            error.to_string().starts_with("Cannot use /nonexistent/c: "),
            "{error}"
        );
        assert!(error.to_string().contains("`--cert`"), "{error}");
    }

    /// The lines that are logged while `hours` pass for a relay whose certificate from files ends after `days`; `written` is
    /// what its key becomes as soon as it is in use.
    async fn logged(name: &str, days: u32, hours: u64, written: Option<&str>) -> Vec<String> {
        let path = |kind| {
            let file = format!("moqtail-{name}-{kind}-{}", std::process::id());
            std::env::temp_dir().join(file)
        };
        let (cert, key) = (path("cert"), path("key"));
        let secret = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = (now() + days * REMIND_EVERY).into();
        fs::write(&cert, params.self_signed(&secret).unwrap().pem()).unwrap();
        fs::write(&key, secret.serialize_pem()).unwrap();
        let source = CertificateSource::Files {
            cert: cert.clone(),
            key: key.clone(),
        };
        let until = source.load().unwrap().until;
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Log(writer.clone()));
        let guard = tracing::subscriber::set_default(subscriber.finish());
        let watching = source.watch(until, |_| panic!("there is no other certificate"));
        let breaking = async {
            sleep(LOOK_EVERY / 2).await;
            if let Some(written) = written {
                fs::write(&key, written).unwrap();
            }
            sleep(Duration::from_secs(hours * 3600)).await;
        };
        tokio::select! {
            () = watching => {}
            () = breaking => {}
        }
        drop(guard);
        fs::remove_file(cert).unwrap();
        fs::remove_file(key).unwrap();
        let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn count(lines: &[String], what: &str) -> usize {
        lines.iter().filter(|line| line.contains(what)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_cannot_be_renewed_is_told_of_every_day() {
        let lines = logged("broken", 90, 25, Some("no key")).await;
        assert_eq!(
            count(&lines, "The certificate stays as it was"),
            2,
            "{lines:#?}"
        );
        assert_eq!(lines.len(), 2, "{lines:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_ends_soon_is_told_of_every_day() {
        let lines = logged("ending", 10, 25, None).await;
        assert_eq!(count(&lines, "The certificate ends on"), 2, "{lines:#?}");
        let lines = logged("far", 15, 1, None).await;
        assert_eq!(count(&lines, "The certificate ends on"), 0, "{lines:#?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_cannot_be_read_again_is_refused() {
        let source = CertificateSource::new(&options(Some("/dev/null"), Some("/dev/null")), &[]);
        let error = source.unwrap().load().unwrap_err().to_string();
        let told = "Cannot use /dev/null: it is not a regular file. Give ";
        assert!(error.starts_with(told), "{error}");
    }
}
