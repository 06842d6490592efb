//! A file on its way to the coordinator, read as it is sent: a model is never whole in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use shared_wire::Bytes;
use tokio::sync::mpsc;

/// How many bytes are read at a time.
const PIECE: u64 = 256 * 1024;
/// How many pieces wait for the connection to take them.
const WAITING: usize = 2;

/// A file's bytes, as the body of a request.
pub(super) struct Outgoing {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Outgoing {
    /// Begins to read a file. One that changes its length while it is sent is not sent.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        let (sender, pieces) = mpsc::channel(WAITING);
        tokio::task::spawn_blocking(move || read(file.take(left), &sender));
        Ok(Self { pieces, left })
    }
}

/// Hands the bytes on, until they end or nobody takes them.
fn read(mut file: impl Read, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = Vec::new();
        let next = match file.by_ref().take(PIECE).read_to_end(&mut piece) {
            Ok(0) => return,
            read => read.map(|_| Bytes::from(piece)),
        };
        let has_failed = next.is_err();
        if pieces.blocking_send(next).is_err() || has_failed {
            return;
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = self.pieces.poll_recv(context);
        if let Poll::Ready(Some(Ok(piece))) = &next {
            self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        next.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(mut body: Outgoing) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(body.size_hint().exact(), Some(0));
        pieces
    }

    #[tokio::test]
    async fn a_file_is_sent_whole_in_pieces_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("params");
        let piece = usize::try_from(PIECE).unwrap();
        for len in [0, 1, piece, 2 * piece + 7] {
            let bytes: Vec<u8> = (0..len).map(|index| u8::try_from(index % 251).unwrap()).collect();
            std::fs::write(&path, &bytes).unwrap();
            let body = Outgoing::open(&path).unwrap();
            assert_eq!(body.size_hint().exact(), Some(u64::try_from(len).unwrap()));
            let pieces = sent(body).await;
            assert!(pieces.iter().all(|sent| sent.len() <= piece));
            assert_eq!(pieces.concat(), bytes);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_refused_before_anything_is_sent() {
        assert!(Outgoing::open(Path::new("/nowhere/params")).is_err());
    }
}
