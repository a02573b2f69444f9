//! Limits the number of fetches at once, in total and for each host.
//!
//! *In*: the host of a URL. *Out*: a place, which is free again when it is dropped. Slow responses of one host can occupy only the
//! places of that host, and fetches for unknown ids leave some places to clients in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::{clock::SleepFuture, sync::lock};

/// The places of all fetches.
pub(super) struct FetchPlaces {
    for_all: PlacePool,
    /// Only for clients in use, so that a flood of other ids does not delay the news of a removed document or key.
    reserved: PlacePool,
}

/// A number of places.
struct PlacePool {
    all: Semaphore,
    /// The places of each host that a fetch uses or waits for.
    hosts: Mutex<HashMap<String, Weak<Semaphore>>>,
    max_of_host: usize,
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
    /// True if a document of the client was accepted before.
    pub(super) is_in_use: bool,
}

impl FetchPlaces {
    pub(super) fn new() -> Self {
        Self {
            for_all: PlacePool::new(MAX_FETCHES - RESERVED, MAX_FETCHES_OF_HOST - RESERVED_OF_HOST),
            reserved: PlacePool::new(RESERVED, RESERVED_OF_HOST),
        }
    }

    /// Waits for a place. `None` if no place becomes free in time.
    pub(super) async fn take(&self, host: &str, time: &mut FetchTime) -> Option<FetchPlace<'_>> {
        let free = self.for_all.try_take(host);
        let free = free.or_else(|| if time.is_in_use { self.reserved.try_take(host) } else { None });
        if free.is_some() {
            return free;
        }
        if time.is_in_use {
            let either = async {
                tokio::select! {
                    place = self.for_all.take(host) => place,
                    place = self.reserved.take(host) => place,
                }
            };
            time.wait(either).await
        } else {
            time.wait(self.for_all.take(host)).await
        }
    }
}

impl PlacePool {
    fn new(max: usize, max_of_host: usize) -> Self {
        Self { all: Semaphore::new(max), hosts: Mutex::default(), max_of_host }
    }

    /// Returns a place that is free now.
    fn try_take(&self, host: &str) -> Option<FetchPlace<'_>> {
        let of_host = self.of_host(host).try_acquire_owned().ok()?;
        Some(FetchPlace { _of_host: of_host, _of_all: self.all.try_acquire().ok()? })
    }

    /// Waits for a place. It is never `None`, because no semaphore is closed.
    async fn take(&self, host: &str) -> Option<FetchPlace<'_>> {
        // First that of the host, so that fetches that wait for a slow host occupy no place of others.
        let of_host = self.of_host(host).acquire_owned().await.ok()?;
        Some(FetchPlace { _of_host: of_host, _of_all: self.all.acquire().await.ok()? })
    }

    fn of_host(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = lock(&self.hosts);
        if let Some(places) = hosts.get(host).and_then(Weak::upgrade) {
            return places;
        }
        // The map has no more entries than there are fetches that run or wait, and one.
        hosts.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.max_of_host));
        hosts.insert(host.to_owned(), Arc::downgrade(&places));
        places
    }
}

impl FetchTime {
    /// Waits until the deadline.
    async fn wait<P>(&mut self, place: impl Future<Output = Option<P>>) -> Option<P> {
        self.waited = true;
        tokio::select! {
            biased;
            place = place => place,
            () = &mut self.deadline => None,
        }
    }
}

/// Maximum number of fetches at once.
const MAX_FETCHES: usize = 16;
/// Maximum number of fetches from one host at once.
const MAX_FETCHES_OF_HOST: usize = 4;
/// Of these, those for clients in use.
const RESERVED: usize = 4;
const RESERVED_OF_HOST: usize = 1;
