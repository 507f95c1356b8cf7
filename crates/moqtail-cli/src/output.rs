//! Where received bytes go: a file or standard output, with failures told apart.

use std::{
    io::{self, Write as _},
    path::Path,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncWriteExt as _, Stdout},
};

use crate::errors::CliError;

/// Prints text on standard output. False: nobody reads it any more.
pub(crate) fn print(text: &str) -> bool {
    try_print(text).is_ok()
}

/// Prints text that somebody counts on.
pub(crate) fn try_print(text: &str) -> io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// A destination for bytes.
pub(crate) struct Output {
    name: String,
    writer: Writer,
    /// Bytes of complete writes.
    written: u64,
    /// The rest of the write that is under way.
    pending: Bytes,
    /// Bytes of that write.
    under_way: u64,
}

enum Writer {
    /// A file that still holds what it held before.
    Untouched(File),
    File(File),
    Stdout(Stdout),
}

impl Output {
    /// Opens `path` for writing; `-` is standard output. What a file held before stays until the first bytes come.
    pub(crate) async fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self::stdout());
        }
        let name = path.display().to_string();
        let mut options = OpenOptions::new();
        match options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .await
        {
            Ok(file) => Ok(Self {
                name,
                writer: Writer::Untouched(file),
                written: 0,
                pending: Bytes::new(),
                under_way: 0,
            }),
            Err(error) => Err(CliError::from_write(&name, &error)),
        }
    }

    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Self {
            name: "standard output".to_owned(),
            writer: Writer::Stdout(tokio::io::stdout()),
            written: 0,
            pending: Bytes::new(),
            under_way: 0,
        }
    }

    /// Writes all of `bytes` through to the system. A file is left without the part of them that fitted on a disk that is
    /// full now. What is not written when the future is dropped is for [`finish`](Self::finish).
    pub(crate) async fn write(&mut self, bytes: impl Into<Bytes>) -> Result<(), CliError> {
        self.finish().await?;
        self.pending = bytes.into();
        self.under_way = self.pending.len() as u64;
        self.finish().await
    }

    /// Writes what a write that was given up has left. Cancel safe.
    pub(crate) async fn finish(&mut self) -> Result<(), CliError> {
        let result = self.write_pending().await;
        let under_way = std::mem::take(&mut self.under_way);
        if let Err(error) = result {
            self.pending = Bytes::new();
            self.writer.cut(self.written).await;
            return Err(CliError::from_write(&self.name, &error));
        }
        self.written += under_way;
        Ok(())
    }

    async fn write_pending(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let taken = self.writer.write(&self.pending).await?;
            if taken == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.pending.advance(taken);
        }
        self.writer.flush().await
    }
}

impl Writer {
    /// Takes from a file what is behind its first `len` bytes. If that fails as well, there is no better end to leave.
    async fn cut(&self, len: u64) {
        if let Self::File(file) = self
            && let Ok(metadata) = file.metadata().await
            && metadata.is_file()
        {
            let _ = file.set_len(len).await;
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Self::Untouched(file) = self {
            let file = file.try_clone().await?;
            // Devices and pipes have no length.
            if file.metadata().await?.is_file() {
                file.set_len(0).await?;
            }
            *self = Self::File(file);
        }
        match self {
            Self::Untouched(file) | Self::File(file) => file.write(bytes).await,
            Self::Stdout(stdout) => stdout.write(bytes).await,
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Untouched(file) | Self::File(file) => file.flush().await,
            Self::Stdout(stdout) => stdout.flush().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_named_as_such() {
        let mut output = Output::open(Path::new("/dev/full")).await.unwrap();
        let error = output.write(&b"x"[..]).await.unwrap_err();
        assert!(matches!(error, CliError::DiskFull { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_file_keeps_what_it_held_until_something_comes() {
        let path = std::env::temp_dir().join(format!("moqtail-output-{}", std::process::id()));
        std::fs::write(&path, "an old recording").unwrap();
        let mut output = Output::open(&path).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"an old recording");
        output.write(&b"new"[..]).await.unwrap();
        output.write(&b"er"[..]).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_write_that_was_given_up_is_finished() {
        let path = std::env::temp_dir().join(format!("moqtail-dropped-{}", std::process::id()));
        let mut output = Output::open(&path).await.unwrap();
        let large = vec![b'2'; 10 << 20];
        output.write(&b"1"[..]).await.unwrap();
        let _ = output.write(large.clone()).now_or_never();
        output.write(&b"3"[..]).await.unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            [b"1", &large[..], b"3"].concat()
        );
        let _ = output.write(&b"4"[..]).now_or_never();
        output.finish().await.unwrap();
        assert!(std::fs::read(&path).unwrap().ends_with(b"34"));
        assert_eq!(output.written, 3 + (10 << 20));
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_missing_folder_is_named_with_the_file() {
        let error = Output::open(Path::new("/nonexistent/film.mp4"))
            .await
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("Cannot write /nonexistent/film.mp4: "),
            "{error}"
        );
    }
}
