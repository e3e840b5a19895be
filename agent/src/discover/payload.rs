//! What the payloads of one topic are.

use std::collections::BTreeMap;

use super::{
    bare, binary, lines,
    reading::{Format, Reading},
    trees,
};
use crate::{
    config::settings::PayloadFormat,
    record::decode::tree::{self, Tree},
};

/// Most bytes that a compressed payload may hold.
const INFLATED_BYTES_MAX: usize = 256 << 10;
/// After so many bytes no further payload of a topic is looked at.
const TOPIC_BYTES_MAX: usize = 512 << 10;

/// What a payload is by itself.
enum Sample {
    /// Something with parts.
    Parts(Format, Tree),
    /// Several JSON texts, one a line.
    Lines(Vec<Tree>),
    /// One value.
    Bare(String),
    Csv(lines::Table),
    Influx,
    Floats,
    Unknown(String),
}

impl Sample {
    fn kind(&self) -> (usize, String) {
        match self {
            Self::Parts(format, _) => (0, format.word().to_owned()),
            Self::Lines(_) => (1, String::new()),
            Self::Bare(_) => (2, String::new()),
            Self::Csv(table) => (3, format!("{:?}", table.layout())),
            Self::Influx => (4, String::new()),
            Self::Floats => (5, String::new()),
            Self::Unknown(_) => (6, String::new()),
        }
    }
}

/// How to read the payloads of `topic`, the likeliest first; or why there is no way.
pub(super) fn readings(
    topic: &str,
    samples: &[Vec<u8>],
    now_ns: i64,
) -> Result<Vec<Reading>, String> {
    if topic.starts_with("spBv1.0/") {
        return Ok(vec![Reading::of(Format::Sparkplug)]);
    }
    let mut kinds: BTreeMap<(usize, String), (usize, Vec<Sample>)> = BTreeMap::new();
    let (mut bytes, mut looked_at) = (0, 0);
    for (number, payload) in samples.iter().enumerate() {
        if bytes >= TOPIC_BYTES_MAX {
            break;
        }
        let (sample, size) = sample(payload, now_ns);
        bytes += size;
        looked_at += 1;
        let (_, group) = kinds
            .entry(sample.kind())
            .or_insert_with(|| (number, Vec::new()));
        group.push(sample);
    }
    // What came most often, or first.
    let most = kinds.into_iter().max_by_key(|((kind, _), (first, group))| {
        (*kind < 6, group.len(), std::cmp::Reverse(*first))
    });
    let Some((_, (_, group))) = most else {
        return Err("only empty payloads came".to_owned());
    };
    let others = looked_at - group.len();
    let mut found = of_group(&group, now_ns)?;
    if others > 0 {
        let note = format!(
            "{others} of {looked_at} different payloads on one topic are of another format and would go to quarantine"
        );
        for reading in &mut found {
            reading.note(note.clone());
        }
    }
    Ok(found)
}

fn of_group(group: &[Sample], now_ns: i64) -> Result<Vec<Reading>, String> {
    match &group[0] {
        Sample::Parts(format, _) => {
            let roots: Vec<&Tree> = group
                .iter()
                .filter_map(|sample| match sample {
                    Sample::Parts(_, tree) => Some(tree),
                    _ => None,
                })
                .collect();
            trees::readings(*format, &roots, now_ns)
        }
        Sample::Lines(_) => {
            let roots = group.iter().flat_map(|sample| match sample {
                Sample::Lines(trees) => trees.as_slice(),
                _ => &[],
            });
            trees::readings(Format::NdJson, &roots.collect::<Vec<_>>(), now_ns)
        }
        Sample::Bare(_) => {
            let texts = group.iter().filter_map(|sample| match sample {
                Sample::Bare(text) => Some(&**text),
                _ => None,
            });
            bare::reading(&texts.collect::<Vec<_>>()).map(|reading| vec![reading])
        }
        Sample::Csv(_) => {
            let tables = group.iter().filter_map(|sample| match sample {
                Sample::Csv(table) => Some(table),
                _ => None,
            });
            Ok(vec![lines::reading(&tables.collect::<Vec<_>>(), now_ns)])
        }
        Sample::Influx => Ok(vec![Reading::of(Format::Influx)]),
        Sample::Floats => {
            let mut reading = Reading::of(Format::Raw);
            reading.sample_type = Some("f32");
            let note = "binary data: samples of 32 bits is a guess, and so is that they are floats";
            reading.note(note.to_owned());
            Ok(vec![reading])
        }
        Sample::Unknown(why) => Err(why.clone()),
    }
}

/// What a payload is, and how many bytes when it is not compressed.
fn sample(payload: &[u8], now_ns: i64) -> (Sample, usize) {
    match tree::inflated(payload, INFLATED_BYTES_MAX) {
        Ok(inflated) => (of_inflated(&inflated, now_ns), inflated.len()),
        Err(reject) => (Sample::Unknown(reject.detail), payload.len()),
    }
}

fn of_inflated(inflated: &[u8], now_ns: i64) -> Sample {
    let Ok(text) = std::str::from_utf8(inflated) else {
        return of_bytes(inflated);
    };
    let trimmed = text
        .trim_start_matches('\u{feff}')
        .trim_end_matches('\0')
        .trim();
    let is_binary = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if trimmed.contains(is_binary) {
        return of_bytes(inflated);
    }
    match tree::tree(trimmed.as_bytes(), PayloadFormat::Json) {
        Some(tree) if !tree.is_scalar() => return Sample::Parts(Format::Json, tree),
        Some(Tree::Text(text)) => return Sample::Bare(text),
        Some(_) => return Sample::Bare(trimmed.to_owned()),
        None => {}
    }
    if trimmed.starts_with(['{', '[']) {
        return json_lines(trimmed);
    }
    if trimmed.starts_with('<') {
        return Sample::Unknown("XML: no format of Dunlin's".to_owned());
    }
    if lines::is_influx(trimmed) {
        return Sample::Influx;
    }
    if let Some(table) = lines::table(trimmed, now_ns) {
        return Sample::Csv(table);
    }
    bare::opaque(trimmed).map_or_else(
        || Sample::Bare(trimmed.to_owned()),
        |why| Sample::Unknown(why.to_owned()),
    )
}

fn json_lines(text: &str) -> Sample {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let trees = lines.map(|line| tree::tree(line.as_bytes(), PayloadFormat::NdJson));
    let trees: Option<Vec<Tree>> = trees.collect();
    match trees {
        Some(trees) if trees.len() > 1 && trees.iter().all(|tree| !tree.is_scalar()) => {
            Sample::Lines(trees)
        }
        _ => Sample::Unknown("looks like JSON and is none".to_owned()),
    }
}

fn of_bytes(bytes: &[u8]) -> Sample {
    if let Some(what) = binary::known(bytes) {
        return Sample::Unknown(what.to_owned());
    }
    let formats = [
        (Format::MessagePack, PayloadFormat::MessagePack),
        (Format::Cbor, PayloadFormat::Cbor),
    ];
    for (format, payload_format) in formats {
        if let Some(tree) = tree::tree(bytes, payload_format)
            && !tree.is_scalar()
            && (!tree.members().is_empty() || !tree.items().is_empty())
        {
            return Sample::Parts(format, tree);
        }
    }
    if binary::are_floats(bytes) {
        return Sample::Floats;
    }
    Sample::Unknown(binary::unknown(bytes))
}
