//! A signing key, in a PEM file that only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher as _, RandomState},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use tower_oauth::keys::{Algorithm, PrivateKey};

/// Loads the key from a file, and creates the file if it is missing. If several processes start at once, one creates the file
/// and all load it.
pub(crate) fn load_or_create(path: &str, algorithm: Algorithm) -> Result<PrivateKey, String> {
    let cannot = |what: &'static str| move |error: io::Error| format!("{path}: it cannot be {what}: {error}");
    let missing = matches!(File::open(path), Err(error) if error.kind() == ErrorKind::NotFound);
    if missing {
        create(Path::new(path), algorithm)?.map_err(cannot("written"))?;
    }
    load(path, algorithm)
}

/// Loads the key from a file.
pub(crate) fn load(path: &str, algorithm: Algorithm) -> Result<PrivateKey, String> {
    let cannot = |what: &'static str| move |error: io::Error| format!("{path}: it cannot be {what}: {error}");
    let file = File::open(path).map_err(cannot("read"))?;
    if is_readable_by_others(&file).map_err(cannot("read"))? {
        return Err(format!("{path}: other users may read it and sign as this server; chmod 600 it"));
    }
    let pem = io::read_to_string(file).map_err(cannot("read"))?;
    PrivateKey::from_pem(pem, algorithm).map_err(|error| format!("{path}: {error}"))
}

/// Writes a temporary file and links it to its name. The link is atomic and never replaces an existing file.
fn create(path: &Path, algorithm: Algorithm) -> Result<io::Result<()>, String> {
    let key = PrivateKey::generate(algorithm).and_then(|key| key.expose_pkcs8_pem());
    let pem = key.map_err(|error| error.to_string())?;
    // Random, because instances in other containers may have the same process id.
    let temporary = PathBuf::from(format!("{}.{:x}", path.display(), RandomState::new().hash_one(0)));
    let written = write(&temporary, &pem).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()), // another process was first
        outcome => outcome,
    });
    let removed = fs::remove_file(&temporary);
    Ok(written.and(removed))
}

fn write(path: &Path, pem: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn is_readable_by_others(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_: &File) -> io::Result<bool> {
    Ok(false)
}
