//! Access control lists: which role holds which entitlement.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{self, Entitlement, ServiceKind};

/// The entitlements that a service hands out, with everything inherited resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Acl {
    /// There is no list at all: connecting and reading is allowed, writing is not.
    Absent,
    /// What each role is allowed; whatever is not listed is denied.
    Listed(BTreeMap<String, BTreeSet<Entitlement>>),
}

impl Acl {
    /// Resolves a service's own list under its parent, each of which may be absent.
    pub(crate) fn new(own: Option<&config::Acl>, parent: Option<&config::Acl>) -> Self {
        let inherits = own.is_none_or(|own| own.inherit);
        let levels: Vec<_> = own
            .into_iter()
            .chain(parent.filter(|_| inherits))
            .map(|acl| acl.entries.as_slice())
            .collect();
        if levels.is_empty() {
            return Self::Absent;
        }
        let mut allowed: BTreeMap<String, BTreeSet<Entitlement>> = BTreeMap::new();
        for role in levels.iter().copied().flatten().map(|entry| &entry.role) {
            let held = Entitlement::ALL.into_iter().filter(|entitlement| {
                levels.iter().find_map(|level| decides(level, role, *entitlement)) == Some(true)
            });
            allowed.insert(role.clone(), held.collect());
        }
        Self::Listed(allowed)
    }

    /// Says whether some one of `roles` has `entitlement` allowed and not denied.
    pub(crate) fn holds(&self, roles: &BTreeSet<String>, entitlement: Entitlement) -> bool {
        match self {
            Self::Absent => match entitlement {
                Entitlement::Connect | Entitlement::Read => true,
                Entitlement::Write => false,
            },
            Self::Listed(allowed) => roles
                .iter()
                .filter_map(|role| allowed.get(role))
                .any(|held| held.contains(&entitlement)),
        }
    }
}

/// Says what one list alone decides about a role; `None` if it leaves the question to its parent. A
/// denial beats a permission of the same list.
fn decides(entries: &[config::AclEntry], role: &str, entitlement: Entitlement) -> Option<bool> {
    let of_role = || entries.iter().filter(|entry| entry.role == role);
    if of_role().any(|entry| entry.deny.contains(&entitlement)) {
        Some(false)
    } else if of_role().any(|entry| entry.allow.contains(&entitlement)) {
        Some(true)
    } else {
        None
    }
}

/// Returns what a client needs to open a socket of such a service.
pub(crate) const fn to_connect(kind: ServiceKind) -> &'static [Entitlement] {
    match kind {
        ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Proxy => &[Entitlement::Connect],
        // What has files alone opens no socket.
        ServiceKind::Points | ServiceKind::Directory => &[Entitlement::Connect, Entitlement::Read],
    }
}

/// Returns what a client needs to read something of such a service by GET.
pub(crate) const fn to_read(kind: ServiceKind) -> &'static [Entitlement] {
    match kind {
        // What is reached by sockets alone is never read.
        ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Proxy => {
            &[Entitlement::Connect, Entitlement::Read]
        }
        ServiceKind::Points | ServiceKind::Directory => &[Entitlement::Read],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Entitlement::{Connect, Read, Write};

    type Entry<'a> = (&'a str, &'a [Entitlement], &'a [Entitlement]);
    type Case<'a> = (bool, &'a [Entry<'a>], &'a [&'a str], &'a [Entitlement]);

    fn list(inherit: bool, entries: &[Entry<'_>]) -> config::Acl {
        let entry = |(role, allow, deny): &Entry<'_>| config::AclEntry {
            role: (*role).to_owned(),
            allow: allow.to_vec(),
            deny: deny.to_vec(),
        };
        config::Acl {
            inherit,
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn held(own: Option<&config::Acl>, parent: Option<&config::Acl>, roles: &[&str]) -> Vec<Entitlement> {
        let acl = Acl::new(own, parent);
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Entitlement::ALL
            .into_iter()
            .filter(|entitlement| acl.holds(&roles, *entitlement))
            .collect()
    }

    #[test]
    fn m09_without_any_list_connect_and_read_are_allowed() {
        assert_eq!(held(None, None, &[]), [Connect, Read]);
        assert_eq!(held(None, None, &["Everyone", "admin"]), [Connect, Read]);
    }

    #[test]
    fn m09_a_list_without_entries_allows_nothing() {
        let empty = list(true, &[]);
        for (own, parent) in [
            (Some(&empty), None),
            (None, Some(&empty)),
            (Some(&empty), Some(&empty)),
        ] {
            assert_eq!(
                held(own, parent, &["Everyone", "admin"]),
                [],
                "{own:?} {parent:?}"
            );
        }
    }

    #[test]
    fn m09_table() {
        let parent = list(
            true,
            &[("Everyone", &[Connect, Read], &[]), ("admin", &[Write], &[])],
        );
        let deny_everyone = [("Everyone", &[][..], &[Connect][..]), ("admin", &[Connect], &[])];
        let table: &[Case<'_>] = &[
            // Denied for one role, allowed for another that the client has too.
            (true, &deny_everyone, &["Everyone"], &[Read]),
            (
                true,
                &deny_everyone,
                &["Everyone", "admin"],
                &[Connect, Read, Write],
            ),
            (false, &deny_everyone, &["Everyone"], &[]),
            (false, &deny_everyone, &["Everyone", "admin"], &[Connect]),
            // One's own entries come before inherited ones, either way.
            (
                true,
                &[("admin", &[], &[Write])],
                &["Everyone", "admin"],
                &[Connect, Read],
            ),
            (
                true,
                &[("Everyone", &[Write], &[])],
                &["Everyone"],
                &[Connect, Read, Write],
            ),
            // What the list itself says nothing about is inherited, or denied.
            (true, &[("guest", &[Read], &[])], &["guest"], &[Read]),
            (true, &[("guest", &[Read], &[])], &["Everyone"], &[Connect, Read]),
            (false, &[("guest", &[Read], &[])], &["Everyone"], &[]),
            (false, &[("guest", &[Read], &[])], &[], &[]),
            // Of two entries for a role, and of two lists of one entry, the denial counts.
            (
                false,
                &[("guest", &[Connect], &[]), ("guest", &[], &[Connect])],
                &["guest"],
                &[],
            ),
            (
                false,
                &[("guest", &[Connect, Read], &[Connect])],
                &["guest"],
                &[Read],
            ),
        ];
        for (inherit, entries, roles, expected) in table {
            let own = list(*inherit, entries);
            assert_eq!(
                held(Some(&own), Some(&parent), roles),
                *expected,
                "{inherit} {entries:?} {roles:?}"
            );
        }
        assert_eq!(held(None, Some(&parent), &["Everyone"]), [Connect, Read]);
    }

    #[test]
    fn p08_leaving_a_permission_out_never_grants() {
        let full: [Entry<'_>; 2] = [("a", &[Connect, Read, Write], &[]), ("b", &[Connect], &[Read])];
        let less: [Entry<'_>; 2] = [("a", &[Connect, Write], &[]), ("b", &[], &[Read])];
        for roles in [&["a"][..], &["b"], &["a", "b"], &[]] {
            let (before, after) = (list(true, &full), list(true, &less));
            let before = held(Some(&before), None, roles);
            assert!(
                held(Some(&after), None, roles)
                    .iter()
                    .all(|entitlement| before.contains(entitlement))
            );
        }
    }
}
