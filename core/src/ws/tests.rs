#![allow(clippy::unwrap_used)]

use super::*;

/// A client's frame whose mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns the messages in `bytes`, and whether the session holds a context behind them.
fn read(session: &mut Session, bytes: &[u8]) -> (Vec<Bytes>, bool) {
    let (memory, bell, mut legs) = (Memory::new(0), Arc::new(Bell::default()), Legs::new());
    let mut messages = Vec::new();
    session.receive(bytes, (&memory, &bell), &mut legs, &mut |event, _| {
        if let Event::Message(message) = event {
            messages.push(message.payload().clone());
        }
    });
    (messages, session.context.is_some())
}

#[test]
fn a_session_holds_a_context_only_while_something_is_incomplete() {
    let mut session = Session::new(1024);
    assert!(session.context.is_none());
    let whole = frame(0x82, b"whole");
    assert_eq!(
        read(&mut session, &whole),
        (vec![Bytes::from_static(b"whole")], false)
    );
    let (start, end) = whole.split_at(8);
    assert_eq!(read(&mut session, start), (vec![], true));
    assert_eq!(
        read(&mut session, end),
        (vec![Bytes::from_static(b"whole")], false)
    );
    // A message of fragments, the first one empty, with a Ping in between.
    assert_eq!(read(&mut session, &frame(0x02, b"")), (vec![], true));
    assert_eq!(read(&mut session, &frame(0x89, b"ping")), (vec![], true));
    assert_eq!(read(&mut session, &frame(0x00, b"a")), (vec![], true));
    assert_eq!(
        read(&mut session, &frame(0x80, b"b")),
        (vec![Bytes::from_static(b"ab")], false)
    );
    assert_eq!(read(&mut session, &frame(0x89, b"ping")), (vec![], false));
}

#[test]
fn a_session_that_has_sent_its_close_remembers_it() {
    let mut session = Session::new(1024);
    let mut legs = Legs::new();
    session.close(Close::Idle, legs.client_out());
    let sent = legs.client_out().len();
    assert!(sent > 0);
    assert!(read(&mut session, &frame(0x82, b"late")).1);
    session.close(Close::Idle, legs.client_out());
    assert_eq!(legs.client_out().len(), sent, "one Close is sent");
}
