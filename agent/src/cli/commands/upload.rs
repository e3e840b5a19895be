//! `dunlin upload`: rows sent again, for a database that has lost them.

use clap::Args;

use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    export,
    terminal::Show,
};
use crate::{
    admin::operations::{SentAgain, UploadAgain},
    base::text,
};

/// Arguments of `dunlin upload`.
#[derive(Args, Debug)]
pub struct UploadArgs {
    /// Send rows again that were upstream once; what is there already stays as it is
    #[arg(long, required = true)]
    pub again: bool,
    /// Only of this stream, or of those that a pattern takes: 'vibration/*'
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// First timestamp: RFC 3339, YYYY-MM-DD (UTC), or nanoseconds since 1970
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Last timestamp, itself included; a date stands for its whole day
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Which agent
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Sends what the buffer still holds, there and then.
///
/// # Errors
/// [`Exit`]; what was sent before it is upstream.
pub async fn run(args: UploadArgs) -> Outcome {
    let again = UploadAgain {
        stream: args.stream.clone(),
        range: export::range(args.from.as_deref(), args.to.as_deref())?,
    };
    let mut connection = Connection::open(&args.connection).await?;
    let show = Show::new("sending again");
    let (done, _) = connection.request_with(again, show).await?;
    connection.close().await?;
    println!("{}", outcome(&done));
    if done.refused.is_empty() {
        Ok(())
    } else {
        Err(Exit::Failed("the upstream did not take all of them".into()))
    }
}

fn outcome(done: &SentAgain) -> String {
    let mut parts = vec![format!("{} sent again", text::of(done.sent, "row"))];
    for (reason, rows) in &done.refused {
        let reason = text::printable(reason);
        parts.push(format!("{} refused: {reason}", text::count(*rows)));
    }
    if done.waiting > 0 {
        let rows = text::of(done.waiting, "row");
        parts.push(format!("{rows} not sent before: the agent does that"));
    }
    parts.join("; ")
}
