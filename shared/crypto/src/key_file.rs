//! The one place where secrets meet the disk. A secret file is complete or absent, and its owner's alone: a file that
//! others can reach, or that holds something else than it should, is refused rather than mended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{CryptoError, SecretText, random_bytes};

/// The largest secret file, in bytes.
pub const MAX_SIZE: u64 = 64 * 1024;

/// Reads a secret of any length up to [`MAX_SIZE`]; `None` where there is no file.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CryptoError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    let mode = file.metadata().map_err(|error| failed(path, error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CryptoError::KeyFileExposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let size = file.take(MAX_SIZE.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed(path, error))?;
    if u64::try_from(size).is_ok_and(|size| size <= MAX_SIZE) {
        Ok(Some(bytes))
    } else {
        Err(CryptoError::KeyFileContent { path: path.to_owned(), reason: format!("more than {MAX_SIZE} bytes") })
    }
}

/// Reads a secret in PEM or other text; `None` where there is no file.
pub fn read_text(path: &Path) -> Result<Option<SecretText>, CryptoError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).map_err(|_| CryptoError::KeyFileContent {
        path: path.to_owned(),
        reason: "bytes that are no text".to_owned(),
    })?;
    Ok(Some(SecretText::new(text.to_owned())))
}

/// Writes a secret, durably, over what was there before. The file never holds half of it.
pub fn replace(path: &Path, secret: &[u8]) -> Result<(), CryptoError> {
    publish(path, secret, |temporary| fs::rename(temporary, path)).map_err(|error| failed(path, error))
}

/// Writes a secret, durably, where there is none yet; `false` when there is one, which stays as it is.
pub fn create(path: &Path, secret: &[u8]) -> Result<bool, CryptoError> {
    match publish(path, secret, |temporary| fs::hard_link(temporary, path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(path, error)),
    }
}

/// The secret of exactly `N` bytes at `path`; takes it from `make` and stores it durably when there is none.
/// When two processes come first at once, both get the same secret.
pub fn load_or_create<const N: usize>(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<[u8; N]>, CryptoError>,
) -> Result<Zeroizing<[u8; N]>, CryptoError> {
    if let Some(bytes) = read(path)? {
        return exactly(path, &bytes);
    }
    let secret = make()?;
    if create(path, secret.as_slice())? { Ok(secret) } else { exactly(path, &read(path)?.unwrap_or_default()) }
}

fn exactly<const N: usize>(path: &Path, bytes: &[u8]) -> Result<Zeroizing<[u8; N]>, CryptoError> {
    let secret = <[u8; N]>::try_from(bytes).map_err(|_| CryptoError::KeyFileContent {
        path: path.to_owned(),
        reason: format!("{} bytes, not {N}", bytes.len()),
    })?;
    Ok(Zeroizing::new(secret))
}

/// Writes a temporary file beside `path`, lets `name_it` give it its name, and makes the folder's new state durable.
fn publish(path: &Path, secret: &[u8], name_it: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_path(folder)?;
    let named = write_new(&temporary, secret).and_then(|()| name_it(&temporary));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => named.and(Err(error))?,
        _ => named?,
    }
    File::open(folder)?.sync_all()
}

fn temporary_path(folder: &Path) -> io::Result<PathBuf> {
    let suffix = random_bytes::<8>().map_err(io::Error::other)?;
    Ok(folder.join(format!(".{}.tmp", hex::encode(suffix.as_slice()))))
}

fn write_new(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

fn failed(path: &Path, source: io::Error) -> CryptoError {
    CryptoError::KeyFile { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use shared::Explain;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_new_secret_is_its_owners_alone_and_leaves_nothing_beside_it() {
        let folder = folder();
        let path = folder.path().join("key");
        let made = load_or_create::<32>(&path, random_bytes).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["key"]);
        assert_eq!(load_or_create::<32>(&path, || panic!("made twice")).unwrap(), made);
    }

    #[test]
    fn a_secret_that_others_can_reach_is_refused() {
        let folder = folder();
        let path = folder.path().join("key");
        load_or_create::<32>(&path, random_bytes).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load_or_create::<32>(&path, random_bytes).unwrap_err();
            assert_eq!(error.code(), "key-file-exposed");
            assert!(error.to_string().contains(&format!("{mode:03o}")), "{error}");
        }
    }

    #[test]
    fn a_secret_of_another_length_is_refused_and_kept() {
        let folder = folder();
        let path = folder.path().join("key");
        for content in [&b""[..], &[7; 31], &[7; 33]] {
            replace(&path, content).unwrap();
            assert_eq!(load_or_create::<32>(&path, random_bytes).unwrap_err().code(), "key-file-content");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        replace(&path, &vec![7; 64 * 1024 + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "key-file-content");
    }

    #[test]
    fn of_two_who_come_first_both_get_one_secret() {
        let folder = folder();
        let path = folder.path().join("key");
        let rival = [9; 32];
        let mine = load_or_create::<32>(&path, || {
            replace(&path, &rival)?;
            random_bytes()
        });
        assert_eq!(*mine.unwrap(), rival);
        assert_eq!(names(folder.path()), ["key"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = load_or_create::<32>(Path::new("/nonexistent/key"), random_bytes).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/key"), "{error}");
    }
}
