//! What proves countersign: a simulator that is a third adapter, one conformance suite for three
//! worlds, and the bodies of the fuzz targets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod client;
pub mod fake;
pub mod fuzz;
pub mod keys;
pub mod model;
pub mod probe;
pub mod random;
pub mod sim;
pub mod solo;
pub mod suite;
pub mod talk;
pub mod watched;
pub mod world;
