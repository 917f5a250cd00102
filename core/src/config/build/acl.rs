//! Access control lists.

use super::super::acl::{Acl, AclEntry, Entitlement};
use super::super::view::{Item, View};
use super::Builder;

impl Builder<'_, '_> {
    /// Reads the member `acl` of a service or of the whole file. `None` if it is absent.
    pub(super) fn acl(&mut self, view: &View<'_>) -> Option<Acl> {
        let acl = view.object("acl")?;
        let entries = acl.list("entries").unwrap_or_default();
        Some(Acl {
            inherit: acl.boolean("inherit"),
            entries: entries
                .into_iter()
                .filter_map(|entry| self.acl_entry(entry))
                .collect(),
        })
    }

    /// Reads one entry. One without a role has been reported.
    fn acl_entry(&mut self, entry: Item<'_>) -> Option<AclEntry> {
        let view = entry.object()?;
        let role = self.use_roles(&[view.item("role")?]).pop()?;
        let named = |names: Vec<String>| {
            names
                .iter()
                .filter_map(|name| Entitlement::from_name(name))
                .collect()
        };
        Some(AclEntry {
            role,
            allow: named(view.texts("allow")),
            deny: named(view.texts("deny")),
        })
    }
}
