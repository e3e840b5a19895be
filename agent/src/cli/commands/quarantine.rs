//! `dunlin quarantine`: look at what could not be decoded or delivered, send it again, delete it.

use std::{
    fmt::Write as _,
    io::{self, BufRead, IsTerminal, Write as _},
};

use clap::{Args, Subcommand};
use dunlin_sync::quarantine::{Content, Item};

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    terminal::Show,
};
use crate::{
    admin::operations::{
        CountItems, ListItems, PurgeItems, Retried, RetryItems, Selection, ShowItem, Summary,
    },
    base::{text, wall::wall_ns},
};

/// Arguments of `dunlin quarantine`.
#[derive(Args, Debug)]
pub struct QuarantineArgs {
    #[command(subcommand)]
    command: QuarantineCommand,
}

#[derive(Subcommand, Debug)]
enum QuarantineCommand {
    /// List what is there, oldest first
    List(ListArgs),
    /// Show one item with its payload
    Show(ShowArgs),
    /// Send items again; what is refused again stays, with its new reason
    Retry(RetryArgs),
    /// Delete items for good
    Purge(PurgeArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only items with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// As one JSON array
    #[arg(long)]
    json: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    max: u64,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// Number of the item
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct RetryArgs {
    /// Numbers of the items
    #[arg(value_name = "ID", conflicts_with = "all", required_unless_present_any = ["all", "reason"])]
    ids: Vec<u64>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// Only items with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct PurgeArgs {
    /// Numbers of the items
    #[arg(value_name = "ID", conflicts_with = "all", required_unless_present_any = ["all", "reason", "older_than"])]
    ids: Vec<u64>,
    /// Everything
    #[arg(long, conflicts_with_all = ["reason", "older_than"])]
    all: bool,
    /// Only items with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only items that have been there for longer: 30d, 12h, 90min
    #[arg(long, value_name = "AGE", value_parser = age_ns)]
    older_than: Option<i64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Nanoseconds of an age such as `30d`.
fn age_ns(text: &str) -> Result<i64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s: i64 = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => 0,
    };
    let age = digits.parse::<i64>().ok().filter(|n| *n >= 0 && unit_s > 0);
    age.and_then(|n| n.checked_mul(unit_s)?.checked_mul(1_000_000_000))
        .ok_or_else(|| "write a number and its unit: s, min, h, d or w, such as 30d".into())
}

/// Does what was asked.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: QuarantineArgs) -> Outcome {
    match args.command {
        QuarantineCommand::List(args) => list(args).await,
        QuarantineCommand::Show(args) => show(args).await,
        QuarantineCommand::Retry(args) => retry(args).await,
        QuarantineCommand::Purge(args) => purge(args).await,
    }
}

async fn list(args: ListArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let selection = Selection {
        reason: args.reason,
        ..Selection::default()
    };
    let list = ListItems {
        selection: selection.clone(),
        items_max: args.max,
    };
    let items = connection.request(list).await?;
    if args.json {
        let text = serde_json::to_string(&items);
        println!("{}", text.map_err(|error| Exit::Failed(error.to_string()))?);
        return connection.close().await;
    }
    let held = connection.request(CountItems(selection)).await?;
    connection.close().await?;
    print!(
        "{}",
        table(&items, held.values().map(|held| held.items).sum())
    );
    Ok(())
}

fn table(items: &[Summary], total: u64) -> String {
    if items.is_empty() {
        return "nothing is in quarantine\n".into();
    }
    let width = |of: fn(&Summary) -> &str| items.iter().map(|i| of(i).len()).max().unwrap_or(0);
    let (reasons, places) = (width(|i| &i.reason), width(|i| &i.of).min(40));
    // Writing to a String cannot fail.
    let mut text = String::new();
    for item in items {
        let _ok = writeln!(
            text,
            "{:>6}  {}  {:reasons$}  {:places$}  {}",
            item.id,
            text::time(item.at_ns),
            item.reason,
            item.of,
            item.detail
        );
    }
    if total > items.len() as u64 {
        let more = text::count(total - items.len() as u64);
        let _ok = writeln!(text, "and {more} more (--max N shows more of them)");
    }
    text
}

async fn show(args: ShowArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let item = connection.request(ShowItem { id: args.id }).await?;
    connection.close().await?;
    match item {
        Some(item) => {
            print!("{}", described(&item));
            Ok(())
        }
        None => Err(Exit::Failed(format!(
            "no item {} is in quarantine; `dunlin quarantine list` names those that are",
            args.id
        ))),
    }
}

fn described(item: &Item) -> String {
    let mut text = format!(
        "since    {}\nreason   {}\ndetail   {}\nrecords  {}\n",
        text::time(item.at_ns),
        text::printable(&item.reason),
        text::printable(&item.detail),
        item.records
    );
    if let Some(publish) = item.content.publish() {
        let payload = publish.payload;
        let topic = String::from_utf8_lossy(publish.topic);
        let cut = if publish.payload_bytes > payload.len() as u64 {
            format!(", of which the first {} were kept", payload.len())
        } else {
            String::new()
        };
        if let Some(missing) = publish.missing {
            let _ok = writeln!(text, "stored   all but {} values", missing.len());
        }
        let _ok = write!(
            text,
            "topic    {}\npayload  {} bytes{cut}\n\n",
            topic.escape_debug(),
            publish.payload_bytes
        );
        match std::str::from_utf8(payload) {
            Ok(payload) => {
                text.push_str(&text::printable(payload));
                text.push('\n');
            }
            Err(_) => text.push_str(&text::hex(payload)),
        }
    }
    match &item.content {
        Content::Publish { .. } | Content::Partly { .. } => {}
        Content::Row(row) => {
            let _ok = write!(
                text,
                "stream   {}\nts       {} ({})\nsplit    {}, fold {}\n",
                row.stream.escape_debug(),
                row.ts,
                text::time(row.ts.0),
                if row.split.is_train {
                    "train"
                } else {
                    "validation"
                },
                row.split.fold
            );
            for value in &row.values {
                let shown = format!("{:?}", value.value);
                let _ok = writeln!(text, "field    {} = {shown}", value.name.escape_debug());
            }
        }
    }
    text
}

async fn retry(args: RetryArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let selection = Selection {
        ids: args.ids,
        reason: args.reason,
        before_ns: None,
    };
    let show = Show::new("sending again");
    let (retried, _) = connection.request_with(RetryItems(selection), show).await?;
    connection.close().await?;
    println!("{}", outcome(&retried));
    if retried.sent == 0 && (retried.cut > 0 || !retried.refused.is_empty()) {
        return Err(Exit::Failed("none of them was taken".into()));
    }
    Ok(())
}

fn outcome(retried: &Retried) -> String {
    let mut parts = vec![format!(
        "{} sent ({})",
        text::of(retried.sent, "item"),
        text::of(retried.records, "record")
    )];
    for (reason, items) in &retried.refused {
        parts.push(format!("{} refused again: {reason}", text::count(*items)));
    }
    if retried.cut > 0 {
        parts.push(format!(
            "{} cannot be sent again: only the beginning was kept",
            text::count(retried.cut)
        ));
    }
    if !retried.missing.is_empty() {
        let ids: Vec<String> = retried.missing.iter().map(ToString::to_string).collect();
        parts.push(format!("not in quarantine: {}", ids.join(", ")));
    }
    parts.join("; ")
}

async fn purge(args: PurgeArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let selection = Selection {
        ids: args.ids,
        reason: args.reason,
        before_ns: args.older_than.map(|age| wall_ns().saturating_sub(age)),
    };
    let held = connection.request(CountItems(selection.clone())).await?;
    let (items, records) = held.values().fold((0, 0), |(items, records), held| {
        (items + held.items, records + held.records)
    });
    let what = format!(
        "{} with {}",
        text::of(items, "item"),
        text::of(records, "record")
    );
    if items > 0 && !args.yes && !confirmed(&what)? {
        println!("nothing deleted");
        return connection.close().await;
    }
    let deleted = if items == 0 {
        0
    } else {
        let show = Show::new("deleting");
        let (deleted, _) = connection.request_with(PurgeItems(selection), show).await?;
        deleted
    };
    connection.close().await?;
    println!("{} deleted", text::of(deleted, "item"));
    Ok(())
}

fn confirmed(what: &str) -> Result<bool, Exit> {
    if !io::stdin().is_terminal() {
        return Err(Exit::Usage(format!(
            "this deletes {what} for good; add --yes if that is meant"
        )));
    }
    eprint!("delete {what} for good? [y/N] ");
    let mut answer = String::new();
    let read = io::stderr()
        .flush()
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Exit::Failed(error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
