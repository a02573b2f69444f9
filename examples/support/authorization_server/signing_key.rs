//! A signing key that outlives the process, in a PEM file that only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher as _, RandomState},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use tower_oauth::keys::{Algorithm, PrivateKey};

/// The key in this file; a new one if there is no such file. Of several that start at once, one writes it and all have it.
pub(crate) fn keep(path: &str, algorithm: Algorithm) -> Result<PrivateKey, String> {
    let cannot = |what: &'static str| move |error: io::Error| format!("{path}: it cannot be {what}: {error}");
    let missing = matches!(File::open(path), Err(error) if error.kind() == ErrorKind::NotFound);
    if missing {
        create(Path::new(path), algorithm)?.map_err(cannot("written"))?;
    }
    let file = File::open(path).map_err(cannot("read"))?;
    if is_open_to_others(&file).map_err(cannot("read"))? {
        return Err(format!("{path}: others may read it, and so sign as this server; chmod 600 it"));
    }
    let pem = io::read_to_string(file).map_err(cannot("read"))?;
    PrivateKey::from_pem(pem, algorithm).map_err(|error| format!("{path}: {error}"))
}

/// Written aside and then given its name, which happens at once or not at all, and never over another.
fn create(path: &Path, algorithm: Algorithm) -> Result<io::Result<()>, String> {
    let key = PrivateKey::generate(algorithm).and_then(|key| key.expose_pkcs8_pem());
    let pem = key.map_err(|error| error.to_string())?;
    // A name that no other instance has, in another container neither.
    let aside = PathBuf::from(format!("{}.{:x}", path.display(), RandomState::new().hash_one(0)));
    let written = write(&aside, &pem).and_then(|()| match fs::hard_link(&aside, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()), // another one was first
        outcome => outcome,
    });
    let removed = fs::remove_file(&aside);
    Ok(written.with_keys(removed))
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
fn is_open_to_others(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &File) -> io::Result<bool> {
    Ok(false)
}
