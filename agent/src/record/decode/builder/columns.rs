//! Which column a path, a name or a declared field means.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use dunlin_sync::sample::{Field, FieldType, Schema, Stage};

use super::{Builder, DeclaredField, Taking, Target, path_of};
use crate::{base::glob, config::settings::PayloadFormat, record::decode::FIELD_NAME_BYTES_MAX};

/// With fewer columns than this, looking at each is as fast as any index.
const INDEXED_COLUMNS_MIN: usize = 17;
/// Guesses that may fail before the columns are indexed by their paths.
const MISSES_MAX: usize = 8;

impl<'a> Builder<'a> {
    pub(super) fn declare(&mut self) {
        // The usual order is that of the schema; whoever has another pays for one index.
        let held_fields: &'a [Field] = self.schema.map_or(&[], |schema| &schema.fields);
        let mut by_name: Option<HashMap<&str, usize>> = None;
        let mut next = 0;
        let mut shadowed = Vec::new();
        for declared in &self.rule.fields {
            let field = &declared.field;
            let held = match held_fields.get(next) {
                Some(guess) if guess.name == field.name => Some(next),
                _ => {
                    let held = held_fields.iter().enumerate();
                    let by_name = by_name.get_or_insert_with(|| {
                        held.map(|(column, field)| (&*field.name, column)).collect()
                    });
                    by_name.get(&*field.name).copied()
                }
            };
            next = held.map_or(next, |column| column + 1);
            let column = match held {
                Some(column) if held_fields[column].kind == field.kind => column,
                Some(column) if self.is_empty(column) => {
                    self.held.to_mut()[column].kind = field.kind;
                    self.retyped.push(field.clone());
                    column
                }
                Some(column) => match self.declared_second(column, field.kind) {
                    Some(second) => {
                        shadowed.push(column);
                        second
                    }
                    None => column,
                },
                None => self.append(&field.name, field.kind),
            };
            self.declared.push(column);
            if self.declarations.len() <= column {
                self.declarations.resize(column + 1, None);
            }
            self.declarations[column] = Some(declared);
            if declared.required {
                self.required.push(column);
            }
        }
        let fields = &self.rule.fields;
        if !shadowed.is_empty() || fields.iter().any(|field| field.pointer.is_some()) {
            self.set_paths(&shadowed);
        }
    }

    /// Whether nothing has ever been stored in a column of the schema, nor beside it.
    fn is_empty(&self, column: usize) -> bool {
        let is_alone = |schema: &Schema| schema.seconds_of(column).next().is_none();
        self.stage(column) == Stage::Empty
            && self.second_of(column).is_none()
            && self.schema.is_some_and(is_alone)
    }

    /// Nothing is read into columns that are `shadowed`: what lies there goes to another one.
    fn set_paths(&mut self, shadowed: &[usize]) {
        let own = |field: &Field| Cow::Owned(field.name.clone());
        let held = self.schema.into_iter().flat_map(|schema| &schema.fields);
        let held = held.map(|field| Cow::Borrowed(&*field.name));
        let all = held.chain(self.new_fields.iter().map(own));
        let mut paths: Vec<Option<Cow<'a, str>>> = all.map(Some).collect();
        let mut renamed = shadowed.to_vec();
        for &column in shadowed {
            paths[column] = None;
        }
        for (declared, &column) in self.rule.fields.iter().zip(&self.declared) {
            let path = match &declared.pointer {
                Some(pointer) => path_of(pointer),
                None => Cow::Borrowed(&*declared.field.name),
            };
            if path != self.name(column) {
                renamed.push(column);
            }
            paths[column] = Some(path);
        }
        // What lies where a declared field is read from is no longer the field that was inferred of it.
        let declared_paths: HashSet<String> = self
            .declared
            .iter()
            .filter_map(|&column| Some(paths[column].as_deref()?.to_owned()))
            .collect();
        for (column, path) in paths.iter_mut().enumerate() {
            let is_taken = path
                .as_deref()
                .is_some_and(|path| declared_paths.contains(path));
            if is_taken && !self.is_declared(column) {
                *path = None;
                renamed.push(column);
            }
        }
        renamed.sort_by(|&a, &b| self.name(a).cmp(self.name(b)));
        self.renamed = renamed;
        self.paths = Some(paths);
        self.by_path.clear();
    }

    /// Column of each declared field, in declared order.
    pub(in crate::record::decode) fn declared(&self) -> &[usize] {
        &self.declared
    }

    pub(super) fn is_declared(&self, column: usize) -> bool {
        self.declaration(column).is_some()
    }

    fn declaration(&self, column: usize) -> Option<&'a DeclaredField> {
        self.declarations.get(column).copied().flatten()
    }

    /// How the field of `column` takes what comes.
    pub(super) fn taking(&self, column: usize) -> Taking<'a> {
        let declaration = self.declaration(column);
        let format = self.rule.format;
        Taking {
            // A format of bare values says their type, too.
            is_declared: declaration.is_some()
                || format.is_scalar() && format != PayloadFormat::Scalar,
            conversion: declaration.and_then(|declared| declared.conversion.as_ref()),
            ..Taking::inferred(self.rule)
        }
    }

    /// Notes which columns of the schema are not to be filled any more.
    pub(super) fn ignore(&mut self) {
        let rule = self.rule;
        if rule.include_fields.is_empty() && rule.exclude_fields.is_empty() {
            return;
        }
        let ignored = |column| !self.is_declared(column) && !self.is_included(self.name(column));
        self.ignored = (0..self.width()).map(ignored).collect();
    }

    #[inline]
    pub(super) fn is_ignored(&self, column: usize) -> bool {
        self.ignored.get(column).copied().unwrap_or_default()
    }

    /// Whether a field that nobody declared may be taken under this name.
    pub(in crate::record::decode) fn infers(&self, path: &str) -> bool {
        self.rule.infer && !self.declared_only && self.is_included(path)
    }

    fn is_included(&self, path: &str) -> bool {
        let rule = self.rule;
        let matches = |pattern: &String| glob::matches(pattern, path);
        (rule.include_fields.is_empty() || rule.include_fields.iter().any(matches))
            && !rule.exclude_fields.iter().any(matches)
    }

    /// Whether all that lies below `path` is excluded.
    fn is_excluded_below(&self, path: &str) -> bool {
        let mut patterns = self.rule.exclude_fields.iter();
        patterns.any(|pattern| {
            let parent = pattern.strip_suffix(".*").unwrap_or(pattern);
            glob::matches(parent, path)
        })
    }

    /// Whether something that is declared, or the time, lies below `path`.
    pub(in crate::record::decode) fn has_declared_below(&self, path: &str) -> bool {
        let below = |candidate: &str| is_below(candidate, path);
        let columns = &mut self.declared.iter().filter_map(|&column| self.path(column));
        columns.any(below) || self.time_path.as_deref().is_some_and(below)
    }

    /// Whether a field is read from `path`, declared or held.
    pub(in crate::record::decode) fn has_column_at(&self, path: &str) -> bool {
        (0..self.width()).any(|column| self.path(column) == Some(path))
    }

    /// Longest path that anything can be read from.
    pub(in crate::record::decode) fn path_bytes_max(&self) -> usize {
        let columns = (0..self.width()).filter_map(|column| self.path(column));
        let known = columns.chain(self.time_path.as_deref()).map(str::len).max();
        let inferred = if self.rule.infer {
            FIELD_NAME_BYTES_MAX
        } else {
            0
        };
        known.unwrap_or_default().max(inferred)
    }

    #[inline]
    pub(in crate::record::decode) fn find(&mut self, path: &str) -> Target {
        if self.time_path.is_some() && self.time_path.as_deref() == Some(self.below_prefix(path)) {
            return Target::Time;
        }
        let column = if self.guess < self.width() && self.path(self.guess) == Some(path) {
            self.guess
        } else {
            match self.search(path) {
                Some(column) => column,
                None => return Target::Undeclared,
            }
        };
        self.guess = column + 1;
        Target::Column(column)
    }

    /// `path` without the name of the field that the topic gives it.
    #[inline]
    fn below_prefix<'p>(&self, path: &'p str) -> &'p str {
        if self.prefix.is_empty() {
            return path;
        }
        let below = path.strip_prefix(&*self.prefix).unwrap_or(path);
        below.strip_prefix('.').unwrap_or(below)
    }

    /// All that lies in an object will be below `prefix`, which the topic says.
    pub(in crate::record::decode) fn set_prefix(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
    }

    /// Whether anything below `path` may be taken.
    pub(in crate::record::decode) fn wants_below(&mut self, path: &str) -> bool {
        let below = |candidate: &str| is_below(candidate, path);
        if self.time_path.as_deref().is_some_and(below) {
            return true;
        }
        if self.rule.infer && !self.declared_only && !self.is_excluded_below(path) {
            return true;
        }
        if self.rule.infer {
            return self.has_declared_below(path);
        }
        if !self.is_indexed() {
            return (0..self.width()).any(|column| self.path(column).is_some_and(below));
        }
        let before = |column: &u32| {
            let candidate = self.path(*column as usize);
            candidate.is_none_or(|path_of| path_of.bytes().lt(path.bytes().chain([b'.'])))
        };
        let first = self.by_path.partition_point(before);
        let first = self.by_path.get(first);
        first.is_some_and(|&column| self.path(column as usize).is_some_and(below))
    }

    #[inline]
    pub(super) fn width(&self) -> usize {
        self.held.len() + self.new_fields.len()
    }

    #[inline]
    pub(super) fn field(&self, column: usize) -> &Field {
        match self.held.get(column) {
            Some(field) => field,
            None => &self.new_fields[column - self.held.len()],
        }
    }

    pub(super) fn name(&self, column: usize) -> &str {
        &self.field(column).name
    }

    #[inline]
    pub(super) fn path(&self, column: usize) -> Option<&str> {
        match &self.paths {
            Some(paths) => paths[column].as_deref(),
            None => Some(self.name(column)),
        }
    }

    /// The column that is read from `path`.
    pub(super) fn search(&mut self, path: &str) -> Option<usize> {
        if !self.is_indexed() {
            return (0..self.width()).find(|&column| self.path(column) == Some(path));
        }
        let place = self.place(path).ok()?;
        Some(self.by_path[place] as usize)
    }

    /// Whether the columns have an index, as they do once it is worth it.
    fn is_indexed(&mut self) -> bool {
        self.misses += 1;
        if self.width() < INDEXED_COLUMNS_MIN || self.misses <= MISSES_MAX {
            return false;
        }
        if self.by_path.is_empty() {
            let mut by_path: Vec<u32> = (0..self.width() as u32).collect();
            by_path.sort_by(|&a, &b| self.path(a as usize).cmp(&self.path(b as usize)));
            self.by_path = by_path;
        }
        true
    }

    fn place(&self, path: &str) -> Result<usize, usize> {
        self.by_path
            .binary_search_by(|&column| self.path(column as usize).cmp(&Some(path)))
    }

    /// Whether a field of this name is read from elsewhere.
    pub(super) fn is_renamed(&self, name: &str) -> bool {
        let by_name = |&column: &usize| self.name(column).cmp(name);
        self.renamed.binary_search_by(by_name).is_ok()
    }

    pub(super) fn append(&mut self, name: &str, kind: FieldType) -> usize {
        let column = self.width();
        self.new_fields.push(Field {
            name: name.to_owned(),
            kind,
        });
        if let Some(paths) = &mut self.paths {
            paths.push(Some(Cow::Owned(name.to_owned())));
        }
        if !self.by_path.is_empty() {
            let place = self.place(name).unwrap_or_else(|place| place);
            self.by_path.insert(place, column as u32);
        }
        column
    }
}

fn is_below(candidate: &str, path: &str) -> bool {
    let rest = candidate.strip_prefix(path);
    rest.is_some_and(|rest| rest.starts_with('.'))
}
