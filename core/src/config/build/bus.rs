//! `bus`.

use super::super::bus::{Bus, RedisUrl};
use super::super::endpoint::is_loopback;
use super::super::view::View;
use super::Builder;

impl Builder<'_, '_> {
    /// Builds what all nodes share.
    pub(super) fn bus(&mut self, top: &View<'_>) -> Option<Bus> {
        let view = top.object("bus")?;
        let item = view.item("redis")?;
        let url = RedisUrl::parse(item.text()?).ok()?;
        if !url.tls && !is_loopback(&url.host) && !view.boolean("plaintext") {
            let message = "without TLS the password of Redis would pass in the open: use rediss://, or say \
                           \"plaintext\": true if nobody else is on the way";
            self.report.add(item.place(), message);
        }
        if let Some(item) = view.item("caFile").filter(|_| !url.tls) {
            let message = "the URL begins with redis://: no certificate is checked";
            self.report.add(item.place(), message);
        }
        let password = view.file("passwordFile");
        if let Some(item) = view.item("user").filter(|_| password.is_none()) {
            let message = "\"passwordFile\" is required: Redis asks every user for a password";
            self.report.add(item.place(), message);
        }
        Some(Bus {
            place: item.place(),
            url,
            user: view.owned("user"),
            password,
            secret: view.file("secretFile")?,
            ca_file: view.file("caFile"),
        })
    }
}
