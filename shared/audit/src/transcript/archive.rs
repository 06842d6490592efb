//! The container of a transcript: a POSIX ustar archive (IEEE Std 1003.1-1988), so that `tar` lists and unpacks it.
//!
//! One list of entries has one spelling: every header byte follows from name and length, padding is zero, and two zero
//! blocks end the file. Reading refuses every other spelling, so that no byte of an archive can change unnoticed.

use std::io;

use super::TranscriptError;

/// Headers, contents and the end are padded to blocks.
pub(super) const BLOCK: u64 = 512;
/// The most entries that are read: far more than a round of the largest cohort has.
const MAX_ENTRIES: usize = 8192;
/// The longest name that a header holds without a prefix.
const NAME: usize = 100;
/// The largest entry: what eleven octal digits can say, 8 GiB.
const MAX_LEN: u64 = 0o777_7777_7777;

/// Bytes that can be read from any place: a file, or memory.
pub trait ReadAt {
    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` with the bytes from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.len()).unwrap_or(u64::MAX))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Where an entry's content stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// The entries of an archive, in their order.
pub(super) fn entries<R: ReadAt + ?Sized>(source: &R) -> Result<Vec<Entry>, TranscriptError> {
    let end = source.size()?;
    let (mut entries, mut at) = (Vec::new(), 0);
    loop {
        let mut block = [0; 512];
        read(source, &mut block, at)?;
        if block == [0; 512] {
            return if is_end(source, at, end)? {
                Ok(entries)
            } else {
                Err(malformed(at, "the end is not as it must be"))
            };
        }
        let entry = parse(&block, at).ok_or_else(|| malformed(at, "is no header of a transcript"))?;
        at = after(&entry);
        if at > end || !is_zero(source, entry.offset.saturating_add(entry.len), at)? {
            return Err(malformed(at, "padding is not zero, or missing"));
        }
        entries.push(entry);
        if entries.len() > MAX_ENTRIES {
            return Err(malformed(at, "there are too many entries"));
        }
    }
}

/// The header of an entry; `None` where it has none, for its name or its size.
pub(super) fn header(name: &str, len: u64) -> Option<Vec<u8>> {
    let plain = !name.is_empty() && name.len() <= NAME && name.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || len > MAX_LEN {
        return None;
    }
    let blank = spell(name, len, b"        ");
    let sum: u64 = blank.iter().map(|byte| u64::from(*byte)).sum();
    Some(spell(name, len, format!("{sum:06o}\0 ").as_bytes()))
}

/// How many zero bytes follow a content of `len` bytes.
pub(super) fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK).saturating_sub(len)
}

fn spell(name: &str, len: u64, checksum: &[u8]) -> Vec<u8> {
    let size = format!("{len:011o}\0");
    let fields: [(&[u8], usize); 16] = [
        (name.as_bytes(), NAME),
        (b"0000644\0", 8),
        (b"0000000\0", 8),
        (b"0000000\0", 8),
        (size.as_bytes(), 12),
        (b"00000000000\0", 12),
        (checksum, 8),
        (b"0", 1),
        (b"", 100),
        (b"ustar\0", 6),
        (b"00", 2),
        (b"", 32),
        (b"", 32),
        (b"0000000\0", 8),
        (b"0000000\0", 8),
        (b"", 167),
    ];
    let padded = |(text, width): (&[u8], usize)| text.iter().copied().chain(std::iter::repeat(0)).take(width).collect();
    fields.into_iter().flat_map(|field| -> Vec<u8> { padded(field) }).collect()
}

/// The entry whose header this is, byte for byte.
fn parse(block: &[u8; 512], at: u64) -> Option<Entry> {
    let name = block.get(..NAME)?.split(|byte| *byte == 0).next()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    let digits = std::str::from_utf8(block.get(124..135)?).ok()?;
    let len = u64::from_str_radix(digits, 8).ok()?;
    (header(&name, len)? == block).then_some(Entry { name, offset: at.checked_add(BLOCK)?, len })
}

/// Where the next header stands.
fn after(entry: &Entry) -> u64 {
    entry.offset.saturating_add(entry.len).saturating_add(padding(entry.len))
}

/// Whether nothing but the two blocks of zeros that end an archive stands at `at`.
fn is_end<R: ReadAt + ?Sized>(source: &R, at: u64, end: u64) -> Result<bool, TranscriptError> {
    let two = BLOCK.saturating_mul(2);
    Ok(at.saturating_add(two) == end && is_zero(source, at, end)?)
}

/// Whether all bytes of a range, of two blocks at most, are zero.
fn is_zero<R: ReadAt + ?Sized>(source: &R, start: u64, end: u64) -> Result<bool, TranscriptError> {
    let mut bytes = [0; 1024];
    let wanted = usize::try_from(end.saturating_sub(start)).ok().and_then(|len| bytes.get_mut(..len));
    let Some(wanted) = wanted else { return Ok(false) };
    read(source, wanted, start)?;
    Ok(wanted.iter().all(|byte| *byte == 0))
}

fn read<R: ReadAt + ?Sized>(source: &R, buffer: &mut [u8], at: u64) -> Result<(), TranscriptError> {
    source.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => malformed(at, "the file ends too early"),
        _ => TranscriptError::from(error),
    })
}

fn malformed(at: u64, what: &'static str) -> TranscriptError {
    TranscriptError::Archive { at, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_that_of_gnu_tar() {
        let header = header("updates/a.json", 0o1234).unwrap();
        assert_eq!(header.len(), 512);
        assert_eq!(&header[124..136], b"00000001234\0");
        assert_eq!(&header[257..265], b"ustar\x0000");
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => 32,
                _ => u64::from(*byte),
            })
            .sum();
        assert_eq!(&header[148..156], format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn a_name_or_size_that_a_header_cannot_hold_is_refused() {
        assert_eq!(header("", 1), None);
        assert_eq!(header(&"x".repeat(101), 1), None);
        assert_eq!(header("a b", 1), None);
        assert_eq!(header("a", MAX_LEN + 1), None);
        assert!(header(&"x".repeat(100), MAX_LEN).is_some());
    }
}
