//! From when to when a certificate is valid, and how that is told.

use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use time::OffsetDateTime;
use yasna::{ASN1Result, BERReader, BERReaderSeq, Tag, tags::TAG_UTCTIME};

/// A certificate that ends sooner is told of.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// From when to when a certificate is valid, or is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Validity {
    /// Why nobody trusts it at `now`, if that is so.
    pub(super) fn fault(&self, now: SystemTime) -> Option<String> {
        if now < self.from {
            return Some(format!("it begins on {}", date(self.from)));
        }
        (self.until <= now).then(|| format!("it ended on {}", date(self.until)))
    }
}

/// The dates of the first certificate of a chain in PEM form; `None` if it does not tell them as it should.
pub(super) fn read(chain: &[u8]) -> Option<Validity> {
    let leaf = CertificateDer::pem_slice_iter(chain).next()?.ok()?;
    // RFC 5280 §4.1
    let dates = yasna::parse_der(&leaf, |certificate| {
        certificate.read_sequence(|fields| {
            let dates = fields.next().read_sequence(|signed| to_be_signed(signed))?;
            rest(fields)?;
            Ok(dates)
        })
    });
    dates.ok()
}

fn to_be_signed(fields: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Validity> {
    fields
        .read_optional(|field| field.read_tagged(Tag::context(0), |version| version.read_der()))?;
    for _ in ["serialNumber", "signature", "issuer"] {
        fields.next().read_der()?;
    }
    let dates = fields.next().read_sequence(|validity| {
        Ok(Validity {
            from: time(validity.next())?,
            until: time(validity.next())?,
        })
    })?;
    rest(fields)?;
    Ok(dates)
}

fn rest(fields: &mut BERReaderSeq<'_, '_>) -> ASN1Result<()> {
    while fields.read_optional(|field| field.read_der())?.is_some() {}
    Ok(())
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<SystemTime> {
    let at = match reader.lookahead_tag()? {
        TAG_UTCTIME => *reader.read_utctime()?.datetime(),
        _ => *reader.read_generalized_time()?.datetime(),
    };
    Ok(at.into())
}

/// What to say at `now` of a certificate with these dates, if it is time to.
pub(super) fn warning(dates: Validity, now: SystemTime) -> Option<String> {
    if now < dates.from {
        let date = date(dates.from);
        return Some(format!(
            "The certificate begins on {date}, and clients do not trust it before. Check the clock, or use other files of `--cert` and `--key`."
        ));
    }
    let date = date(dates.until);
    match dates.until.duration_since(now) {
        Err(_) => Some(format!(
            "The certificate ended on {date}, and clients trust it no longer. Renew the files of `--cert` and `--key`."
        )),
        Ok(left) if left < SOON => Some(format!(
            "The certificate ends on {date}. Renew the files of `--cert` and `--key` before."
        )),
        Ok(_) => None,
    }
}

/// A time to the minute.
pub(super) fn date(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn certificate(year: i32, month: u8, day: u8) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 5, 4);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_dates_of_a_certificate_are_read() {
        // From 2050 on it is written in another way (RFC 5280 §4.1.2.5).
        for (year, month, day, told) in [
            (2031, 2, 3, "2031-02-03 00:00 UTC"),
            (2061, 12, 31, "2061-12-31 00:00 UTC"),
        ] {
            let pem = certificate(year, month, day) + &certificate(2040, 1, 1);
            let dates = read(pem.as_bytes()).unwrap();
            assert_eq!(date(dates.from), "2026-05-04 00:00 UTC");
            assert_eq!(date(dates.until), told);
        }
        for unusable in [
            "",
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        ] {
            assert_eq!(read(unusable.as_bytes()), None);
        }
    }

    #[test]
    fn an_end_is_told_of_two_weeks_before() {
        let end = SystemTime::UNIX_EPOCH + 400 * DAY;
        let dates = Validity {
            from: SystemTime::UNIX_EPOCH + 30 * DAY,
            until: end,
        };
        assert_eq!(warning(dates, end - 14 * DAY), None);
        let soon = warning(dates, end - 13 * DAY).unwrap();
        assert!(soon.contains("ends on 1971-02-05"), "{soon}");
        let over = warning(dates, end + DAY).unwrap();
        assert!(over.contains("ended on 1971-02-05"), "{over}");
        let early = warning(dates, SystemTime::UNIX_EPOCH).unwrap();
        assert!(early.contains("begins on 1970-01-31"), "{early}");
    }
}
