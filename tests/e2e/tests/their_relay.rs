//! Our programs against a relay of others, as far as that goes.

#![cfg(all(unix, feature = "peers"))]

use std::net::UdpSocket;

use moqtail_e2e::{Process, Scratch, stranger};

/// A `moq-relay-ietf` on a free port of loopback, and that port.
fn their_relay(scratch: &Scratch) -> (Process, u16) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let cert = scratch.write("cert.pem", certificate.pem());
    let key = scratch.write("key.pem", key.serialize_pem());
    let free = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let mut command = stranger("MOQ_RELAY");
    command.args(["--bind", &address.to_string()]);
    command.arg("--tls-cert").arg(cert);
    command.arg("--tls-key").arg(key);
    command
        .arg("--coordinator-file")
        .arg(scratch.path("coordinator.json"));
    (Process::spawn(command), address.port())
}

#[test]
fn our_publisher_and_subscriber_meet_over_moq_relay_ietf() {
    let scratch = Scratch::new();
    let (_relay, port) = their_relay(&scratch);
    for scheme in ["moqt", "https"] {
        let url = format!("{scheme}://localhost:{port}");
        let name = format!("live/{scheme}");
        let mut publisher = Process::moqtail([
            "publish",
            &url,
            &name,
            "--lines",
            "--track",
            "t",
            "--insecure",
        ]);
        publisher.wait_stderr("Publishing live/");
        let subscriber = Process::moqtail([
            "-v",
            "subscribe",
            &url,
            &name,
            "--track",
            "t",
            "--format",
            "lines",
            "--insecure",
        ]);
        subscriber.wait_stderr("subscribed");
        // It keeps one subgroup of a track: the next line goes out when the one before has arrived.
        for number in 0..20 {
            let line = format!("line {number}\n");
            publisher.write(line.as_bytes());
            let arrived = |bytes: &[u8]| bytes.ends_with(line.as_bytes()).then_some(());
            subscriber.wait_stdout(&line, arrived);
        }
        let expected: String = (0..20).map(|number| format!("line {number}\n")).collect();
        subscriber.interrupt();
        let finished = subscriber.finish();
        assert_eq!((finished.code, finished.stdout_text()), (Some(0), expected));
        publisher.close_stdin();
        assert_eq!(publisher.finish().code, Some(0));
    }
}

#[test]
fn a_track_that_moq_relay_ietf_does_not_know_is_not_found() {
    let scratch = Scratch::new();
    let (_relay, port) = their_relay(&scratch);
    for scheme in ["moqt", "https"] {
        let url = format!("{scheme}://localhost:{port}");
        let publisher = Process::moqtail([
            "publish",
            &url,
            "live/other",
            "--lines",
            "--track",
            "t",
            "--insecure",
        ]);
        // It listens once this has reached it.
        publisher.wait_stderr("Publishing live/");
        let subscriber = Process::moqtail([
            "subscribe",
            &url,
            "live/nobody",
            "--track",
            "t",
            "--no-wait",
            "--insecure",
        ]);
        let finished = subscriber.finish();
        assert_eq!(finished.code, Some(1));
        let line = finished.last_error();
        assert!(line.contains("Broadcast live/nobody not found"), "{line}");
    }
}
