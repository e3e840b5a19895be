//! Lists of objects that are one value each, as OPC gateways publish them: what is to be written for them.

use std::fmt::Write as _;

use super::{Reason, Reject, builder::Builder, quoted, value::Cell};

const NAMES: [&str; 10] = [
    "id",
    "name",
    "n",
    "tag",
    "tagname",
    "key",
    "datapointid",
    "nodeid",
    "metric",
    "signal",
];
const VALUES: [&str; 6] = ["v", "value", "val", "currentvalue", "reading", "data"];
const TIMES: [&str; 6] = [
    "t",
    "time",
    "timestamp",
    "ts",
    "sourcetimestamp",
    "datetime",
];
/// What else such an object has.
const OTHERS: [&str; 11] = [
    "q",
    "quality",
    "qualitycode",
    "qc",
    "good",
    "status",
    "statuscode",
    "unit",
    "units",
    "type",
    "datatype",
];

/// Keys of an object, with what lies there.
pub(super) type Keys<'a> = Vec<(String, Cell<'a>)>;

fn among<'k>(keys: &'k Keys<'_>, words: &[&str]) -> Option<&'k (String, Cell<'k>)> {
    let is_meant = |key: &str| words.iter().any(|word| key.eq_ignore_ascii_case(word));
    keys.iter().find(|(key, _)| is_meant(key))
}

/// Refuses a payload that is a list whose first objects are a name and a value each, unless there is a
/// field for that already: as records of their own they would be stored as columns `id` and `v`, of
/// whatever is called so. A single object must have a quality or type, too, to be taken for one of these.
pub(super) fn refuse_as_records(
    builder: &Builder<'_>,
    first: &Keys<'_>,
    second: Option<&Keys<'_>>,
) -> Result<(), Reject> {
    let are_tags = match second {
        Some(second) => are_two_tags(first, second),
        None => among(first, &OTHERS).is_some(),
    };
    if !builder.rule().infer || !is_tag_object(first) || !are_tags {
        return Ok(());
    }
    let is_known = first
        .iter()
        .any(|(key, _)| builder.skips(key) || builder.has_column_at(key));
    if is_known {
        Ok(())
    } else {
        Err(list_refused("", first))
    }
}

/// Whether an object has a name, a value, and nothing that such objects do not have.
fn is_tag_object(keys: &Keys<'_>) -> bool {
    let known: Vec<&str> = [&NAMES[..], &VALUES, &TIMES, &OTHERS].concat();
    let is_named = among(keys, &NAMES).is_some_and(|(_, name)| matches!(name, Cell::Text(_)));
    let has_others = keys
        .iter()
        .any(|(key, _)| !known.iter().any(|word| key.eq_ignore_ascii_case(word)));
    is_named && among(keys, &VALUES).is_some() && !has_others
}

/// Whether the names of two objects differ: records of one machine would have the same.
fn are_two_tags(first: &Keys<'_>, second: &Keys<'_>) -> bool {
    let name = |keys: &Keys<'_>| match among(keys, &NAMES) {
        Some((_, Cell::Text(name))) => Some(name.to_string()),
        _ => None,
    };
    is_tag_object(second) && name(first) != name(second)
}

/// Why a list of objects at `path` is refused, and what to write instead; `keys` are those of its first
/// object.
#[cold]
pub(super) fn list_refused(path: &str, keys: &Keys<'_>) -> Reject {
    let key = |words: &[&str]| among(keys, words).map(|(key, _)| key.as_str());
    let path = &path[..path.floor_char_boundary(200)];
    let at = format!("/{}", path.replace('.', "/"));
    let mut wanted = match (key(&NAMES), key(&VALUES)) {
        (Some(name), Some(value)) if path.is_empty() => {
            format!("records = {{ name = \"/{name}\", value = \"/{value}\" }}")
        }
        (Some(name), Some(value)) => {
            format!("records = {{ at = \"{at}\", name = \"/{name}\", value = \"/{value}\" }}")
        }
        _ => format!("records = \"{at}\""),
    };
    if let Some(time) = key(&TIMES) {
        let _cannot_fail = write!(wanted, ", time = \"/{time}\"");
    }
    let wanted = wanted.escape_debug().to_string().replace("\\\"", "\"");
    let detail = if path.is_empty() {
        format!(
            "the payload is a list of objects of one value each; write {wanted} to take them as one \
             record, or declare {} as fields to take each as a record of its own",
            keys.iter()
                .map(|(key, _)| quoted(key))
                .collect::<Vec<_>>()
                .join(", ")
        )
    } else {
        format!(
            "{} is a list of objects; write {wanted} to take them, or exclude_fields = [\"{}\"] to leave \
             them out",
            quoted(path),
            path.escape_debug(),
        )
    };
    Reject::new(Reason::ListOfObjects, detail)
}
