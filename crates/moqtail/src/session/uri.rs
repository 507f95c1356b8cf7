//! Syntax of AUTHORITY and PATH (RFC 3986, draft-14 §9.3.2.1, §9.3.2.2).

use core::net::Ipv6Addr;

/// Whether the bytes are `[userinfo@]host[:port]` with a host.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let (userinfo, host_port) = match text.rsplit_once('@') {
        Some((userinfo, rest)) => (userinfo, rest),
        None => ("", text),
    };
    let (host_ok, port) = if let Some(literal) = host_port.strip_prefix('[') {
        let Some((address, rest)) = literal.split_once(']') else {
            return false;
        };
        (is_ip_literal(address), rest)
    } else {
        let end = host_port.find(':').unwrap_or(host_port.len());
        let (host, port) = host_port.split_at(end);
        // draft-14 §3.1.2: no empty host
        (!host.is_empty() && is_encoded(host, is_reg_name_char), port)
    };
    let port_ok = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_digit()),
        None => port.is_empty(),
    };
    host_ok && port_ok && is_encoded(userinfo, |c| is_reg_name_char(c) || c == b':')
}

/// Whether the bytes are `path-abempty [?query]`.
pub(super) fn is_path(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    (path.is_empty() || path.starts_with('/'))
        && is_encoded(path, |c| is_pchar(c) || c == b'/')
        && is_encoded(query, |c| is_pchar(c) || matches!(c, b'/' | b'?'))
}

fn is_ip_literal(text: &str) -> bool {
    if text.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    // IPvFuture
    let Some((version, address)) = text
        .strip_prefix(['v', 'V'])
        .and_then(|t| t.split_once('.'))
    else {
        return false;
    };
    !version.is_empty()
        && version.bytes().all(|c| c.is_ascii_hexdigit())
        && !address.is_empty()
        && address.bytes().all(|c| is_reg_name_char(c) || c == b':')
}

fn is_reg_name_char(c: u8) -> bool {
    // unreserved and sub-delims
    c.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&c)
}

fn is_pchar(c: u8) -> bool {
    is_reg_name_char(c) || matches!(c, b':' | b'@')
}

/// Whether all bytes are allowed ones or percent-encoded.
fn is_encoded(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (*first, tail) {
            (b'%', [high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                tail
            }
            (c, tail) if allowed(c) => tail,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S9.3.2.1-06
    #[test]
    fn authorities() {
        for good in [
            "localhost",
            "relay.example:4443",
            "[::1]:4443",
            "[v1.x:y]",
            "user:pw@host",
            "h%20x",
            "host:",
            "192.0.2.1:1",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":443",
            "a b",
            "host:port",
            "[::1",
            "[xyz]",
            "h%2",
            "h%zz",
            "host/path",
            "h\u{e9}",
            "[::1]x",
            "a@b@c",
            "[v.x]",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(!is_authority(&[0xff]));
    }

    /// S9.3.2.2-06
    #[test]
    fn paths() {
        for good in [
            "",
            "/",
            "/a/b?c=d",
            "//",
            "/a%2Fb",
            "?q",
            "/x?y?z/:@",
            "/.well-known/x",
        ] {
            assert!(is_path(good.as_bytes()), "{good}");
        }
        for bad in [
            "a", "a/b", "/ ", "/a#f", "/%", "/%2", "/?%g0", "/\u{e9}", "/[x]",
        ] {
            assert!(!is_path(bad.as_bytes()), "{bad}");
        }
        assert!(!is_path(&[b'/', 0x80]));
    }
}
