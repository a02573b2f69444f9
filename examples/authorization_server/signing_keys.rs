//! The folder of signing keys: one PEM file for each key, in the order of their names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{SigningKeys, TokenEndpoint},
};

use crate::{mistakes::Mistakes, settings::Keys, signing_key};

/// The folder, and the files that the program uses.
pub(crate) struct KeyFolder {
    path: PathBuf,
    algorithm: Algorithm,
    /// Sorted by name.
    known: Vec<String>,
}

impl KeyFolder {
    /// Loads all keys. Adds each wrong file to the mistakes.
    pub(crate) fn read(path: &str, algorithm: Algorithm, mistakes: &mut Mistakes) -> Option<Keys> {
        let mut folder = Self { path: path.into(), algorithm, known: Vec::new() };
        let names = folder.names().map_err(|found| mistakes.add("SIGNING_KEYS", found)).ok()?;
        let mut keys = Vec::new();
        for name in &names {
            match folder.load(name) {
                Ok(key) => keys.push((name.clone(), key)),
                Err(found) => mistakes.add("SIGNING_KEYS", found),
            }
        }
        for (index, (name, key)) in keys.iter().enumerate() {
            if let Some((other, _)) = keys.iter().take(index).find(|(_, other)| other.public_jwk() == key.public_jwk())
            {
                mistakes.add("SIGNING_KEYS", format_args!("{path}: {name:?} has the same key as {other:?}"));
            }
        }
        let mut keys = keys.into_iter().map(|(_, key)| key);
        let oldest = keys.next()?;
        let secret = mistakes.check(|_| "SIGNING_KEYS", oldest.expose_pkcs8_pem())?;
        folder.known = names;
        let signing = keys.fold(SigningKeys::new(oldest), SigningKeys::with_newer);
        Some(Keys { signing, secret, folder: Some(folder) })
    }

    /// Adds the new files on each SIGHUP. Without this call, SIGHUP ends the program.
    #[cfg(unix)]
    pub(crate) fn watch(mut self, endpoint: TokenEndpoint) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let mut hangups = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                if let Err(found) = self.add_new(&endpoint).await {
                    tracing::error!("SIGNING_KEYS: {found}");
                }
            }
        });
        Ok(())
    }

    #[cfg(not(unix))]
    pub(crate) fn watch(self, _: TokenEndpoint) -> io::Result<()> {
        Ok(())
    }

    /// Rotates to each new key. Stops at the first wrong file, which can be mended before the next SIGHUP.
    async fn add_new(&mut self, endpoint: &TokenEndpoint) -> Result<(), String> {
        for name in self.names()? {
            if self.known.contains(&name) {
                continue;
            }
            // After a restart such a key would be older than the one that signs.
            if self.known.last().is_some_and(|newest| *newest > name) {
                return Err(format!(
                    "{name:?}: its name is before that of a known key; the newest key needs the last name"
                ));
            }
            let key = self.load(&name)?;
            let from = endpoint.rotate_key(key).await.map_err(|error| format!("{name:?}: {error}"))?;
            let wait = from.duration_since(std::time::SystemTime::now()).unwrap_or_default().as_secs();
            tracing::info!("the key of {name:?} is published; it signs in {wait} s");
            self.known.push(name);
        }
        Ok(())
    }

    /// Returns the names of the files, sorted. Names that begin with a dot are left out.
    fn names(&self) -> Result<Vec<String>, String> {
        let path = self.path.display();
        let cannot = |error: io::Error| format!("{path}: it cannot be read: {error}");
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            match name.into_string() {
                Ok(name) if name.starts_with('.') => {}
                Ok(name) if Path::new(&name).extension().is_some_and(|extension| extension == "pem") => {
                    names.push(name)
                }
                Ok(name) => return Err(format!("{path}: the name {name:?} does not end in .pem")),
                Err(name) => return Err(format!("{path}: the name {} is not UTF-8", name.display())),
            }
        }
        if names.is_empty() {
            return Err(format!("{path}: there is no file whose name ends in .pem"));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn load(&self, name: &str) -> Result<PrivateKey, String> {
        signing_key::load(&self.path.join(name).display().to_string(), self.algorithm)
    }
}
