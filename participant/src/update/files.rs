//! The large parts of a task's updates, each in a file of its own: durable and whole, or absent.
//!
//! Which files count stands in the site's store, with their digests; what the store does not name is swept away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use shared::{Digest, ParamVector, RoundNumber, TaskId};
use shared_crypto::BulkWriter;

use crate::error::SiteError;

const UNFINISHED: &str = "unfinished";
/// How many numbers are turned into bytes at once.
const VALUES_AT_ONCE: usize = 64 * 1024;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The encoded update.
    Payload,
    /// What the encoding left out so far.
    Residual,
    /// What corrects the site's local steps: hᵢ or cᵢ.
    Correction,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Residual => "residual",
            Self::Correction => "correction",
        }
    }
}

/// The folder of a task's files.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    /// The files of `task_id` in a site's folder.
    pub(super) fn new(site: &Path, task_id: &TaskId) -> Self {
        Self { folder: site.join("updates").join(task_id.as_str()) }
    }

    /// Writes the encoded update of a round.
    pub(super) fn write_payload(&self, round: RoundNumber, payload: &[u8]) -> Result<(), SiteError> {
        self.write(round, Part::Payload, |file| file.write_all(payload))
    }

    /// Reads the encoded update of a round; `None` where it is not there, or does not have this many bytes.
    pub(super) fn read_payload(&self, round: RoundNumber, byte_count: u64) -> Result<Option<Vec<u8>>, SiteError> {
        let path = self.path(round, Part::Payload);
        match fs::metadata(&path).and_then(|file| (file.len() == byte_count).then(|| fs::read(&path)).transpose()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(SiteError::io("read", &path, error)),
            read => Ok(read.unwrap_or_default()),
        }
    }

    /// Writes numbers; the digest of the file.
    pub(super) fn write_params(&self, round: RoundNumber, part: Part, params: &[f32]) -> Result<Digest, SiteError> {
        let mut digest = BulkWriter::new();
        self.write(round, part, |file| {
            for values in params.chunks(VALUES_AT_ONCE) {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                digest.update(&bytes);
                file.write_all(&bytes)?;
            }
            Ok(())
        })?;
        Ok(digest.finish())
    }

    /// Reads `len` numbers from a file that has this digest.
    pub(super) fn read_params(
        &self,
        round: RoundNumber,
        part: Part,
        len: usize,
        expected: Digest,
    ) -> Result<ParamVector, SiteError> {
        let path = self.path(round, part);
        let values = read_values(&path, len, expected).map_err(|source| SiteError::io("read", &path, source))?;
        Ok(ParamVector::new(values)?)
    }

    /// Removes every file of a round that is not among `kept`, and what a crash left unfinished.
    pub(super) fn sweep(&self, kept: &[(RoundNumber, &[Part])]) {
        let names: Vec<String> =
            kept.iter().flat_map(|(round, parts)| parts.iter().map(|part| name(*round, *part))).collect();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten().filter(|entry| !names.iter().any(|name| entry.file_name() == name.as_str())) {
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "could not remove an old update's file");
            }
        }
    }

    fn path(&self, round: RoundNumber, part: Part) -> PathBuf {
        self.folder.join(name(round, part))
    }

    /// Makes the folder, and its name durable.
    fn create_folder(&self) -> io::Result<()> {
        if self.folder.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.folder.ancestors().skip(1).take(2).try_for_each(|parent| File::open(parent)?.sync_all())
    }

    fn write(
        &self,
        round: RoundNumber,
        part: Part,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), SiteError> {
        let (path, unfinished) = (self.path(round, part), self.folder.join(UNFINISHED));
        let write = || {
            self.create_folder()?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            write(&mut file)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| SiteError::io("write", &path, source))
    }
}

fn name(round: RoundNumber, part: Part) -> String {
    format!("{}.{}", round.0, part.as_str())
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it is not what was written")
}

fn read_values(path: &Path, len: usize, expected: Digest) -> io::Result<Vec<f32>> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut digest, mut values) = (BulkWriter::new(), Vec::with_capacity(len));
    let mut buffer = vec![0; VALUES_AT_ONCE.saturating_mul(4)];
    while values.len() < len {
        let wanted = len.saturating_sub(values.len()).min(VALUES_AT_ONCE).saturating_mul(4);
        let bytes = buffer.get_mut(..wanted).ok_or_else(damaged)?;
        file.read_exact(bytes)?;
        digest.update(bytes);
        values.extend(bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)));
    }
    let is_at_end = file.read(&mut [0])? == 0;
    if is_at_end && digest.finish() == expected { Ok(values) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &tempfile::TempDir) -> Files {
        Files::new(folder.path(), &TaskId::new("guard").unwrap())
    }

    #[test]
    fn numbers_are_read_back_bit_for_bit_and_only_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let values: Vec<f32> =
            (0..u16::try_from(VALUES_AT_ONCE - 1).unwrap()).map(|value| f32::from(value) / 3.0).collect();
        let values = [values.as_slice(), &[-0.0, 1.5, f32::MIN_POSITIVE]].concat();
        let digest = files.write_params(RoundNumber(3), Part::Residual, &values).unwrap();
        let read = |len, digest| files.read_params(RoundNumber(3), Part::Residual, len, digest);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(read(values.len(), digest).unwrap().as_slice()), bits(&values));
        assert!(read(values.len() - 1, digest).is_err());
        assert!(read(values.len() + 1, digest).is_err());
        assert!(read(values.len(), Digest([0; 32])).is_err());
    }

    #[test]
    fn sweeping_leaves_what_is_named_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        files.sweep(&[]);
        for round in 1..4 {
            files.write_payload(RoundNumber(round), b"payload").unwrap();
            files.write_params(RoundNumber(round), Part::Residual, &[1.0]).unwrap();
        }
        fs::write(files.folder.join(UNFINISHED), b"half").unwrap();
        files.sweep(&[(RoundNumber(3), &[Part::Payload, Part::Residual]), (RoundNumber(2), &[Part::Residual])]);
        let mut names: Vec<_> = fs::read_dir(&files.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["2.residual", "3.payload", "3.residual"]);
    }

    #[test]
    fn a_payload_that_is_missing_or_of_another_length_is_none() {
        let folder = tempfile::tempdir().unwrap();
        files(&folder).write_payload(RoundNumber(1), b"payload").unwrap();
        let read = |round, byte_count| files(&folder).read_payload(RoundNumber(round), byte_count).unwrap();
        assert_eq!(read(1, 7).as_deref(), Some(&b"payload"[..]));
        assert_eq!((read(1, 8), read(2, 7)), (None, None));
    }
}
