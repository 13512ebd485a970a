//! Files of the state directory that are written whole: what outlives the process.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Ending of a file that is being written.
const NEXT: &str = "tmp";
/// Ending of a file that was not understood.
const ASIDE: &str = "unread";

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Writes a file that only its owner may read, in one step: a crash leaves the old one or the new one. A directory that is not
/// there is made for its owner alone.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let next = with_ending(path, NEXT);
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(next, path)
}

/// Reads a file of at most `most` bytes; `None` where there is none, or none that this process may read.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("more than {most} bytes, which is more than was ever written"));
    }
    Ok(Some(bytes))
}

/// Puts a file aside that was not understood, and says so.
pub fn put_aside(path: &Path, why: &str) {
    let aside = with_ending(path, ASIDE);
    tracing::error!("{}: {why}; put aside as {}", path.display(), aside.display());
    if let Err(e) = std::fs::rename(path, &aside) {
        tracing::error!("cannot put it aside: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_whole_private_and_not_too_long() {
        let dir = std::env::temp_dir().join(format!("aim-keep-{}", std::process::id()));
        let path = dir.join("some.state");
        assert_eq!(read(&path, 4), Ok(None));
        write(&path, b"12345").unwrap();
        write(&path, b"1234").unwrap();
        assert_eq!(read(&path, 4), Ok(Some(b"1234".to_vec())));
        assert!(read(&path, 3).is_err());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        put_aside(&path, "odd");
        let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["some.state.unread"]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
