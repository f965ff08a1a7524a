//! Environment variables as changes to a parsed TOML table.
//!
//! Each variable's value is given a span beyond the end of the file, so that an error at
//! that span can be traced back to the variable.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The variables of one program, sorted by name.
pub(super) struct Overrides {
    variables: Vec<Variable>,
    first_span: usize,
}

struct Variable {
    name: String,
    path: String,
    value: String,
    as_text: bool,
}

impl Overrides {
    pub(super) fn new(
        prefix: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        text_length: usize,
    ) -> Self {
        let mut variables: Vec<Variable> = environment
            .into_iter()
            .filter_map(|(name, value)| {
                let path = name.strip_prefix(prefix)?.strip_prefix('_')?.to_ascii_lowercase();
                (!path.is_empty()).then_some(Variable { name, path, value, as_text: false })
            })
            .collect();
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        Self { variables, first_span: text_length + 1 }
    }

    pub(super) fn name(&self, index: usize) -> &str {
        &self.variables[index].name
    }

    /// The variable that a value with this span came from.
    pub(super) fn index_at(&self, span: &Range<usize>) -> Option<usize> {
        span.start.checked_sub(self.first_span).filter(|index| *index < self.variables.len())
    }

    /// From now on the variable's value is text, whatever it looks like. False when it
    /// was already.
    pub(super) fn take_as_text(&mut self, index: usize) -> bool {
        !std::mem::replace(&mut self.variables[index].as_text, true)
    }

    pub(super) fn apply<'v>(&'v self, root: &mut DeTable<'v>) {
        for (index, variable) in self.variables.iter().enumerate() {
            let span = self.first_span + index..self.first_span + index;
            let value = with_span(variable.toml(), &span);
            set(root, true, &variable.path, value, &span);
        }
    }
}

impl Variable {
    fn toml(&self) -> DeValue<'_> {
        let parsed = if self.as_text { None } else { DeValue::parse(&self.value).ok() };
        parsed.map_or_else(|| DeValue::String(Cow::Borrowed(&self.value)), Spanned::into_inner)
    }
}

/// Gives a value, and all that is inside it, one span.
fn with_span<'v>(value: DeValue<'v>, span: &Range<usize>) -> Spanned<DeValue<'v>> {
    let value = match value {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| with_span(item.into_inner(), span)).collect())
        }
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| (Spanned::new(span.clone(), key.into_inner()), with_span(value.into_inner(), span)))
                .collect(),
        ),
        simple => simple,
    };
    Spanned::new(span.clone(), value)
}

/// Puts `value` at `path`. A beginning of the path that names a table of the file is that
/// table; two underscores end a table's name, and at the root so does one.
fn set<'v>(table: &mut DeTable<'v>, at_root: bool, path: &str, value: Spanned<DeValue<'v>>, span: &Range<usize>) {
    let known = path.rmatch_indices('_').map(|(end, _)| end).find(|end| is_table(table, &path[..*end]));
    let end = known.or_else(|| path.find("__")).or_else(|| path.find('_').filter(|_| at_root));
    let key = path[..end.unwrap_or(path.len())].replace('_', "-");
    let Some(end) = end else {
        table.insert(Spanned::new(span.clone(), Cow::Owned(key)), value);
        return;
    };
    if !is_table(table, &key) {
        let empty = Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
        table.insert(Spanned::new(span.clone(), Cow::Owned(key.clone())), empty);
    }
    if let Some(DeValue::Table(inner)) = table.get_mut(key.as_str()).map(Spanned::get_mut) {
        set(inner, false, path[end..].trim_start_matches('_'), value, span);
    }
}

fn is_table(table: &DeTable<'_>, path: &str) -> bool {
    table.get(path.replace('_', "-").as_str()).is_some_and(|value| value.get_ref().is_table())
}
