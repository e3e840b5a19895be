//! Just the SQL that the upstream emits, parsed and carried out on the model.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    database::{Cell, Column, Database, Refusal, Server, Subtable, Supertable, refuse},
    parser::{Parser, Token, tokens},
};

/// What a statement answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Rows written.
    pub(super) affected_rows: usize,
    /// Names of the result's columns; empty for statements without one.
    pub(super) names: Vec<&'static str>,
    /// Cells of the result, all of one type a column.
    pub(super) records: Vec<Vec<Cell>>,
}

/// Carries out `sql`; `current` is the database in use.
pub(super) fn run(
    model: &mut Server,
    current: &mut Option<String>,
    sql: &str,
) -> Result<Answer, Refusal> {
    let mut parser = Parser {
        tokens: tokens(sql)?.into_iter().peekable(),
    };
    let p = &mut parser;
    if p.is_word("use") {
        let name = p.name()?;
        model.database(&name)?;
        *current = Some(name);
        Ok(Answer::default())
    } else if p.is_word("describe") {
        describe(model, p)
    } else if p.is_word("select") {
        select(model, p)
    } else if p.is_word("create") {
        create(model, p)
    } else if p.is_word("drop") {
        drop_(model, p)
    } else if p.is_word("alter") {
        alter(model, p)
    } else if p.is_word("insert") {
        insert(model, p)
    } else {
        Err(p.bad())
    }
}

fn drop_(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    if p.is_word("stable") {
        let (database, name) = p.path()?;
        let database = model.database(&database)?;
        database.supertable(&name)?;
        database.supertables.remove(&name);
        database.subtables.retain(|_, table| table.stable != name);
    } else {
        p.are_words("database if exists")?;
        model.databases.remove(&p.name()?);
    }
    Ok(Answer::default())
}

fn describe(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    let (database, table) = p.path()?;
    let table = model.database(&database)?.supertable(&table)?;
    let record = |column: &Column, note: &str| {
        vec![
            Cell::Text(column.name.clone()),
            Cell::Text(column.word.clone()),
            Cell::I64(column.bytes as i64),
            Cell::Text(note.into()),
        ]
    };
    let columns = table.columns.iter().map(|column| record(column, ""));
    let tags = table.tags.iter().map(|tag| record(tag, "TAG"));
    Ok(Answer {
        names: vec!["field", "type", "length", "note"],
        records: columns.chain(tags).collect(),
        ..Answer::default()
    })
}

fn select(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    if p.is_word("cast") {
        // In milliseconds, as the server does where no table is named.
        return Ok(Answer {
            names: vec!["now"],
            records: vec![vec![Cell::I64(now_ns() / 1_000_000)]],
            ..Answer::default()
        });
    }
    if p.is_word("count") {
        for sign in "(*)".chars() {
            p.sign(sign)?;
        }
        p.are_words("from")?;
        let (database, table) = p.path()?;
        let database = model.database(&database)?;
        let table = database.subtables.get(&table);
        let table = table.ok_or_else(|| refuse(0x2603, "Table does not exist".into()))?;
        p.are_words("where")?;
        p.name()?;
        p.are_words("is not null")?;
        let (mut from, mut to) = (i64::MIN, i64::MAX);
        while p.is_word("and") {
            p.name()?;
            let end = if p.is_sign('>') { &mut from } else { &mut to };
            p.is_sign('<');
            p.sign('=')?;
            let Some(Token::Number(number)) = p.tokens.next() else {
                return Err(p.bad());
            };
            *end = number.parse().map_err(|_| p.bad())?;
        }
        let rows = table.rows.keys();
        let count = rows.filter(|ts| (from..=to).contains(*ts)).count();
        return Ok(Answer {
            names: vec!["count(*)"],
            records: vec![vec![Cell::I64(count as i64)]],
            ..Answer::default()
        });
    }
    if p.is_word("distinct") {
        return distinct(model, p);
    }
    if p.is_word("server_version") {
        p.sign('(')?;
        p.sign(')')?;
        return Ok(Answer {
            names: vec!["server_version()"],
            records: vec![vec![Cell::Text(super::VERSION.into())]],
            ..Answer::default()
        });
    }
    p.name()?;
    let with_keep = p.is_sign(',');
    if with_keep {
        p.name()?;
    }
    p.are_words("from information_schema")?;
    p.sign('.')?;
    p.are_words("ins_databases where name")?;
    p.sign('=')?;
    let name = p.text()?;
    let mut names = vec!["precision", "keep"];
    names.truncate(1 + usize::from(with_keep));
    let record = |database: &Database| {
        let days = database.keep.as_secs() / 86_400;
        let mut cells = vec![
            Cell::Text(database.precision.clone()),
            Cell::Text(format!("{days}d,{days}d,{days}d")),
        ];
        cells.truncate(names.len());
        cells
    };
    let records = model.databases.get(&name).map(record).into_iter().collect();
    Ok(Answer {
        names,
        records,
        ..Answer::default()
    })
}

fn create(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    if p.is_word("database") {
        p.are_words("if not exists")?;
        let name = p.name()?;
        let mut database = Database::default();
        while let Some(Token::Word(option)) = p.tokens.next() {
            match (option.as_str(), p.literal()?) {
                ("PRECISION", Token::Text(precision)) => database.precision = precision,
                ("KEEP", Token::Number(keep)) => {
                    let days = keep.trim_end_matches('d').parse::<u64>();
                    let days = days.map_err(|_| refuse(0x2619, "Invalid option keep".into()))?;
                    database.keep = Duration::from_hours(24 * days);
                }
                ("VGROUPS" | "BUFFER" | "CACHEMODEL", _) => {}
                (other, _) => return Err(refuse(0x2600, format!("syntax error near {other}"))),
            }
        }
        model.databases.entry(name).or_insert(database);
    } else if p.is_word("stable") {
        p.are_words("if not exists")?;
        let (database, name) = p.path()?;
        let columns = p.list(Parser::column)?;
        p.are_words("tags")?;
        let tags = p.list(Parser::column)?;
        let table = Supertable { columns, tags };
        table.check()?;
        model
            .database(&database)?
            .supertables
            .entry(name)
            .or_insert(table);
    } else {
        p.are_words("table")?;
        while p.tokens.peek().is_some() {
            p.are_words("if not exists")?;
            let (database, name) = p.path()?;
            let database = model.database(&database)?;
            using(database, &name, p)?;
        }
    }
    Ok(Answer::default())
}

/// `USING stable (tags) TAGS (values)`, creating the subtable if it is missing.
fn using(database: &mut Database, name: &str, p: &mut Parser) -> Result<(), Refusal> {
    p.are_words("using")?;
    let (_, stable) = p.path()?;
    let names = p.list(Parser::name)?;
    p.are_words("tags")?;
    let values = p.list(Parser::text)?;
    let table = database.supertable(&stable)?;
    let mut tags = BTreeMap::new();
    for (name, value) in names.into_iter().zip(values) {
        check_tag(table, &name, &value)?;
        tags.insert(name, value);
    }
    if let Entry::Vacant(place) = database.subtables.entry(name.to_owned()) {
        place.insert(Subtable {
            stable,
            tags,
            rows: BTreeMap::new(),
        });
    }
    Ok(())
}

fn check_tag(table: &Supertable, name: &str, value: &str) -> Result<(), Refusal> {
    let tag = table.tags.iter().find(|tag| tag.name == name);
    let tag = tag.ok_or_else(|| refuse(0x260E, format!("Invalid tag name: {name}")))?;
    if value.len() > tag.bytes {
        let words = format!("Value too long for column/tag: {name}");
        return Err(refuse(0x2653, words));
    }
    Ok(())
}

/// `tbname` and tags of the subtables that have a value for one tag.
fn distinct(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    p.are_words("tbname")?;
    let mut tags = Vec::new();
    while p.is_sign(',') {
        tags.push(p.name()?);
    }
    p.are_words("from")?;
    let (database, stable) = p.path()?;
    p.are_words("where")?;
    let wanted = p.name()?;
    p.sign('=')?;
    let value = p.text()?;
    let database = model.database(&database)?;
    let table = database.supertable(&stable)?;
    let is_tag = |name: &String| table.tags.iter().any(|tag| tag.name == *name);
    if !tags.iter().chain([&wanted]).all(is_tag) {
        return Err(refuse(0x2602, "Invalid column name".into()));
    }
    let tables = database
        .subtables
        .iter()
        .filter(|(_, table)| table.stable == stable && table.tags.get(&wanted) == Some(&value));
    let records = tables.map(|(name, table)| {
        let values = tags.iter().map(|tag| match table.tags.get(tag) {
            Some(value) => Cell::Text(value.clone()),
            None => Cell::Null,
        });
        [Cell::Text(name.clone())]
            .into_iter()
            .chain(values)
            .collect()
    });
    Ok(Answer {
        names: [&["tbname"][..], &vec!["tag"; tags.len()]].concat(),
        records: records.collect(),
        ..Answer::default()
    })
}

/// ``TABLE `d`.`t` SET TAG `name` = 'value'``
fn set_tag(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    let (database, name) = p.path()?;
    p.are_words("set tag")?;
    let tag = p.name()?;
    p.sign('=')?;
    let value = p.text()?;
    let database = model.database(&database)?;
    check_tag(database.supertable_of(&name)?, &tag, &value)?;
    let table = database.subtables.get_mut(&name);
    let table = table.ok_or_else(|| refuse(0x2603, "Table does not exist".into()))?;
    table.tags.insert(tag, value);
    Ok(Answer::default())
}

fn alter(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    if p.is_word("table") {
        return set_tag(model, p);
    }
    p.are_words("stable")?;
    let (database, stable) = p.path()?;
    let database = model.database(&database)?;
    let mut table = database.supertable(&stable)?.clone();
    if p.is_word("modify") {
        p.are_words("column")?;
        let column = p.column()?;
        let old = table.columns.iter_mut().find(|old| old.name == column.name);
        let old = old.ok_or_else(|| refuse(0x2602, "Invalid column name".into()))?;
        if old.word != column.word || old.bytes >= column.bytes {
            return Err(refuse(
                0x264B,
                "Only varbinary/binary/nchar can be widened".into(),
            ));
        }
        *old = column;
    } else if p.is_word("drop") {
        p.are_words("column")?;
        let name = p.name()?;
        table.columns.retain(|column| column.name != name);
        let tables = database.subtables.values_mut();
        for table in tables.filter(|table| table.stable == stable) {
            for row in table.rows.values_mut() {
                row.remove(&name);
            }
        }
    } else {
        p.are_words("add")?;
        let is_tag = p.is_word("tag");
        if !is_tag {
            p.are_words("column")?;
        }
        let column = p.column()?;
        let mut all = table.columns.iter().chain(&table.tags);
        if all.any(|old| old.name == column.name) {
            return Err(refuse(0x036B, "Column already exists".into()));
        }
        let list = if is_tag {
            &mut table.tags
        } else {
            &mut table.columns
        };
        list.push(column);
    }
    table.check()?;
    database.supertables.insert(stable, table);
    Ok(Answer::default())
}

fn insert(model: &mut Server, p: &mut Parser) -> Result<Answer, Refusal> {
    p.are_words("into")?;
    let mut planned = Vec::new();
    while p.tokens.peek().is_some() {
        let (database_name, name) = p.path()?;
        let limits = model.limits(&database_name);
        let database = model.database(&database_name)?;
        if p.tokens.peek() != Some(&Token::Sign('(')) {
            using(database, &name, p)?;
        }
        let table = database.supertable_of(&name)?.clone();
        let names = p.list(Parser::name)?;
        let columns: BTreeMap<&str, &Column> = table
            .columns
            .iter()
            .map(|column| (&*column.name, column))
            .collect();
        p.are_words("values")?;
        while p.tokens.peek() == Some(&Token::Sign('(')) {
            let literals = p.list(Parser::literal)?;
            let mut row = BTreeMap::new();
            for (name, literal) in names.iter().zip(literals) {
                let column = columns.get(&**name);
                let column = column.ok_or_else(|| refuse(0x2602, "Invalid column name".into()))?;
                row.insert(name.clone(), cell(column, literal)?);
            }
            let ts = limits.check(&row)?;
            planned.push((database_name.clone(), name.clone(), ts, row));
        }
    }
    let affected_rows = planned.len();
    for (database, table, ts, row) in planned {
        model.put(&database, &table, ts, row)?;
    }
    Ok(Answer {
        affected_rows,
        ..Answer::default()
    })
}

fn cell(column: &Column, literal: Token) -> Result<Cell, Refusal> {
    let bad = || refuse(0x0216, format!("syntax error near column {}", column.name));
    let number = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|x| x.is_normal() || *x == 0.0)
    };
    Ok(match (column.word.as_str(), literal) {
        (_, Token::Word(word)) if word == "NULL" => Cell::Null,
        ("BOOL", Token::Word(word)) => Cell::Bool(word.parse().map_err(|_| bad())?),
        ("TIMESTAMP", Token::Number(n)) => Cell::Ts(n.parse().map_err(|_| bad())?),
        ("BIGINT", Token::Number(n)) => Cell::I64(n.parse().map_err(|_| bad())?),
        ("TINYINT UNSIGNED", Token::Number(n)) => Cell::U8(n.parse().map_err(|_| bad())?),
        ("DOUBLE", Token::Number(n)) => Cell::F64(number(&n).ok_or_else(bad)?),
        ("FLOAT", Token::Number(n)) => {
            let value = number(&n).ok_or_else(bad)?;
            if value.abs() > f64::from(f32::MAX) {
                return Err(bad());
            }
            Cell::F32(value as f32)
        }
        ("VARCHAR", Token::Text(text)) => {
            if text.len() > column.bytes {
                let name = &column.name;
                return Err(refuse(
                    0x2653,
                    format!("Value too long for column/tag: {name}"),
                ));
            }
            Cell::Text(text)
        }
        _ => return Err(bad()),
    })
}

pub(super) fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_nanos() as i64
}
