//! Where a relay is: `moqt://` and `https://` URLs.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// What a URL's scheme asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `moqt`: raw QUIC (draft-14 §3.1.2).
    Moqt,
    /// `https`: WebTransport over HTTP/3 (draft-14 §3.1.1).
    Https,
}

/// The URL of a MOQT server. Authority, path and query are kept exactly as written.
///
/// # Examples
/// ```
/// use moqtail::transport::MoqtUrl;
///
/// let url: MoqtUrl = "moqt://relay.example:4443/live?token=1".parse()?;
/// assert_eq!(url.host(), "relay.example");
/// assert_eq!(url.authority(), "relay.example:4443");
/// assert_eq!(url.path_and_query(), "/live?token=1");
/// # Ok::<(), moqtail::transport::UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MoqtUrl {
    scheme: Scheme,
    authority: String,
    host: String,
    port: u16,
    path_and_query: String,
}

/// A URL no session can be opened with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Neither `moqt://` nor `https://`.
    #[error("the URL must begin with moqt:// or https://")]
    Scheme,
    /// There is no host.
    #[error("the URL names no host")]
    EmptyHost,
    /// The host is neither a name nor an address.
    #[error("{0:?} is no host name or address")]
    Host(String),
    /// The port is missing, where it must be given, or no number from 1 to 65535.
    #[error("the URL needs a port from 1 to 65535, as in moqt://host:4443/")]
    Port,
    /// A `#fragment` is never sent, so it can only be a mistake.
    #[error("the URL must not have a #fragment")]
    Fragment,
    /// `user@` in an `https` URL, which HTTP/3 does not send.
    #[error("an https URL must not name a user")]
    User,
    /// A character that must be percent-encoded.
    #[error("character {0:?} is not allowed there; percent-encode it")]
    Character(char),
    /// A percent sign without two hexadecimal digits.
    #[error("a percent sign must be followed by two hexadecimal digits")]
    Percent,
}

impl MoqtUrl {
    /// Which transport the URL asks for.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// User, host and port as written: the AUTHORITY setup parameter on raw QUIC (draft-14 §9.3.1.1).
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Host name or address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port; 443 if an `https` URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query as written, possibly empty: the PATH setup parameter on raw QUIC (draft-14 §9.3.1.2).
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }
}

impl FromStr for MoqtUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "moqt" => Scheme::Moqt,
            "https" => Scheme::Https,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let path = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(path);
        check(path_and_query, "/:@?")?;
        let host_port = match authority.rsplit_once('@') {
            Some(_) if scheme == Scheme::Https => return Err(UrlError::User),
            Some((user, host_port)) => {
                check(user, ":")?;
                host_port
            }
            None => authority,
        };
        let (host, port) = split_host(host_port)?;
        let port = match (port, scheme) {
            (Some(port), _) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(UrlError::Port)?,
            (None, Scheme::Https) => 443,
            (None, Scheme::Moqt) => return Err(UrlError::Port),
        };
        Ok(Self {
            scheme,
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            path_and_query: path_and_query.to_owned(),
        })
    }
}

/// Host without brackets, and what stands after its colon.
fn split_host(host_port: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = host_port.strip_prefix('[') {
        let bad = || UrlError::Host(host_port.to_owned());
        let (host, after) = rest.split_once(']').ok_or_else(bad)?;
        host.parse::<Ipv6Addr>().map_err(|_| bad())?;
        return match after.strip_prefix(':') {
            Some("") => Ok((host, None)),
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(bad()),
        };
    }
    let (host, port) = match host_port.split_once(':') {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port)),
        None => (host_port, None),
    };
    // draft-14 §3.1.2: the host must not be empty.
    if host.is_empty() {
        return Err(UrlError::EmptyHost);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.bytes().all(fits) {
        return Err(UrlError::Host(host.to_owned()));
    }
    Ok((host, port))
}

/// RFC 3986 characters: unreserved, sub-delims, percent-encoded octets and `extra`.
fn check(text: &str, extra: &str) -> Result<(), UrlError> {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == '%' {
            let hex = |digit: Option<char>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
            if !(hex(chars.next()) && hex(chars.next())) {
                return Err(UrlError::Percent);
            }
        } else if !(char.is_ascii_alphanumeric()
            || "-._~!$&'()*+,;=".contains(char)
            || extra.contains(char))
        {
            return Err(UrlError::Character(char));
        }
    }
    Ok(())
}

impl fmt::Display for MoqtUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Moqt => "moqt",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<MoqtUrl, UrlError> {
        let parsed: MoqtUrl = url.parse()?;
        assert_eq!(parsed.to_string().parse(), Ok(parsed.clone()), "{url}");
        Ok(parsed)
    }

    /// S3.1.2-01, S3.1.2-03, S3.1.2-06: scheme, authority, path and query by RFC 3986, kept as written.
    #[test]
    fn parts_of_a_moqt_url() {
        let url = parse("moqt://localhost:4443/a/b?c=d").unwrap();
        assert_eq!(url.scheme(), Scheme::Moqt);
        assert_eq!(
            (url.authority(), url.host(), url.port()),
            ("localhost:4443", "localhost", 4443)
        );
        assert_eq!(url.path_and_query(), "/a/b?c=d");
        assert_eq!(url.to_string(), "moqt://localhost:4443/a/b?c=d");

        let url = parse("MOQT://user:pw@Relay.example:1/%7e/../x").unwrap();
        assert_eq!(
            (url.authority(), url.host()),
            ("user:pw@Relay.example:1", "Relay.example")
        );
        assert_eq!(url.path_and_query(), "/%7e/../x");

        assert_eq!(parse("moqt://h:1").unwrap().path_and_query(), "");
        assert_eq!(parse("moqt://h:1?q").unwrap().path_and_query(), "?q");
        let known = "/.well-known/moqt?a=/b";
        let url = parse(&format!("moqt://h:1{known}")).unwrap();
        assert_eq!(url.path_and_query(), known);
    }

    #[test]
    fn addresses_as_hosts() {
        let url = parse("moqt://[2001:db8::1]:4443/").unwrap();
        assert_eq!(
            (url.authority(), url.host()),
            ("[2001:db8::1]:4443", "2001:db8::1")
        );
        assert_eq!(parse("moqt://127.0.0.1:1/").unwrap().host(), "127.0.0.1");
        for bad in ["moqt://[::1:1/", "moqt://[nonsense]:1/", "moqt://[::1]x:1/"] {
            assert!(matches!(parse(bad), Err(UrlError::Host(_))), "{bad}");
        }
    }

    /// S3.1.2-02
    #[test]
    fn an_empty_host_is_refused() {
        for url in [
            "moqt:///path",
            "moqt://:4443/",
            "moqt://u@:4443/",
            "https:///",
            "moqt://",
        ] {
            assert_eq!(parse(url), Err(UrlError::EmptyHost), "{url}");
        }
    }

    /// Draft 14 names no default port for moqt.
    #[test]
    fn moqt_needs_a_port_and_https_does_not() {
        for url in [
            "moqt://h",
            "moqt://h/",
            "moqt://h:/",
            "moqt://[::1]/",
            "moqt://h:0/",
        ] {
            assert_eq!(parse(url), Err(UrlError::Port), "{url}");
        }
        assert_eq!(parse("moqt://h:65536/"), Err(UrlError::Port));
        assert_eq!(parse("moqt://h:4x/"), Err(UrlError::Port));
        assert_eq!(parse("https://h/").unwrap().port(), 443);
        assert_eq!(parse("https://h:8443").unwrap().port(), 8443);
    }

    #[test]
    fn what_is_never_sent_is_refused() {
        assert_eq!(parse("moqt://h:1/a#b"), Err(UrlError::Fragment));
        assert_eq!(parse("moqt://h:1#"), Err(UrlError::Fragment));
        assert_eq!(parse("https://user@h/"), Err(UrlError::User));
    }

    #[test]
    fn characters_outside_the_grammar_are_refused() {
        assert_eq!(parse("moqt://h:1/a b"), Err(UrlError::Character(' ')));
        assert_eq!(parse("moqt://h:1/ä"), Err(UrlError::Character('ä')));
        assert_eq!(parse("moqt://h:1/a\n"), Err(UrlError::Character('\n')));
        assert_eq!(parse("moqt://h:1/%4"), Err(UrlError::Percent));
        assert!(matches!(parse("moqt://ho st:1/"), Err(UrlError::Host(_))));
    }

    #[test]
    fn other_schemes_are_refused() {
        for url in ["", "localhost:4443", "http://h/", "moqt:h:1", "quic://h:1/"] {
            assert_eq!(parse(url), Err(UrlError::Scheme), "{url}");
        }
    }
}
