//! Every message of the protocol, from the bytes as they come: a value within its limits or a reason, never a panic.
//!
//! Each input goes to every decoder, so that N executions are N of each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared_wire::{CHUNK_BYTES, MAX_CHUNKS, Phase, UpdatePart, decode};

fuzz_target!(|bytes: &[u8]| {
    let _ = decode::signed_document(bytes);
    let _ = decode::enrol_answer(bytes);
    let _ = decode::task_view(bytes);
    let _ = decode::join_request(bytes);
    let _ = decode::proof_request(bytes);
    let _ = decode::sealed_shares(bytes);
    let _ = decode::upload_progress(bytes);
    let _ = decode::fetch_params(bytes);
    let _ = decode::release_bundle(bytes);
    if let Ok(view) = decode::round_view(bytes) {
        assert_ne!(view.phase, Phase::Unspecified);
    }
    if let Ok(heartbeat) = decode::heartbeat(bytes) {
        assert!(heartbeat.percent <= 100);
    }
    if let Ok(piece) = decode::piece(bytes) {
        assert!((1..=CHUNK_BYTES).contains(&piece.data.len()));
    }
    match decode::update_part(bytes) {
        Ok(UpdatePart::Open(open)) => assert!((1..=MAX_CHUNKS).contains(&open.chunk_digests.len())),
        Ok(UpdatePart::Piece(piece)) => assert!((1..=CHUNK_BYTES).contains(&piece.data.len())),
        Err(_) => {}
    }
});
