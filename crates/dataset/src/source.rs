//! A dataset as it lies on disk: a file, or a directory of parts.

use crate::infer::Inference;
use crate::parts::{Format, is_packed};
use crate::schema::{Column, Schema};
use crate::table::{CsvReader, ParquetReader, TableReader};
use crate::{Error, Result, Row};
use std::path::{Path, PathBuf};

/// Most parts: more than anybody looks at, and it bounds what a directory can make us hold.
pub const MAX_PARTS: usize = 100_000;

/// A dataset to read. Its files are read in the order of their names.
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    files: Vec<PathBuf>,
    schema: Schema,
}

fn open(path: &Path) -> Result<Box<dyn TableReader>> {
    match Format::of(path) {
        Some(Format::Csv) => Ok(Box::new(CsvReader::open(path)?)),
        Some(Format::Parquet) => Ok(Box::new(ParquetReader::open(path)?)),
        None => Err(Error::table(
            path,
            "the format follows from the ending; it is neither .csv, .csv.gz nor .parquet",
        )),
    }
}

impl Dataset {
    /// Opens a file, or every `.csv`, `.csv.gz` and `.parquet` directly in a directory but for label files.
    ///
    /// # Errors
    /// If there is no file or no table, or parts have other columns than the first.
    pub fn open(path: &Path) -> Result<Self> {
        // Asked first: of a slip in the path, the ending is not what is wrong.
        let about = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        let files = if about.is_dir() { parts_in(path)? } else { vec![path.to_owned()] };
        let Some(first) = files.first() else {
            return Err(Error::table(path, "there is no .csv, .csv.gz or .parquet in this directory"));
        };
        let schema = open(first)?.schema().clone();
        for file in files.iter().skip(1) {
            if let Some(how) = schema.differs(open(file)?.schema()) {
                return Err(Error::table(file, format!("{how}; parts of a dataset have the same columns")));
            }
        }
        Ok(Self { path: path.to_owned(), files, schema })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory; that which holds it, if it is one file.
    #[must_use]
    pub fn directory(&self) -> &Path {
        if self.path.is_dir() {
            return &self.path;
        }
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// Its files.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Its columns; in CSV all of them are text, see [`Self::typed`].
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Format of the first file.
    #[must_use]
    pub fn format(&self) -> Format {
        self.files.first().and_then(|f| Format::of(f)).unwrap_or(Format::Csv)
    }

    /// Calls `each` for every row.
    ///
    /// # Errors
    /// The first fault of a file, or the first failure of `each`.
    pub fn rows(&self, mut each: impl FnMut(&mut Row) -> Result<()>) -> Result<()> {
        let mut row = Row::new();
        for file in &self.files {
            let mut reader = open(file)?;
            while reader.next(&mut row)? {
                each(&mut row)?;
            }
        }
        Ok(())
    }

    /// The columns with the types that their values have. Reads all of a CSV.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub fn typed(&self) -> Result<Schema> {
        if self.files.iter().all(|f| Format::of(f) == Some(Format::Parquet)) {
            return Ok(self.schema.clone());
        }
        let mut inferences = vec![Inference::default(); self.schema.columns().len()];
        self.rows(|row| {
            for (inference, cell) in inferences.iter_mut().zip(row) {
                if let Some(cell) = cell {
                    inference.add(cell);
                }
            }
            Ok(())
        })?;
        let columns = self.schema.names().zip(&inferences);
        let columns = columns.map(|(name, i)| Column { name: name.to_owned(), kind: i.kind() }).collect();
        Schema::new(columns).map_err(|what| Error::table(&self.path, what))
    }
}

fn parts_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = |e| Error::io("list", dir, e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(list)? {
        let path = entry.map_err(list)?.path();
        let labels =
            path.to_str().is_some_and(|p| p.ends_with(".labels.csv") || p.ends_with(".labels.csv.gz"));
        if !labels && path.is_file() && Format::of(&path).is_some() {
            files.push(path);
        }
        if files.len() > MAX_PARTS {
            return Err(Error::table(dir, format!("holds more than {MAX_PARTS} parts")));
        }
    }
    files.sort();
    // A file and what it was packed into lie side by side in the order of names.
    let twice = files.windows(2).find(
        |pair| matches!(pair, [plain, packed] if is_packed(packed) && packed.with_extension("") == *plain),
    );
    if let Some([plain, _]) = twice {
        return Err(Error::table(plain, "is there packed and unpacked; remove one, or its rows count twice"));
    }
    Ok(files)
}
