//! What is particular to the embedded engine: the disk, crashes, locks. Crashes and full disks happen to a child
//! process, which is this test binary again, running one of the tests named `child_…`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use shared::Explain;

use super::*;

const FOLDER: &str = "RINGFENCE_STORE_TEST_FOLDER";

/// The folder that a parent gave to this process; `None` when the test runs by itself.
fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// A shell that runs `script`, in which `$child NAME` runs the test of that name with the store in `folder`.
fn shell(script: &str, folder: &Path) -> Command {
    let binary = std::env::current_exe().unwrap();
    let child = format!("{} --exact --nocapture", binary.display());
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("child", child).env(FOLDER, folder);
    command
}

/// The number after `word ` on the last line of `text` that begins so.
fn number_after(text: &str, word: &str) -> Option<u32> {
    text.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).next_back()
}

fn count_key() -> Key {
    Key::new("count", "k")
}

/// How many batches of [`numbered`] the store holds. Panics when one of them is there by half.
fn count_whole_batches(store: &SledStore) -> u32 {
    let count = store.get(&count_key()).unwrap().map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
    let numbers: Vec<u32> = (0..count).collect();
    for tree in ["small", "large"] {
        let entries = store.scan(tree, b"", usize::MAX).unwrap();
        let found: Vec<u32> = entries.iter().map(|(key, _)| u32::from_be_bytes(key[..].try_into().unwrap())).collect();
        assert_eq!(found, numbers, "{tree}");
        assert!(entries.iter().zip(&numbers).all(|((_, value), number)| *value == value_of(tree, *number)));
    }
    count
}

fn value_of(tree: &str, number: u32) -> Vec<u8> {
    let words = if tree == "small" { 1 } else { number % 7 * 4000 };
    (0..words).flat_map(|word| (word ^ number).to_be_bytes()).collect()
}

/// Batch `number`, which touches three trees and applies only upon the batch before it.
fn numbered(number: u32) -> Batch {
    let counted = if number == 0 {
        Batch::new().expect_absent(count_key())
    } else {
        Batch::new().expect(count_key(), number.to_be_bytes())
    };
    ["small", "large"].iter().fold(counted.put(count_key(), (number + 1).to_be_bytes()), |batch, tree| {
        batch.put(Key::new(tree, number.to_be_bytes()), value_of(tree, number))
    })
}

#[test]
fn the_embedded_engine_conforms() {
    let folder = tempfile::tempdir().unwrap();
    crate::conformance::check(&SledStore::open(folder.path()).unwrap());
    let unsynced = std::fs::read_dir(folder.path().join("blobs")).unwrap().count();
    assert_eq!(unsynced, 0, "sled moved pages into files that it never syncs");
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..50 {
        let store = SledStore::open(folder.path()).unwrap();
        assert_eq!(count_whole_batches(&store), number);
        store.apply(numbered(number)).unwrap();
    }
}

#[test]
fn a_store_that_is_open_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let first = SledStore::open(&path).unwrap();
    let error = SledStore::open(&path).unwrap_err();
    let expected = format!("the store at `{}` failed: it is open already, in this process or another", path.display());
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().contains("no other process has the store open"));
    drop(first);
    SledStore::open(&path).unwrap();
}

#[test]
fn a_path_that_is_no_folder_is_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = SledStore::open(file.path()).unwrap_err();
    assert_eq!(error.code(), "store-engine");
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
}

/// A closed store in `folder` with sixty batches.
fn sixty_batches(folder: &Path) {
    let store = SledStore::open(folder).unwrap();
    (0..60).for_each(|number| store.apply(numbered(number)).unwrap());
}

/// Copies the store in `from`, which is closed, to `to`, with `log` as its log.
fn copy_with_log(from: &Path, to: &Path, log: &[u8]) {
    for name in ["conf", "acknowledged"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    std::fs::write(to.join("db"), log).unwrap();
}

#[test]
fn damage_anywhere_in_the_log_is_an_error_or_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    sixty_batches(folder.path());
    let log = std::fs::read(folder.path().join("db")).unwrap();
    let mut refused = 0;
    for start in (100..log.len()).step_by(100_000) {
        let mut damaged = log.clone();
        damaged.iter_mut().skip(start).take(40_000).for_each(|byte| *byte = 0x55);
        let copy = tempfile::tempdir().unwrap();
        copy_with_log(folder.path(), copy.path(), &damaged);
        match SledStore::open(copy.path()) {
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("{start}: {error}"),
            // The damage hit only what sled had moved elsewhere.
            Ok(store) => assert_eq!(count_whole_batches(&store), 60, "{start}"),
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_log_that_is_older_than_what_was_acknowledged_is_refused() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sixty_batches(folder.path());
    let older = std::fs::read(folder.path().join("db")).unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    (60..63).for_each(|number| store.apply(numbered(number)).unwrap());
    drop(store);
    copy_with_log(folder.path(), copy.path(), &older);
    let error = SledStore::open(copy.path()).unwrap_err();
    assert_eq!(error.code(), "store-damaged");
    assert!(error.to_string().ends_with("is damaged: the last 3 of 63 batches are lost"), "{error}");
}

#[test]
fn entries_that_are_lost_without_a_trace_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    sixty_batches(folder.path());
    let sled = open_patiently(&sled::Config::new().path(folder.path()).segment_size(SEGMENT_BYTES)).ok().unwrap();
    let (key, _) = sled.scan_prefix(entry_key("small", b"")).next().unwrap().unwrap();
    sled.remove(key).unwrap();
    sled.flush().unwrap();
    drop(sled);
    let error = SledStore::open(folder.path()).unwrap_err();
    assert!(error.to_string().ends_with("is damaged: entries are lost"), "{error}");
}

#[test]
fn an_entry_of_another_engine_is_an_error_not_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    store.sled.insert(entry_key("t", b"k"), b"\x09raw".as_slice()).unwrap();
    let error = store.get(&Key::new("t", "k")).unwrap_err();
    assert!(error.to_string().ends_with("an entry was not written by this engine"), "{error}");
}

#[test]
fn one_flush_serves_all_that_wrote_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    let batch = |number: u32| Batch::new().put(Key::new("t", number.to_be_bytes()), "v");
    let first = store.write(batch(1)).unwrap();
    let second = store.write(batch(2)).unwrap();
    store.make_durable(first).unwrap();
    assert_eq!(*store.durable.lock().unwrap(), second);
}

#[test]
fn a_store_that_failed_refuses_until_it_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path()).unwrap();
    store.fail_for_good("no storage space".to_owned());
    let refusals = [store.apply(numbered(0)), store.get(&count_key()).map(drop), store.scan("t", b"", 1).map(drop)];
    for refusal in refusals {
        assert!(refusal.unwrap_err().to_string().ends_with("no storage space"));
    }
    drop(store);
    let store = SledStore::open(folder.path()).unwrap();
    store.apply(numbered(count_whole_batches(&store))).unwrap();
}

/// Applies numbered batches until it is killed.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(folder) = folder_of_child() else { return };
    let store = SledStore::open(folder).unwrap();
    for number in count_whole_batches(&store).. {
        store.apply(numbered(number)).unwrap();
        eprintln!("acknowledged {}", number + 1);
    }
}

#[test]
fn sigkill_loses_no_acknowledged_batch_and_leaves_none_by_half() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let mut child = shell("exec $child sled::tests::child_writes_until_it_is_killed", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said: Vec<String> = lines.by_ref().take(20 + 13 * round).map(Result::unwrap).collect();
        child.kill().unwrap();
        said.extend(lines.map(Result::unwrap));
        child.wait().unwrap();
        let acknowledged = number_after(&said.join("\n"), "acknowledged ").unwrap();
        let found = count_whole_batches(&SledStore::open(folder.path()).unwrap());
        assert!(found == acknowledged || found == acknowledged + 1, "{acknowledged} acknowledged, {found} found");
    }
}

/// Applies numbered batches until the disk takes no more, and says what happened.
#[test]
fn child_writes_until_the_disk_is_full() {
    let Some(folder) = folder_of_child() else { return };
    let store = SledStore::open(folder).unwrap();
    let (acknowledged, error) =
        (0..).find_map(|number| store.apply(numbered(number)).err().map(|error| (number, error))).unwrap();
    eprintln!("acknowledged {acknowledged}\nerror {error}");
    let again = store.apply(Batch::new().put(count_key(), "")).unwrap_err();
    eprintln!("again {again}");
}

/// Says how many whole batches the store holds, and goes on writing.
#[test]
fn child_reopens() {
    let Some(folder) = folder_of_child() else { return };
    let store = SledStore::open(folder).unwrap();
    let found = count_whole_batches(&store);
    store.apply(numbered(found)).unwrap();
    eprintln!("found {found}");
}

#[test]
fn a_full_disk_is_a_clear_error_and_loses_nothing_that_was_acknowledged() {
    let fill = "sled::tests::child_writes_until_the_disk_is_full";
    let reopen = "$child sled::tests::child_reopens";
    let cases = [
        ("file too large", format!("(trap '' XFSZ; ulimit -f 16384; $child {fill}) && {reopen}")),
        ("no storage space", on_small_disk(&format!("$child {fill} && mount -o remount,size=99m $disk && {reopen}"))),
    ];
    for (reason, script) in cases {
        let folder = tempfile::tempdir().unwrap();
        let output = shell(&script, folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("unshare:") {
            eprintln!("skipped `{reason}`: this machine lets nobody mount a small disk: {said}");
            continue;
        }
        assert!(output.status.success(), "{said}");
        let error = said.lines().find(|line| line.starts_with("error ")).unwrap();
        assert!(error.contains("store at `") && error.contains(reason), "{error}");
        assert!(said.lines().any(|line| line.starts_with("again ")), "{said}");
        let (acknowledged, found) = (number_after(&said, "acknowledged "), number_after(&said, "found "));
        assert!(acknowledged > Some(0) && found >= acknowledged, "{said}");
    }
}

/// `script` with a disk of 16 MiB at the store's folder, `$disk`, which goes away with the script.
fn on_small_disk(script: &str) -> String {
    let mounted = format!("disk=${FOLDER}; mount -t tmpfs -o size=16m none $disk && {script}");
    format!("unshare --user --map-root-user --mount sh -c '{mounted}'")
}
