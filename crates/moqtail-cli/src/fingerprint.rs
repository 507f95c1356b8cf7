//! Asks a relay on this machine for its certificate's fingerprint, so that a generated certificate needs no set-up.

use std::{io, net::IpAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{errors::is_out_of_descriptors, http::FINGERPRINT_PATH, values::Fingerprint};

/// How long a relay on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read.
const MAX_ANSWER: u64 = 4096;

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nothing listens on the TCP port: most likely there is no relay yet.
    #[error("nothing listens on TCP port {0}")]
    Refused(u16),
    /// This process, or the machine, has no descriptor for a socket.
    #[error("{0}")]
    NoDescriptor(io::Error),
    /// Something listens there, but it did not give a fingerprint.
    #[error("http://{0}{FINGERPRINT_PATH} gave no fingerprint: {1}")]
    NoFingerprint(String, String),
}

/// Whether `host` names this machine's loopback.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// GETs the fingerprint from the HTTP port of the relay at `host`, which has the number of its UDP port.
/// Dropping the future closes the connection.
pub(crate) async fn fetch(host: &str, port: u16) -> Result<Fingerprint, FetchError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let authority = if bare.contains(':') {
        format!("[{bare}]:{port}")
    } else {
        format!("{bare}:{port}")
    };
    let answer = tokio::time::timeout(TIMEOUT, get(bare, port, &authority))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match answer {
        Ok(answer) => parse(&answer).map_err(|reason| FetchError::NoFingerprint(authority, reason)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(FetchError::Refused(port))
        }
        Err(error) if is_out_of_descriptors(&error) => Err(FetchError::NoDescriptor(error)),
        Err(error) => Err(FetchError::NoFingerprint(authority, error.to_string())),
    }
}

/// HTTP/1.0, so that the answer is neither chunked nor kept open.
async fn get(host: &str, port: u16, authority: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    let request = format!("GET {FINGERPRINT_PATH} HTTP/1.0\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Result<Fingerprint, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("this is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        return Err(format!("status `{status}`"));
    }
    body.parse()
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, sync::watch};

    use super::*;
    use crate::http::{self, HttpLimits, Shown};

    #[tokio::test]
    async fn the_served_fingerprint_is_the_fetched_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Fingerprint([0xA5; 32]);
        let shown = watch::Sender::new(Shown {
            fingerprint: served,
            tls: None,
        });
        let fetched = tokio::select! {
            fetched = fetch("localhost", port) => fetched,
            never = http::serve(listener, shown.subscribe(), HttpLimits::default()) => match never {},
        };
        assert_eq!(fetched.unwrap(), served);
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_a_wrong_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(matches!(
            fetch("127.0.0.1", port).await,
            Err(FetchError::Refused(_))
        ));
    }

    #[test]
    fn other_answers_are_not_taken_for_a_fingerprint() {
        for answer in [
            &b""[..],
            b"\x15\x03\x01\x00\x02\x02\x16",
            b"HTTP/1.0 404 Not Found\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            assert!(parse(answer).is_err());
        }
        let good = format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}\n", "0b".repeat(32));
        assert_eq!(parse(good.as_bytes()), Ok(Fingerprint([0x0B; 32])));
    }

    #[test]
    fn loopback_is_recognised_in_every_form() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.com", "192.0.2.1", "localhost.example.com", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
