//! Each failure ends with one line that names the cause and the next step, and with its exit code.

#![cfg(unix)]

use std::{
    net::{TcpListener, UdpSocket},
    path::PathBuf,
};

use moqtail_e2e::{Codecs, Finished, Process, Relay, Scratch, test_media};

/// Runs to the end without input.
fn run<const N: usize>(arguments: [&str; N]) -> Finished {
    Process::moqtail(arguments).finish()
}

/// The program said exactly this in one line, and ended with this code.
fn assert_fails(finished: &Finished, code: i32, line: &str) {
    assert_eq!(finished.stderr, [format!("moqtail: {line}")]);
    assert_eq!(finished.code, Some(code));
}

/// A port of localhost on which nothing listens, neither UDP nor TCP.
fn free_port() -> u16 {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free TCP port");
    let port = tcp.local_addr().expect("an address").port();
    UdpSocket::bind(("127.0.0.1", port)).expect("the same UDP port is free");
    port
}

#[test]
fn wrong_usage() {
    assert_fails(
        &run(["relay", "--nonsense"]),
        2,
        "Unexpected argument '--nonsense' found. See `moqtail relay --help`.",
    );
    assert_fails(
        &run(["publish", "localhost:4443", "live/x", "film.mp4"]),
        2,
        "`localhost:4443` is no URL of a relay: the URL must begin with moqt:// or https://. \
         Write moqt://HOST:PORT or https://HOST:PORT.",
    );
    assert_fails(
        &run([]),
        2,
        "No command given. Start with `moqtail demo`, or see `moqtail --help`.",
    );
}

#[test]
fn help_is_no_failure() {
    let help = run(["--help"]);
    assert_eq!((help.code, help.stderr.len()), (Some(0), 0));
    assert!(help.stdout_text().contains("moqtail demo"));
}

#[test]
fn configuration_with_an_unknown_key() {
    let scratch = Scratch::new();
    let path = scratch.write("moqtail.toml", "[relay]\nlissen = \"localhost:1\"\n");
    let path = path.to_str().expect("a path in UTF-8");
    let finished = run(["relay", "--check-config", "--config", path]);
    let line = finished.last_error().to_owned();
    assert!(
        line.contains("line 2") && line.contains("`lissen`"),
        "{line}"
    );
    assert_eq!((finished.code, finished.stderr.len()), (Some(2), 1));

    let path = scratch.write(
        "good.toml",
        "[relay]\nlisten = [\"localhost:0\"]\nhttp = \"off\"\n",
    );
    let path = path.to_str().expect("a path in UTF-8");
    let finished = run(["relay", "--check-config", "--config", path]);
    assert_eq!(finished.stdout_text(), "The configuration is good.\n");
    assert_eq!(finished.code, Some(0));
}

#[test]
fn no_relay_and_wrong_port() {
    let port = free_port();
    for scheme in ["moqt", "https"] {
        let url = format!("{scheme}://localhost:{port}");
        assert_fails(
            &run(["subscribe", &url, "live/x", "--track", "t", "--no-wait"]),
            1,
            &format!(
                "No relay answers at localhost:{port} over UDP. \
                 Start one with `moqtail relay`, or check host and port."
            ),
        );
    }
}

#[test]
fn host_without_an_address() {
    let finished = run([
        "subscribe",
        "moqt://nowhere.invalid:4443",
        "live/x",
        "--track",
        "t",
        "--no-wait",
    ]);
    let line = finished.last_error().to_owned();
    assert!(
        line.starts_with("moqtail: No address found for nowhere.invalid: "),
        "{line}"
    );
    assert!(line.ends_with(" Check the host name in the URL."), "{line}");
    assert_eq!((finished.code, finished.stderr.len()), (Some(1), 1));
}

#[test]
fn certificate_that_is_not_trusted() {
    let relay = Relay::start();
    let wrong = "00".repeat(32);
    for url in [relay.quic(), relay.web()] {
        let finished = run([
            "subscribe",
            &url,
            "live/x",
            "--track",
            "t",
            "--fingerprint",
            &wrong,
        ]);
        assert_fails(
            &finished,
            1,
            &format!(
                "The certificate of localhost:{} is not trusted: its SHA-256 is not the expected one. \
                 Give the fingerprint that the relay prints with `--fingerprint`.",
                relay.port()
            ),
        );
    }
}

#[test]
fn certificate_of_a_relay_without_http() {
    let relay = Relay::start_with(["--listen", "localhost:0", "--http", "off"]);
    let finished = run(["subscribe", &relay.quic(), "live/x", "--track", "t"]);
    let line = finished.last_error().to_owned();
    let port = relay.port();
    let cause = format!("moqtail: The certificate of localhost:{port} is not trusted: ");
    assert!(line.starts_with(&cause), "{line}");
    assert!(
        line.contains(&format!("nothing listens on TCP port {port}")),
        "{line}"
    );
    assert!(
        line.ends_with("Give `--ca`, `--fingerprint` or, for tests only, `--insecure`."),
        "{line}"
    );
    assert_eq!((finished.code, finished.stderr.len()), (Some(1), 1));
}

/// What the relay prints is to be pasted.
#[test]
fn printed_command_of_a_relay_without_http() {
    let relay = Relay::start_with(["--listen", "localhost:0", "--http", "off"]);
    let printed = relay.process().wait_lines("watch:", 1);
    let watch = printed.split('|').next().expect("a command");
    let words = watch
        .split_whitespace()
        .skip_while(|word| *word != "subscribe");
    let finished = Process::moqtail(words.chain(["--no-wait"])).finish();
    let line = finished.last_error();
    assert!(line.contains("Broadcast live/cam not found"), "{line}");
}

#[test]
fn broadcast_that_nobody_publishes() {
    let relay = Relay::start();
    for url in [relay.quic(), relay.web()] {
        for (what, or_lacks) in [
            (["--track", "t"], ", or there is no live/nobody#t"),
            (["--out", "-"], ""),
        ] {
            let arguments = ["subscribe", &url, "live/nobody", "--no-wait"]
                .into_iter()
                .chain(what);
            assert_fails(
                &Process::moqtail(arguments).finish(),
                1,
                &format!(
                    "Broadcast live/nobody not found at localhost:{}{or_lacks}. \
                     Start its publisher, or leave `--no-wait` out to wait for it.",
                    relay.port()
                ),
            );
        }
    }
}

#[test]
fn input_that_cannot_be_published() {
    let scratch = Scratch::new();
    let text = scratch.write("notes.txt", "This is not a film.\n".repeat(100));
    let text = text.to_str().expect("a path in UTF-8");
    let finished = run(["publish", "moqt://localhost:1", "live/x", text]);
    let line = finished.last_error().to_owned();
    assert!(
        line.contains("notes.txt cannot be published: it is not MP4 but "),
        "{line}"
    );
    assert!(line.contains("-movflags cmaf+separate_moof"), "{line}");
    assert_eq!((finished.code, finished.stderr.len()), (Some(1), 1));

    assert_fails(
        &run(["publish", "moqt://localhost:1", "live/x", "-"]),
        1,
        "Standard input ended before the first media fragment. Check the command that writes it.",
    );

    let mut piped = Process::moqtail(["publish", "moqt://localhost:1", "live/x", "-"]);
    piped.write(b"This is not a film.\n");
    piped.close_stdin();
    let finished = piped.finish();
    assert!(
        finished
            .last_error()
            .contains("Standard input cannot be published"),
        "{finished:?}"
    );
    assert_eq!((finished.code, finished.stderr.len()), (Some(1), 1));

    assert_fails(
        &run([
            "publish",
            "moqt://localhost:1",
            "live/x",
            "/nonexistent/film.mp4",
        ]),
        1,
        "Cannot read /nonexistent/film.mp4: No such file or directory (os error 2). \
         Check the path and its permissions.",
    );
}

/// It is not waited for: nobody may ever write to it.
#[test]
fn pipe_where_a_file_is_wanted() {
    let scratch = Scratch::new();
    let path = scratch.path("film.pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo is installed").success());
    let path = path.to_str().expect("a path in UTF-8");
    assert_fails(
        &run(["publish", "moqt://localhost:1", "live/x", path]),
        1,
        &format!(
            "{path} is a pipe, and a file is wanted there. \
             Give `-` and redirect it: `moqtail publish URL BROADCAST - < {path}`."
        ),
    );
}

/// A test picture and a tone, written by ffmpeg with these options.
fn film(scratch: &Scratch, name: &str, options: &[&str]) -> PathBuf {
    let path = scratch.path(name);
    let made = test_media(1, Codecs::H264Aac, false)
        .args(options)
        .arg(&path)
        .status();
    assert!(made.expect("ffmpeg is installed").success());
    path
}

#[test]
fn fragments_that_mix_tracks() {
    let scratch = Scratch::new();
    let path = film(
        &scratch,
        "mixed.mp4",
        &["-movflags", "frag_keyframe+empty_moov"],
    );
    let flags = moqtail_media::FFMPEG_FLAGS;
    let path = path.to_str().expect("a path in UTF-8");
    assert_fails(
        &run(["publish", "moqt://localhost:1", "live/x", path]),
        1,
        &format!(
            "{path} cannot be published: one fragment mixes tracks 1, 2. Make an ordinary MP4 of it with \
             `ffmpeg -i INPUT film.mp4`, or pipe what ffmpeg writes with `{flags}`."
        ),
    );
    let mut piped = Process::moqtail(["publish", "moqt://localhost:1", "live/x", "-"]);
    piped.feed(std::fs::File::open(path).expect("the film was made"));
    assert_fails(
        &piped.finish(),
        1,
        &format!(
            "Standard input cannot be published: one fragment mixes tracks 1, 2. \
             Give a file instead of a pipe, or make ffmpeg write `{flags}`."
        ),
    );
}

#[test]
fn authority_that_is_no_certificate() {
    let relay = Relay::start();
    let scratch = Scratch::new();
    let text = scratch.write("notes.txt", "This is not a certificate.\n");
    let text = text.to_str().expect("a path in UTF-8");
    assert_fails(
        &run([
            "subscribe",
            &relay.quic(),
            "live/x",
            "--track",
            "t",
            "--ca",
            text,
        ]),
        1,
        &format!(
            "Cannot use {text}: cannot read a certificate: no CERTIFICATE block in the PEM text. \
             Give certificates in PEM form with `--ca`."
        ),
    );
}

#[test]
fn port_on_which_only_tcp_answers() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free TCP port");
    let port = tcp.local_addr().expect("an address").port();
    let url = format!("moqt://127.0.0.1:{port}");
    assert_fails(
        &run(["subscribe", &url, "live/x", "--track", "t", "--no-wait"]),
        1,
        &format!(
            "No relay answers at 127.0.0.1:{port} over UDP. Start one with `moqtail relay`, or check host and port."
        ),
    );
}

#[test]
fn ordinary_mp4_on_standard_input() {
    let scratch = Scratch::new();
    let file = film(&scratch, "film.mp4", &["-movflags", "faststart"]);
    let mut piped = Process::moqtail(["publish", "moqt://localhost:1", "live/x", "-"]);
    piped.feed(std::fs::File::open(&file).expect("the film was made"));
    let finished = piped.finish();
    let line = finished.last_error().to_owned();
    assert!(
        line.contains("it is an ordinary MP4, not a fragmented one. Give a file"),
        "{line}"
    );
    assert_eq!((finished.code, finished.stderr.len()), (Some(1), 1));
}

#[test]
fn port_that_is_in_use() {
    let relay = Relay::start();
    let address = format!("localhost:{}", relay.port());
    assert_fails(
        &run(["relay", "--listen", &address]),
        1,
        &format!(
            "UDP port 127.0.0.1:{} is in use. Stop the other program, or choose a port with `--listen`.",
            relay.port()
        ),
    );
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free TCP port");
    let taken = tcp.local_addr().expect("an address").to_string();
    assert_fails(
        &run(["relay", "--listen", "localhost:0", "--http", &taken]),
        1,
        &format!(
            "TCP port {taken} is in use. Stop the other program, or choose a port with `--http`."
        ),
    );
}

#[test]
fn certificate_files_that_cannot_be_used() {
    let finished = run([
        "relay",
        "--cert",
        "/nonexistent/c.pem",
        "--key",
        "/nonexistent/k.pem",
    ]);
    assert_fails(
        &finished,
        1,
        "Cannot use /nonexistent/c.pem: No such file or directory (os error 2). \
         Give a certificate chain in PEM form with `--cert`.",
    );
    assert_fails(
        &run(["relay", "--cert", "/nonexistent/c.pem"]),
        2,
        "`--cert` needs its private key: give `--key` too.",
    );
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk() {
    let relay = Relay::start();
    let mut publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
    ]);
    let viewer = Process::moqtail([
        "subscribe",
        &relay.quic(),
        "site/7",
        "--track",
        "t",
        "--format",
        "raw",
        "--out",
        "/dev/full",
    ]);
    publisher.write(b"one\n");
    let finished = viewer.finish();
    assert_eq!(
        finished.last_error(),
        "moqtail: No space left for /dev/full. Free some space or write elsewhere with `--out`."
    );
    assert_eq!(finished.code, Some(1));
}

#[test]
fn reader_of_the_output_that_goes_away() {
    let relay = Relay::start();
    let mut publisher = Process::moqtail([
        "publish",
        &relay.quic(),
        "site/7",
        "--lines",
        "--track",
        "t",
    ]);
    let viewer = Process::unheard([
        "subscribe",
        &relay.quic(),
        "site/7",
        "--track",
        "t",
        "--format",
        "lines",
    ]);
    publisher.write(b"one\n");
    let finished = viewer.finish();
    assert_eq!(
        finished.last_error(),
        "moqtail: The program reading standard output has closed it. \
         Start that program again, or write to a file with `--out FILE`."
    );
    assert_eq!(finished.code, Some(1));
}

#[test]
fn time_over_with_objects_missing() {
    let relay = Relay::start();
    let finished = run([
        "subscribe",
        &relay.quic(),
        "live/nobody",
        "--track",
        "t",
        "--count",
        "1",
        "--timeout",
        "1s",
    ]);
    assert_eq!(
        finished.last_error(),
        "moqtail: Only 0 of 1 objects came within 1s. \
         Check that the publisher is sending, or give a longer `--timeout`."
    );
    assert_eq!(finished.code, Some(1));
}

/// A QUIC server that speaks something else, on localhost; it lives as long as the runtime.
fn other_server(runtime: &tokio::runtime::Runtime) -> (u16, String) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let chain = vec![key.cert.der().clone()];
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, secret.into())
        })
        .expect("a usable certificate");
    tls.alpn_protocols = vec![b"hq-29".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ServerConfig::with_crypto(std::sync::Arc::new(crypto));
    let _context = runtime.enter();
    let any = "127.0.0.1:0".parse().expect("an address");
    let endpoint = quinn::Endpoint::server(config, any).expect("a free UDP port");
    let port = endpoint.local_addr().expect("an address").port();
    runtime.spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            // It fails for want of a protocol in common.
            drop(incoming.await);
        }
    });
    (port, format!("localhost:{port}"))
}

#[test]
fn server_of_another_protocol() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (port, authority) = other_server(&runtime);
    for (scheme, alpn, other) in [
        ("moqt", "moq-00", "https:// for WebTransport"),
        ("https", "h3", "moqt:// for raw QUIC"),
    ] {
        let url = format!("{scheme}://localhost:{port}");
        assert_fails(
            &run(["subscribe", &url, "live/x", "--track", "t", "--insecure"]),
            1,
            &format!(
                "The server at {authority} does not speak MOQT draft 14 (ALPN {alpn} refused). \
                 Check the port, or try {other}."
            ),
        );
    }
}
