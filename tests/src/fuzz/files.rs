//! Paths of files: whatever a client writes, nothing leads out of the folder.

use std::sync::{Arc, LazyLock};

use countersign_core::gateway::Gateway;
use serde_json::json;

use crate::client::{Response, get};
use crate::solo::Solo;
use crate::world::{Setup, gateway};

static GATEWAY: LazyLock<Arc<Gateway>> = LazyLock::new(|| {
    let site = json!({"type": "directory", "public": true, "accept": ["/", "/below"], "directory": "site"});
    let setup = Setup::standard()
        .set("/services/site", site)
        .file("site/index.html", "");
    gateway(setup.load().unwrap())
});

/// The target of a request for a file. It is refused, or asks for a path of plain names.
pub fn files(data: &[u8]) {
    let Ok(target) = std::str::from_utf8(data) else {
        return;
    };
    let mut solo = Solo::new(&GATEWAY);
    solo.offer(&get(target).bytes());
    for name in solo.files.iter().flatten() {
        assert!(!name.is_empty() && !name.starts_with('.'), "{name:?} is served");
        let leads = |character: char| matches!(character, '/' | '\\') || character.is_ascii_control();
        assert!(!name.contains(leads), "{name:?} leads elsewhere");
    }
    if let Some(answer) = Response::read(&solo.sent, false) {
        let location = answer.one("Location").unwrap_or("/");
        let local = location.starts_with('/') && !location.starts_with("//");
        assert!(local, "led to {location:?}");
    }
    solo.starve();
}
