//! The conformance suite, mounted in three worlds.

use countersign_tests::suite;
use countersign_tests::world::{Kind, World};

macro_rules! mount {
    ($($topic:ident: [$($row:ident),* $(,)?]),* $(,)?) => {
        mod smol {
            $($(#[test] fn $row() { super::run(super::Kind::Smol, stringify!($row), super::suite::$topic::$row); })*)*
        }
        mod std {
            $($(#[test] fn $row() { super::run(super::Kind::Std, stringify!($row), super::suite::$topic::$row); })*)*
        }
        mod sim {
            $($(#[test] fn $row() { super::run(super::Kind::Sim, stringify!($row), super::suite::$topic::$row); })*)*
        }
    };
}

fn run(kind: Kind, name: &str, row: fn(&World)) {
    World::run(kind, name, row);
}

countersign_tests::rows!(mount);
