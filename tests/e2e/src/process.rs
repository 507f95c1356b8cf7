//! A program in a process of its own, its output caught line by line.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, moqtail};

/// A running program. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

/// How a program ended, and all it wrote.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal killed it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
}

impl Finished {
    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last line of standard error; empty if there is none.
    pub fn last_error(&self) -> &str {
        self.stderr.last().map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Output {
    caught: Mutex<Caught>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Caught {
    stdout: Vec<u8>,
    stderr: Vec<String>,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Caught> {
        self.caught.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Caught)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Which outputs of a program are caught.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Both,
    Stdout,
    Stderr,
}

impl Process {
    /// Starts `moqtail` with these arguments.
    ///
    /// # Panics
    /// If it does not start.
    pub fn moqtail<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(moqtail());
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a program. It has the environment of the tests without their settings of `moqtail`, and what `command` sets.
    ///
    /// # Panics
    /// If it does not start.
    pub fn spawn(command: Command) -> Self {
        Self::start(command, Heard::Both)
    }

    /// Starts `moqtail` with a standard output that nobody reads: what it writes there fails.
    ///
    /// # Panics
    /// If it does not start.
    pub fn unheard<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Self::piped(arguments, writer)
    }

    /// Starts `moqtail` with this standard output, of which nothing is caught.
    ///
    /// # Panics
    /// If it does not start.
    pub fn piped<A: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = A>,
        stdout: impl Into<Stdio>,
    ) -> Self {
        let mut command = Command::new(moqtail());
        command.args(arguments).stdout(stdout);
        Self::start(command, Heard::Stderr)
    }

    /// The same as [`Self::spawn`] with this standard error, of which nothing is caught.
    ///
    /// # Panics
    /// If it does not start.
    pub fn unlogged(mut command: Command, stderr: impl Into<Stdio>) -> Self {
        command.stderr(stderr);
        Self::start(command, Heard::Stdout)
    }

    fn start(mut command: Command, heard: Heard) -> Self {
        for (name, _) in std::env::vars_os() {
            let set = command.get_envs().any(|(set, _)| set == name);
            if !set && name.to_string_lossy().starts_with("MOQTAIL_") {
                command.env_remove(name);
            }
        }
        let name = format!("{command:?}");
        command.stdin(Stdio::piped());
        if heard != Heard::Stdout {
            command.stderr(Stdio::piped());
        }
        if heard != Heard::Stderr {
            command.stdout(Stdio::piped());
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = Arc::new(Output::default());
        let stdin = child.stdin.take();
        let mut readers = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let lines = output.clone();
            readers.push(background(move || read_lines(stderr, &lines)));
        }
        if let Some(stdout) = child.stdout.take() {
            let bytes = output.clone();
            readers.push(background(move || read_bytes(stdout, &bytes)));
        }
        Self {
            name,
            child,
            stdin,
            output,
            readers,
        }
    }

    /// Writes to standard input.
    ///
    /// # Panics
    /// If the program does not take it.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .expect("the program reads its input");
    }

    /// Closes standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Feeds standard input from `source` in the background until that ends, then closes it.
    ///
    /// # Panics
    /// If standard input was closed or given away before.
    pub fn feed(&mut self, mut source: impl Read + Send + 'static) {
        let mut stdin = self.stdin.take().expect("standard input is open");
        // A program that ends early closes the pipe; its exit code tells.
        self.readers.push(background(move || {
            drop(std::io::copy(&mut source, &mut stdin))
        }));
    }

    /// Waits until `find` finds something in what the program has written to standard output.
    ///
    /// # Panics
    /// If the time is over.
    pub fn wait_stdout<T>(&self, what: &str, mut find: impl FnMut(&[u8]) -> Option<T>) -> T {
        self.wait(what, |caught| find(&caught.stdout))
    }

    /// Waits until standard error has a line with `text`, and returns that line.
    ///
    /// # Panics
    /// If the time is over.
    pub fn wait_stderr(&self, text: &str) -> String {
        self.wait(text, |caught| {
            caught
                .stderr
                .iter()
                .find(|line| line.contains(text))
                .cloned()
        })
    }

    /// Waits until standard output has `count` lines with `text`, and returns the last of these.
    ///
    /// # Panics
    /// If the time is over.
    pub fn wait_lines(&self, text: &str, count: usize) -> String {
        self.wait_stdout(text, |bytes| {
            let all = String::from_utf8_lossy(bytes);
            let complete = all.rsplit_once('\n').map_or("", |(complete, _)| complete);
            complete
                .lines()
                .filter(|line| line.contains(text))
                .nth(count - 1)
                .map(str::to_owned)
        })
    }

    /// Waits until `find` finds something in standard output and the lines of standard error.
    ///
    /// # Panics
    /// If the time is over.
    pub fn wait_output<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[u8], &[String]) -> Option<T>,
    ) -> T {
        self.wait(what, |caught| find(&caught.stdout, &caught.stderr))
    }

    /// Waits for `time` at most until `find` finds something in what the program has written to standard output.
    pub fn within<T>(&self, time: Duration, mut find: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        self.wait_until(now() + time, |caught| find(&caught.stdout))
            .ok()
    }

    fn wait<T>(&self, what: &str, find: impl FnMut(&Caught) -> Option<T>) -> T {
        self.wait_until(now() + PATIENCE, find)
            .unwrap_or_else(|caught| {
                panic!(
                    "{} never wrote {what:?}; stdout: {:?}; stderr: {:#?}",
                    self.name,
                    String::from_utf8_lossy(caught.stdout.get(..4096).unwrap_or(&caught.stdout)),
                    caught.stderr
                )
            })
    }

    /// What was found, or all there is when the time is over.
    fn wait_until<T>(
        &self,
        deadline: Instant,
        mut find: impl FnMut(&Caught) -> Option<T>,
    ) -> Result<T, MutexGuard<'_, Caught>> {
        let mut caught = self.output.lock();
        loop {
            if let Some(found) = find(&caught) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return Err(caught);
            }
            caught = self
                .output
                .changed
                .wait_timeout(caught, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGKILL: the program has no chance to say good-bye.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends SIGSTOP: the program stands still, its sockets stay open.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    fn signal(&self, signal: Signal) {
        // One that has ended already cannot be signalled; what it wrote tells more than this would.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// If the time is over.
    pub fn finish(mut self) -> Finished {
        self.stdin = None;
        let status = self.wait_exit();
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        let mut caught = self.output.lock();
        Finished {
            code: status.code(),
            stdout: std::mem::take(&mut caught.stdout),
            stderr: std::mem::take(&mut caught.stderr),
        }
    }

    fn wait_exit(&mut self) -> ExitStatus {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            if now() > deadline {
                let stderr = self.output.lock().stderr.clone();
                panic!("{} does not end; stderr: {stderr:#?}", self.name);
            }
            pause();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_bytes(mut source: impl Read, output: &Output) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(read @ 1..) = source.read(&mut buffer) {
        output.change(|caught| caught.stdout.extend_from_slice(&buffer[..read]));
    }
    output.changed.notify_all();
}

fn read_lines(source: impl Read, output: &Output) {
    for line in BufReader::new(source).lines() {
        let Ok(line) = line else { break };
        output.change(|caught| caught.stderr.push(line));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "each pipe of a child needs a reader of its own"
)]
pub(crate) fn background(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(work)
}

#[expect(clippy::disallowed_methods, reason = "real programs run in real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the end of a child can only be asked for"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
