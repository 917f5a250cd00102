//! What holds while much happens at once.

use crate::client::{Frame, upgrade};
use crate::world::{ALICE, Setup, World};

/// Handshakes that are under way together.
const TOGETHER: usize = 25;

/// How often that many are begun, each time into a reload.
const ROUNDS: usize = 12;

/// E16: reloads in the middle of handshakes lose none of them, whether a hash is being compared or not,
/// and end no socket that is still allowed.
pub fn e16_reloads_under_load_lose_no_handshake_and_no_socket(world: &World) {
    let stage = Setup::standard()
        .set("/servers/0/hosts", serde_json::json!(["*"]))
        .start(world);
    let token = stage.token("alice").text();
    let mut open = Vec::new();
    for round in 0..ROUNDS {
        let mut clients: Vec<_> = (0..TOGETHER)
            .map(|index| {
                let mut client = stage.connect();
                let request = upgrade("/api/ws");
                let request = if index % 5 == 0 {
                    request.basic(ALICE.0, ALICE.1)
                } else {
                    request.bearer(&token)
                };
                let bytes = request.bytes();
                let (first, second) = bytes.split_at(bytes.len() / 2);
                client.send(first);
                if index == TOGETHER / 2 {
                    // A line more, so that there is something new, and the hashes are other ones.
                    let users = format!("{}\n# {round}\n", Setup::passwords());
                    stage.replace("users.htpasswd", users.as_bytes());
                    stage.reload();
                }
                client.send(second);
                client
            })
            .collect();
        for client in &mut clients {
            assert_eq!(client.expect_head().status, 101);
        }
        open.append(&mut clients);
    }
    for (index, client) in open.iter_mut().enumerate() {
        client.expect_echo(&Frame::text(&format!("still {index}")));
    }
    let failed = stage.reload_failures();
    assert_eq!(failed, 0);
}
