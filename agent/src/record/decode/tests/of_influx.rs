//! Line protocol.

use super::*;

fn influx(tags: &[(&str, &str)]) -> StreamRule {
    let tags = tags.iter().map(|(name, at)| PayloadTag {
        name: (*name).into(),
        at: Some(Pointer::parse(at)),
    });
    StreamRule {
        format: PayloadFormat::Influx,
        time_rule: TimeRule::of(TimeUnit::BySize),
        payload_tags: tags.collect(),
        ..rule()
    }
}

#[test]
fn each_series_is_a_stream_of_its_own() {
    let lines = "cpu,host=pi,cpu=cpu0 idle=91.5,user=4i 1777888000000000000\n\
                 # a comment\n\n\
                 cpu,cpu=cpu1,host=pi idle=80.5 1777888000\r\n\
                 cpu,cpu=cpu0,host=pi idle=92\n";
    let decoded = ok(&influx(&[("series", "/series")]), lines);
    let groups: Vec<_> = decoded
        .groups
        .iter()
        .map(|g| (&*g.tags[0], g.records.len()))
        .collect();
    assert_eq!(
        groups,
        [("cpu,cpu=cpu0,host=pi", 2), ("cpu,cpu=cpu1,host=pi", 1)]
    );
    let records = decoded.records();
    assert_eq!(row(records[0]), [f(91.5), f(4.0)]);
    let ns = Some(1_777_888_000_000_000_000);
    assert_eq!((records[0].source_ts, records[2].source_ts), (ns, ns));
    assert_eq!(
        (row(records[1]), records[1].source_ts),
        (vec![f(92.0)], None)
    );
}

#[test]
fn tags_that_are_named_are_those_of_the_stream() {
    let rule = influx(&[
        ("measurement", "/measurement"),
        ("cpu", "/tags/cpu"),
        ("gone", "/tags/x"),
    ]);
    let decoded = ok(&rule, "cpu,cpu=cpu0,host=pi idle=1 5");
    assert_eq!(decoded.groups[0].tags, ["cpu", "cpu0", ""]);
}

#[test]
fn bad_lines_refuse_the_publish_with_their_place() {
    for (lines, reason, records) in [
        ("", Reason::Empty, 1),
        ("# nothing", Reason::Empty, 1),
        ("a x=1\nb", Reason::NotInflux, 2),
        ("a x=1,x=2", Reason::NotInflux, 1),
        ("a x=1 99999999999999999999", Reason::BadTime, 1),
    ] {
        let rule = influx(&[("series", "/series")]);
        assert_eq!(refused(&rule, lines), (reason, records), "{lines}");
    }
}
