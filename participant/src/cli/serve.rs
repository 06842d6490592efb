//! `serve`: the participant at work, until it is told to stop.

use std::sync::Arc;

use shared_ops::cli::{Failure, Format, print};
use shared_ops::shutdown;

use crate::site::Site;
use crate::start::start;

pub(super) async fn run(site: Site, format: Format) -> Result<(), anyhow::Error> {
    let running = start(Arc::new(site), shutdown::on_signals()).await.map_err(Failure::from)?;
    print(&running.addresses, format)?;
    Ok(running.ended().await.map_err(Failure::from)?)
}
