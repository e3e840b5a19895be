#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    query: QueryArgs,
}

/// As a shell splits it.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => quoted = !quoted,
            '\\' if !quoted => word.extend(chars.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

fn asked(line: &str) -> CohortQuery {
    let words = std::iter::once("x".to_owned()).chain(split(line));
    Words::try_parse_from(words).unwrap().query.query().unwrap()
}

#[test]
fn a_query_can_be_asked_again_in_its_own_words() {
    let plain = CohortQuery::of("plant/*");
    let full = CohortQuery {
        features: vec!["a,b".into(), "c\\d e".into(), "-x".into()],
        label: Some("it's".into()),
        classify: true,
        classes: vec!["-1".into(), String::new(), "ü".into()],
        last: Some(7),
        from: Some(-5),
        to: Some(5),
        after: Some(-2),
        split: SplitPart::NotFold(3),
        condition: Some(Condition::parse("-x < 1 and m = 'p''7' or n like \"a%\"").unwrap()),
        balance: true,
        fraction: 0.1,
        seed: u64::MAX,
        gap_ns_max: Some(1_000),
        missing: Missing::LastValue,
        rows_per_chunk_max: 10,
        ..CohortQuery::of("a b*'")
    };
    for split in [
        SplitPart::Train,
        SplitPart::Validation,
        SplitPart::Fold(2),
        SplitPart::NotFold(3),
    ] {
        let query = CohortQuery {
            split,
            ..full.clone()
        };
        assert_eq!(asked(&query.to_string()), query, "{query}");
    }
    assert_eq!(asked(&plain.to_string()), plain);
    assert_eq!(plain.to_string(), "--streams='plant/*'");
}

#[test]
fn tables_are_aligned() {
    let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
    assert_eq!(
        aligned(&[row("ab", "1"), row("c", "22")]),
        ["ab  1", "c   22"]
    );
    assert!(aligned(&[]).is_empty());
}
