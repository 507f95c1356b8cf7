//! A relay under test.

use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use crate::{Finished, Process, moqtail};

/// A `moqtail relay` on a port of its own.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    port: u16,
}

impl Relay {
    /// Starts a relay on localhost and a free port, and waits until it listens.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start() -> Self {
        Self::start_with(["--listen", "localhost:0"])
    }

    /// Starts a relay on localhost and this port, where another one ran before.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_on(port: u16) -> Self {
        Self::start_with(["--listen".to_owned(), format!("localhost:{port}")])
    }

    /// Starts a relay with these arguments, and waits until it listens.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_with<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(moqtail());
        command.arg("relay").args(arguments);
        Self::spawn(command)
    }

    /// Starts a relay by this command, and waits until it listens.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn spawn(command: Command) -> Self {
        Self::of(Process::spawn(command))
    }

    /// Starts a relay with these arguments whose standard error goes elsewhere, and waits until it listens.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn unlogged<A: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = A>,
        stderr: impl Into<Stdio>,
    ) -> Self {
        let mut command = Command::new(moqtail());
        command.arg("relay").args(arguments);
        Self::of(Process::unlogged(command, stderr))
    }

    fn of(process: Process) -> Self {
        let line = process.wait_lines("listening on 127.0.0.1:", 1);
        let port = line
            .split("127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|digits| digits.parse().ok())
            .expect("the line names the port");
        Self { process, port }
    }

    /// Its UDP and TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL for raw QUIC.
    pub fn quic(&self) -> String {
        format!("moqt://localhost:{}", self.port)
    }

    /// Its URL for WebTransport.
    pub fn web(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// What its HTTP side answers to a GET, head and body.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("localhost", self.port)).expect("it serves HTTP");
        let mut answer = String::new();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut answer))
            .expect("it answers");
        answer
    }

    /// The SHA-256 of its certificate, as its HTTP side tells it.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn fingerprint(&self) -> String {
        let answer = self.get("/certificate.sha256");
        answer.lines().last().expect("a body").to_owned()
    }

    /// Its UDP address.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its process alone.
    pub fn into_process(self) -> Process {
        self.process
    }

    /// Ends it with Ctrl-C and waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(self) -> Finished {
        self.process.interrupt();
        self.process.finish()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn finish(self) -> Finished {
        self.process.finish()
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(self) {
        self.process.kill();
        self.process.finish();
    }
}
