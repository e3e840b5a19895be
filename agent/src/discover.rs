//! From samples of what a broker sends to a configuration that takes it.
//!
//! Pure: the same samples give the same text. For each topic the likeliest ways to read its payloads are made
//! up and tried with the decoder itself; topics that are read alike become one rule, whose filter says which
//! levels tell things apart and which name the field. What is proposed always passes the check of the
//! configuration; what cannot be read is named with its reason. Rules are about shapes, not about makers.

mod bare;
mod binary;
mod bursts;
mod columns;
mod draft;
mod field_line;
mod identity;
mod levels;
mod lines;
mod payload;
mod reading;
mod seen;
mod shape;
mod singles;
mod spelling;
mod times;
mod topics;
mod trees;
mod trial;
mod values;
mod words;
mod write;

use std::collections::BTreeMap;

pub(crate) use seen::Seen;
pub(crate) use write::{Broker, text};

use self::{
    draft::{Draft, Item},
    levels::Part,
    seen::SeenTopic,
    trial::{Rule, Verdict},
};
use crate::topic::hostile_part;

/// Most rules that are proposed.
const RULES_MAX: usize = 300;
/// Most topics that a rule excludes one by one.
const EXCLUDED_MAX: usize = 64;
/// Topics that get a rule each where others have the same filter.
const EXCEPTIONS_MAX: usize = 3;
/// Most levels of a topic that gets a rule.
const LEVELS_MAX: usize = 32;
/// How often a rule is widened because of another.
const UNTANGLED_MAX: usize = 100;
/// How often rules that take each other's topics are told apart.
const ROUNDS_MAX: usize = 4;

/// What to put into the file.
pub(crate) struct Proposal<'s> {
    rules: Vec<Rule<'s>>,
    /// What the decoder made of the samples of each.
    verdicts: Vec<Verdict>,
    /// Topics without a rule, and why.
    left: BTreeMap<&'s str, String>,
}

impl Proposal<'_> {
    /// Whether there is anything to run with.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Rules, and topics without one.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.rules.len(), self.left.len())
    }
}

/// Rules for what was seen about `now_ns`, the wall clock.
pub(crate) fn propose(seen: &Seen, now_ns: i64) -> Proposal<'_> {
    let mut left = BTreeMap::new();
    let mut items = Vec::new();
    let mut known = trial::Known::new();
    for (topic, of_topic) in seen.topics() {
        match item(topic, of_topic, now_ns, &mut known) {
            Ok(item) => items.push(item),
            Err(why) => {
                left.insert(topic, why);
            }
        }
    }
    let mut drafts = topics::drafts(&items);
    // Where there are too many those go that take least.
    drafts.sort_by_key(|draft| std::cmp::Reverse(draft.topics.len()));
    let over = drafts.split_off(drafts.len().min(RULES_MAX));
    for topic in over.iter().flat_map(|draft| &draft.topics) {
        left.insert(*topic, too_many());
    }
    drafts.sort_by_key(|draft| trial::width(&draft.parts, draft.topics.len()));
    let mut rules = sound(drafts, &items, &mut left);
    untangle(&mut rules, &mut left);
    rules = passing(rules, &mut left);
    let mut verdicts = trial::verdicts(&rules, seen);
    for _ in 0..ROUNDS_MAX {
        if !exclude(&mut rules, &verdicts) {
            break;
        }
        rules = passing(rules, &mut left);
        verdicts = trial::verdicts(&rules, seen);
    }
    Proposal {
        rules,
        verdicts,
        left,
    }
}

fn item<'s>(
    topic: &'s str,
    seen: &SeenTopic,
    now_ns: i64,
    known: &mut trial::Known,
) -> Result<Item<'s>, String> {
    if let Some(what) = hostile_part(topic) {
        return Err(format!("{what} in the topic: such topics are never taken"));
    }
    let levels: Vec<&str> = topic.split('/').collect();
    if levels.len() > LEVELS_MAX {
        return Err(format!("more than {LEVELS_MAX} levels in the topic"));
    }
    if !is_literal(topic) {
        return Err(
            "`{field}`, `+` or `#` in the topic, which a filter takes for a placeholder".to_owned(),
        );
    }
    if levels.contains(&"bridge") {
        return Err("a gateway's own messages".to_owned());
    }
    if levels
        .iter()
        .skip(1)
        .any(|level| level.starts_with('$') && !level.contains('='))
    {
        return Err("about a device, no readings ($ in the topic)".to_owned());
    }
    if seen.samples.is_empty() {
        let why = if seen.too_large > 0 {
            "payloads above mqtt.payload_bytes_max"
        } else if seen.without_room > 0 {
            "so much had come that nothing of it was kept: narrow it with --topic"
        } else {
            "only empty payloads came"
        };
        return Err(why.to_owned());
    }
    let readings = payload::readings(topic, &seen.samples, now_ns)?;
    let reading =
        trial::best(readings, &seen.samples, known).ok_or("the decoder takes none of it")?;
    if reading.is_description() {
        return Err("describes devices (texts, and topics of others), no readings".to_owned());
    }
    let is_time = |level: &usize| times::is_now(levels[*level], now_ns);
    Ok(Item {
        topic,
        time_levels: (1..levels.len()).filter(is_time).collect(),
        levels,
        reading,
        came_once: seen.publishes == 1 && seen.retained == 0,
    })
}

/// Whether a filter that is written as `topic` takes no other one.
fn is_literal(topic: &str) -> bool {
    !topic.contains(['+', '#']) && topic.split('/').all(|level| level != "{field}")
}

fn too_many() -> String {
    format!("more than {RULES_MAX} rules")
}

/// Rules whose lines pass the check each by itself; of the others, one for each topic.
fn sound<'s>(
    drafts: Vec<Draft<'s>>,
    items: &[Item<'s>],
    left: &mut BTreeMap<&'s str, String>,
) -> Vec<Rule<'s>> {
    let mut rules: Vec<Rule<'s>> = Vec::new();
    let mut names = Vec::new();
    let mut add = |draft: Draft<'s>| -> Result<(), (Vec<&'s str>, String)> {
        let rule = Rule::of(draft, &names);
        if rules.len() >= RULES_MAX {
            return Err((rule.topics, too_many()));
        }
        if !trial::passes(std::slice::from_ref(&rule)) {
            return Err((rule.topics, "no rule could be made for it".to_owned()));
        }
        names.push(rule.name.clone());
        rules.push(rule);
        Ok(())
    };
    let mut filters: Vec<Vec<Part>> = Vec::new();
    let mut singly: Vec<&str> = Vec::new();
    for draft in drafts {
        // A few that are read in another way than the others of their filter are named word by word.
        let is_exception = draft.topics.len() <= EXCEPTIONS_MAX && filters.contains(&draft.parts);
        filters.push(draft.parts.clone());
        if is_exception {
            singly.extend(draft.topics);
        } else if let Err((topics, _)) = add(draft) {
            singly.extend(topics);
        }
    }
    // Rules for many come before those for one.
    for topic in singly {
        let Some(item) = items.iter().find(|item| item.topic == topic) else {
            continue;
        };
        if let Err((_, why)) = add(Draft::literal(item)) {
            left.insert(topic, why);
        }
    }
    rules.sort_by_key(Rule::width);
    rules
}

/// Widens or drops rules until of any two whose topics meet one takes all that the other takes.
fn untangle<'s>(rules: &mut Vec<Rule<'s>>, left: &mut BTreeMap<&'s str, String>) {
    for round in 0.. {
        let pairs =
            (0..rules.len()).flat_map(|one| (one + 1..rules.len()).map(move |other| (one, other)));
        let mut tangled = pairs.filter(|(one, other)| rules[*one].is_tangled_with(&rules[*other]));
        let Some((one, other)) = tangled.next() else {
            return;
        };
        // The one changes that loses less, or else that has fewer topics.
        let loss =
            |rule: &Rule<'_>, over: &Rule<'_>| (rule.harm_of_widening(over), rule.topics.len());
        let (a, b) = (&rules[one], &rules[other]);
        let (less, more) = if loss(a, b) < loss(b, a) {
            (one, other)
        } else {
            (other, one)
        };
        let mut rule = rules.remove(less);
        let more = more - usize::from(more > less);
        if round < UNTANGLED_MAX && rule.widen_over(&rules[more]) {
            rules.push(rule);
            rules.sort_by_key(Rule::width);
            continue;
        }
        for topic in rule.topics {
            left.insert(
                topic,
                format!("its topics meet those of the rule {}", rules[more].name),
            );
        }
    }
}

/// Rules that pass the check together.
fn passing<'s>(rules: Vec<Rule<'s>>, left: &mut BTreeMap<&'s str, String>) -> Vec<Rule<'s>> {
    if trial::passes(&rules) {
        return rules;
    }
    let mut kept: Vec<Rule<'s>> = Vec::new();
    for rule in rules {
        kept.push(rule);
        if trial::passes(&kept) {
            continue;
        }
        // Others have the same filter: what is meant for this one is left to it alone.
        let Some(rule) = kept.pop() else { continue };
        let topics = rule.topics.iter().map(|topic| (*topic).to_owned());
        let topics: Vec<String> = topics.collect();
        let rivals = kept
            .iter_mut()
            .filter(|other| other.takes_all_of(&rule.filter));
        let before: Vec<Vec<String>> = rivals
            .map(|rival| {
                let before = rival.excluded.clone();
                rival.excluded.extend(topics.iter().cloned());
                before
            })
            .collect();
        let filter = rule.filter.clone();
        kept.push(rule);
        if topics.len() <= EXCLUDED_MAX && trial::passes(&kept) {
            continue;
        }
        let Some(rule) = kept.pop() else { continue };
        let rivals = kept.iter_mut().filter(|other| other.takes_all_of(&filter));
        for (rival, before) in rivals.zip(before) {
            rival.excluded = before;
        }
        for topic in rule.topics {
            left.insert(
                topic,
                "its rule does not go together with the others".to_owned(),
            );
        }
    }
    kept
}

/// Has rules leave alone what they were not made for; whether anything changed.
fn exclude(rules: &mut [Rule<'_>], verdicts: &[Verdict]) -> bool {
    let mut changed = false;
    for (rule, verdict) in rules.iter_mut().zip(verdicts) {
        for topic in excluded_topics(rule, verdict) {
            if rule.excluded.len() < EXCLUDED_MAX && !rule.excluded.contains(&topic) {
                rule.excluded.push(topic);
                changed = true;
            }
        }
    }
    changed
}

/// What to exclude: the topics one by one, or all below a level if nothing else is there.
fn excluded_topics(rule: &Rule<'_>, verdict: &Verdict) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for topic in &verdict.strangers {
        let levels: Vec<&str> = topic.split('/').collect();
        let own = levels.iter().position(|level| *level == "bridge");
        let excluded = match own {
            Some(at) if at > 0 => format!("{}/#", levels[..=at].join("/")),
            _ => topic.clone(),
        };
        let takes_own = rule.topics.iter().any(|own| {
            excluded
                .strip_suffix("/#")
                .is_some_and(|start| own.starts_with(start))
        });
        let excluded = if takes_own { topic.clone() } else { excluded };
        if !found.contains(&excluded) && hostile_part(topic).is_none() && is_literal(topic) {
            found.push(excluded);
        }
    }
    found
}

#[cfg(test)]
mod tests;
