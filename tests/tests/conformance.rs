//! The conformance suite, mounted in three worlds.

use countersign_tests::sim::Habits;
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

#[test]
fn m38_the_same_conversation_is_answered_with_the_same_bytes() {
    let held = |kind| suite::same::conversation(&World::new(kind, 38, Habits::SLOW));
    let (smol, std, sim) = (held(Kind::Smol), held(Kind::Std), held(Kind::Sim));
    for (one, (other, simulated)) in smol.lines().zip(std.lines().zip(sim.lines())) {
        assert_eq!(one, other, "smol and std differ");
        assert_eq!(one, simulated, "smol and the simulator differ");
    }
    assert_eq!(smol, std);
    assert_eq!(smol, sim);
}
