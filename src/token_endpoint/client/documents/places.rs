//! Limits the number of fetches at once, in total and for each host.
//!
//! *In*: the host of a URL. *Out*: a place, which is free again when it is dropped. Slow responses of one host can occupy only the
//! places of that host.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{clock::SleepFuture, sync::lock};

/// The places of all fetches.
pub(super) struct FetchPlaces {
    all: Semaphore,
    /// The places of each host that a fetch uses or waits for.
    hosts: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A place for one fetch.
pub(super) struct FetchPlace<'p> {
    _of_host: OwnedSemaphorePermit,
    _of_all: SemaphorePermit<'p>,
}

/// The time that is left for a document with its keys.
pub(super) struct FetchTime {
    pub(super) deadline: SleepFuture,
    /// True if a part of the time was spent on waiting for a place.
    pub(super) waited: bool,
}

impl FetchPlaces {
    pub(super) fn new() -> Self {
        Self { all: Semaphore::new(MAX_FETCHES), hosts: Mutex::default() }
    }

    /// Waits for a place. `None` if there is none in time.
    pub(super) async fn take(&self, host: &str, time: &mut FetchTime) -> Option<FetchPlace<'_>> {
        // First that of the host, so that fetches that wait for a slow host occupy no place of others.
        let of_host = self.of_host(host);
        let of_host = match Arc::clone(&of_host).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => time.wait(of_host.acquire_owned()).await?,
        };
        let of_all = match self.all.try_acquire() {
            Ok(place) => place,
            Err(_) => time.wait(self.all.acquire()).await?,
        };
        Some(FetchPlace { _of_host: of_host, _of_all: of_all })
    }

    fn of_host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = lock(&self.hosts);
        if let Some(places) = hosts.get(host).and_then(Weak::upgrade) {
            return places;
        }
        // The map has no more entries than there are fetches that run or wait, and one.
        hosts.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(MAX_FETCHES_OF_HOST));
        hosts.insert(host.to_owned(), Arc::downgrade(&places));
        places
    }
}

impl FetchTime {
    /// Waits until the deadline.
    async fn wait<P, E>(&mut self, place: impl Future<Output = Result<P, E>>) -> Option<P> {
        self.waited = true;
        tokio::select! {
            biased;
            place = place => place.ok(),
            () = &mut self.deadline => None,
        }
    }
}

/// Maximum number of fetches at once.
const MAX_FETCHES: usize = 16;
/// Maximum number of fetches from one host at once.
const MAX_FETCHES_OF_HOST: usize = 4;
