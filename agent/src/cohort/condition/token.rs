//! The words of a condition, each with its place.

use super::ConditionError;

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Bare; perhaps one of the language's own words.
    Word(String),
    /// In back-ticks: always a name.
    Name(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
    End,
}

impl Token {
    /// As people are told of it.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Word(word) => format!("`{}`", word.escape_debug()),
            Self::Name(name) => format!("the name `{}`", name.escape_debug()),
            Self::Text(text) => format!("the text \"{}\"", text.escape_debug()),
            Self::Number(number) => format!("the number {number}"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".into(),
        }
    }
}

/// A token and its place, in characters from 1.
pub(super) type Placed = (usize, Token);

/// Longer signs before those they begin with.
const SIGNS: [&str; 16] = [
    "<=", ">=", "<>", "!=", "==", "<", ">", "=", "+", "-", "*", "/", "%", "(", ")", ",",
];

/// All words of `text`; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, ConditionError> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(c) = chars.get(at) {
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = next(&chars[at..], at + 1)?;
        tokens.push((at + 1, token));
        at += length;
    }
    tokens.push((at + 1, Token::End));
    Ok(tokens)
}

/// The token that `rest` begins with, and its length in characters. `rest` is not empty.
fn next(rest: &[char], at: usize) -> Result<(Token, usize), ConditionError> {
    match rest[0] {
        quote @ ('\'' | '"' | '`') => {
            let (text, length) = quoted(rest, quote).ok_or_else(|| {
                ConditionError::new(at, format!("the {quote} here is never closed"))
            })?;
            let is_name = quote == '`';
            Ok((
                if is_name { Token::Name } else { Token::Text }(text),
                length,
            ))
        }
        c if c.is_ascii_digit() => number(rest, at),
        '.' if rest.get(1).is_some_and(char::is_ascii_digit) => number(rest, at),
        c if c.is_alphabetic() || c == '_' => {
            let is_more = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
            let word: String = rest.iter().take_while(is_more).collect();
            let length = word.chars().count();
            Ok((Token::Word(word), length))
        }
        c => {
            let sign = SIGNS.into_iter().find(|sign| {
                let wanted = sign.chars();
                rest.len() >= sign.len() && wanted.zip(rest).all(|(a, b)| a == *b)
            });
            let sign = sign.ok_or_else(|| {
                let what = format!(
                    "'{}' means nothing here; put texts into quotes and odd names into `back-ticks`",
                    c.escape_debug()
                );
                ConditionError::new(at, what)
            })?;
            Ok((Token::Sign(sign), sign.len()))
        }
    }
}

/// The text between quotes, of which doubled ones stand for one, and the length of it all.
fn quoted(rest: &[char], quote: char) -> Option<(String, usize)> {
    let (mut text, mut at) = (String::new(), 1);
    loop {
        let c = *rest.get(at)?;
        at += 1;
        if c == quote {
            if rest.get(at) != Some(&quote) {
                return Some((text, at));
            }
            at += 1;
        }
        text.push(c);
    }
}

fn number(rest: &[char], at: usize) -> Result<(Token, usize), ConditionError> {
    let mut length = 0;
    while let Some(c) = rest.get(length) {
        let is_exponent = length > 0 && matches!(rest[length - 1], 'e' | 'E');
        if !(c.is_ascii_alphanumeric() || *c == '.' || (is_exponent && matches!(c, '+' | '-'))) {
            break;
        }
        length += 1;
    }
    let text: String = rest[..length].iter().collect();
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    let number = number.ok_or_else(|| {
        ConditionError::new(
            at,
            format!("\"{text}\" is no number; write 12, 0.5 or 1e-3"),
        )
    })?;
    Ok((Token::Number(number), length))
}
