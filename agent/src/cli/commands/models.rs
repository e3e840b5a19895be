//! `dunlin models`: look at versions of models, choose which one serves, take them out and in.

mod file;
mod merge;
mod text;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use dunlin_models::registry::{ModelKey, Version};

pub use self::file::read_model;
pub(super) use self::text::columns;
use self::{
    merge::MergeArgs,
    text::{compared, facts, listed},
};
use super::{
    Exit, Outcome,
    connection::{Connection, ConnectionArgs},
    export::to_file,
    print_json,
    terminal::Show,
};
use crate::admin::operations::{
    ExportModel, ImportModel, ListModels, PromoteModel, RollBackModel, ShowModel, Which,
};

/// Arguments of `dunlin models`.
#[derive(Args, Debug)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Subcommand, Debug)]
enum ModelsCommand {
    /// List versions, by recipe and stream
    List(ListArgs),
    /// Show all that is known of a version
    Show(ShowArgs),
    /// Put two versions side by side
    Compare(CompareArgs),
    /// Let a version serve, whatever the gate said
    Promote(PromoteArgs),
    /// Let the version that served before serve again
    Rollback(RollbackArgs),
    /// Write a version to a safetensors file
    Export(ExportArgs),
    /// Take in a version from a safetensors file; it serves once it is promoted
    Import(ImportArgs),
    /// Make one model of those of many devices, without their data
    Merge(MergeArgs),
}

#[derive(Args, Clone, Debug)]
struct KeyArgs {
    /// Name of the recipe
    #[arg(value_name = "RECIPE")]
    recipe: String,
    /// Name of the stream
    #[arg(value_name = "STREAM")]
    stream: String,
}

impl KeyArgs {
    fn key(&self) -> ModelKey {
        ModelKey::new(&self.recipe, &self.stream)
    }

    fn which(&self, number: Option<u64>) -> Which {
        Which {
            key: self.key(),
            number,
        }
    }
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only of this recipe, or those that match a pattern
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Only of this stream, or those that match a pattern: 'press/*'
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// As one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Number of the version; the one that serves unless given
    #[arg(value_name = "VERSION")]
    number: Option<u64>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct CompareArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Number of a version
    #[arg(value_name = "VERSION")]
    number: u64,
    /// Number of another; the one that serves unless given
    #[arg(value_name = "OTHER")]
    other: Option<u64>,
    /// As one JSON array of two
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct PromoteArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Number of the version
    #[arg(value_name = "VERSION")]
    number: u64,
    /// Its status from now on; that of the version it replaces unless given
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Status of the version it replaces; `retired` unless given
    #[arg(long, value_name = "STATUS")]
    replaced_status: Option<String>,
    /// Tell what serves now as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct RollbackArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Status of the version taken back; `rolled_back` unless given
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Tell what serves now as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct ExportArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Number of the version; the one that serves unless given
    #[arg(value_name = "VERSION")]
    number: Option<u64>,
    /// File to write, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Tell what was written as one JSON object, on standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Args, Debug)]
struct ImportArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// A file written by `dunlin models export`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its status; `imported` unless given
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Tell what was added as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Does what was asked.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: ModelsArgs) -> Outcome {
    match args.command {
        ModelsCommand::List(args) => list(args).await,
        ModelsCommand::Show(args) => show(args).await,
        ModelsCommand::Compare(args) => compare(args).await,
        ModelsCommand::Promote(args) => promote(args).await,
        ModelsCommand::Rollback(args) => rollback(args).await,
        ModelsCommand::Export(args) => export(args).await,
        ModelsCommand::Import(args) => import(args).await,
        ModelsCommand::Merge(args) => merge::run(&args),
    }
}

async fn list(args: ListArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let list = ListModels {
        recipe: args.recipe,
        stream: args.stream,
    };
    let show = Show::new("reading the versions");
    let (versions, _) = connection.request_with(list, show).await?;
    connection.close().await?;
    if args.json {
        return print_json(&versions);
    }
    print!("{}", listed(&versions));
    Ok(())
}

async fn show(args: ShowArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let which = args.key.which(args.number);
    let version = connection.request(ShowModel(which)).await?;
    connection.close().await?;
    if args.json {
        return print_json(&version);
    }
    let rows = facts(&version).map(|(name, fact)| [name.to_owned(), fact]);
    print!("{}", columns(&rows));
    Ok(())
}

async fn compare(args: CompareArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let (one, other) = (
        args.key.which(Some(args.number)),
        args.key.which(args.other),
    );
    let one = connection.request(ShowModel(one)).await?;
    let other = connection.request(ShowModel(other)).await?;
    connection.close().await?;
    if args.json {
        return print_json(&[one, other]);
    }
    print!("{}", compared(&one, &other));
    Ok(())
}

async fn promote(args: PromoteArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let promote = PromoteModel {
        key: args.key.key(),
        number: args.number,
        status: args.status,
        replaced: args.replaced_status,
    };
    let version = connection.request(promote).await?;
    connection.close().await?;
    serves_now(&version, args.json)
}

async fn rollback(args: RollbackArgs) -> Outcome {
    let mut connection = Connection::open(&args.connection).await?;
    let roll_back = RollBackModel {
        key: args.key.key(),
        status: args.status,
    };
    let version = connection.request(roll_back).await?;
    connection.close().await?;
    serves_now(&version, args.json)
}

fn serves_now(version: &Version, json: bool) -> Outcome {
    if json {
        return print_json(version);
    }
    let (number, status) = (version.number, version.status.escape_debug());
    println!(
        "version {number} of {} serves now, as \"{status}\"",
        version.key
    );
    Ok(())
}

async fn export(args: ExportArgs) -> Outcome {
    let which = args.key.which(args.number);
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Exit::Usage(
            "a safetensors file is no text for a terminal; name a file with --output FILE".into(),
        ));
    }
    let mut connection = Connection::open(&args.connection).await?;
    let (version, place) = if let Some(path) = &args.output {
        let version = to_file(&mut connection, ExportModel(which), path).await?;
        (version, path.display().to_string())
    } else {
        (
            to_stdout(&mut connection, which).await?,
            "standard output".into(),
        )
    };
    connection.close().await?;
    if args.json {
        let text = serde_json::to_string(&version);
        eprintln!("{}", text.map_err(|error| Exit::Failed(error.to_string()))?);
    } else {
        let size = crate::base::text::bytes(version.artifact_bytes as f64);
        eprintln!(
            "version {} of {}, {size}, to {place}",
            version.number, version.key
        );
    }
    Ok(())
}

async fn to_stdout(connection: &mut Connection, which: Which) -> Result<Version, Exit> {
    let show = Show::with("exporting", Vec::new());
    let (version, show) = connection.request_with(ExportModel(which), show).await?;
    let mut out = io::stdout().lock();
    let written = out.write_all(&show.out).and_then(|()| out.flush());
    written.map_err(|error| Exit::Failed(format!("standard output: {error}")))?;
    Ok(version)
}

async fn import(args: ImportArgs) -> Outcome {
    let bytes = read_model(&args.file)?;
    let mut connection = Connection::open(&args.connection).await?;
    let import = ImportModel {
        key: args.key.key(),
        bytes,
        status: args.status,
    };
    let imported = connection.request(import).await?;
    connection.close().await?;
    if args.json {
        return print_json(&imported);
    }
    let version = &imported.version;
    let (recipe, stream) = (&args.key.recipe, &args.key.stream);
    println!(
        "version {number} of {}; let it serve with `dunlin models promote {recipe:?} {stream:?} \
         {number}`",
        version.key,
        number = version.number
    );
    for why in &imported.unused_because {
        let why = crate::base::text::printable(why);
        eprintln!("warning: {why}; until then nothing uses this model");
    }
    Ok(())
}
