//! The participant that is cut off: a process of its own, which takes part like all others, but whose link to the
//! coordinator stands still in the middle of an upload until it is killed. Its heartbeats go on.

use std::io;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::Args;
use crate::coordinator::{Door, say};
use crate::enrolment;
use crate::participant::Participant;

/// Takes part until it is cut off. The first line on standard input tells how to reach the coordinator, with one token;
/// the second says that the task has begun. Ends with standard input.
pub(crate) fn take_part(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut door: Door = serde_json::from_str(&line()?)?;
    let token = door.tokens.pop().context("a victim needs a token")?;
    let update = enrolment::update(args, 0)?;
    let participant = runtime.block_on(async {
        // The update of the round before, and half of the next one.
        let limit = u64::try_from(update.payload.len())? / 2 * 3;
        let address = relay(door.address.clone(), limit).await?;
        Participant::enrol(&address, &door.ca_certificate_pem, token, update).await
    })?;
    say(&"enrolled")?;
    line()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = participant.take_part(mpsc::unbounded_channel().0) => ended,
            ended = spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())) => Ok(ended?.map(drop)?),
        }
    });
    // Whoever still waits for standard input is left behind.
    runtime.shutdown_background();
    ended?;
    bail!("nobody cut this participant off")
}

fn line() -> anyhow::Result<String> {
    io::stdin().lines().next().transpose()?.context("standard input ended")
}

/// Relays connections to `address`; the address of the relay.
async fn relay(address: String, limit: u64) -> anyhow::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let far = address.trim_start_matches("https://").to_owned();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(carry(near, far.clone(), limit));
        }
    });
    Ok(format!("https://localhost:{port}"))
}

/// Carries one connection. When `limit` bytes have gone to the far end, it says so and carries no more there; neither
/// end is closed.
async fn carry(near: TcpStream, far: String, limit: u64) -> anyhow::Result<()> {
    let (from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = TcpStream::connect(far).await?.into_split();
    let there = async {
        if copy(&mut from_near.take(limit), &mut to_far).await? == limit {
            say(&"holding")?;
            std::future::pending::<()>().await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = there => ended,
        ended = copy(&mut from_far, &mut to_near) => Ok(ended.map(drop)?),
    }
}
