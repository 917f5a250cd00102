//! Typed access to objects whose shape has been checked. What has the wrong shape reads as absent:
//! the shape check has reported it, and the file does not load.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;

use super::error::{Place, entry_path, member_path};
use super::model::FileRef;
use super::shape::{TAG, whole_number};
use super::source::Source;
use super::syntax;
use super::table::{Kind, Row, State, Tagged};

/// An object with its place and the rows that describe it.
#[derive(Clone)]
pub(super) struct View<'d> {
    object: &'d Object<'d>,
    path: String,
    source: &'d Source<'d>,
    rows: [&'static [Row]; 2],
}

/// A value with its place.
#[derive(Clone)]
pub(super) struct Item<'d> {
    value: &'d Value<'d>,
    path: String,
    source: &'d Source<'d>,
    kind: Kind,
}

impl<'d> View<'d> {
    /// The outermost object.
    pub(super) fn top(
        value: &'d Value<'d>,
        path: &str,
        source: &'d Source<'d>,
        rows: &'static [Row],
    ) -> Option<Self> {
        let object = value.as_object()?;
        let path = path.to_owned();
        let rows = [rows, &[]];
        Some(Self {
            object,
            path,
            source,
            rows,
        })
    }

    /// Returns where the object starts.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.object.start(), &self.path)
    }

    fn row(&self, name: &str) -> Option<&'static Row> {
        let row = self.rows.iter().copied().flatten().find(|row| row.name == name);
        debug_assert!(row.is_some(), "no table has the member {name}");
        row.filter(|row| row.state == State::Built)
    }

    /// Returns the value of the member `name`.
    pub(super) fn item(&self, name: &str) -> Option<Item<'d>> {
        let row = self.row(name)?;
        Some(Item {
            value: &self.object.get(name)?.value,
            path: member_path(&self.path, name),
            source: self.source,
            kind: row.kind,
        })
    }

    /// Returns the `type` of a tagged object.
    pub(super) fn tag(&self) -> Option<&'d str> {
        Some(&self.object.get(TAG)?.value.as_string_lit()?.value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'d str> {
        self.item(name)?.text()
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// Returns the boolean member `name`, or its default.
    pub(super) fn boolean(&self, name: &str) -> bool {
        let given = self.item(name).and_then(|item| item.value.as_boolean_lit());
        let default = || self.row(name).and_then(|row| row.default) == Some("true");
        given.map_or_else(default, |literal| literal.value)
    }

    /// Returns the number `name`, or its default if it has one.
    pub(super) fn count(&self, name: &str) -> Option<u64> {
        let given = self.item(name).and_then(|item| whole_number(item.value));
        given.or_else(|| self.row(name)?.default?.parse().ok())
    }

    /// Returns the size `name`, or its default if it has one.
    pub(super) fn size(&self, name: &str) -> Option<usize> {
        usize::try_from(self.count(name)?).ok()
    }

    /// Returns the duration `name`, or its default if it has one.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let given = self.text(name).map(Cow::Borrowed);
        let default = || {
            serde_json::from_str(self.row(name)?.default?)
                .ok()
                .map(Cow::Owned)
        };
        syntax::duration(&given.or_else(default)?).ok()
    }

    /// Returns the file that the member `name` names; a relative name starts at the configuration's
    /// folder.
    pub(super) fn file(&self, name: &str) -> Option<FileRef> {
        self.item(name)?.file()
    }

    /// Returns the entries of the list `name`, or the one value that stands in its stead. `None` if
    /// the member is absent.
    pub(super) fn list(&self, name: &str) -> Option<Vec<Item<'d>>> {
        let item = self.item(name)?;
        let (Kind::List { of, .. } | Kind::OneOrMany(of)) = item.kind else {
            return None;
        };
        let Some(list) = item.value.as_array() else {
            let kind = *of;
            return Some(vec![Item { kind, ..item }]);
        };
        let entry = |(index, value)| Item {
            value,
            path: entry_path(&item.path, index),
            source: self.source,
            kind: *of,
        };
        Some(list.elements.iter().enumerate().map(entry).collect())
    }

    /// Returns the strings of the list `name`; empty if the member is absent.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let entries = self.list(name).unwrap_or_default();
        entries.iter().filter_map(Item::owned).collect()
    }

    /// Returns the members of the map `name` with their names.
    pub(super) fn map(&self, name: &str) -> Vec<(&'d str, Item<'d>)> {
        let Some(item) = self.item(name) else {
            return Vec::new();
        };
        let (Kind::Map { of, .. }, Some(object)) = (item.kind, item.value.as_object()) else {
            return Vec::new();
        };
        let member = |property: &'d jsonc_parser::ast::ObjectProp<'d>| {
            let name = property.name.as_str();
            let value = Item {
                value: &property.value,
                path: member_path(&item.path, name),
                source: self.source,
                kind: *of,
            };
            (name, value)
        };
        object.properties.iter().map(member).collect()
    }

    /// Returns the object `name`.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        self.item(name)?.object()
    }

    /// Returns the object `name`, or `none` in its place if it is absent.
    pub(super) fn object_or<'e>(&self, name: &str, none: &'e Object<'e>) -> View<'e>
    where
        'd: 'e,
    {
        let absent = || View {
            object: none,
            path: member_path(&self.path, name),
            source: self.source,
            rows: match self.row(name).map(|row| row.kind) {
                Some(Kind::Object(rows)) => [rows, &[]],
                Some(_) | None => [&[], &[]],
            },
        };
        self.object(name).unwrap_or_else(absent)
    }

    /// Returns the one member of an object that has exactly one, with its name as the table has it.
    pub(super) fn single(&self) -> Option<(&'static str, Item<'d>)> {
        let [property] = self.object.properties.as_slice() else {
            return None;
        };
        let row = self
            .rows
            .iter()
            .copied()
            .flatten()
            .find(|row| row.name == property.name.as_str())?;
        Some((row.name, self.item(row.name)?))
    }
}

impl<'d> Item<'d> {
    /// Returns where the value starts.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.value.start(), &self.path)
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        Some(&self.value.as_string_lit()?.value)
    }

    pub(super) fn owned(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// Returns the file that the value names; a relative name starts at the configuration's folder.
    pub(super) fn file(&self) -> Option<FileRef> {
        let folder = self.source.file().parent().unwrap_or_else(|| Path::new(""));
        Some(FileRef {
            path: folder.join(self.text()?),
            place: self.place(),
        })
    }

    /// Returns the strings of a list.
    pub(super) fn texts(&self) -> Vec<String> {
        let entries = self.value.as_array().map(|list| list.elements.as_slice());
        let strings = entries
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| entry.as_string_lit());
        strings.map(|text| text.value.clone().into_owned()).collect()
    }

    pub(super) fn object(self) -> Option<View<'d>> {
        let object = self.value.as_object()?;
        let rows: [&'static [Row]; 2] = match self.kind {
            Kind::Object(rows) | Kind::Single(rows) => [rows, &[]],
            Kind::Tagged(tagged) => [tagged.common, own_rows(tagged, object)],
            Kind::Text(_)
            | Kind::Boolean
            | Kind::Count { .. }
            | Kind::Number(_)
            | Kind::Duration { .. }
            | Kind::File
            | Kind::Word(_)
            | Kind::List { .. }
            | Kind::OneOrMany(_)
            | Kind::Map { .. } => return None,
        };
        Some(View {
            object,
            path: self.path,
            source: self.source,
            rows,
        })
    }
}

fn own_rows(tagged: &'static Tagged, object: &Object<'_>) -> &'static [Row] {
    let tag = object.get(TAG).and_then(|tag| tag.value.as_string_lit());
    let variant = tag.and_then(|tag| tagged.variant(&tag.value));
    variant.map_or(&[], |variant| variant.rows)
}
