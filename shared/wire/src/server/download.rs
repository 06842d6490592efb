//! Parameters on their way out: numbered, cut to size, and asked for one part at a time.
//!
//! `tonic` would copy each chunk into a buffer of its call. Here a chunk goes to the socket from where it lies, so that a
//! thousand downloads of one model hold that model once.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Frame};
use hyper::{HeaderMap, Response};
use prost::bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, uint64};
use tonic::Status;

use super::Answers;
use crate::CHUNK_BYTES;

/// What stands before each message of a call: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The fields of `Chunk`.
const OFFSET: u32 = 1;
/// See [`OFFSET`].
const DATA: u32 = 2;

/// The chunks of a byte string that comes in parts of any size, as the body of an answer.
pub(super) struct Chunks {
    parts: Answers<Bytes>,
    rest: Bytes,
    offset: u64,
    /// A chunk whose beginning is sent.
    begun: Option<Bytes>,
    over: bool,
}

impl Chunks {
    /// Numbers `parts` from `offset` on.
    pub(super) fn new(parts: Answers<Bytes>, offset: u64) -> Self {
        Self { parts, rest: Bytes::new(), offset, begun: None, over: false }
    }

    /// Begins the next chunk: everything of its message that stands before the data.
    fn begin(&mut self) -> Bytes {
        let data = self.rest.split_to(self.rest.len().min(CHUNK_BYTES));
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let mut fields = BytesMut::new();
        uint64::encode(OFFSET, &self.offset, &mut fields);
        encode_key(DATA, WireType::LengthDelimited, &mut fields);
        encode_varint(len, &mut fields);
        let mut beginning = BytesMut::with_capacity(PREFIX_BYTES.saturating_add(fields.len()));
        beginning.put_u8(0);
        beginning.put_u32(u32::try_from(fields.len().saturating_add(data.len())).unwrap_or(u32::MAX));
        beginning.extend_from_slice(&fields);
        self.offset = self.offset.saturating_add(len);
        self.begun = Some(data);
        beginning.freeze()
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.over = true;
        let mut trailers = HeaderMap::new();
        // A status whose text no header can carry goes without it.
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(data) = self.begun.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        while self.rest.is_empty() {
            match ready!(self.parts.as_mut().poll_next(cx)) {
                Some(Ok(part)) => self.rest = part,
                Some(Err(status)) => return Poll::Ready(Some(Ok(self.end(&status)))),
                None => return Poll::Ready(Some(Ok(self.end(&Status::ok(""))))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.begin()))))
    }
}

/// Carries a body past `tonic`, among the extensions of an answer.
#[derive(Clone)]
struct Aside(Arc<Mutex<Option<Chunks>>>);

/// An answer whose body is `chunks`, for [`with_body`] to put in.
pub(super) fn answer<T>(chunks: Chunks) -> tonic::Response<Answers<T>>
where
    T: Send + 'static,
{
    let mut answer: tonic::Response<Answers<T>> = tonic::Response::new(Box::pin(tokio_stream::empty()));
    answer.extensions_mut().insert(Aside(Arc::new(Mutex::new(Some(chunks)))));
    answer
}

/// The answer with the body that was carried beside it, if there is one.
pub(super) fn with_body(mut answer: Response<tonic::body::Body>) -> Response<tonic::body::Body> {
    let aside = answer.extensions_mut().remove::<Aside>();
    let chunks = aside.and_then(|Aside(chunks)| chunks.lock().unwrap_or_else(PoisonError::into_inner).take());
    match chunks {
        Some(chunks) => answer.map(|_| tonic::body::Body::new(chunks)),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::Chunk;

    /// The messages of a body, and the status that ends it.
    async fn read(mut chunks: Chunks) -> (Vec<Chunk>, String) {
        let mut bytes = BytesMut::new();
        let status = loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut chunks).poll_frame(cx)).await.unwrap().unwrap();
            match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => break frame.into_trailers().unwrap()["grpc-status"].to_str().unwrap().to_owned(),
            }
        };
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let prefix = bytes.split_to(PREFIX_BYTES);
            let len = u32::from_be_bytes(prefix[1..].try_into().unwrap());
            messages.push(Chunk::decode(bytes.split_to(usize::try_from(len).unwrap())).unwrap());
        }
        (messages, status)
    }

    #[tokio::test]
    async fn parts_of_any_size_become_numbered_chunks() {
        let sizes = [0, 5, CHUNK_BYTES * 2 + 1, 0, CHUNK_BYTES];
        let parts = sizes.map(|size| Ok(Bytes::from(vec![1; size])));
        let (chunks, status) = read(Chunks::new(Box::pin(tokio_stream::iter(parts)), 7)).await;
        let mut end = 7;
        for chunk in chunks {
            assert_eq!(chunk.offset, end);
            assert!((1..=CHUNK_BYTES).contains(&chunk.data.len()));
            end += u64::try_from(chunk.data.len()).unwrap();
        }
        assert_eq!(end, 7 + u64::try_from(sizes.iter().sum::<usize>()).unwrap());
        assert_eq!(status, "0");
    }

    #[tokio::test]
    async fn an_error_ends_what_is_sent() {
        let parts = [Ok(Bytes::from_static(b"a")), Err(Status::aborted("gone")), Ok(Bytes::from_static(b"b"))];
        let (chunks, status) = read(Chunks::new(Box::pin(tokio_stream::iter(parts)), 0)).await;
        assert_eq!((chunks.len(), status.as_str()), (1, "10"));
    }
}
