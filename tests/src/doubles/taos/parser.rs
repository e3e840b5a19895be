//! Tokens of the SQL that the upstream emits.

use super::database::{Column, Refusal, refuse};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Sign(char),
}

pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut chars = sql.chars().peekable();
    let bad = |what: &str| refuse(0x2600, format!("syntax error near {what}"));
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\n' => {}
            '`' => {
                let name: String = chars.by_ref().take_while(|c| *c != '`').collect();
                if name.is_empty() {
                    return Err(bad("``"));
                }
                tokens.push(Token::Quoted(name));
            }
            '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next().ok_or_else(|| bad("an open quote"))? {
                        '\'' => break,
                        '\\' => text.push(match chars.next().unwrap_or('\\') {
                            'n' => '\n',
                            'r' => '\r',
                            't' => '\t',
                            other => other,
                        }),
                        other => text.push(other),
                    }
                }
                tokens.push(Token::Text(text));
            }
            '-' | '0'..='9' => {
                let mut number = String::from(c);
                while let Some(c) = chars.peek() {
                    let goes_on = c.is_ascii_alphanumeric()
                        || *c == '.'
                        || *c == '-' && number.ends_with('e');
                    if !goes_on {
                        break;
                    }
                    number.push(*c);
                    chars.next();
                }
                tokens.push(Token::Number(number));
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            other => tokens.push(Token::Sign(other)),
        }
    }
    Ok(tokens)
}

/// What is left of a statement.
pub(super) struct Parser {
    pub(super) tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    pub(super) fn bad(&mut self) -> Refusal {
        let next = self.tokens.peek();
        refuse(0x2600, format!("syntax error near {next:?}"))
    }

    pub(super) fn is_word(&mut self, word: &str) -> bool {
        let next = self.tokens.next_if(
            |token| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word)),
        );
        next.is_some()
    }

    pub(super) fn are_words(&mut self, words: &str) -> Result<(), Refusal> {
        for word in words.split(' ') {
            if !self.is_word(word) {
                return Err(self.bad());
            }
        }
        Ok(())
    }

    pub(super) fn is_sign(&mut self, sign: char) -> bool {
        self.tokens.next_if_eq(&Token::Sign(sign)).is_some()
    }

    pub(super) fn sign(&mut self, sign: char) -> Result<(), Refusal> {
        if self.is_sign(sign) {
            Ok(())
        } else {
            Err(self.bad())
        }
    }

    pub(super) fn name(&mut self) -> Result<String, Refusal> {
        match self.tokens.next() {
            Some(Token::Quoted(name)) => Ok(name),
            other => Err(refuse(0x2600, format!("syntax error near {other:?}"))),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Refusal> {
        match self.tokens.next() {
            Some(Token::Text(text)) => Ok(text),
            other => Err(refuse(0x2600, format!("syntax error near {other:?}"))),
        }
    }

    pub(super) fn path(&mut self) -> Result<(String, String), Refusal> {
        let database = self.name()?;
        self.sign('.')?;
        Ok((database, self.name()?))
    }

    pub(super) fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Vec<T>, Refusal> {
        self.sign('(')?;
        let mut items = vec![one(self)?];
        while self.is_sign(',') {
            items.push(one(self)?);
        }
        self.sign(')')?;
        Ok(items)
    }

    pub(super) fn literal(&mut self) -> Result<Token, Refusal> {
        self.tokens
            .next()
            .ok_or_else(|| refuse(0x2601, "incomplete SQL statement".into()))
    }

    pub(super) fn column(&mut self) -> Result<Column, Refusal> {
        let name = self.name()?;
        let Some(Token::Word(mut word)) = self.tokens.next() else {
            return Err(self.bad());
        };
        if self.is_word("unsigned") {
            word.push_str(" UNSIGNED");
        }
        let mut bytes = Column::fixed_bytes(&word);
        if self.is_sign('(') {
            let Some(Token::Number(number)) = self.tokens.next() else {
                return Err(self.bad());
            };
            bytes = number.parse().map_err(|_| self.bad())?;
            self.sign(')')?;
        }
        Ok(Column { name, word, bytes })
    }
}
