//! Where received bytes go: a file or standard output, with failures told apart.

use std::{io::Write as _, path::Path};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::errors::CliError;

/// Prints text on standard output, as far as somebody reads it.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// A destination for bytes.
pub(crate) struct Output {
    name: String,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Output {
    /// Opens `path` for writing, cutting off what it held; `-` is standard output.
    pub(crate) async fn open(path: &Path) -> Result<Self, CliError> {
        if path == Path::new("-") {
            return Ok(Self::stdout());
        }
        let name = path.display().to_string();
        match tokio::fs::File::create(path).await {
            Ok(file) => Ok(Self {
                name,
                writer: Box::new(file),
            }),
            Err(error) => Err(CliError::from_write(&name, &error)),
        }
    }

    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Self {
            name: "standard output".to_owned(),
            writer: Box::new(tokio::io::stdout()),
        }
    }

    /// Writes all of `bytes` through to the system. Dropping the future may leave a part written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        written
            .await
            .map_err(|error| CliError::from_write(&self.name, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_named_as_such() {
        let mut output = Output::open(Path::new("/dev/full")).await.unwrap();
        let error = output.write(b"x").await.unwrap_err();
        assert!(matches!(error, CliError::DiskFull { .. }), "{error:?}");
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
