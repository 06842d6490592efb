//! `round`: what a round's transcript shows, checked offline with nothing but the keys that enrolment gave.

use std::fs::File;
use std::path::PathBuf;

use clap::Subcommand;
use shared_audit::transcript::{Claim, TranscriptError, Trust, Verified, verify};
use shared_ops::cli::{Exit, Failure, Format, print};

use crate::error::{ReleaseFault, SiteError};
use crate::rpc::Credentials;
use crate::site::Site;
use crate::update::Updates;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a round's transcript: every signature, this site's own update in it, and the aggregate bit for bit
    Verify {
        /// The transcript, as `ringfence-coordinator round transcript` saves it
        #[arg(value_name = "FILE")]
        transcript: PathBuf,
    },
}

pub(super) fn run(command: &Command, site: Site, format: Format) -> Result<(), anyhow::Error> {
    let Command::Verify { transcript } = command;
    let unreadable = |source| Failure::from(SiteError::io("read", transcript, source));
    let file = File::open(transcript).map_err(unreadable)?;
    let credentials = Credentials::load(&site.folder().join("federation")).map_err(Failure::from)?;
    let credentials = credentials.ok_or_else(|| Failure::from(SiteError::NotEnrolled))?;
    let trust = Trust { coordinator: credentials.coordinator_key, operator: Some(credentials.operator_key) };
    let verified = match verify(&file, &trust, Some(&Claim::Of(site.participant_id.clone()))) {
        // A round without this site is in order, unless the coordinator acknowledged an update for it.
        Err(TranscriptError::NotIncluded { .. }) => verify(&file, &trust, None),
        verified => verified,
    };
    let verified = verified.map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    own_update_is_in(site, &verified).map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    Ok(print(&verified, format)?)
}

/// Whether the round holds exactly the update that the coordinator acknowledged to this site.
fn own_update_is_in(site: Site, verified: &Verified) -> Result<(), SiteError> {
    let Some(receipt) = Updates::new(site.into()).receipt(&verified.round_id)? else { return Ok(()) };
    let included = verified.included.as_ref().ok_or(ReleaseFault::OwnUpdateMissing)?;
    if included.payload == receipt.payload {
        return Ok(());
    }
    let (expected, found) = (receipt.payload, included.payload);
    Err(ReleaseFault::Differs { what: "the recorded update of this site", expected, found }.into())
}
