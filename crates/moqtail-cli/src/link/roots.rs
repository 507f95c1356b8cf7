//! The file of `--ca`: read anew for each attempt, as it may be replaced, and remembered for when it cannot be.

use std::{
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::fs;

/// What the file held.
#[derive(Debug, Default)]
pub(super) struct Roots(Mutex<Option<Vec<u8>>>);

impl Roots {
    /// What the file holds; what it held if it cannot be read any more. A pipe gives what it has only once, and maybe never.
    pub(super) async fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let is_pipe = fs::metadata(path).await.is_ok_and(|found| !found.is_file());
        let before = self.kept().clone();
        match before {
            Some(before) if is_pipe => Ok(before),
            None if is_pipe => fs::read(path).await.inspect(|read| self.keep(read)),
            before => fs::read(path).await.or_else(|error| before.ok_or(error)),
        }
    }

    /// Remembers what turned out to be usable.
    pub(super) fn keep(&self, pem: &[u8]) {
        *self.kept() = Some(pem.to_vec());
    }

    /// What is remembered, if it is something else than `pem`, which is not usable.
    pub(super) fn instead_of(&self, pem: &[u8]) -> Option<Vec<u8>> {
        self.kept().clone().filter(|kept| kept != pem)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_pipe_is_read_once() {
        use std::{io::Write as _, os::fd::AsRawFd as _};

        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"pem").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        let roots = Roots::default();
        for _ in 0..2 {
            assert_eq!(roots.read(Path::new(&path)).await.unwrap(), b"pem");
        }
    }

    #[tokio::test]
    async fn a_file_is_what_it_holds_now_and_what_it_held_when_it_is_gone() {
        let path = std::env::temp_dir().join(format!("moqtail-roots-{}", std::process::id()));
        let roots = Roots::default();
        assert!(roots.read(&path).await.is_err());
        fs::write(&path, "old").await.unwrap();
        roots.keep(&roots.read(&path).await.unwrap());
        assert_eq!(roots.instead_of(b"old"), None);
        fs::write(&path, "new").await.unwrap();
        assert_eq!(roots.read(&path).await.unwrap(), b"new");
        assert_eq!(roots.instead_of(b"new").unwrap(), b"old");
        fs::remove_file(&path).await.unwrap();
        assert_eq!(roots.read(&path).await.unwrap(), b"old");
    }
}
