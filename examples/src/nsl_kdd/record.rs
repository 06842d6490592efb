//! Connection records of NSL-KDD, read from its gzip-compressed CSV files. It refuses a file with any broken line: an
//! experiment on part of the data would pass for one on all of it.

use std::fs::File;
use std::path::Path;

use csv::StringRecord;
use flate2::read::GzDecoder;
use shared_ops::cli::Failure;

/// Features that are words: protocol, service and flag.
pub const SYMBOLS: usize = 3;
/// Features that are numbers.
pub const NUMBERS: usize = 38;
/// The label of a record that is no attack.
const NORMAL: &str = "normal";
/// The most records of one file; NSL-KDD has 125,973.
const MAX_RECORDS: usize = 2_000_000;
/// Features, the label and the difficulty.
const COLUMNS: usize = SYMBOLS + NUMBERS + 2;

/// One connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Protocol, service, flag.
    pub symbols: [String; SYMBOLS],
    /// The other features, in the file's order.
    pub numbers: [f64; NUMBERS],
    /// The attack's name, or `normal`.
    pub label: String,
}

impl Record {
    /// Whether the connection is part of an attack.
    pub fn is_attack(&self) -> bool {
        self.label != NORMAL
    }

    fn parse(fields: &StringRecord) -> Result<Self, String> {
        if fields.len() != COLUMNS {
            return Err(format!("it has {} columns, not {COLUMNS}", fields.len()));
        }
        let mut fields = fields.iter();
        let mut numbers = [0.0; NUMBERS];
        let (first, rest) = numbers.split_at_mut(1);
        read_numbers(&mut fields, first)?;
        let symbols = std::array::from_fn(|_| fields.next().unwrap_or_default().to_owned());
        read_numbers(&mut fields, rest)?;
        Ok(Self { symbols, numbers, label: fields.next().unwrap_or_default().to_owned() })
    }
}

fn read_numbers<'a>(fields: &mut impl Iterator<Item = &'a str>, into: &mut [f64]) -> Result<(), String> {
    for (number, field) in into.iter_mut().zip(fields) {
        *number = match field.parse() {
            Ok(value) if f64::is_finite(value) && value >= 0.0 => value,
            _ => return Err(format!("`{field}` is no number of at least 0")),
        };
    }
    Ok(())
}

/// Reads the file `name` of `dir`.
///
/// # Errors
/// The file cannot be read, or a line of it is broken or one too many; the line is named.
pub fn load(dir: &Path, name: &str) -> Result<Vec<Record>, Failure> {
    let path = dir.join(name);
    let file = File::open(&path).map_err(|error| {
        let hint = "name the folder that holds the NSL-KDD files with --data";
        Failure::new("data-unreadable", hint, format!("cannot read `{}`: {error}", path.display()))
    })?;
    let mut lines = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(GzDecoder::new(file));
    let mut records = Vec::new();
    for (index, line) in lines.records().enumerate() {
        let broken = |reason: String| {
            let message = format!("line {} of `{}`: {reason}", index.saturating_add(1), path.display());
            Failure::new("data-bad-record", "take the file as UNB publishes it, gzip-compressed", message)
        };
        if index >= MAX_RECORDS {
            return Err(broken(format!("there are more than {MAX_RECORDS} records")));
        }
        let fields = line.map_err(|error| broken(error.to_string()))?;
        records.push(Record::parse(&fields).map_err(broken)?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn line(first: &str, label: &str) -> String {
        let numbers = vec!["0.5"; NUMBERS - 1].join(",");
        format!("{first},tcp,http,SF,{numbers},{label},20\n")
    }

    fn read(text: &str) -> Result<Vec<Record>, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut gzip = GzEncoder::new(File::create(dir.path().join("x.gz")).unwrap(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap();
        load(dir.path(), "x.gz").map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_line_becomes_a_record() {
        let records = read(&(line("7", "normal") + &line("0", "smurf"))).unwrap();
        assert_eq!((records[0].numbers[0], records[0].numbers[NUMBERS - 1]), (7.0, 0.5));
        assert_eq!(records[0].symbols, ["tcp", "http", "SF"]);
        assert!(!records[0].is_attack() && records[1].is_attack() && records[1].label == "smurf");
    }

    #[test]
    fn a_broken_line_refuses_the_file_and_is_named() {
        let broken = line("0", "normal") + &line("-1", "normal");
        assert!(read(&broken).unwrap_err().contains("line 2"));
        assert!(read(&line("NaN", "normal")).unwrap_err().contains("`NaN`"));
        assert!(read("0,tcp\n").unwrap_err().contains("2 columns"));
    }
}
