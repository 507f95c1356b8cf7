//! Certificates: generated, from files, replaced while in use, and whom clients trust.

#![cfg(unix)]

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use moqtail_e2e::{Process, Relay, Scratch, moqtail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate authority of one test.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pem: PathBuf,
}

impl Authority {
    fn new(scratch: &Scratch) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let pem = scratch.write("ca.pem", issuer.pem());
        Self { issuer, pem }
    }

    /// Writes `cert.pem` and `key.pem` for localhost.
    fn issue(&self, scratch: &Scratch) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        self.issue_with(scratch, params);
    }

    fn issue_with(&self, scratch: &Scratch, params: CertificateParams) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        scratch.write("key.pem", key.serialize_pem());
        scratch.write("cert.pem", certificate.pem());
    }
}

/// The status line of an answer over HTTPS, to a client that trusts this authority alone.
fn https(port: u16, authority: &Authority, path: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    let root = authority.issuer.der().clone();
    roots.add(root).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(tls, TcpStream::connect(("localhost", port))?);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Asks for a broadcast that is not there: who gets that far trusts the relay.
fn reaches(relay_url: &str, trust: &[&str]) -> bool {
    let arguments = [
        "subscribe",
        relay_url,
        "live/nobody",
        "--track",
        "t",
        "--no-wait",
    ];
    let finished = Process::moqtail(arguments.iter().chain(trust)).finish();
    let line = finished.last_error();
    assert_eq!(
        (finished.code, finished.stderr.len()),
        (Some(1), 1),
        "{line}"
    );
    match line {
        line if line.contains("Broadcast live/nobody not found") => true,
        line if line.contains("is not trusted") => false,
        line => panic!("{line}"),
    }
}

/// Arguments of a relay with the certificate in `scratch`.
fn listening(scratch: &Scratch, port: u16) -> Vec<String> {
    let (cert, key) = (scratch.path("cert.pem"), scratch.path("key.pem"));
    let listen = format!("localhost:{port}");
    let arguments = [
        "--listen",
        &listen,
        "--http",
        "off",
        "--cert",
        text(&cert),
        "--key",
        text(&key),
    ];
    arguments.map(str::to_owned).to_vec()
}

/// A pipe holds the certificates once, and a file may just be written anew when the relay comes back.
#[test]
fn a_program_keeps_the_authority_that_it_was_given() {
    for ca in ["/dev/stdin", "file"] {
        let scratch = Scratch::new();
        let authority = Authority::new(&scratch);
        authority.issue(&scratch);
        let relay = Relay::start_with(listening(&scratch, 0));
        let (port, url) = (relay.port(), relay.quic());
        let path = match ca {
            "file" => text(&authority.pem),
            pipe => pipe,
        };
        let arguments = [
            "subscribe",
            &url,
            "live/nobody",
            "--track",
            "t",
            "--ca",
            path,
        ];
        let mut program = Process::moqtail(arguments);
        program.write(authority.issuer.pem().as_bytes());
        program.close_stdin();
        program.wait_stderr("Waiting: broadcast live/nobody is not at");
        relay.stop();
        program.wait_stderr("Waiting: No relay answers");
        if ca == "file" {
            scratch.write("ca.pem", "");
        }
        let relay = Relay::start_with(listening(&scratch, port));
        program.wait_stderr("Connected to");
        program.interrupt();
        assert_eq!(program.finish().code, Some(0), "{ca}");
        relay.stop();
    }
}

/// Nobody writes to the pipe, and nobody can be trusted; the program ends all the same.
#[test]
fn an_authority_that_never_comes_can_be_given_up() {
    let arguments = [
        "subscribe",
        "moqt://localhost:1",
        "live/nobody",
        "--track",
        "t",
        "--ca",
        "/dev/stdin",
        "--timeout",
        "100ms",
    ];
    let program = Process::moqtail(arguments);
    program.wait_stderr("Only 0 objects came within 100ms");
    assert_eq!(program.finish().code, Some(1));
}

#[test]
fn an_authority_vouches_for_a_relay_with_a_certificate_of_its_own() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    authority.issue(&scratch);
    let relay = Relay::start_with(listening(&scratch, 0));
    let other = Scratch::new();
    let stranger = Authority::new(&other);
    for url in [relay.quic(), relay.web()] {
        assert!(reaches(&url, &["--ca", text(&authority.pem)]));
        assert!(!reaches(&url, &["--ca", text(&stranger.pem)]));
        assert!(!reaches(&url, &[]));
        assert!(reaches(&url, &["--insecure"]));
    }
}

/// Who gave an authority need not be told to give one.
#[test]
fn a_certificate_that_an_authority_does_not_vouch_for_is_told_with_what_is_wrong_with_it() {
    let refused = |scratch: &Scratch, ca: &str| {
        let relay = Relay::start_with(listening(scratch, 0));
        let url = relay.quic();
        let arguments = ["subscribe", &url, "a", "--track", "t", "--ca", ca];
        let finished = Process::moqtail(arguments).finish();
        assert_eq!(finished.code, Some(1), "{:#?}", finished.stderr);
        let line = finished.last_error().to_owned();
        assert!(!line.contains("Give `--ca`"), "{line}");
        line
    };
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let params = |name: &str| CertificateParams::new(vec![name.to_owned()]).expect("a name");

    authority.issue_with(&scratch, params("relay.example.com"));
    let line = refused(&scratch, text(&authority.pem));
    assert!(line.contains("Connect to a host that it names"), "{line}");

    let mut over = params("localhost");
    over.not_after = rcgen::date_time_ymd(2020, 1, 1);
    authority.issue_with(&scratch, over);
    let line = refused(&scratch, text(&authority.pem));
    assert!(line.contains("Renew the files"), "{line}");

    let mut early = params("localhost");
    early.not_before = rcgen::date_time_ymd(4000, 1, 1);
    authority.issue_with(&scratch, early);
    let line = refused(&scratch, text(&authority.pem));
    assert!(line.contains("Check the clocks"), "{line}");

    authority.issue(&scratch);
    let stranger = Scratch::new();
    let line = refused(&scratch, text(&Authority::new(&stranger).pem));
    assert!(line.contains("Give the authority that issued it"), "{line}");

    // As `openssl req -x509` makes it.
    let mut own = params("localhost");
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = own.self_signed(&key).expect("a certificate");
    scratch.write("key.pem", key.serialize_pem());
    let cert = scratch.write("cert.pem", certificate.pem());
    let line = refused(&scratch, text(&cert));
    assert!(line.contains("CA:FALSE"), "{line}");
}

/// A container often has none.
#[test]
fn a_machine_without_roots_waits_for_a_local_relay_and_for_its_restart() {
    let free = std::net::TcpListener::bind("localhost:0").expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let mut command = Command::new(moqtail());
    let url = format!("moqt://localhost:{port}");
    command
        .args(["subscribe", &url, "live/nobody", "--track", "t"])
        .envs([
            ("SSL_CERT_FILE", "/nonexistent"),
            ("SSL_CERT_DIR", "/nonexistent"),
        ]);
    let program = Process::spawn(command);
    program.wait_stderr("Waiting: No relay answers");
    for count in 1..=2 {
        let relay = Relay::start_on(port);
        program.wait_output("a session", |_, lines| {
            let told = "Waiting: broadcast live/nobody is not at";
            let sessions = lines.iter().filter(|line| line.contains(told));
            (sessions.count() == count).then_some(())
        });
        relay.stop();
    }
    program.interrupt();
    assert_eq!(program.finish().code, Some(0));
}

/// And says why, if it is there without telling its fingerprint.
#[test]
fn a_machine_without_roots_is_told_what_to_give() {
    let relay = Relay::start_with(["--listen", "localhost:0", "--http", "off"]);
    let mut command = Command::new(moqtail());
    command
        .args(["subscribe", &relay.quic(), "live/nobody", "--track", "t"])
        .envs([
            ("SSL_CERT_FILE", "/nonexistent"),
            ("SSL_CERT_DIR", "/nonexistent"),
        ]);
    let finished = Process::spawn(command).finish();
    assert_eq!(finished.code, Some(1), "{:#?}", finished.stderr);
    let line = finished.last_error();
    for part in [
        "is not trusted: no usable root certificate",
        "nothing listens on TCP port",
        "Give `--ca`",
    ] {
        assert!(line.contains(part), "{line}");
    }
}

/// A supervisor means by it that configuration has changed.
#[test]
fn a_hangup_has_a_relay_look_at_its_certificate() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    authority.issue(&scratch);
    let mut arguments = listening(&scratch, 0);
    arguments.push("-v".to_owned());
    let relay = Relay::start_with(arguments);
    relay.process().hang_up();
    relay.process().wait_stderr("looking at the certificate");
    assert!(reaches(&relay.quic(), &["--ca", text(&authority.pem)]));
    relay.stop();
}

#[test]
fn a_certificate_is_replaced_while_the_relay_runs() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    authority.issue(&scratch);
    let (cert, key) = (scratch.path("cert.pem"), scratch.path("key.pem"));
    let relay = Relay::start_with([
        "-v",
        "--listen",
        "localhost:0",
        "--cert",
        text(&cert),
        "--key",
        text(&key),
    ]);
    let before = relay.fingerprint();
    assert!(reaches(&relay.quic(), &["--fingerprint", &before]));

    // A broken file changes nothing.
    scratch.write("cert.pem", "half a certifi");
    relay
        .process()
        .wait_stderr("The certificate stays as it was");
    assert_eq!(relay.fingerprint(), before);

    authority.issue(&scratch);
    relay
        .process()
        .wait_stderr("another certificate is in use now");
    let after = relay.fingerprint();
    assert_ne!(after, before);
    for url in [relay.quic(), relay.web()] {
        assert!(reaches(&url, &["--fingerprint", &after]));
        assert!(!reaches(&url, &["--fingerprint", &before]));
        assert!(reaches(&url, &[]));
    }
}

#[test]
fn pages_are_served_over_https_with_the_certificate_of_the_relay() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    authority.issue(&scratch);
    let (cert, key) = (scratch.path("cert.pem"), scratch.path("key.pem"));
    let relay = Relay::start_with([
        "-v",
        "--listen",
        "localhost:0",
        "--cert",
        text(&cert),
        "--key",
        text(&key),
    ]);
    relay
        .process()
        .wait_lines("for https: /certificate.sha256 and /health (TCP)", 1);
    // A peer that never finishes its handshake is nobody's business but its own.
    let mut stalled = TcpStream::connect(("localhost", relay.port())).expect("it listens");
    stalled.write_all(b"\x16\x03\x01").expect("it takes bytes");
    let ok = "HTTP/1.1 200 OK";
    let health = https(relay.port(), &authority, "/health");
    assert_eq!(health.expect("a trusted certificate"), ok);

    let other = Authority::new(&Scratch::new());
    other.issue(&scratch);
    relay
        .process()
        .wait_stderr("another certificate is in use now");
    let health = https(relay.port(), &other, "/health");
    assert_eq!(health.expect("the renewed certificate"), ok);
    assert!(https(relay.port(), &authority, "/health").is_err());

    // Local clients need no set-up with HTTPS either, and none of them mistakes one port for the other.
    for url in [relay.quic(), relay.web()] {
        assert!(reaches(&url, &[]));
    }
}

#[test]
fn a_local_client_asks_the_relay_for_its_fingerprint() {
    let relay = Relay::start();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert!(
            reaches(&format!("moqt://{host}:{}", relay.port()), &[]),
            "{host}"
        );
        assert!(
            reaches(&format!("https://{host}:{}", relay.port()), &[]),
            "{host}"
        );
    }
}

#[test]
fn the_http_side_tells_health_and_fingerprint_to_any_page() {
    let relay = Relay::start();
    let health = relay.get("/health");
    assert!(
        health.starts_with("HTTP/1.0 200") && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );
    let certificate = relay.get("/certificate.sha256");
    assert!(
        certificate.contains("access-control-allow-origin: *"),
        "{certificate}"
    );
    let fingerprint = relay.fingerprint();
    assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
    let banner = relay.process().wait_lines("certificate ", 1);
    assert!(banner.contains(&fingerprint), "{banner}");
    assert!(relay.get("/nothing").starts_with("HTTP/1.0 404"));
}

#[test]
fn what_a_flag_trusts_is_not_widened_by_environment_or_file() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let file = scratch.write("moqtail.toml", "[client]\ninsecure = true\n");
    let (right, wrong) = (relay.fingerprint(), "00".repeat(32));
    let asked = |fingerprint: &str, environment: &[(&str, &str)], flags: &[&str]| {
        let mut command = Command::new(moqtail());
        command
            .args(["subscribe", &relay.quic(), "live/nobody", "--track", "t"])
            .args(["--no-wait", "--fingerprint", fingerprint])
            .args(flags)
            .envs(environment.iter().copied());
        let finished = Process::spawn(command).finish();
        finished.last_error().to_owned()
    };
    let insecure = [("MOQTAIL_INSECURE", "true")];
    for (environment, flags) in [(&insecure[..], &[][..]), (&[], &["--config", text(&file)])] {
        let line = asked(&wrong, environment, flags);
        assert!(line.contains("is not trusted"), "{line}");
        let line = asked(&right, environment, flags);
        assert!(line.contains("live/nobody not found"), "{line}");
    }
}

#[test]
fn flags_go_before_environment_and_that_before_the_file() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "moqtail.toml",
        "[relay]\nlisten = [\"localhost:0\"]\nhttp = \"off\"\n",
    );
    let relay = |environment: Option<&str>, flags: &[&str]| {
        let mut command = Command::new(moqtail());
        command.args(["relay", "--config", text(&file)]).args(flags);
        if let Some(http) = environment {
            command.env("MOQTAIL_HTTP", http);
        }
        let finished = Relay::spawn(command).stop();
        finished.stdout_text().contains("for http")
    };
    assert!(!relay(None, &[]));
    assert!(relay(Some("localhost:0"), &[]));
    assert!(!relay(Some("localhost:0"), &["--http", "off"]));
    assert!(relay(None, &["--http", "localhost:0"]));
}
