//! An expression checked against a stream, and judged row by row on typed columns.

use std::cmp::Ordering;

use dunlin_sync::{
    rows::{Column, Values},
    sample::{FieldType, Schema},
};

use super::{
    ConditionError,
    parse::{Comparison, Expr, Kind, Operator},
};

/// Names listed in an error.
const NAMES_MAX: usize = 12;

/// A condition on the rows of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    test: Test,
    fields: Vec<(usize, FieldType)>,
}

impl Checked {
    /// The fields that it looks at: positions in the schema, and as what their values are to come.
    pub fn fields(&self) -> &[(usize, FieldType)] {
        &self.fields
    }

    /// Whether `row` is surely meant. `columns` are those of [`Checked::fields`], in that order.
    pub fn takes(&self, columns: &[&Column], row: usize) -> bool {
        self.test.judge(columns, row) == Some(true)
    }
}

/// True, false or unknown (`None`).
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Known(bool),
    Flag(usize),
    Not(Box<Test>),
    And(Vec<Test>),
    Or(Vec<Test>),
    Numbers(Comparison, Number, Number),
    Texts(Comparison, Text, Text),
    Flags(Comparison, Box<Test>, Box<Test>),
    Like(Text, Vec<char>),
    Missing(Typed),
}

#[derive(Clone, Debug, PartialEq)]
enum Number {
    Known(f64),
    Field(usize),
    Negative(Box<Number>),
    Arithmetic(Operator, Box<Number>, Box<Number>),
}

#[derive(Clone, Debug, PartialEq)]
enum Text {
    Known(Box<str>),
    Field(usize),
}

#[derive(Clone, Debug, PartialEq)]
enum Typed {
    Number(Number),
    Text(Text),
    Test(Box<Test>),
}

impl Typed {
    const fn told(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Test(_) => "true or false",
        }
    }
}

/// Checks names and types. Every stream has its own tags, so what comes out is for one stream.
pub(super) fn check(
    expr: &Expr,
    schema: &Schema,
    tags: &[String],
) -> Result<Checked, ConditionError> {
    let mut checker = Checker {
        schema,
        tags,
        fields: Vec::new(),
    };
    let test = checker.test(expr)?;
    Ok(Checked {
        test,
        fields: checker.fields,
    })
}

struct Checker<'a> {
    schema: &'a Schema,
    tags: &'a [String],
    fields: Vec<(usize, FieldType)>,
}

impl Checker<'_> {
    fn test(&mut self, expr: &Expr) -> Result<Test, ConditionError> {
        let typed = self.typed(expr)?;
        match self.read_as(typed, FieldType::Bool) {
            Typed::Test(test) => Ok(*test),
            other => Err(ConditionError::new(
                expr.at,
                format!("this is {}; a condition is expected", other.told()),
            )),
        }
    }

    fn number(&mut self, expr: &Expr) -> Result<Number, ConditionError> {
        match self.typed(expr)? {
            Typed::Number(number) => Ok(number),
            other => Err(ConditionError::new(
                expr.at,
                format!("this is {}; a number is expected", other.told()),
            )),
        }
    }

    fn tests(&mut self, all: &[Expr]) -> Result<Vec<Test>, ConditionError> {
        all.iter().map(|expr| self.test(expr)).collect()
    }

    fn typed(&mut self, expr: &Expr) -> Result<Typed, ConditionError> {
        let test = match &expr.kind {
            Kind::Number(number) => return Ok(Typed::Number(Number::Known(*number))),
            Kind::Text(text) => return Ok(Typed::Text(Text::Known(text.as_str().into()))),
            Kind::Name(name) => return self.named(name, expr.at),
            Kind::Negative(inner) => {
                let inner = Box::new(self.number(inner)?);
                return Ok(Typed::Number(Number::Negative(inner)));
            }
            Kind::Arithmetic(operator, left, right) => {
                let (left, right) = (self.number(left)?, self.number(right)?);
                let both = (Box::new(left), Box::new(right));
                return Ok(Typed::Number(Number::Arithmetic(*operator, both.0, both.1)));
            }
            Kind::Flag(flag) => Test::Known(*flag),
            Kind::Not(inner) => Test::Not(Box::new(self.test(inner)?)),
            Kind::And(all) => Test::And(self.tests(all)?),
            Kind::Or(all) => Test::Or(self.tests(all)?),
            Kind::Compare(comparison, left, right) => self.compare(*comparison, left, right)?,
            Kind::In(left, all) => {
                let tests = all
                    .iter()
                    .map(|right| self.compare(Comparison::Equal, left, right));
                Test::Or(tests.collect::<Result<_, _>>()?)
            }
            Kind::Between(value, low, high) => Test::And(vec![
                self.compare(Comparison::GreaterOrEqual, value, low)?,
                self.compare(Comparison::LessOrEqual, value, high)?,
            ]),
            Kind::Like(value, pattern) => {
                let typed = self.typed(value)?;
                match self.read_as(typed, FieldType::Text) {
                    Typed::Text(text) => Test::Like(text, pattern.chars().collect()),
                    other => {
                        let what = format!("this is {}; `like` is for texts", other.told());
                        return Err(ConditionError::new(value.at, what));
                    }
                }
            }
            Kind::IsNull(inner) => Test::Missing(self.typed(inner)?),
        };
        Ok(Typed::Test(Box::new(test)))
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Expr,
        right: &Expr,
    ) -> Result<Test, ConditionError> {
        let has_order = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let (a, b) = (self.typed(left)?, self.typed(right)?);
        let kind = match (&a, &b) {
            (Typed::Text(_), _) | (_, Typed::Text(_)) => FieldType::Text,
            (Typed::Test(_), _) | (_, Typed::Test(_)) => FieldType::Bool,
            _ => FieldType::F64,
        };
        match (self.read_as(a, kind), self.read_as(b, kind)) {
            (Typed::Number(a), Typed::Number(b)) => Ok(Test::Numbers(comparison, a, b)),
            (Typed::Text(a), Typed::Text(b)) => Ok(Test::Texts(comparison, a, b)),
            (Typed::Test(_), Typed::Test(_)) if has_order => Err(ConditionError::new(
                left.at,
                "true and false have no order; use `=` or `!=`",
            )),
            (Typed::Test(a), Typed::Test(b)) => Ok(Test::Flags(comparison, a, b)),
            (a, b) => {
                let what = format!("{} cannot be compared with {}", a.told(), b.told());
                Err(ConditionError::new(right.at, what))
            }
        }
    }

    fn named(&mut self, name: &str, at: usize) -> Result<Typed, ConditionError> {
        if let Some(field) = self.schema.field(name) {
            return Ok(self.field(field, self.schema.kind_of(field)));
        }
        let tag = |name: &str| self.schema.tag_names.iter().position(|tag| tag == name);
        match tag(name).or_else(|| tag(name.strip_prefix("tag.")?)) {
            Some(tag) => {
                let value = self.tags.get(tag).map(String::as_str).unwrap_or_default();
                Ok(Typed::Text(Text::Known(value.into())))
            }
            None => Err(ConditionError::new(at, self.unknown(name))),
        }
    }

    fn field(&mut self, field: usize, kind: FieldType) -> Typed {
        let looked_at = (field, kind);
        let known = self.fields.iter().position(|known| *known == looked_at);
        let column = known.unwrap_or_else(|| {
            self.fields.push(looked_at);
            self.fields.len() - 1
        });
        match kind {
            FieldType::F64 | FieldType::F32 | FieldType::I64 => {
                Typed::Number(Number::Field(column))
            }
            FieldType::Bool => Typed::Test(Box::new(Test::Flag(column))),
            FieldType::Text => Typed::Text(Text::Field(column)),
        }
    }

    /// A field that is held as several types, as the one that it is compared with.
    fn read_as(&mut self, typed: Typed, kind: FieldType) -> Typed {
        let column = match &typed {
            Typed::Number(Number::Field(column)) | Typed::Text(Text::Field(column)) => *column,
            Typed::Test(test) => match **test {
                Test::Flag(column) => column,
                _ => return typed,
            },
            _ => return typed,
        };
        let (field, read) = self.fields[column];
        let seconds = self.schema.seconds_of(field);
        let mut kinds = seconds
            .chain([field])
            .map(|column| self.schema.fields[column].kind);
        // What is compared with a number is one already, if it can be.
        if read == kind || kind == FieldType::F64 || !kinds.any(|there| there == kind) {
            return typed;
        }
        self.field(field, kind)
    }

    fn unknown(&self, name: &str) -> String {
        let listed = |names: Vec<&str>| {
            let more = names.len().saturating_sub(NAMES_MAX);
            let shown = names[..names.len() - more].join(", ");
            match (names.len(), more) {
                (0, _) => "none".to_owned(),
                (_, 0) => shown,
                _ => format!("{shown} and {more} more"),
            }
        };
        let fields = self.schema.fields.iter().map(|field| field.name.as_str());
        format!(
            "{} has no field or tag `{}`; fields: {}; tags: {}",
            self.schema.name,
            name.escape_debug(),
            listed(fields.collect()),
            listed(self.schema.tag_names.iter().map(String::as_str).collect())
        )
    }
}

impl Comparison {
    const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Test {
    fn judge(&self, columns: &[&Column], row: usize) -> Option<bool> {
        match self {
            Self::Known(flag) => Some(*flag),
            Self::Flag(column) => match &columns[*column].values {
                Values::Bool(flags) if columns[*column].is_present(row) => Some(flags[row]),
                _ => None,
            },
            Self::Not(inner) => inner.judge(columns, row).map(|holds| !holds),
            Self::And(all) => settled(all, columns, row, false),
            Self::Or(all) => settled(all, columns, row, true),
            Self::Numbers(comparison, left, right) => {
                let order = left
                    .of(columns, row)?
                    .partial_cmp(&right.of(columns, row)?)?;
                Some(comparison.holds(order))
            }
            Self::Texts(comparison, left, right) => {
                let order = left.of(columns, row)?.cmp(right.of(columns, row)?);
                Some(comparison.holds(order))
            }
            Self::Flags(comparison, left, right) => {
                let order = left.judge(columns, row)?.cmp(&right.judge(columns, row)?);
                Some(comparison.holds(order))
            }
            Self::Like(text, pattern) => Some(is_like(text.of(columns, row)?, pattern)),
            Self::Missing(typed) => Some(match typed {
                Typed::Number(number) => number.of(columns, row).is_none(),
                Typed::Text(text) => text.of(columns, row).is_none(),
                Typed::Test(test) => test.judge(columns, row).is_none(),
            }),
        }
    }
}

/// `or` (one that holds settles it) and `and` (one that does not).
fn settled(all: &[Test], columns: &[&Column], row: usize, settles: bool) -> Option<bool> {
    let mut outcome = Some(!settles);
    for test in all {
        match test.judge(columns, row) {
            Some(holds) if holds == settles => return Some(settles),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

impl Number {
    /// `None` if it is missing or not a number.
    fn of(&self, columns: &[&Column], row: usize) -> Option<f64> {
        let number = match self {
            Self::Known(number) => *number,
            Self::Field(column) => {
                let column = columns[*column];
                if !column.is_present(row) {
                    return None;
                }
                match &column.values {
                    Values::F64(v) => v[row],
                    Values::F32(v) => f64::from(v[row]),
                    Values::I64(v) => v[row] as f64,
                    Values::Bool(_) | Values::Text(_) => return None,
                }
            }
            Self::Negative(inner) => -inner.of(columns, row)?,
            Self::Arithmetic(operator, left, right) => {
                let (left, right) = (left.of(columns, row)?, right.of(columns, row)?);
                match operator {
                    Operator::Plus => left + right,
                    Operator::Minus => left - right,
                    Operator::Times => left * right,
                    // As in SQL, nothing comes of a division by nothing.
                    Operator::Divide if right == 0.0 => return None,
                    Operator::Divide => left / right,
                    Operator::Remainder => left % right,
                }
            }
        };
        (!number.is_nan()).then_some(number)
    }
}

impl Text {
    fn of<'t>(&'t self, columns: &[&'t Column], row: usize) -> Option<&'t str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Field(column) => match &columns[*column].values {
                Values::Text(texts) if columns[*column].is_present(row) => Some(&texts[row]),
                _ => None,
            },
        }
    }
}

/// Whether `text` matches `pattern`, in which `%` stands for any characters and `_` for one.
fn is_like(text: &str, pattern: &[char]) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut t, mut p, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => (t, p) = (t + 1, p + 1),
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    (t, p) = (reach + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}
