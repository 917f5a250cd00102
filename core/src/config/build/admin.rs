//! The admin listener.

use super::super::address;
use super::super::model::Admin;
use super::super::view::View;
use super::Builder;
use super::server::is_loopback;

impl Builder<'_, '_> {
    /// Builds the admin listener, which is for this machine alone: what it says and does is not
    /// protected by TLS.
    pub(super) fn admin(&mut self, top: &View<'_>) -> Option<Admin> {
        let view = top.object("admin")?;
        let entries = view.list("listen")?;
        let mut listen = Vec::new();
        for entry in &entries {
            let Some(address) = entry.text().and_then(|text| address::listen(text).ok()) else {
                continue;
            };
            if !is_loopback(address) {
                let message = "the admin listener is for loopback addresses only: use 127.0.0.1 or [::1]";
                self.report.add(entry.place(), message);
            }
            listen.push(address);
        }
        Some(Admin {
            listen,
            token: view.file("tokenFile")?,
            revocations: view.file("revocations"),
            place: view.place(),
        })
    }
}
