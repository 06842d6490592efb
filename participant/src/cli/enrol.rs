//! `enrol`: the site becomes a member of a federation.

use std::path::PathBuf;

use clap::Args;
use shared_ops::cli::{Failure, Format, print};

use crate::error::SiteError;
use crate::rpc;
use crate::site::Site;

/// Whose member to become.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The federation's certificate authority (PEM), as the operator gave it
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The operator's one-time token
    #[arg(long, value_name = "TOKEN", env = "RINGFENCE_ENROLMENT_TOKEN", hide_env_values = true)]
    token: String,
}

pub(super) async fn run(arguments: Arguments, site: Site, format: Format) -> Result<(), anyhow::Error> {
    let read = std::fs::read_to_string(&arguments.ca);
    let ca_pem = read.map_err(|source| Failure::from(SiteError::io("read", &arguments.ca, source)))?;
    rpc::enrol(&site, &ca_pem, &arguments.token).await.map_err(Failure::from)?;
    Ok(print(&format!("{} is enrolled; its keys never left {}", site.participant_id, site.folder().display()), format)?)
}
