//! A service for tests: its client tells it what to do with other streams, and hears what came of it.

use bytes::Bytes;
use countersign_core::leg::{ClientTls, Destination, Leg};
use countersign_core::service::{Context, LegEvent, Service};
use countersign_core::ws::{Close, Message};
use rustls::pki_types::ServerName;

use crate::world::client_tls;

/// Carries out one command a message, with one stream at a time: `dial HOST PORT`, `tls HOST PORT`,
/// `secure`, `write TEXT`, `file ROOT NAME...`, `hang up`, `let go`.
#[derive(Debug, Default)]
pub struct Probe {
    leg: Option<Leg>,
}

impl Service for Probe {
    fn message(&mut self, context: &mut Context<'_>, message: Message) {
        let text = String::from_utf8_lossy(message.payload()).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            ["dial", host, port] => self.dial(context, host, port, None),
            ["tls", host, port] => self.dial(context, host, port, Some(tls())),
            ["file", root, segments @ ..] => {
                let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
                self.leg = context.dial(Destination::File {
                    root: root.into(),
                    segments,
                });
            }
            ["secure"] => self.with_leg(context, |context, leg| context.secure(leg, tls())),
            ["write", rest @ ..] => {
                let bytes = rest.join(" ").into_bytes();
                self.with_leg(context, |context, leg| context.write(leg, &bytes));
            }
            ["hang", "up"] => self.with_leg(context, |context, leg| context.hang_up(leg)),
            ["let", "go"] => self.with_leg(context, |context, leg| context.let_go(leg)),
            _ => context.close(Close::Unsupported),
        }
    }

    fn leg(&mut self, context: &mut Context<'_>, leg: Leg, event: LegEvent<'_>) {
        assert_eq!(Some(leg), self.leg, "an event of a stream that was let go");
        let told = match event {
            LegEvent::Opened(opened) => match opened.length {
                Some(length) => format!("opened {length}"),
                None => "opened".to_owned(),
            },
            LegEvent::Failed(why) => format!("failed {why:?}"),
            LegEvent::Secured(_) => "secured".to_owned(),
            LegEvent::Data(bytes) => format!("data {}", bytes.escape_ascii()),
            LegEvent::Eof => "eof".to_owned(),
            LegEvent::Broken(why) => format!("broken {why:?}"),
        };
        context.send(&Message::Text(Bytes::from(told)));
    }
}

impl Probe {
    fn dial(&mut self, context: &mut Context<'_>, host: &str, port: &str, tls: Option<ClientTls>) {
        let to = Destination::Tcp {
            host: host.to_owned(),
            port: port.parse().unwrap(),
            tls,
        };
        self.leg = context.dial(to);
    }

    fn with_leg(&self, context: &mut Context<'_>, act: impl FnOnce(&mut Context<'_>, Leg)) {
        if let Some(leg) = self.leg {
            act(context, leg);
        }
    }
}

fn tls() -> ClientTls {
    ClientTls {
        name: ServerName::try_from("localhost").unwrap(),
        config: client_tls(),
    }
}
