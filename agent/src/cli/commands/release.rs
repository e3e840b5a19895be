//! `dunlin release`: let a model be tried on the devices of a fleet.

mod listed;

use std::{collections::BTreeMap, num::NonZeroU64, path::PathBuf};

use clap::{Args, Subcommand};
use dunlin_models::artifact::Artifact;
use dunlin_sync::{
    centre::{
        Centre, Document, Published,
        blobs::{self, BlobError},
    },
    files::secret_file,
};
use serde::{Deserialize, Serialize};

use self::listed::{Listed, listed};
use super::{Exit, Outcome, centre::CentreArgs, models::read_model, print_json};
use crate::{
    base::{text, wall::wall_ns},
    release::{
        self, Release,
        signing::{SigningError, SigningKey, public_path},
        verdict::Verdict,
    },
};

/// The lines that anything was ever released of.
const LINES: &str = "release-lines";
/// Most that is read of a channel, bytes.
const CHANNEL_BYTES_MAX: usize = 256 << 20;

/// Arguments of `dunlin release`.
#[derive(Args, Debug)]
pub struct ReleaseArgs {
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Subcommand, Debug)]
enum ReleaseCommand {
    /// Make a key that signs releases, and print what devices must be given of it
    Keygen(KeygenArgs),
    /// Sign a model and let a share of the fleet try it
    Publish(PublishArgs),
    /// Let nobody take the newest release of a line who has not yet
    Pause(AgainArgs),
    /// Go on with a release that was paused
    Resume(AgainArgs),
    /// Show what was released, and what became of it on how many devices
    List(ListArgs),
}

#[derive(Args, Debug)]
struct KeygenArgs {
    /// File to write; the public key goes to FILE.pub
    #[arg(long, value_name = "FILE", default_value = "dunlin-release.key")]
    key: PathBuf,
}

/// With which key.
#[derive(Args, Debug)]
struct KeyArgs {
    /// The key that signs: of `dunlin release keygen`, or of minisign
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File that holds the key's password and nothing else, if it has one
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct PublishArgs {
    #[command(flatten)]
    centre: CentreArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The recipe on the devices that it is for
    #[arg(long, value_name = "NAME")]
    line: String,
    /// A file written by `dunlin models export`
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The share of the fleet that may take it, percent; devices of a smaller share stay in a larger one
    #[arg(long, value_name = "PERCENT")]
    share: f64,
    /// Bandwidth that sending the model may take, bytes a second
    #[arg(long, value_name = "BYTES")]
    bytes_per_s_max: Option<NonZeroU64>,
    /// Tell what was released as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct AgainArgs {
    #[command(flatten)]
    centre: CentreArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The line
    #[arg(long, value_name = "NAME")]
    line: String,
    /// Another share from now on, percent
    #[arg(long, value_name = "PERCENT")]
    share: Option<f64>,
    /// Tell what was released as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    centre: CentreArgs,
    /// Only of this line
    #[arg(long, value_name = "NAME")]
    line: Option<String>,
    /// As one JSON array
    #[arg(long)]
    json: bool,
}

/// A line as it is listed at the centre.
#[derive(Serialize, Deserialize)]
struct LineEntry {
    format: u32,
    line: String,
}

impl From<BlobError> for Exit {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Centre(error) => error.into(),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<SigningError> for Exit {
    fn from(error: SigningError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Does what was asked.
///
/// # Errors
/// [`Exit`]
pub async fn run(args: ReleaseArgs) -> Outcome {
    match args.command {
        ReleaseCommand::Keygen(args) => keygen(&args),
        ReleaseCommand::Publish(args) => publish(&args).await,
        ReleaseCommand::Pause(args) => again(&args, true).await,
        ReleaseCommand::Resume(args) => again(&args, false).await,
        ReleaseCommand::List(args) => list(&args).await,
    }
}

impl KeyArgs {
    fn read(&self) -> Result<SigningKey, Exit> {
        let password = self.key_password_file.as_ref().map(|file| {
            let read = secret_file::read(file);
            read.map_err(|error| Exit::Usage(format!("{}: {error}", file.display())))
        });
        Ok(SigningKey::read(&self.key, password.transpose()?)?)
    }
}

fn keygen(args: &KeygenArgs) -> Outcome {
    let key = SigningKey::make(&args.key)?;
    let (secret, public) = (args.key.display(), public_path(&args.key));
    println!(
        "wrote {secret}, which signs: keep it, and show it to nobody; and {}.\nOn the devices, \
         under [fleet]:\nkeys = \"{}\"",
        public.display(),
        key.public()
    );
    Ok(())
}

async fn publish(args: &PublishArgs) -> Outcome {
    check_share(args.share)?;
    if !release::is_line(&args.line) {
        let what = "--line: a name has 1 to 64 bytes and no control characters";
        return Err(Exit::Usage(what.into()));
    }
    let key = args.key.read()?;
    let bytes = read_model(&args.model)?;
    // Better here than on every device.
    Artifact::from_bytes(&bytes)
        .map_err(|error| Exit::Usage(format!("{}: {error}", args.model.display())))?;
    let centre = args.centre.connect()?;
    let newest = newest(&*centre, &args.line).await?;
    let hash = blobs::put(&*centre, &args.model, args.bytes_per_s_max).await?;
    list_line(&*centre, &args.line).await?;
    let release = Release {
        format: release::FORMAT,
        line: args.line.clone(),
        serial: serial_after(newest.as_ref()),
        sha256: hash.to_string(),
        bytes: bytes.len() as u64,
        share_percent: args.share,
        published_ns: wall_ns(),
        paused: false,
    };
    announce(&*centre, &key, &release, args.json).await
}

/// The newest release of the line once more, paused or not.
async fn again(args: &AgainArgs, paused: bool) -> Outcome {
    let key = args.key.read()?;
    let centre = args.centre.connect()?;
    let Some(newest) = newest(&*centre, &args.line).await? else {
        let what = format!("nothing was released of the line {:?}", args.line);
        return Err(Exit::Usage(what));
    };
    // What somebody else has put there must not be signed by us.
    let ours = release::public_key(&key.public()).map_err(Exit::Failed)?;
    let before = release::open(&args.line, &newest, &[ours]);
    let before = before
        .map_err(|error| Exit::Usage(format!("the newest release is not of this key: {error}")))?;
    let release = Release {
        serial: serial_after(Some(&newest)),
        share_percent: args.share.unwrap_or(before.share_percent),
        published_ns: wall_ns(),
        paused,
        ..before
    };
    check_share(release.share_percent)?;
    announce(&*centre, &key, &release, args.json).await
}

fn check_share(share: f64) -> Outcome {
    if (0.0..=100.0).contains(&share) {
        return Ok(());
    }
    Err(Exit::Usage("--share: write 0 to 100".into()))
}

async fn newest(centre: &dyn Centre, line: &str) -> Result<Option<Document>, Exit> {
    Ok(centre.newest(&release::channel(line)).await?)
}

fn serial_after(newest: Option<&Document>) -> u64 {
    newest.map_or(0, |newest| newest.serial).saturating_add(1)
}

async fn announce(centre: &dyn Centre, key: &SigningKey, release: &Release, json: bool) -> Outcome {
    let document = key.sign(release)?;
    let channel = release::channel(&release.line);
    if let Published::Stale { newest } = centre.publish(&channel, &document).await? {
        return Err(Exit::Failed(format!(
            "somebody has published {newest} meanwhile; look at `dunlin release list`, and decide again"
        )));
    }
    if json {
        return print_json(release);
    }
    let (serial, line) = (release.serial, text::printable(&release.line));
    if release.paused {
        println!("{serial} of {line}: paused; where it serves already, it serves on");
    } else {
        let share = release.share_percent;
        println!(
            "{serial} of {line}: {share} % of the fleet may try it; `dunlin release list` tells"
        );
    }
    Ok(())
}

/// Lets [`list`] find the line.
async fn list_line(centre: &dyn Centre, line: &str) -> Outcome {
    let known = documents(centre, LINES).await?;
    if lines_in(&known).iter().any(|known| known == line) {
        return Ok(());
    }
    let entry = LineEntry {
        format: release::FORMAT,
        line: line.to_owned(),
    };
    let bytes = serde_json::to_vec(&entry);
    let document = Document {
        serial: serial_after(known.last()),
        bytes: bytes.map_err(|error| Exit::Failed(error.to_string()))?,
    };
    match centre.publish(LINES, &document).await? {
        Published::Accepted => Ok(()),
        Published::Stale { .. } => Err(Exit::Failed(
            "somebody begins another line just now; try again".into(),
        )),
    }
}

fn lines_in(documents: &[Document]) -> Vec<String> {
    let entries = documents.iter().filter_map(|document| {
        let entry: LineEntry = serde_json::from_slice(&document.bytes).ok()?;
        release::is_line(&entry.line).then_some(entry.line)
    });
    entries.collect()
}

/// Every document of a channel, the oldest first.
async fn documents(centre: &dyn Centre, channel: &str) -> Result<Vec<Document>, Exit> {
    let (mut documents, mut after, mut bytes) = (Vec::new(), 0, 0);
    while let Some(document) = centre.follow(channel, after).await? {
        after = document.serial;
        bytes += document.bytes.len();
        if bytes > CHANNEL_BYTES_MAX {
            let what = format!("the channel {channel} has more than {CHANNEL_BYTES_MAX} bytes");
            return Err(Exit::Failed(what));
        }
        documents.push(document);
    }
    Ok(documents)
}

/// What `device` has said last of the releases of each line.
pub(super) async fn verdicts_of(
    centre: &dyn Centre,
    device: &str,
) -> Result<BTreeMap<String, Verdict>, Exit> {
    let mut last = BTreeMap::new();
    for line in lines_in(&documents(centre, LINES).await?) {
        for verdict in verdicts(centre, &line).await? {
            if verdict.device == device {
                last.insert(line.clone(), verdict);
            }
        }
    }
    Ok(last)
}

/// What devices have said of the releases of a line, the oldest first.
async fn verdicts(centre: &dyn Centre, line: &str) -> Result<Vec<Verdict>, Exit> {
    let documents = documents(centre, &release::verdict::channel(line)).await?;
    let verdicts = documents
        .iter()
        .filter_map(|document| Verdict::of(&document.bytes));
    Ok(verdicts.collect())
}

async fn list(args: &ListArgs) -> Outcome {
    let centre = args.centre.connect()?;
    let lines = match &args.line {
        Some(line) => vec![line.clone()],
        None => lines_in(&documents(&*centre, LINES).await?),
    };
    let mut all: Vec<Listed> = Vec::new();
    for line in &lines {
        let releases = documents(&*centre, &release::channel(line)).await?;
        all.extend(listed(&releases, verdicts(&*centre, line).await?));
    }
    if args.json {
        return print_json(&all);
    }
    print!("{}", listed::table(&all));
    Ok(())
}
