//! The group file: `group: user user @other` a line. A user's roles are the groups that name the
//! user, and those that include such a group.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::is_reserved_role;
use super::userfile::{Fault, LineError, MAX_FAULTS, MAX_FILE_BYTES, MAX_NAME_BYTES, lines};

/// Longest line, in bytes: a group names all its users on it, or goes on on a further line.
pub const MAX_GROUP_LINE_BYTES: usize = 16 * 1024 * 1024;

/// The groups of one file. A line with the name of an earlier one adds to that group.
#[derive(Clone, Default)]
pub struct Groups {
    names: Vec<String>,
    /// For each group those that include it.
    included_by: Vec<Vec<usize>>,
    /// All user names, one behind the other.
    arena: String,
    /// Where a user's name lies, and a group that names the user; sorted by name.
    members: Vec<Member>,
}

#[derive(Clone, Copy)]
struct Member {
    start: u32,
    name: u16,
    group: u32,
}

/// A group that includes another, and the line that says so.
#[derive(Clone, Copy)]
struct Inclusion<'a> {
    group: usize,
    other: &'a str,
    line: usize,
}

impl Groups {
    /// Reads a group file. Blank lines and those that start with `#` are skipped; CR LF does not
    /// matter. A group called `Everyone` or `Anonymous` gives no role.
    ///
    /// # Errors
    /// Every faulty line, at most [`MAX_FAULTS`]: no colon, a name that cannot be one, an included
    /// group that is nowhere defined, groups that include each other.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<LineError>> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(vec![LineError::new(1, Fault::FileTooLarge)]);
        }
        let mut groups = Self::default();
        let mut by_name = BTreeMap::new();
        let mut inclusions = Vec::new();
        let mut faults = Vec::new();
        for (line, text) in lines(bytes, MAX_GROUP_LINE_BYTES) {
            let read = text.and_then(|text| groups.read_line(text, line, &mut by_name, &mut inclusions));
            if let Err(fault) = read {
                faults.push(LineError::new(line, fault));
            }
            if faults.len() >= MAX_FAULTS {
                return Err(faults);
            }
        }
        let mut edges = Vec::new();
        for Inclusion { group, other, line } in inclusions {
            match by_name.get(other) {
                Some(&included) => edges.push((group, included, line)),
                None => faults.push(LineError::new(line, Fault::UnknownGroup(other.to_owned()))),
            }
        }
        if let Some((group, line)) = find_cycle(&edges) {
            let name = groups.names.get(group).cloned().unwrap_or_default();
            faults.push(LineError::new(line, Fault::Cycle(name)));
        }
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.line);
            faults.truncate(MAX_FAULTS);
            return Err(faults);
        }
        groups.included_by = vec![Vec::new(); groups.names.len()];
        for (group, included, _) in edges {
            if let Some(list) = groups.included_by.get_mut(included) {
                list.push(group);
            }
        }
        let arena = &groups.arena;
        groups.members.sort_by(|a, b| {
            name_in(arena, *a)
                .cmp(name_in(arena, *b))
                .then(a.group.cmp(&b.group))
        });
        Ok(groups)
    }

    fn read_line<'a>(
        &mut self,
        text: &'a str,
        line: usize,
        by_name: &mut BTreeMap<&'a str, usize>,
        inclusions: &mut Vec<Inclusion<'a>>,
    ) -> Result<(), Fault> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let (name, members) = text.split_once(':').ok_or(Fault::NoColon)?;
        let name = name.trim_ascii_end();
        let blank = |text: &str| text.chars().any(|c| c.is_whitespace() || c.is_control());
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('@') || blank(name) {
            return Err(Fault::BadName);
        }
        let group = *by_name.entry(name).or_insert_with(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        for member in members.split_ascii_whitespace() {
            if let Some(other) = member.strip_prefix('@') {
                inclusions.push(Inclusion { group, other, line });
                continue;
            }
            if member.len() > MAX_NAME_BYTES || member.contains(':') || blank(member) {
                return Err(Fault::BadName);
            }
            // The bounds on file and name make these casts exact.
            self.members.push(Member {
                start: self.arena.len() as u32,
                name: member.len() as u16,
                group: group as u32,
            });
            self.arena.push_str(member);
        }
        Ok(())
    }

    /// Returns the names of all groups, in the order of the file, but for the reserved ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .map(String::as_str)
            .filter(|name| !is_reserved_role(name))
    }

    /// Returns the groups that the user `name` is in, directly or by inclusion. A user who is
    /// called like a group is not in it for that.
    #[must_use]
    pub fn roles_of(&self, name: &str) -> BTreeSet<&str> {
        let first = self
            .members
            .partition_point(|member| name_in(&self.arena, *member) < name);
        let mut waiting: Vec<usize> = self
            .members
            .iter()
            .skip(first)
            .take_while(|member| name_in(&self.arena, **member) == name)
            .map(|member| member.group as usize)
            .collect();
        let mut reached = BTreeSet::new();
        while let Some(group) = waiting.pop() {
            if reached.insert(group) {
                waiting.extend(self.included_by.get(group).into_iter().flatten());
            }
        }
        reached
            .into_iter()
            .filter_map(|group| self.names.get(group))
            .map(String::as_str)
            .filter(|name| !is_reserved_role(name))
            .collect()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Groups({} groups, {} members)",
            self.names.len(),
            self.members.len()
        )
    }
}

fn name_in(arena: &str, member: Member) -> &str {
    let start = member.start as usize;
    arena
        .get(start..start + usize::from(member.name))
        .unwrap_or_default()
}

/// Returns a group that includes itself and the line of its inclusion, if there is one.
/// `edges` are (group, included group, line).
fn find_cycle(edges: &[(usize, usize, usize)]) -> Option<(usize, usize)> {
    let mut included = BTreeMap::<usize, Vec<(usize, usize)>>::new();
    for &(group, other, line) in edges {
        included.entry(group).or_default().push((other, line));
    }
    // Depth first, without recursion: the file decides how deep it goes. `path` holds the groups
    // that are being walked and how many of their inclusions were.
    let mut done = BTreeSet::new();
    for &start in included.keys() {
        let mut path = vec![(start, 0)];
        let mut on_path = BTreeSet::from([start]);
        while let Some((group, walked)) = path.last_mut() {
            let next = included.get(group).and_then(|others| others.get(*walked));
            *walked += 1;
            match next {
                Some(&(other, line)) if on_path.contains(&other) => return Some((other, line)),
                Some(&(other, _)) if done.contains(&other) => {}
                Some(&(other, _)) => {
                    path.push((other, 0));
                    on_path.insert(other);
                }
                None => {
                    on_path.remove(group);
                    done.insert(*group);
                    path.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn roles(text: &str, user: &str) -> Vec<String> {
        let groups = Groups::parse(text.as_bytes()).unwrap();
        groups.roles_of(user).into_iter().map(str::to_owned).collect()
    }

    fn faults(text: &str) -> Vec<(usize, Fault)> {
        let errors = Groups::parse(text.as_bytes()).unwrap_err();
        errors
            .into_iter()
            .map(|error| (error.line, error.fault))
            .collect()
    }

    #[test]
    fn m23_roles_are_the_groups_and_those_that_include_them() {
        let text = "# groups\r\nstaff: alice @ops\r\nops: bob @root\nroot: carol\n\nops: dave\nempty:\n";
        assert_eq!(roles(text, "alice"), ["staff"]);
        assert_eq!(roles(text, "bob"), ["ops", "staff"]);
        assert_eq!(roles(text, "carol"), ["ops", "root", "staff"]);
        assert_eq!(roles(text, "dave"), ["ops", "staff"]);
        assert_eq!(roles(text, "eve"), [""; 0]);
        let groups = Groups::parse(text.as_bytes()).unwrap();
        assert_eq!(
            groups.names().collect::<Vec<_>>(),
            ["staff", "ops", "root", "empty"]
        );
    }

    #[test]
    fn m23_a_user_named_like_a_role_gains_nothing() {
        let text = "admin: alice\nops: admin @admin\n";
        assert_eq!(roles(text, "admin"), ["ops"]);
        assert_eq!(roles(text, "ops"), [""; 0]);
        assert_eq!(roles(text, "@admin"), [""; 0]);
        assert_eq!(roles(text, ""), [""; 0]);
    }

    #[test]
    fn m23_reserved_groups_give_no_role_but_what_includes_them_does() {
        let text = "Everyone: alice\nAnonymous: alice\nstaff: @Everyone\n";
        assert_eq!(roles(text, "alice"), ["staff"]);
        let groups = Groups::parse(text.as_bytes()).unwrap();
        assert_eq!(groups.names().collect::<Vec<_>>(), ["staff"]);
    }

    #[test]
    fn m23_a_diamond_is_no_cycle() {
        let text = "a: @b @c\nb: @d\nc: @d\nd: alice\n";
        assert_eq!(roles(text, "alice"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn m23_cycles_are_errors_naming_the_line() {
        assert_eq!(faults("a: @a\n"), [(1, Fault::Cycle("a".to_owned()))]);
        let text = "x: @a\na: u @b\nb: @c\nc: v @a\n";
        assert_eq!(faults(text), [(4, Fault::Cycle("a".to_owned()))]);
        // As deep as a file can make it: no recursion, no stack overflow.
        let deep: String = (0..50_000).map(|n| format!("g{n}: @g{}\n", n + 1)).collect();
        let closed = format!("{deep}g50000: @g0\n");
        assert!(matches!(faults(&closed).as_slice(), [(_, Fault::Cycle(_))]));
        assert_eq!(roles(&format!("{deep}g50000: alice\n"), "alice").len(), 50_001);
    }

    #[test]
    fn m23_faulty_lines_are_named() {
        let text = "a: @nobody\nno colon\n: x\n@b: x\nc d: x\ne: x:y\n";
        let lines: Vec<_> = faults(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            faults("a: @nobody")[0].1,
            Fault::UnknownGroup("nobody".to_owned())
        );
        assert_eq!(faults("a: @")[0].1, Fault::UnknownGroup(String::new()));
    }
}
