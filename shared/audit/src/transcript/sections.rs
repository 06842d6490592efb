//! The parts of a transcript, in the one order that they have, and how they are written without being held in memory.

use std::io::{self, Read, Write};

use serde::Serialize;
use shared::ParticipantId;
use shared::canonical;
use shared::document::SignedDocument;

use super::archive::{BLOCK, header, padding};
use super::{MaskedParts, TranscriptError, name};
use crate::Receipt;

/// Opens a content for reading once, when its turn comes.
type Open = Box<dyn FnOnce() -> io::Result<Box<dyn Read>> + Send>;

/// Bytes of a transcript: in memory, or opened when their turn comes.
pub struct Content {
    len: u64,
    open: Open,
}

/// All that a round's transcript holds.
pub struct Parts {
    /// The signed [`super::TranscriptKeys`].
    pub keys: SignedDocument,
    /// The signed task.
    pub task: SignedDocument,
    /// The signed round record.
    pub record: SignedDocument,
    /// Proof that the record was entered into the audit log.
    pub receipt: Receipt,
    /// The parameters that the round started from, little-endian f32.
    pub checkpoint: Content,
    /// What the server kept from the round before.
    pub server_state: Option<Content>,
    /// What stands in place of the updates' bytes where they are masked.
    pub masked: Option<MaskedParts>,
    /// Each accepted update, in the record's order: its signed header and, unless it is masked, its encoded bytes.
    pub updates: Vec<(ParticipantId, SignedDocument, Option<Content>)>,
    /// Each signed evaluation, by participant.
    pub evaluations: Vec<(ParticipantId, SignedDocument)>,
}

/// A transcript that is ready to be written.
pub struct Transcript {
    sections: Vec<(String, Content)>,
}

impl Content {
    /// `len` bytes that `open` gives.
    pub fn lazy(len: u64, open: impl FnOnce() -> io::Result<Box<dyn Read>> + Send + 'static) -> Self {
        Self { len, open: Box::new(open) }
    }

    fn json<T: Serialize>(value: &T) -> Result<Self, TranscriptError> {
        Ok(canonical::encode(value)?.into())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self::lazy(len, || Ok(Box::new(io::Cursor::new(bytes))))
    }
}

impl Transcript {
    /// Puts the parts in order.
    pub fn new(parts: Parts) -> Result<Self, TranscriptError> {
        let mut sections = vec![
            (name::KEYS.to_owned(), Content::json(&parts.keys)?),
            (name::TASK.to_owned(), Content::json(&parts.task)?),
            (name::RECORD.to_owned(), Content::json(&parts.record)?),
            (name::RECEIPT.to_owned(), Content::json(&parts.receipt)?),
            (name::CHECKPOINT.to_owned(), parts.checkpoint),
        ];
        sections.extend(parts.server_state.map(|state| (name::SERVER_STATE.to_owned(), state)));
        if let Some(MaskedParts { word, survivors, sum }) = parts.masked {
            sections.push((name::MASKED_SUM.to_owned(), Content::json(&word)?));
            sections.push((name::SURVIVORS.to_owned(), Content::json(&survivors)?));
            sections.push((name::SUM.to_owned(), sum));
        }
        for (participant_id, document, content) in parts.updates {
            sections.push((name::update_header(&participant_id), Content::json(&document)?));
            sections.extend(content.map(|content| (name::update_payload(&participant_id), content)));
        }
        for (participant_id, document) in parts.evaluations {
            sections.push((name::evaluation(&participant_id), Content::json(&document)?));
        }
        Ok(Self { sections })
    }

    /// How many bytes [`Self::write_to`] writes.
    pub fn len(&self) -> u64 {
        let stored = |content: &Content| content.len.saturating_add(padding(content.len)).saturating_add(BLOCK);
        let sections = self.sections.iter().map(|(_, content)| stored(content)).fold(0, u64::saturating_add);
        sections.saturating_add(BLOCK.saturating_mul(2))
    }

    /// Whether there is nothing to write, which never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the transcript. Memory: one buffer of the copy.
    pub fn write_to(self, out: &mut dyn Write) -> io::Result<()> {
        for (name, content) in self.sections {
            let unfit = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` does not fit an archive"));
            out.write_all(&header(&name, content.len).ok_or_else(unfit)?)?;
            let copied = io::copy(&mut (content.open)()?.take(content.len), out)?;
            if copied != content.len {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("`{name}` is shorter than it was")));
            }
            io::copy(&mut io::repeat(0).take(padding(content.len)), out)?;
        }
        io::copy(&mut io::repeat(0).take(BLOCK.saturating_mul(2)), out)?;
        out.flush()
    }
}
