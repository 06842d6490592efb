//! What a disk that crashes may and may not take away.

use super::memory::MemoryDisk;
use super::*;

const PATH: &str = "d/f";

fn disks() -> (MemoryDisk, LocalDisk, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (MemoryDisk::default(), LocalDisk::new(folder.path()), folder)
}

fn content(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_disk_in_memory_answers_as_the_machines_own() {
    let (memory, local, _folder) = disks();
    let disks: [&dyn Disk; 2] = [&memory, &local];
    let answers = disks.map(|disk| {
        let mut answers = vec![format!("{:?}", disk.list("d/e").unwrap())];
        disk.make_dir("d/e").unwrap();
        disk.create(PATH).unwrap().write_at(2, b"abc").unwrap();
        disk.create(PATH).unwrap().write_at(0, b"xy").unwrap();
        answers.push(format!("{:?} {:?}", disk.list("d").unwrap(), content(disk, PATH)));
        answers.push(format!("{:?}", disk.open(PATH).unwrap().read_at(3, &mut [0; 3]).map_err(|error| error.kind())));
        disk.rename(PATH, "d/g").unwrap();
        answers.push(format!("{:?} {:?}", disk.list("d").unwrap(), disk.open(PATH).err().map(|error| error.kind())));
        disk.remove("d/g").unwrap();
        answers.push(format!("{:?}", disk.remove("d/g").map_err(|error| error.kind())));
        disk.sync_dir("d").unwrap();
        disk.remove_dir("d/e").unwrap();
        answers.push(format!("{:?} {:?}", disk.list("d").unwrap(), disk.remove_dir("d/e").map_err(|e| e.kind())));
        answers
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_crash_takes_what_was_not_synced_and_nothing_else() {
    let disk = MemoryDisk::default();
    disk.make_dir("d").unwrap();
    let file = disk.create(PATH).unwrap();
    file.write_at(0, b"kept").unwrap();
    file.sync().unwrap();
    disk.sync_dir("d").unwrap();
    file.write_at(4, b"lost").unwrap();
    disk.create("d/other").unwrap().sync().unwrap();
    disk.crash(&mut || false);
    assert_eq!((content(&disk, PATH), disk.list("d").unwrap()), (b"kept".to_vec(), vec!["f".to_owned()]));
    assert!(file.write_at(4, b"late").is_err(), "a file that was open before the crash is of no use");
}

#[test]
fn a_torn_write_leaves_whole_sectors_of_old_and_new() {
    let disk = MemoryDisk::default();
    disk.make_dir("d").unwrap();
    let file = disk.create(PATH).unwrap();
    disk.sync_dir("d").unwrap();
    file.write_at(0, &[7; 1024]).unwrap();
    let mut coins = [false, true].into_iter();
    disk.crash(&mut || coins.next().unwrap_or(false));
    assert_eq!(content(&disk, PATH), [[0; 512], [7; 512]].concat());
}

#[test]
fn parameters_are_whole_under_their_digest_or_not_there_wherever_writing_stops() {
    let bytes = vec![5; 2 * BLOCK_BYTES];
    let write = |disk: &MemoryDisk| -> Result<Params, Error> {
        let blobs = Arc::new(Blobs::open(Arc::new(disk.clone()))?);
        let mut writer = ParamsWriter::new(&blobs)?;
        bytes.chunks(BLOCK_BYTES).try_for_each(|block| writer.write(block))?;
        writer.finish()
    };
    let undisturbed = MemoryDisk::default();
    let digest = write(&undisturbed).unwrap().digest();
    for operations in 0..=undisturbed.operations() {
        for survives in [false, true] {
            let disk = MemoryDisk::default();
            disk.stop_after(operations);
            let written = write(&disk);
            disk.crash(&mut || survives);
            let blobs = Arc::new(Blobs::open(Arc::new(disk.clone())).unwrap());
            let found = blobs.params(digest);
            assert!(written.is_err() || found.is_ok(), "{operations}");
            if let Ok(found) = found {
                assert_eq!(found.len().unwrap(), u64::try_from(bytes.len()).unwrap(), "{operations}");
                assert_eq!(shared_crypto::bulk_digest(&content(&disk, &format!("{PARAMS}/{digest}"))), digest);
            }
            assert!(blobs.list(PARAMS).unwrap().iter().all(|name| !name.ends_with(PARTIAL)), "{operations}");
        }
    }
}

#[test]
fn a_full_disk_says_so_and_takes_more_once_there_is_room() {
    let disk = MemoryDisk::default();
    disk.set_capacity(Some(10));
    let blobs = Arc::new(Blobs::open(Arc::new(disk.clone())).unwrap());
    let error = blobs.write_params(&[1; 11]).unwrap_err();
    assert_eq!(shared::Explain::code(&error), "disk-full");
    assert_eq!(disk.used(), 0);
    blobs.write_params(&[1; 10]).unwrap();
}

#[test]
fn parameters_stay_while_they_are_used_or_pinned() {
    let blobs = Arc::new(Blobs::open(Arc::new(MemoryDisk::default())).unwrap());
    let params = blobs.write_params(b"abcd").unwrap();
    let digest = params.digest();
    blobs.remove_unused_params(digest, || Ok(false)).unwrap();
    let again = blobs.pin_params(digest).unwrap();
    drop(params);
    blobs.remove_unused_params(digest, || Ok(false)).unwrap();
    drop(again);
    blobs.remove_unused_params(digest, || Ok(true)).unwrap();
    assert_eq!(blobs.all_params().unwrap(), [digest]);
    blobs.remove_unused_params(digest, || Ok(false)).unwrap();
    assert!(matches!(blobs.pin_params(digest), Err(Error::UnknownParams(_))));
}
