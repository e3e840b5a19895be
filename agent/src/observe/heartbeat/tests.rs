use super::*;

#[cfg(feature = "learning")]
fn heartbeat() -> Heartbeat {
    Heartbeat {
        version: "1.2.3".into(),
        instance: Some("ab".into()),
        every_s: 60,
        uptime_s: 1,
        committed: 2,
        quarantined: 3,
        dropped: 4,
        lag_rows: 5,
        lag_s: 6.5,
        streams_held: 7,
        buffer_bytes: 8,
        broker_connected: true,
        upstream_connected: false,
        clock_synchronised: true,
        serving: "health 3".into(),
        problem: Some("no".into()),
    }
}

#[cfg(feature = "learning")]
fn row(heartbeat: &Heartbeat) -> BTreeMap<String, Value> {
    let cells = heartbeat.cells().into_iter();
    cells
        .filter_map(|(name, _, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[cfg(feature = "learning")]
#[test]
fn what_is_said_is_read_and_what_is_missing_or_wrong_is_nothing() {
    let said = heartbeat();
    assert_eq!(Heartbeat::read(&row(&said)), said);
    assert_eq!(Heartbeat::read(&BTreeMap::new()), Heartbeat::default());
    let mut wrong = row(&said);
    wrong.insert("uptime_s".into(), Value::I64(-1));
    wrong.insert("committed".into(), Value::Text("many".into()));
    wrong.insert("problem".into(), Value::Text("é".repeat(1_000).into()));
    let read = Heartbeat::read(&wrong);
    assert_eq!((read.uptime_s, read.committed), (0, 0));
    assert_eq!(read.problem.map(|text| text.len()), Some(TEXT_BYTES_MAX));
}

#[test]
fn every_column_has_the_type_of_its_values_and_a_name_of_its_own() {
    let cells = Heartbeat::default().cells();
    let mut names: Vec<&str> = cells.iter().map(|(name, _, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cells.len());
    for (name, kind, value) in cells {
        assert!(value.is_none_or(|value| value.kind() == kind), "{name}");
    }
}

#[cfg(feature = "learning")]
#[test]
fn what_serves_is_a_bounded_list() {
    let one = |recipe: &str, version, streams| ((recipe.to_owned(), version), streams);
    let few = [one("health", 3, 1), one("line", 1, 12)].into();
    assert_eq!(in_words(&few), "health 3, line 1 on 12 streams");
    assert_eq!(in_words(&BTreeMap::new()), "");
    let many = (0..1_000)
        .map(|version| one("health", version, 1))
        .collect();
    let words = in_words(&many);
    assert!(words.ends_with(" more"), "{words}");
    assert!(words.len() < SERVING_BYTES_MAX + 20, "{}", words.len());
}
