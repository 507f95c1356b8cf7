//! Scratch trees to plant things in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use xtask::source::files_under;

/// Root of the real checkout.
pub(crate) fn checkout() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo");
    Path::new(&own).join("..")
}

/// A folder below the build's folder for test files, made anew.
pub(crate) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// An empty folder.
    pub(crate) fn empty(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if root.exists() {
            fs::remove_dir_all(&root).expect("removes the last copy");
        }
        fs::create_dir_all(&root).expect("makes a folder");
        Self { root }
    }

    /// The library with nothing in it.
    pub(crate) fn of_library(name: &str) -> Self {
        let scratch = Self::empty(name);
        scratch.write("crates/moqtail/src/lib.rs", "");
        scratch
    }

    /// A copy of all manifests and of the sources that they need to be valid.
    pub(crate) fn of_manifests(name: &str) -> Self {
        let scratch = Self::empty(name);
        for path in files_under(&checkout(), "").expect("a readable checkout") {
            let name = path.rsplit('/').next().unwrap_or_default();
            let needed = ["Cargo.toml", "Cargo.lock"].contains(&name) || path.ends_with(".rs");
            if needed && !path.starts_with("fuzz/") {
                let to = scratch.root.join(&path);
                fs::create_dir_all(to.parent().expect("below the root")).expect("makes folders");
                fs::copy(checkout().join(&path), to).expect("copies a file");
            }
        }
        scratch
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("makes folders");
        fs::write(path, text).expect("writes a file");
    }

    /// Adds to the end of a file.
    pub(crate) fn append(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.root.join(path)).expect("an existing file");
        self.write(path, &(before + text));
    }
}
