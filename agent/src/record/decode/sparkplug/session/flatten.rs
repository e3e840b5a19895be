//! Templates made flat: their members become metrics called `TEMPLATE/MEMBER`.

use std::borrow::Cow;

use super::{Reading, Resolved, table::Table};
use crate::record::decode::{
    Reason, Reject, quoted,
    sparkplug::payload::{METRIC_NAME_BYTES_MAX, Metric, Value},
};

/// Puts `metric`, or the members of its template, behind `into`. What it leaves out of its type and time
/// is taken from `announced` and `timestamp_ms`.
pub(super) fn flatten<'a>(
    name: Cow<'a, str>,
    metric: Metric<'a>,
    announced: Option<&Table>,
    timestamp_ms: Option<u64>,
    into: &mut Vec<Resolved<'a>>,
) -> Result<(), Reject> {
    let timestamp_ms = metric.timestamp_ms.or(timestamp_ms);
    let datatype = metric
        .datatype
        .or_else(|| announced?.by_name(&name)?.datatype);
    let value = match metric.value {
        Value::Template(template) if template.is_definition => return Ok(()),
        Value::Template(template) => {
            for member in template.metrics {
                let name = joined(&name, member.name)?;
                flatten(name, member, announced, timestamp_ms, into)?;
            }
            return Ok(());
        }
        Value::DataSet(data_set) => Reading::DataSet(data_set),
        Value::Scalar(scalar) => Reading::Cell(scalar.cell(datatype)),
    };
    into.push(Resolved {
        name,
        timestamp_ms,
        datatype,
        is_historical: metric.is_historical,
        is_transient: metric.is_transient,
        quality: metric.quality,
        unit: metric.unit,
        value,
    });
    Ok(())
}

fn joined<'a>(template: &str, member: Option<&str>) -> Result<Cow<'a, str>, Reject> {
    let Some(member) = member else {
        let detail = format!("a member of the template {} has no name", quoted(template));
        return Err(Reject::new(Reason::NotSparkplug, detail));
    };
    // Names within names could add up to far more than the payload.
    if template.len() + 1 + member.len() > METRIC_NAME_BYTES_MAX {
        let detail = format!(
            "the member {} of the template {} has, with it, a name of more than \
             {METRIC_NAME_BYTES_MAX} bytes",
            quoted(member),
            quoted(template),
        );
        return Err(Reject::new(Reason::NotSparkplug, detail));
    }
    Ok(Cow::Owned([template, "/", member].concat()))
}
