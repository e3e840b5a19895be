//! Which centre a command is about.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use dunlin_sync::centre::{Centre, CentreError};

use super::Exit;
use crate::centre::{self, CentreOptions};

/// Where the centre is.
#[derive(Args, Clone, Debug)]
#[allow(clippy::doc_markdown)] // clap shows it as it is.
pub(super) struct CentreArgs {
    /// The centre: postgres://user@host/database, or sqlite:central.db
    #[arg(long, value_name = "URL")]
    centre: String,
    /// File that holds its password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Certificates to believe it by, as PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl CentreArgs {
    /// # Errors
    /// [`Exit::Usage`], if that cannot be a centre.
    pub(super) fn connect(&self) -> Result<Arc<dyn Centre>, Exit> {
        let options = CentreOptions {
            url: self.centre.clone(),
            password_file: self.password_file.clone(),
            ca_file: self.ca_file.clone(),
        };
        Ok(centre::connect(&options)?)
    }
}

impl From<CentreError> for Exit {
    fn from(error: CentreError) -> Self {
        match error {
            CentreError::Refused(_) => Self::Usage(error.to_string()),
            CentreError::Unavailable(_) => Self::Failed(error.to_string()),
        }
    }
}
