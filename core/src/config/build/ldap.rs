//! `ldap` modules.

use super::super::endpoint::is_loopback;
use super::super::ldap::{Account, Filter, GroupSearch, Ldap, LdapUrl, Placeholder};
use super::super::view::View;
use super::Builder;

/// Finds the groups of the schemas groupOfNames (RFC 4519 section 3.5) and Active Directory.
const GROUP_FILTER: &str = "(member={DN})";

/// What such groups are called by.
const GROUP_ATTRIBUTE: &str = "cn";

impl Builder<'_, '_> {
    pub(super) fn ldap(&mut self, view: &View<'_>) -> Option<Ldap> {
        let place = view.item("url")?.place();
        let url = LdapUrl::parse(view.text("url")?).ok()?;
        let start_tls = view.boolean("startTls");
        self.check_ldap_tls(view, &url, start_tls);
        let user_filter = Filter::parse(&view.text_or_default("userFilter")?).ok()?;
        let filter_place = view
            .item("userFilter")
            .map_or_else(|| view.place(), |item| item.place());
        if !user_filter.has(Placeholder::Username) {
            let message = "without {USERNAME} it finds the same entry whoever logs in";
            self.report.add(filter_place.clone(), message);
        }
        if user_filter.has(Placeholder::Dn) {
            let message = "{DN} is the entry that this filter finds: it cannot be known before";
            self.report.add(filter_place, message);
        }
        Some(Ldap {
            start_tls,
            user_filter,
            account: self.ldap_account(view),
            groups: self.ldap_groups(view, &url),
            ca_file: view.file("caFile"),
            timeout: view.duration("timeout")?,
            max_in_flight: view.size("maxInFlight")?,
            url,
            place,
        })
    }

    fn check_ldap_tls(&mut self, view: &View<'_>, url: &LdapUrl, start_tls: bool) {
        let Some(item) = view.item("url") else { return };
        let safe = url.tls || start_tls || is_loopback(&url.host);
        if !safe && !view.boolean("plaintext") {
            let message = "without TLS passwords would pass in the open: use ldaps:// or \"startTls\": true, or say \
                           \"plaintext\": true if nobody else is on the way";
            self.report.add(item.place(), message);
        }
        if let Some(item) = view.item("startTls").filter(|_| url.tls && start_tls) {
            let message = "the URL begins with ldaps://: there is TLS from the first byte on";
            self.report.add(item.place(), message);
        }
        if let Some(item) = view.item("caFile").filter(|_| !url.tls && !start_tls) {
            let message = "there is no TLS: no certificate is checked. Use ldaps:// or \"startTls\": true";
            self.report.add(item.place(), message);
        }
    }

    fn ldap_account(&mut self, view: &View<'_>) -> Option<Account> {
        match (view.item("bindDn"), view.item("bindPasswordFile")) {
            (None, None) => None,
            (Some(dn), Some(password)) => Some(Account {
                dn: dn.owned()?,
                password: password.file()?,
            }),
            (Some(dn), None) => {
                let message =
                    "\"bindPasswordFile\" is required: without a password a bind is an anonymous one";
                self.report.add(dn.place(), message);
                None
            }
            (None, Some(password)) => {
                let message = "\"bindDn\" is required: whose password is it?";
                self.report.add(password.place(), message);
                None
            }
        }
    }

    fn ldap_groups(&mut self, view: &View<'_>, url: &LdapUrl) -> Option<GroupSearch> {
        let members = ["groupBase", "groupFilter", "groupAttribute"];
        members.iter().find_map(|name| view.item(name))?;
        let filter = view.text("groupFilter").unwrap_or(GROUP_FILTER);
        let filter = Filter::parse(filter).ok()?;
        if let Some(item) = view.item("groupFilter")
            && !filter.has(Placeholder::Dn)
            && !filter.has(Placeholder::Username)
        {
            let message = "without {DN} or {USERNAME} everybody is in every group that it finds";
            self.report.add(item.place(), message);
        }
        let or = |name: &str, default: &str| view.text(name).unwrap_or(default).to_owned();
        Some(GroupSearch {
            base: or("groupBase", &url.base),
            filter,
            attribute: or("groupAttribute", GROUP_ATTRIBUTE),
        })
    }
}
