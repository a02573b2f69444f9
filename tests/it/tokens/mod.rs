//! JWTs: their headers and claims, what relaxes a check, forgeries and attacks.

mod attacks;
mod claims;
mod forged;
mod headers;
mod properties;
mod relaxations;
mod reports;
