//! The conformance suite: one file per topic, one function per row, run in every world.

pub mod basic;
pub mod bearer;
pub mod carriers;
pub mod chain;
pub mod drain;
pub mod echo;
pub mod head;
pub mod jws;
pub mod lifetime;
pub mod limits;
pub mod log;
pub mod origin;
pub mod policy;
pub mod reload;
pub mod route;
pub mod tls;
pub mod upgrade;

use crate::client::{Client, Request, Response};
use crate::world::{Setup, Stage};

/// Passes every row of the suite, by topic, to a macro.
#[macro_export]
macro_rules! rows {
    ($mount:ident) => {
        $mount! {
            head: [
                r02_malformed_heads_are_refused_and_close,
            ],
        }
    };
}

/// Asks on a new connection and expects to be refused with `status` and a close.
///
/// # Panics
/// If the answer is another one or the connection stays open.
pub fn refused(stage: &Stage, request: &Request, status: u16) -> Response {
    let mut client = stage.connect();
    client.send(&request.bytes());
    let answer = closed_after(&mut client);
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

/// Reads an answer that announces the end of the connection, and that end.
///
/// # Panics
/// If the answer does not announce it or the connection stays open.
pub fn closed_after(client: &mut Client) -> Response {
    let answer = client.expect_response();
    assert!(answer.closes(), "not announced to close: {answer:?}");
    client.expect_eof();
    answer
}

/// Asks on a new connection and expects to be refused with `status`, the connection being kept.
///
/// # Panics
/// If the answer is another one or announces a close.
pub fn refused_but_kept(stage: &Stage, request: &Request, status: u16) -> Response {
    let answer = stage.connect().ask(request);
    assert_eq!((answer.status, answer.closes()), (status, false), "{answer:?}");
    answer
}

/// Loads a configuration that is wrong and returns what is said about it.
///
/// # Panics
/// If it is not wrong.
pub fn load_error(setup: &Setup) -> String {
    let built = setup.load().and_then(|config| crate::world::try_gateway(config).map(|_| ()));
    built.expect_err("a wrong configuration loads").to_string()
}
