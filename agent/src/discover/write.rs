//! The file: rules with what was seen of each, and what has none.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Proposal, Seen,
    spelling::quoted,
    trial::{Rule, Verdict},
};
use crate::base::text;

/// Most topics without a rule that are named.
const LEFT_MAX: usize = 200;
/// Longest topic or reason in a comment, characters.
const SHOWN_MAX: usize = 160;

/// How to reach the broker; nothing of it is secret.
pub(crate) struct Broker {
    /// Without user and password.
    pub(crate) url: String,
    /// Other settings of `[mqtt]`, in their order.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Whether there was a password that is nowhere in a file.
    pub(crate) lacks_password: bool,
}

/// The whole file.
pub(crate) fn text(proposal: &Proposal<'_>, seen: &Seen, broker: &Broker, seconds: u64) -> String {
    let mut out = String::new();
    let topics = seen.topics().count() as u64;
    let _cannot_fail = writeln!(
        out,
        "# Proposed by `dunlin discover` from {} on {} in {seconds} s.\n\
         # Rules, tags and fields are guesses from what came: look through them, try one with\n\
         # `dunlin tap -c dunlin.toml`, and give rules and tags (+thing, +part) the names you want before the\n\
         # first run. Device and upstream are settings too: `dunlin init` writes a file that explains them all.\n",
        text::of(seen.publishes(), "publish"),
        text::of(topics, "topic"),
    );
    if seen.passed_over > 0 {
        let _cannot_fail = writeln!(
            out,
            "# {} on further topics, or topics that are no text, were not looked at: narrow it with --topic.\n",
            text::of(seen.passed_over, "publish")
        );
    }
    let _cannot_fail = writeln!(out, "[mqtt]\nurl = {}", quoted(&broker.url));
    for (key, value) in &broker.settings {
        let _cannot_fail = writeln!(out, "{key} = {}", quoted(value));
    }
    if broker.lacks_password {
        out.push_str(
            "# The password is not written here: name its file, or set DUNLIN_MQTT_PASSWORD.\n",
        );
        out.push_str("#password_file = \"/etc/dunlin/mqtt.password\"\n");
    }
    let counts: BTreeMap<&str, (u64, u64)> = seen
        .topics()
        .map(|(topic, of_topic)| (topic, (of_topic.publishes, of_topic.retained)))
        .collect();
    for (rule, verdict) in proposal.rules.iter().zip(&proposal.verdicts) {
        out.push('\n');
        out.push_str(&comment(rule, verdict, &counts));
        out.push_str(&rule.text());
    }
    if !proposal.left.is_empty() {
        out.push_str("\n# No rule takes these:\n");
    }
    for (topic, why) in proposal.left.iter().take(LEFT_MAX) {
        let _cannot_fail = writeln!(out, "#   {}: {}", shown(topic), shown(why));
    }
    let more = proposal.left.len().saturating_sub(LEFT_MAX) as u64;
    if more > 0 {
        let _cannot_fail = writeln!(out, "#   and {}", text::of(more, "more topic"));
    }
    out
}

fn comment(rule: &Rule<'_>, verdict: &Verdict, counts: &BTreeMap<&str, (u64, u64)>) -> String {
    let of_rule = rule.topics.iter().filter_map(|topic| counts.get(topic));
    let (publishes, retained) = of_rule.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    let mut out = format!(
        "# {}, {}",
        text::of(rule.topics.len() as u64, "topic"),
        text::of(publishes, "publish")
    );
    if retained > 0 {
        let _cannot_fail = write!(out, " ({} retained)", text::count(retained));
    }
    if let Some(topic) = rule.topics.first() {
        let _cannot_fail = write!(out, ", as {}", shown(topic));
    }
    out.push('\n');
    let mut note = |note: &str| {
        let _cannot_fail = writeln!(out, "# {}", shown(note));
    };
    for text in &rule.reading.notes {
        note(text);
    }
    if rule.reading.time.is_some() && rule.reading.needs_zone {
        note("its times name no zone: that its clock stands where this device does is a guess");
    }
    if let Some(refusal) = &verdict.refusal {
        note(&format!(
            "{} of {} different payloads would go to quarantine: {refusal}",
            verdict.refused,
            verdict.refused + verdict.taken
        ));
    }
    if let Some(stranger) = verdict.strangers.first() {
        let others = text::of(verdict.strangers.len() as u64, "topic");
        note(&format!(
            "takes {others} that it was not made for, as {stranger}: exclude them"
        ));
    }
    if let Some(misfit) = &verdict.misfit {
        note(&format!("values that are missing: {misfit}"));
    }
    out
}

/// Foreign text in a comment.
fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let kept = characters.by_ref().take(SHOWN_MAX);
    let mut shown: String = kept.map(|c| if c.is_control() { '?' } else { c }).collect();
    if characters.next().is_some() {
        shown.push_str("...");
    }
    shown
}
