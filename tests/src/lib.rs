//! What proves countersign: a simulator that is a third adapter, one conformance suite for three
//! worlds, and the bodies of the fuzz targets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod client;
pub mod keys;
pub mod random;
pub mod sim;
pub mod suite;
pub mod watched;
pub mod world;
