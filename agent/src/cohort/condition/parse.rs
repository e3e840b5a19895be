//! Words to an expression, by precedence: or, and, not, comparison, sum, product, sign.

use super::{
    ConditionError, DEPTH_MAX,
    token::{Placed, Token},
};

/// A part of a condition, and where it stands, in characters from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub(super) at: usize,
    pub(super) kind: Kind,
    depth: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Flag(bool),
    Number(f64),
    Text(String),
    Name(String),
    Negative(Box<Expr>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Arithmetic(Operator, Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Vec<Expr>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    Like(Box<Expr>, String),
    IsNull(Box<Expr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OWN_WORDS: [&str; 10] = [
    "and", "or", "not", "in", "between", "like", "is", "null", "true", "false",
];

/// The one expression that `tokens` are; they end with [`Token::End`].
pub(super) fn parse(tokens: Vec<Placed>) -> Result<Expr, ConditionError> {
    let mut parser = Parser {
        tokens,
        next: 0,
        level: 0,
    };
    let expr = parser.or()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("an operator, `and`, `or` or the end")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    /// Brackets, `not` and signs that are open.
    level: usize,
}

type Parsed = Result<Expr, ConditionError>;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)].1
    }

    fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].0
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, wanted: &str) -> ConditionError {
        let found = self.peek().told();
        ConditionError::new(self.at(), format!("{wanted} is expected, not {found}"))
    }

    /// One level further down.
    fn deeper(&mut self, parse: fn(&mut Self) -> Parsed) -> Parsed {
        if self.level == DEPTH_MAX {
            return Err(too_deep(self.at()));
        }
        self.level += 1;
        let parsed = parse(self);
        self.level -= 1;
        parsed
    }

    fn or(&mut self) -> Parsed {
        self.joined("or", Self::and, Kind::Or)
    }

    fn and(&mut self) -> Parsed {
        self.joined("and", Self::not, Kind::And)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Parsed,
        kind: fn(Vec<Expr>) -> Kind,
    ) -> Parsed {
        let at = self.at();
        let first = part(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take_word(word) {
            all.push(part(self)?);
        }
        made(at, kind(all))
    }

    fn not(&mut self) -> Parsed {
        let at = self.at();
        if self.take_word("not") {
            let inner = self.deeper(Self::not)?;
            return made(at, Kind::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed {
        let at = self.at();
        let left = self.sum()?;
        let comparison = match self.peek() {
            Token::Sign("=" | "==") => Some(Comparison::Equal),
            Token::Sign("!=" | "<>") => Some(Comparison::Unequal),
            Token::Sign("<") => Some(Comparison::Less),
            Token::Sign("<=") => Some(Comparison::LessOrEqual),
            Token::Sign(">") => Some(Comparison::Greater),
            Token::Sign(">=") => Some(Comparison::GreaterOrEqual),
            _ => None,
        };
        if let Some(comparison) = comparison {
            self.next += 1;
            let right = Box::new(self.sum()?);
            return made(at, Kind::Compare(comparison, Box::new(left), right));
        }
        if self.take_word("is") {
            let negated = self.take_word("not");
            if !self.take_word("null") {
                return Err(self.unexpected("`null`"));
            }
            return perhaps_not(at, negated, Kind::IsNull(Box::new(left)));
        }
        let negated = self.take_word("not");
        let left = Box::new(left);
        let kind = if self.take_word("in") {
            Kind::In(left, self.list()?)
        } else if self.take_word("between") {
            let low = Box::new(self.sum()?);
            if !self.take_word("and") {
                return Err(self.unexpected("`and`"));
            }
            Kind::Between(left, low, Box::new(self.sum()?))
        } else if self.take_word("like") {
            let Token::Text(pattern) = self.peek().clone() else {
                return Err(self.unexpected("a pattern in quotes"));
            };
            self.next += 1;
            Kind::Like(left, pattern)
        } else if negated {
            return Err(self.unexpected("`in`, `between` or `like`"));
        } else {
            return Ok(*left);
        };
        perhaps_not(at, negated, kind)
    }

    fn list(&mut self) -> Result<Vec<Expr>, ConditionError> {
        if !self.take_sign("(") {
            return Err(self.unexpected("`(`"));
        }
        let mut all = vec![self.deeper(Self::sum)?];
        while self.take_sign(",") {
            all.push(self.deeper(Self::sum)?);
        }
        if self.take_sign(")") {
            Ok(all)
        } else {
            Err(self.unexpected("`,` or `)`"))
        }
    }

    fn sum(&mut self) -> Parsed {
        self.chain(
            &[("+", Operator::Plus), ("-", Operator::Minus)],
            Self::product,
        )
    }

    fn product(&mut self) -> Parsed {
        self.chain(
            &[
                ("*", Operator::Times),
                ("/", Operator::Divide),
                ("%", Operator::Remainder),
            ],
            Self::signed,
        )
    }

    fn chain(&mut self, operators: &[(&str, Operator)], part: fn(&mut Self) -> Parsed) -> Parsed {
        let at = self.at();
        let mut left = part(self)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.take_sign(sign)) {
            let right = Box::new(part(self)?);
            left = made(at, Kind::Arithmetic(*operator, Box::new(left), right))?;
        }
        Ok(left)
    }

    fn signed(&mut self) -> Parsed {
        let at = self.at();
        if self.take_sign("-") {
            let inner = self.deeper(Self::signed)?;
            return made(at, Kind::Negative(Box::new(inner)));
        }
        self.one()
    }

    /// A value, a name or something in brackets.
    fn one(&mut self) -> Parsed {
        let at = self.at();
        let kind = match self.peek().clone() {
            Token::Number(number) => Kind::Number(number),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) => Kind::Name(name),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => Kind::Flag(true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => Kind::Flag(false),
            Token::Word(word) if !OWN_WORDS.iter().any(|own| word.eq_ignore_ascii_case(own)) => {
                let called = self.tokens.get(self.next + 1);
                if called.is_some_and(|(_, token)| *token == Token::Sign("(")) {
                    let what = format!(
                        "`{}` would be a function; there are none",
                        word.escape_debug()
                    );
                    return Err(ConditionError::new(at, what));
                }
                Kind::Name(word)
            }
            Token::Sign("(") => {
                self.next += 1;
                let inner = self.deeper(Self::or)?;
                if self.take_sign(")") {
                    return Ok(inner);
                }
                return Err(self.unexpected("`)`"));
            }
            _ => return Err(self.unexpected("a name, a value or `(`")),
        };
        self.next += 1;
        made(at, kind)
    }
}

fn too_deep(at: usize) -> ConditionError {
    let what = format!("it is nested more than {DEPTH_MAX} deep; say it more simply");
    ConditionError::new(at, what)
}

/// An expression of parts that are there already.
fn made(at: usize, kind: Kind) -> Parsed {
    let depth = 1 + match &kind {
        Kind::Flag(_) | Kind::Number(_) | Kind::Text(_) | Kind::Name(_) => 0,
        Kind::Negative(a) | Kind::Not(a) | Kind::Like(a, _) | Kind::IsNull(a) => a.depth,
        Kind::And(all) | Kind::Or(all) => all.iter().map(|e| e.depth).max().unwrap_or(0),
        Kind::Arithmetic(_, a, b) | Kind::Compare(_, a, b) => a.depth.max(b.depth),
        Kind::In(a, all) => all.iter().map(|e| e.depth).fold(a.depth, usize::max),
        Kind::Between(a, b, c) => a.depth.max(b.depth).max(c.depth),
    };
    let expr = Expr { at, kind, depth };
    if depth > DEPTH_MAX {
        return Err(too_deep(at));
    }
    Ok(expr)
}

fn perhaps_not(at: usize, negated: bool, kind: Kind) -> Parsed {
    let expr = made(at, kind)?;
    if negated {
        made(at, Kind::Not(Box::new(expr)))
    } else {
        Ok(expr)
    }
}
