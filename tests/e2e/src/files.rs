//! Files of a test, and the media programs that make and judge them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder of its own for one test; removed with its content when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder.
    ///
    /// # Panics
    /// If the system's temporary folder cannot be written.
    #[expect(
        clippy::new_without_default,
        reason = "it makes a folder, which is no default value"
    )]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("moqtail-e2e-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    /// Path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the scratch folder can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An ffmpeg command with these arguments, quiet and without questions.
pub fn ffmpeg<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments);
    command
}

/// What ffprobe tells of the packets of a file: the values of `fields` of each packet of `stream` (`v:0`, `a:0`), decoded
/// from the file's start to its end.
///
/// # Panics
/// If ffprobe cannot be run or finds errors in the file.
pub fn ffprobe(file: &Path, stream: &str, fields: &str) -> Vec<Vec<String>> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            stream,
            "-of",
            "csv=p=0",
            "-show_entries",
        ])
        .arg(format!("packet={fields}"))
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("ffprobe is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "ffprobe of {file:?}: {errors}"
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.trim_end_matches(',')
                .split(',')
                .map(str::to_owned)
                .collect()
        })
        .collect()
}
