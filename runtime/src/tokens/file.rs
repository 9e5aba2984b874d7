//! The file of the keys.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::jwk::{KeySet, KeySetError};

/// Bytes of a file of keys at the most.
const FILE_BYTES: u64 = 1 << 20;

/// Who may read and write such a file: its owner.
const MODE: u32 = 0o600;

/// Why a file of keys cannot be used. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system refuses.
    #[error("cannot {doing} the keys in {}", .file.display())]
    System {
        /// What was to be done.
        doing: &'static str,
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read the secrets in it.
    #[error("others can read the secret keys in {}: chmod 600 it", .file.display())]
    Open {
        /// Which file.
        file: PathBuf,
    },
    /// It is too large to be one.
    #[error("{} has more than {FILE_BYTES} bytes, so it is no file of keys", .file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
    },
    /// What is in it is wrong.
    #[error("the keys in {} cannot be used", .file.display())]
    Keys {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        source: KeySetError,
    },
}

/// Reads the keys of a file.
///
/// # Errors
/// If it cannot be read, others can read secrets in it, or it is no JWK Set of keys that are known here.
pub fn read(path: &Path) -> Result<KeySet, KeyFileError> {
    let failed = |source| KeyFileError::System { doing: "read", file: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(KeyFileError::TooLarge { file: path.to_owned() });
    }
    let keys = KeySet::parse(&text).map_err(|source| KeyFileError::Keys { file: path.to_owned(), source })?;
    if mode & 0o077 != 0 && keys.keys().iter().any(super::Key::is_secret) {
        return Err(KeyFileError::Open { file: path.to_owned() });
    }
    Ok(keys)
}

/// Writes the keys of a file: all of them or, if that fails, nothing. Nobody but its owner may read it.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, keys: &KeySet) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::System { doing: "write", file: path.to_owned(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = write_whole(&new, keys.to_json().as_bytes()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What cannot be taken away is replaced by the next try.
        let _ = fs::remove_file(&new);
    }
    written.map_err(failed)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tokens::{Algorithm, Key};

    #[test]
    fn keys_are_kept_for_the_owner_alone_and_not_taken_from_a_file_that_others_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let mut keys = KeySet::default();
        keys.add(Key::generate(Algorithm::EdDsa, 7).unwrap()).unwrap();
        write(&path, &keys).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        let again = read(&path).unwrap();
        assert_eq!((again.keys()[0].kid(), again.keys()[0].made_at()), (keys.keys()[0].kid(), Some(7)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for mode in [0o640, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert_eq!(error, format!("others can read the secret keys in {}: chmod 600 it", path.display()));
        }
        // Public keys are no secret.
        let public =
            keys.to_json().lines().filter(|line| !line.contains("\"d\"")).collect::<Vec<_>>().join("\n");
        fs::write(&path, public).unwrap();
        assert!(read(&path).unwrap().signer().is_none());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        assert!(matches!(read(&path), Err(KeyFileError::System { .. })));
        fs::write(&path, "not JSON").unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::Keys { .. })));
        fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
        assert!(matches!(read(&path), Err(KeyFileError::TooLarge { .. })));
        let nowhere = folder.path().join("missing/keys.json");
        assert!(matches!(write(&nowhere, &KeySet::default()), Err(KeyFileError::System { .. })));
    }
}
