//! The relay's certificate: generated in memory, or from PEM files that are watched for changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use moqtail::transport::Identity;
use rustls::pki_types::{
    PrivateKeyDer,
    pem::{self, PemObject as _},
};
use tokio::time::{Instant, sleep};

use super::validity::{self, Validity};
use crate::{
    args::RelayOptions,
    errors::{CliError, plain},
    http::{self, Shown},
    signals::Hangups,
    values::{Fingerprint, ListenAddr},
};

/// How often the PEM files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often the wall clock is looked at, by which certificates are dated: it goes on while a machine sleeps, and may be set
/// long after a start.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// How far the wall clock may go back before a generated certificate is replaced. It is valid from an hour before on.
const CLOCK_SLACK: Duration = Duration::from_secs(1800);

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
    /// From when to when it is used if it is generated, else valid, as far as it says so.
    pub(super) dates: Option<Validity>,
    /// The state of its files before they were read.
    pub(super) stamp: Stamp,
}

/// What tells one state of the files from the next: when each was changed, and its length.
pub(super) type Stamp = [Option<(SystemTime, u64)>; 2];

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
        let stamp = self.stamp();
        match self {
            Self::Generated(names) => {
                let identity = Identity::generate(names.iter().cloned());
                let identity = identity.map_err(|error| CliError::Start {
                    reason: plain(error),
                })?;
                let from = now();
                let dates = Validity {
                    from,
                    until: from + RENEW_AFTER,
                };
                Ok(Certificate::new(identity, None, Some(dates), stamp))
            }
            Self::Files { cert, key } => {
                let chain = read(cert, "a certificate chain in PEM form with `--cert`")?;
                let secret = read(key, "a private key in PEM form with `--key`")?;
                let unusable = |reason| CliError::Pem {
                    path: cert.clone(),
                    reason,
                    wanted: "a certificate chain with `--cert` and its own key with `--key`, both in PEM form",
                };
                check_key(key, &secret)?;
                let identity =
                    Identity::from_pem(&chain, &secret).map_err(|error| unusable(plain(error)))?;
                let tls = http::tls(&chain, &secret).map_err(unusable)?;
                let dates = validity::read(&chain);
                Ok(Certificate::new(identity, Some(tls), dates, stamp))
            }
        }
    }

    /// Whether there is a certificate that clients can trust; what to say of one from files that ends soon.
    pub(super) fn check(&self) -> Result<Option<String>, CliError> {
        let dates = self.load()?.dates;
        match (self, dates) {
            (Self::Files { cert, .. }, Some(dates)) => {
                refuse_invalid(cert, dates)?;
                Ok(validity::warning(dates, now()))
            }
            _ => Ok(None),
        }
    }

    /// Loads what takes the place of a certificate with the dates `before`. One that nobody trusts now does not take that of
    /// one that is trusted.
    fn load_after(&self, before: Option<Validity>) -> Result<Certificate, CliError> {
        let certificate = self.load()?;
        let was_good = before.is_none_or(|dates| dates.fault(now()).is_none());
        if let Self::Files { cert, .. } = self
            && let Some(dates) = certificate.dates
            && was_good
        {
            refuse_invalid(cert, dates)?;
        }
        Ok(certificate)
    }

    /// Calls `renewed` with each new certificate after the one with these `dates` and of files that were `loaded` then; never
    /// returns. What cannot be used is logged, daily while it cannot, and the one before stays. So is a certificate from
    /// files that ends soon. Files are looked at at once for each of `hangups`.
    pub(super) async fn watch(
        &self,
        mut dates: Option<Validity>,
        mut loaded: Stamp,
        mut hangups: Option<Hangups>,
        mut renewed: impl FnMut(Certificate),
    ) {
        let mut failed = None;
        let (mut unusable, mut ending) = (Reminder::default(), Reminder::default());
        loop {
            let asked = async {
                match &mut hangups {
                    Some(hangups) => hangups.next().await,
                    None => std::future::pending().await,
                }
            };
            let is_asked = tokio::select! {
                () = sleep(self.look_every()) => false,
                () = asked => {
                    tracing::info!("looking at the certificate");
                    // Who asks is answered.
                    unusable = Reminder::default();
                    true
                }
            };
            let stamp = self.stamp();
            let is_due = match self {
                Self::Generated(_) => is_to_renew(dates, now()),
                // Others may have the same time and length.
                Self::Files { .. } => is_asked || stamp != loaded,
            };
            if is_due {
                match self.load_after(dates) {
                    Ok(certificate) => {
                        match certificate.stamp == loaded && loaded != [None, None] {
                            true => tracing::info!("the certificate was read again"),
                            false => tracing::info!("another certificate is in use now"),
                        }
                        (dates, loaded) = (certificate.dates, certificate.stamp);
                        renewed(certificate);
                        failed = None;
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
                && let Some(line) = dates.and_then(|dates| validity::warning(dates, now()))
                && ending.is_due()
            {
                tracing::warn!("{line}");
            }
        }
    }

    fn look_every(&self) -> Duration {
        match self {
            Self::Generated(_) => CLOCK_EVERY,
            Self::Files { .. } => LOOK_EVERY,
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
    fn new(
        identity: Identity,
        tls: Option<http::Tls>,
        dates: Option<Validity>,
        stamp: Stamp,
    ) -> Self {
        let fingerprint = Fingerprint(identity.fingerprint());
        Self {
            identity,
            shown: Shown { fingerprint, tls },
            dates,
            stamp,
        }
    }
}

/// Whether a generated certificate with these dates is to be replaced at `now`.
fn is_to_renew(dates: Option<Validity>, now: SystemTime) -> bool {
    dates.is_none_or(|dates| dates.until <= now || now + CLOCK_SLACK < dates.from)
}

fn refuse_invalid(cert: &Path, dates: Validity) -> Result<(), CliError> {
    let invalid = |reason| CliError::Pem {
        path: cert.to_owned(),
        reason,
        wanted: "a certificate that is valid with `--cert`",
    };
    dates
        .fault(now())
        .map_or(Ok(()), |reason| Err(invalid(reason)))
}

/// Whether there is a key that can be read without asking anybody.
fn check_key(path: &Path, pem: &[u8]) -> Result<(), CliError> {
    let unusable = |reason: String, wanted| CliError::Pem {
        path: path.to_owned(),
        reason,
        wanted,
    };
    // `BEGIN ENCRYPTED PRIVATE KEY`, and `Proc-Type: 4,ENCRYPTED` in older files.
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(unusable(
            "the key has a passphrase".to_owned(),
            "the same without one with `--key`: `openssl pkey -in FILE -out PLAIN`",
        ));
    }
    let wanted = "a private key in PEM form with `--key`";
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(_) => Ok(()),
        Err(pem::Error::NoItemsFound) => {
            Err(unusable("it holds no private key".to_owned(), wanted))
        }
        Err(error) => Err(unusable(plain(error), wanted)),
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

    /// Files of a certificate and its key.
    struct Pems {
        cert: PathBuf,
        key: PathBuf,
    }

    impl Pems {
        /// A certificate that ends at that time.
        fn new(name: &str, end: SystemTime) -> Self {
            Self::between(name, now() - REMIND_EVERY, end)
        }

        fn between(name: &str, begin: SystemTime, end: SystemTime) -> Self {
            let path = |kind| {
                let file = format!("moqtail-{name}-{kind}-{}", std::process::id());
                std::env::temp_dir().join(file)
            };
            let pems = Self {
                cert: path("cert"),
                key: path("key"),
            };
            pems.write(begin, end);
            pems
        }

        fn renew(&self, end: SystemTime) {
            self.write(now() - 2 * REMIND_EVERY, end);
        }

        fn write(&self, begin: SystemTime, end: SystemTime) {
            let secret = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_before = begin.into();
            params.not_after = end.into();
            fs::write(&self.cert, params.self_signed(&secret).unwrap().pem()).unwrap();
            fs::write(&self.key, secret.serialize_pem()).unwrap();
        }

        fn source(&self) -> CertificateSource {
            CertificateSource::Files {
                cert: self.cert.clone(),
                key: self.key.clone(),
            }
        }
    }

    impl Drop for Pems {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.cert);
            let _ = fs::remove_file(&self.key);
        }
    }

    /// The lines that are logged while `hours` pass for a relay whose certificate from files ends after `days`; `written` is
    /// what its key becomes as soon as it is in use.
    async fn logged(name: &str, days: u32, hours: u64, written: Option<&str>) -> Vec<String> {
        let pems = Pems::new(name, now() + days * REMIND_EVERY);
        let source = pems.source();
        let loaded = source.load().unwrap();
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Log(writer.clone()));
        let guard = tracing::subscriber::set_default(subscriber.finish());
        let watching = source.watch(loaded.dates, loaded.stamp, None, |_| {
            panic!("there is no other certificate")
        });
        let breaking = async {
            sleep(LOOK_EVERY / 2).await;
            if let Some(written) = written {
                fs::write(&pems.key, written).unwrap();
            }
            sleep(Duration::from_secs(hours * 3600)).await;
        };
        tokio::select! {
            () = watching => {}
            () = breaking => {}
        }
        drop(guard);
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

    /// As when names are looked up and ports are bound in between.
    #[tokio::test(start_paused = true)]
    async fn a_certificate_that_was_replaced_before_it_was_in_use_is_noticed() {
        let pems = Pems::new("early", now() + 90 * REMIND_EVERY);
        let source = pems.source();
        let loaded = source.load().unwrap();
        let far = now() + 120 * REMIND_EVERY;
        pems.renew(far);
        // Both may have been written within what the clock of the file system tells apart.
        fs::File::options()
            .write(true)
            .open(&pems.key)
            .and_then(|key| key.set_modified(now() + LOOK_EVERY))
            .unwrap();
        let (noticed, mut renewed) = tokio::sync::mpsc::channel(1);
        let until = |certificate: &Certificate| certificate.dates.unwrap().until;
        let watching = source.watch(loaded.dates, loaded.stamp, None, |certificate| {
            noticed.try_send(until(&certificate)).unwrap();
        });
        tokio::select! {
            () = watching => {}
            renewed = renewed.recv() => assert!(renewed.unwrap() > until(&loaded)),
            () = sleep(10 * LOOK_EVERY) => panic!("nobody noticed"),
        }
    }

    #[test]
    fn an_ended_certificate_is_no_good_configuration() {
        let pems = Pems::new("ended", now() - REMIND_EVERY);
        let error = pems.source().check().unwrap_err().to_string();
        assert!(error.contains(": it ended on "), "{error}");
        pems.renew(now() + REMIND_EVERY);
        let line = pems.source().check().unwrap().unwrap();
        assert!(line.contains("ends on"), "{line}");
        pems.renew(now() + 90 * REMIND_EVERY);
        assert_eq!(pems.source().check().unwrap(), None);
    }

    #[test]
    fn a_certificate_that_is_not_valid_yet_is_no_good_configuration() {
        let (tomorrow, far) = (now() + REMIND_EVERY, now() + 90 * REMIND_EVERY);
        let pems = Pems::between("tomorrow", tomorrow, far);
        let error = pems.source().check().unwrap_err().to_string();
        assert!(error.contains(": it begins on "), "{error}");
    }

    /// Clients would be turned away until it is valid.
    #[test]
    fn a_certificate_outside_its_dates_replaces_none_that_is_valid() {
        let day = REMIND_EVERY;
        let pems = Pems::new("outside", now() + 90 * day);
        let source = pems.source();
        let (good, over) = (
            source.load().unwrap().dates,
            Some(Validity {
                from: now() - 9 * day,
                until: now() - day,
            }),
        );
        for (begin, end) in [
            (now() + day, now() + 90 * day),
            (now() - 2 * day, now() - day),
        ] {
            pems.write(begin, end);
            let error = source.load_after(good).unwrap_err().to_string();
            assert!(error.contains("that is valid with `--cert`"), "{error}");
            assert!(source.load_after(over).is_ok());
        }
        pems.renew(now() + day);
        assert!(source.load_after(good).is_ok());
    }

    /// A machine that slept, or that learned the time after the start.
    #[test]
    fn a_generated_certificate_is_replaced_by_the_wall_clock() {
        let source = CertificateSource::Generated(Vec::new());
        let dates = source.load().unwrap().dates;
        let hour = Duration::from_secs(3600);
        assert!(!is_to_renew(dates, now()));
        assert!(!is_to_renew(dates, now() - hour / 4));
        assert!(!is_to_renew(dates, now() + RENEW_AFTER - hour));
        assert!(is_to_renew(dates, now() + RENEW_AFTER + hour));
        assert!(is_to_renew(dates, now() - hour));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_with_what_to_do() {
        let pems = Pems::new("key", now() + 90 * REMIND_EVERY);
        let certificate = fs::read_to_string(&pems.cert).unwrap();
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (key, cause, next) in [
            (locked, "the key has a passphrase", "`openssl pkey"),
            (&certificate, "it holds no private key", "`--key`"),
        ] {
            fs::write(&pems.key, key).unwrap();
            let error = pems.source().load().unwrap_err().to_string();
            let told = format!("Cannot use {}: {cause}. ", pems.key.display());
            assert!(error.starts_with(&told) && error.contains(next), "{error}");
        }
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
