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

macro_rules! mount_ahead {
    ($($topic:ident: [$($row:ident),* $(,)?]),* $(,)?) => {
        $($(
            #[test]
            #[ignore = "ahead of what is built"]
            fn $row() {
                for kind in [Kind::Smol, Kind::Std, Kind::Sim] {
                    run(kind, stringify!($row), suite::$topic::$row);
                }
            }
        )*)*
    };
}

fn run(kind: Kind, name: &str, row: fn(&World)) {
    World::run(kind, name, row);
}

countersign_tests::rows!(mount);
countersign_tests::rows_ahead!(mount_ahead);
