//! Standard error, which holds up nobody: when its reader does not read, lines are left out and counted, and what they are
//! about goes on.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Most bytes that wait to be written.
const MAX_WAITING: usize = 1 << 20;

/// How long the end of the process waits for what is still to be written.
const FAREWELL: Duration = Duration::from_millis(500);

/// `None`: there is no thread for it, so each line is written where it is told.
static STANDARD_ERROR: LazyLock<Option<Lines>> =
    LazyLock::new(|| Lines::written_to(io::stderr()).ok());

/// Writes lines, each with its line feed, without waiting.
pub(crate) fn put(lines: &[u8]) {
    match &*STANDARD_ERROR {
        Some(waiting) => waiting.put(lines),
        // Who cannot be told cannot be told.
        None => drop(io::stderr().write_all(lines)),
    }
}

/// Waits a little until everything is written.
pub(crate) fn flush() {
    if let Some(waiting) = &*STANDARD_ERROR {
        waiting.flush(FAREWELL);
    }
}

/// Standard error as a writer, for events that are written with one call each.
#[derive(Debug)]
pub(crate) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines on their way to a thread that writes them.
struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Writes that found no room since the last one that did.
    left_out: u64,
    /// Something is being written.
    busy: bool,
}

impl Lines {
    fn written_to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let source = Arc::clone(&shared);
        // Such a write may block for ever, so no task of the runtime can do it.
        thread::Builder::new().spawn(move || source.write_to(out))?;
        Ok(Self(shared))
    }

    fn put(&self, lines: &[u8]) {
        let mut waiting = self.0.lock();
        if waiting.bytes + lines.len() > MAX_WAITING {
            waiting.left_out += 1;
            return;
        }
        waiting.tell_left_out();
        waiting.push(lines.to_vec());
        drop(waiting);
        self.0.changed.notify_all();
    }

    fn flush(&self, patience: Duration) {
        let mut waiting = self.0.lock();
        waiting.tell_left_out();
        self.0.changed.notify_all();
        let unwritten = |waiting: &mut Waiting| waiting.busy || !waiting.lines.is_empty();
        let waited = self
            .0
            .changed
            .wait_timeout_while(waiting, patience, unwritten);
        drop(waited);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut waiting = self.lock();
        loop {
            let Some(line) = waiting.lines.pop_front() else {
                waiting = self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            waiting.bytes -= line.len();
            waiting.busy = true;
            drop(waiting);
            // Who cannot be told cannot be told.
            let _ = out.write_all(&line);
            waiting = self.lock();
            waiting.busy = false;
            self.changed.notify_all();
        }
    }
}

impl Waiting {
    fn push(&mut self, lines: Vec<u8>) {
        self.bytes += lines.len();
        self.lines.push_back(lines);
    }

    fn tell_left_out(&mut self) {
        let count = std::mem::take(&mut self.left_out);
        if count > 0 {
            let lines = if count == 1 { "line" } else { "lines" };
            let told = format!(
                "moqtail: {count} {lines} left out here, because standard error was not read fast enough\n"
            );
            self.push(told.into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Gives each line to a test when that asks for it, and waits until then.
    struct Handed(SyncSender<Vec<u8>>);

    impl Write for Handed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0.send(bytes.to_vec());
            taken.map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (Lines, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (Lines::written_to(Handed(sender)).unwrap(), receiver)
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:>1023}\n").into_bytes()
    }

    #[test]
    fn what_finds_no_room_is_left_out_and_counted_where_it_is_missing() {
        let (waiting, reader) = lines();
        waiting.put(&line(0));
        // The first one is on its way, and nothing more goes until it is read.
        while !waiting.0.lock().busy {
            thread::yield_now();
        }
        let kept = 1 + MAX_WAITING / 1024;
        for number in 1..kept + 7 {
            waiting.put(&line(number));
        }
        assert_eq!(waiting.0.lock().left_out, 7);
        for number in 0..kept {
            assert_eq!(reader.recv().unwrap(), line(number));
        }
        waiting.put(b"later\n");
        let told = String::from_utf8(reader.recv().unwrap()).unwrap();
        assert!(told.contains(" 7 lines left out here"), "{told}");
        assert_eq!(reader.recv().unwrap(), b"later\n");
    }

    #[test]
    fn the_end_waits_for_what_can_be_written_and_not_for_ever() {
        let (waiting, reader) = lines();
        waiting.put(b"last\n");
        // Returns though nobody reads.
        waiting.flush(Duration::from_millis(1));
        let read = thread::scope(|scope| {
            let reading = scope.spawn(move || reader.recv());
            waiting.flush(Duration::from_secs(60));
            assert!(waiting.0.lock().lines.is_empty());
            reading.join().unwrap()
        });
        assert_eq!(read.unwrap(), b"last\n");
    }
}
