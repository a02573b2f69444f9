//! Several instances of one issuer, each a process of its own on the same store, killed under load.
//!
//! What a client was told stays true: no code and no refresh token is good twice, and no token that was handed out is
//! forgotten, whoever is killed in the meantime. What a client was not told, because the answer never came, may be either way.

mod killed;
mod load;
mod program;
