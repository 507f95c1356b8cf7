//! Option values that are more than a number or a path, and their text forms.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use clap::ValueEnum;
use moqtail::{
    model::{Filter, Location},
    session::Tolerances,
    transport,
};
use serde::Deserialize;

/// The UDP port of a relay when none is given.
pub(crate) const DEFAULT_PORT: u16 = 4443;

/// Host and port to listen on; `localhost` stands for both loopback addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ListenAddr {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl ListenAddr {
    /// `localhost` with this port.
    pub(crate) fn localhost(port: u16) -> Self {
        Self {
            host: "localhost".to_owned(),
            port,
        }
    }

    /// The addresses to bind, one listener each.
    pub(crate) async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.host == "localhost" {
            let port = self.port;
            return Ok(vec![
                ([127, 0, 0, 1], port).into(),
                (std::net::Ipv6Addr::LOCALHOST, port).into(),
            ]);
        }
        let mut addresses: Vec<_> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await?
            .collect();
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self::localhost(port));
        }
        let wanted =
            || format!("`{text}` is not HOST:PORT, such as localhost:4443 or 0.0.0.0:4443");
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let port = port.parse().map_err(|_| wanted())?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(wanted());
        }
        Ok(Self {
            host: bare.unwrap_or(host).to_owned(),
            port,
        })
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Where the relay's HTTP listener is, if anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum HttpAddr {
    /// No HTTP.
    Off,
    /// On this address.
    At(ListenAddr),
}

impl FromStr for HttpAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|error| format!("{error}, and not `off`")),
        }
    }
}

impl TryFrom<String> for HttpAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// SHA-256 of a certificate in DER form.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            "a fingerprint is 64 hexadecimal digits, as /certificate.sha256 of a relay shows"
                .to_owned()
        };
        let digits: Vec<u8> = text
            .trim()
            .chars()
            .filter(|c| *c != ':')
            .map(|c| {
                c.to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .ok_or_else(wanted)
            })
            .collect::<Result<_, _>>()?;
        if digits.len() != 64 {
            return Err(wanted());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |value, digit| value << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// How the rate of sending is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Congestion {
    /// Keeps queues short; nearly stops on long paths that lose or reorder packets
    Cubic,
    /// For such paths; delays urgent objects longer on a full link
    Bbr,
}

impl From<Congestion> for transport::Congestion {
    fn from(congestion: Congestion) -> Self {
        match congestion {
            Congestion::Cubic => Self::Cubic,
            Congestion::Bbr => Self::Bbr,
        }
    }
}

/// A deviation from the draft that can be tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tolerance {
    /// SUBSCRIBE_NAMESPACE with an empty prefix
    EmptyNamespacePrefix,
    /// Requests in another order than they are numbered
    RequestIdOrder,
}

impl Tolerance {
    /// What the library calls all of these together.
    pub(crate) fn all(tolerated: Option<&[Self]>) -> Tolerances {
        let mut all = Tolerances::default();
        for tolerance in tolerated.unwrap_or_default() {
            match tolerance {
                Self::EmptyNamespacePrefix => all.decode.allow_empty_namespace_prefix = true,
                Self::RequestIdOrder => all.allow_any_request_id_order = true,
            }
        }
        all
    }
}

/// What a configuration file gives as text, or as a number where no unit is needed.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number, or text with a unit")]
enum Quantity {
    Number(i64),
    Fraction(f64),
    Text(String),
}

impl Quantity {
    fn parse<T: FromStr<Err = String>>(self) -> Result<T, String> {
        match self {
            Self::Number(number) => number.to_string().parse(),
            Self::Fraction(number) => number.to_string().parse(),
            Self::Text(text) => text.parse(),
        }
    }
}

/// Longest [`Span`]: clocks can be that much ahead on every system.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A length of time, a year at most: a number with `ms`, `s` (the default), `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Quantity")]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` is not a time, such as 500ms, 10s or 2m");
        let unit_at = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let seconds_per_unit = match unit {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wanted()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wanted())?;
        let seconds = number * seconds_per_unit;
        if seconds > LONGEST.as_secs_f64() {
            return Err(format!("`{text}` is longer than a year"));
        }
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| wanted())
    }
}

impl TryFrom<Quantity> for Span {
    type Error = String;

    fn try_from(given: Quantity) -> Result<Self, String> {
        given.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A number of bytes, at least 1: a number with `K`, `M` or `G` (powers of 1024), or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Quantity")]
pub(crate) struct Size(u64);

impl Size {
    /// For what is counted whatever the size of memory.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    /// For what is in memory, which holds no more than this type can count.
    pub(crate) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` is not a size, such as 65536, 512K, 48M or 2G");
        let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
            Some(number) => (number, text.get(number.len()..).unwrap_or_default()),
            None => (text, ""),
        };
        let bytes_per_unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            _ => 1,
        };
        let number: u64 = number.parse().map_err(|_| wanted())?;
        match number.checked_mul(bytes_per_unit) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(wanted()),
        }
    }
}

impl TryFrom<Quantity> for Size {
    type Error = String;

    fn try_from(given: Quantity) -> Result<Self, String> {
        given.parse()
    }
}

/// A subscription filter: `next-group`, `largest`, `start G,O` or `range G,O G` (draft-14 §9.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct FilterArg(pub(crate) Filter);

impl FromStr for FilterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let filter = match words.as_slice() {
            ["next-group"] => Some(Filter::NextGroupStart),
            ["largest"] => Some(Filter::LargestObject),
            ["start", start] => location(start).map(|start| Filter::AbsoluteStart { start }),
            ["range", start, end] => location(start).zip(end.parse().ok()).and_then(
                |(start, end_group): (Location, u64)| {
                    (end_group >= start.group).then_some(Filter::AbsoluteRange { start, end_group })
                },
            ),
            _ => None,
        };
        filter.map(Self).ok_or_else(|| {
            format!("`{text}` is not a filter: next-group, largest, start GROUP,OBJECT or range GROUP,OBJECT LAST_GROUP")
        })
    }
}

impl TryFrom<String> for FilterArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn location(text: &str) -> Option<Location> {
    let (group, object) = text.split_once(',')?;
    Some(Location::new(group.parse().ok()?, object.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_is_host_and_port() {
        for (text, host, port) in [
            ("localhost:4443", "localhost", 4443),
            ("0.0.0.0:1", "0.0.0.0", 1),
            ("[::]:4443", "::", 4443),
            ("9000", "localhost", 9000),
        ] {
            let address: ListenAddr = text.parse().unwrap();
            assert_eq!(
                (address.host.as_str(), address.port),
                (host, port),
                "{text}"
            );
        }
        for text in [
            "",
            "localhost",
            ":4443",
            "::1:4443",
            "localhost:x",
            "localhost:70000",
        ] {
            let error = text.parse::<ListenAddr>().unwrap_err();
            assert!(error.contains("HOST:PORT"), "{error}");
        }
        assert_eq!(
            "[::1]:5".parse::<ListenAddr>().unwrap().to_string(),
            "[::1]:5"
        );
    }

    #[tokio::test]
    async fn localhost_is_both_loopback_addresses() {
        let addresses = ListenAddr::localhost(7).resolve().await.unwrap();
        assert_eq!(
            addresses,
            ["127.0.0.1:7".parse().unwrap(), "[::1]:7".parse().unwrap()]
        );
    }

    #[test]
    fn a_tolerance_is_called_as_the_log_calls_it() {
        use moqtail::model::Tolerance as Logged;
        for (tolerance, logged) in [
            (
                Tolerance::EmptyNamespacePrefix,
                Logged::EmptyNamespacePrefix,
            ),
            (Tolerance::RequestIdOrder, Logged::RequestIdOrder),
        ] {
            let name = tolerance.to_possible_value();
            assert_eq!(name.unwrap().get_name(), logged.to_string());
        }
    }

    #[test]
    fn http_can_be_off() {
        assert_eq!("off".parse(), Ok(HttpAddr::Off));
        assert_eq!(
            "localhost:8".parse(),
            Ok(HttpAddr::At(ListenAddr::localhost(8)))
        );
        assert!("no".parse::<HttpAddr>().unwrap_err().contains("`off`"));
    }

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let plain = "00ff".repeat(16);
        let colons = format!("{}00:FF", "00:ff:".repeat(15));
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint, colons.parse().unwrap());
        assert_eq!(fingerprint.to_string(), plain);
        assert_eq!(format!("{plain}\n").parse(), Ok(fingerprint));
        for text in ["", "00ff", &"zz".repeat(32), &"é".repeat(64)] {
            assert!(
                text.parse::<Fingerprint>()
                    .unwrap_err()
                    .contains("64 hexadecimal digits")
            );
        }
    }

    #[test]
    fn a_time_has_a_unit_or_counts_seconds() {
        for (text, ms) in [
            ("500ms", 500),
            ("10", 10_000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "nan", "1e400"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        // An `Instant` has no such future.
        for text in ["10000000000000000000", "8785h"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains("longer than a year"), "{error}");
        }
    }

    #[test]
    fn a_size_has_a_unit_or_counts_bytes() {
        for (text, bytes) in [
            ("1", 1),
            ("65536", 65_536),
            ("512K", 524_288),
            ("48M", 50_331_648),
            ("2G", 2_147_483_648),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "0", "0M", "M", "-1", "1.5M", "1T", "99999999999999G"] {
            let error = text.parse::<Size>().unwrap_err();
            assert!(error.contains("48M"), "{error}");
        }
    }

    #[test]
    fn the_filters_of_the_draft_have_a_text_form() {
        let start = Location::new(3, 4);
        for (text, filter) in [
            ("next-group", Filter::NextGroupStart),
            ("largest", Filter::LargestObject),
            ("start 3,4", Filter::AbsoluteStart { start }),
            (
                "range 3,4 3",
                Filter::AbsoluteRange {
                    start,
                    end_group: 3,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(FilterArg(filter)), "{text}");
        }
        for text in [
            "",
            "start",
            "start 3",
            "start 3,x",
            "range 3,4",
            "range 3,4 2",
            "latest",
        ] {
            assert!(text.parse::<FilterArg>().is_err(), "{text}");
        }
    }
}
