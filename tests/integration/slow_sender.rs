//! A sender on a slow link keeps nobody from sending: it gives its place back when its turn is over, and goes on later
//! where it stopped.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::puppet::Puppet;
use crate::world::{World, task};

/// Eight megabytes: five seconds on the slow link.
const PARAMS: usize = 2_000_001;
/// What the slow link carries at a time, in bytes, and how long it then rests.
const PIECE: usize = 64 * 1024;
const REST: Duration = Duration::from_millis(40);

/// A slow way to the coordinator at `federation`; its address for participants.
async fn slow_link(federation: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let ((from_near, mut to_near), (mut from_far, to_far)) =
                (near.into_split(), TcpStream::connect(&federation).await.unwrap().into_split());
            tokio::spawn(async move { copy(&mut from_far, &mut to_near).await });
            tokio::spawn(trickle(from_near, to_far));
        }
    });
    address
}

async fn trickle(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
        tokio::time::sleep(REST).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sender_delays_another_by_its_turn_and_still_delivers() {
    let limits =
        [("RINGFENCE_COORDINATOR__LIMITS__UPLOADS", "1"), ("RINGFENCE_COORDINATOR__LIMITS__UPLOAD_TURN_MS", "200")];
    let world = World::start_with(&limits);
    let slow = Puppet::enrol_over(&world, &slow_link(world.federation.clone()).await, "slow", PARAMS).await;
    let fast = Puppet::enrol(&world, "fast", PARAMS).await;
    let mut large = task(&["fast", "slow"], 1, 1);
    large["model"]["inputs"] = (PARAMS - 1).into();
    world.create_task(&large).await;
    tokio::join!(slow.join(), fast.join());
    let (first, second) = tokio::join!(slow.update(1.0), fast.update(3.0));

    let (began, has_begun) = tokio::sync::oneshot::channel();
    let mut began = Some(began);
    // It is told for the first time when it has its place.
    let slowly = slow.deliver_telling(&first, move || {
        if let Some(began) = began.take() {
            began.send(()).unwrap();
        }
    });
    let quickly = async {
        has_begun.await.unwrap();
        fast.deliver(&second).await
    };
    let mut slowly = std::pin::pin!(slowly);
    let receipt = tokio::select! {
        receipt = quickly => receipt,
        _ = &mut slowly => panic!("the slow sender kept the only place until it was done"),
    };
    assert_eq!(receipt.payload, second.digest);
    assert_eq!(slowly.await.payload, first.digest);
}
