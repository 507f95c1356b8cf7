//! Checks of the repository's own rules, as functions over the root of a checkout.
//!
//! - [`walls`]: the rules between the parts of the source tree that the compiler does not hold.
//! - [`mod@bench`]: what a relay costs above the floor.
//! - [`corpus`]: seeds of the fuzz targets, written from the golden vectors.
//! - [`source`] and [`paths`]: the Rust sources as the walls read them.

pub mod bench;
pub mod corpus;
pub mod paths;
pub mod source;
pub mod walls;

/// Result of reading a checkout; the error says which file could not be read and why.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
