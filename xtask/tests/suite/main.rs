//! The repository's rules hold, and what stands behind each of them notices when one is broken.

mod corpus;
mod lints;
mod scratch;
mod walls;
