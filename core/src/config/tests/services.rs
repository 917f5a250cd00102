//! Members that one type of service has.

use super::*;

fn service(members: Value) -> Value {
    let mut service = json!({"type": "broadcast", "accept": "/chat", "public": true});
    for (name, value) in members.as_object().unwrap() {
        service[name] = value.clone();
    }
    service
}

#[test]
fn m18_a_mailbox_has_256_kib_by_default() {
    for (members, bytes) in [(json!({}), 262_144), (json!({"mailboxBytes": 1}), 1)] {
        let config = accepted(&[("/services/chat", service(members))]);
        let chat = &config.services["chat"];
        assert_eq!((chat.kind, chat.mailbox_bytes), (ServiceKind::Broadcast, bytes));
    }
    for bytes in [json!(0), json!("1"), json!(-1), json!(1_u64 << 41)] {
        let errors = refused(&[("/services/chat", service(json!({"mailboxBytes": bytes})))]);
        assert!(
            errors[0].starts_with("services.chat.mailboxBytes: "),
            "{errors:?}"
        );
    }
}

#[test]
fn m18_only_a_broadcast_has_mailboxes() {
    refuses(
        "/services/echo/mailboxBytes",
        json!(1),
        "services.echo.mailboxBytes",
        "only type \"broadcast\" has this member",
    );
}

#[test]
fn m18_a_directory_names_its_folder_beside_the_configuration() {
    let site = json!({"type": "directory", "accept": "/", "public": true, "directory": "site"});
    let config = accepted(&[("/services/site", site)]);
    let folder = config.services["site"].directory.as_ref().unwrap();
    assert_eq!(folder.path, Path::new("/etc/countersign/site"));
    // It is no file that is read.
    assert!(config.file_refs().all(|file| file.path != folder.path));
    refuses(
        "/services/echo/directory",
        json!("site"),
        "services.echo.directory",
        "only type \"directory\" has this member",
    );
}
