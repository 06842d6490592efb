//! The processes that are killed: the coordinator and the sites, each with the product's own start function.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use participant::site::{Randomness, Site};
use shared_ops::clock::SystemClock;
use shared_ops::telemetry::{self, LogFormat};
use tokio_util::sync::CancellationToken;

use crate::federation::{coordinator_config, site_config};

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Coordinator,
    Site(u8),
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) => Ok(Self::Site(number)),
            Err(_) if text == "coordinator" => Ok(Self::Coordinator),
            Err(_) => Err("`coordinator`, or the number of a site".to_owned()),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Coordinator => f.write_str("coordinator"),
            Self::Site(number) => number.fmt(f),
        }
    }
}

impl Role {
    /// Runs until it is killed.
    pub(crate) fn run(self, folder: &Path) -> anyhow::Result<()> {
        telemetry::init(LogFormat::Human, "info")?;
        let (stop, clock) = (CancellationToken::new(), Arc::new(SystemClock));
        match self {
            Self::Coordinator => {
                let (config, runtime) = (coordinator_config(folder)?, coordinator::runtime()?);
                let running = runtime.block_on(coordinator::start(config, clock, stop))?;
                Ok(runtime.block_on(running.ended())?)
            }
            Self::Site(number) => {
                let runtime = tokio::runtime::Runtime::new()?;
                let site = Site::open(site_config(folder, number)?, clock, Randomness::Demonstration(1))?;
                let running = runtime.block_on(participant::start::start(Arc::new(site), stop))?;
                Ok(runtime.block_on(running.ended())?)
            }
        }
    }
}
