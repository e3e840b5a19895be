use super::*;

fn notice<'a>(rule: &'a str, reason: &'a str) -> Notice<'a> {
    Notice {
        rule,
        of: "plant/1/temp",
        reason,
        detail: "it is a text",
        advice: "send a number",
        records: 3,
    }
}

#[test]
fn each_kind_once_and_then_one_line_a_minute_however_much_comes() {
    let (mut notices, start) = (Notices::default(), Instant::now());
    let mut lines = 0;
    let mut summed_up = 0;
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        for flood in 0..200 {
            let rule = ["a", "b"][flood % 2];
            lines += usize::from(notices.note(&notice(rule, "wrong_type"), now));
        }
        let records = notices.sum_up(now);
        lines += usize::from(records > 0);
        summed_up += records;
    }
    assert!(
        (2 + 9..=2 + 10).contains(&lines),
        "{lines} lines in ten minutes"
    );
    summed_up += notices.sum_up(start + Duration::from_secs(700));
    assert_eq!(
        summed_up,
        600 * 200 * 3 - 2 * 3,
        "each is said or summed up"
    );
}

#[test]
fn made_up_kinds_are_bounded() {
    let (mut notices, now) = (Notices::default(), Instant::now());
    let said = (0..100_000).filter(|n| {
        let reason = n.to_string();
        notices.note(&notice("a", &reason), now)
    });
    assert_eq!(said.count(), NAMED_MAX);
    assert!(notices.unsaid.len() <= REASONS_MAX + 1);
}
