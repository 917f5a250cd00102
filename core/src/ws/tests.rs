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

#[test]
fn a_whole_message_is_the_same_with_and_without_tungstenite() {
    /// Long enough for each form of the length, and for what a message may be without a claim.
    const LENGTHS: [usize; 12] = [0, 1, 3, 4, 5, 125, 126, 1000, 65535, 65536, 65537, 70_000];
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let masked = |first: u8, payload: &[u8]| {
        let mut bytes = match payload.len() {
            length @ ..126 => vec![first, 0x80 | u8::try_from(length).unwrap()],
            length @ 126..65536 => {
                let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
                vec![first, 0x80 | 126, high, low]
            }
            length => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        bytes.extend(key);
        bytes.extend(
            payload
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        bytes
    };
    let texts = LENGTHS.map(|length| masked(0x81, "x".repeat(length).as_bytes()));
    let binaries = LENGTHS.map(|length| masked(0x82, &(0..=255).cycle().take(length).collect::<Vec<_>>()));
    let euro = "\u{20AC}".as_bytes();
    let others = [
        masked(0x81, euro),
        masked(0x81, &euro[..2]),
        masked(0x01, b"begun"),
        masked(0x80, b"of nothing"),
        masked(0x89, b"ping"),
        masked(0x88, &[0x03, 0xE8]),
        masked(0xC1, b"reserved"),
        vec![0x81, 0x05, 1, 2, 3, 4, 5],
        [
            masked(0x82, b"one"),
            masked(0x89, b"ping"),
            masked(0x81, b"two"),
            masked(0x81, b"three"),
        ]
        .concat(),
    ];
    for bytes in texts.iter().chain(&binaries).chain(&others) {
        for limit in [4, 1000, 1 << 20] {
            let came_out = |by_tungstenite: bool| {
                let mut session = Session::new(limit);
                if by_tungstenite {
                    session.context();
                }
                let (memory, bell, mut legs) = (Memory::new(1 << 20), Arc::default(), Legs::new());
                let mut events = Vec::new();
                session.receive(bytes, (&memory, &bell), &mut legs, &mut |event, _| {
                    let payload = match &event {
                        Event::Message(message) => message.payload().clone(),
                        Event::Closed(_) | Event::Fault(_) | Event::Blocked => Bytes::new(),
                    };
                    events.push((format!("{event:?}"), payload));
                });
                (events, legs.client_out().chunk().to_vec(), session.held.clone())
            };
            let (mine, others) = (came_out(false), came_out(true));
            assert!(
                mine == others,
                "{:x?}, limit {limit}: {mine:?} {others:?}",
                &bytes[..bytes.len().min(16)]
            );
        }
    }
}
