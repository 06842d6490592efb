//! The socket under TLS. TLS asks for 4 KiB at a time, so that more must be read at once; but a buffer of its own for
//! every connection, busy or not, would be most of what a coordinator of a thousand sites holds. Threads have the
//! buffers instead, and a connection keeps only what was read and not asked for yet.

use std::cell::RefCell;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use prost::bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is read at once, in bytes: a full TLS record (RFC 8446, section 5.1) with what stands around it.
const READ_BYTES: usize = 17 * 1024;

thread_local! {
    static BUFFER: RefCell<[u8; READ_BYTES]> = const { RefCell::new([0; READ_BYTES]) };
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    /// What was read and not asked for yet. Takes no memory when there is nothing.
    read: Bytes,
}

impl Socket {
    /// Prepares a connected socket: it waits for no more to send, and reads much at once.
    pub(crate) fn new(tcp: TcpStream) -> Result<Self> {
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, read: Bytes::new() })
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, asked: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let Self { tcp, read } = self.get_mut();
        if !read.is_empty() {
            asked.put_slice(&read.split_to(read.len().min(asked.remaining())));
            return Poll::Ready(Ok(()));
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(tcp).poll_read(cx, &mut buffer))?;
            let (now, later) = buffer.filled().split_at(buffer.filled().len().min(asked.remaining()));
            asked.put_slice(now);
            *read = Bytes::copy_from_slice(later);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_read_in_pieces_of_any_size_is_what_was_sent_and_nothing_is_kept_of_it() {
        let sent: Vec<u8> = (0..200_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0).unwrap();
        let to_send = sent.clone();
        let sending = tokio::spawn(async move { sender.write_all(&to_send).await });
        let mut received = Vec::new();
        for size in [1, 100, 4096, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1].into_iter().cycle() {
            let mut piece = vec![0; size];
            let length = socket.read(&mut piece).await.unwrap();
            if length == 0 {
                break;
            }
            received.extend_from_slice(&piece[..length]);
        }
        sending.await.unwrap().unwrap();
        assert!(received == sent);
        assert!(socket.read.is_empty());
    }
}
