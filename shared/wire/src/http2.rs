//! What both ends of a connection agree on: flow control, signs of life. Measured by `benches/stream.rs`.

use std::time::Duration;

/// What one TLS record carries at most (RFC 8446, section 5.1).
const RECORD_BYTES: u32 = 16 * 1024;
/// The header of an HTTP/2 frame (RFC 9113, section 4.1).
const FRAME_HEADER_BYTES: u32 = 9;
/// The largest frame: with its header exactly two full records, so that none is nearly empty. Each connection keeps room
/// for a frame, busy or not.
pub(crate) const FRAME_BYTES: u32 = 2 * RECORD_BYTES - FRAME_HEADER_BYTES;
/// What the other side may send on one call before this one has read it.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
/// What the other side may send on one connection before this one has read it.
pub(crate) const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// What a call may have waiting for the socket.
pub(crate) const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// A connection that is silent for this long is asked whether it is alive, and has [`ANSWER_WITHIN`] to answer.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// See [`KEEP_ALIVE`]. The question waits behind the data that was sent before it, so a slow link needs more than a
/// moment; a site that is dead is noticed by its heartbeats long before.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// The longest a TCP connection and its TLS handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
