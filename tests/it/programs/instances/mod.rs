//! Several instances of one issuer, each in its own process, with the same store, killed under load.
//!
//! Every response that a client received stays true, whichever process is killed: no code or refresh token is accepted twice, and
//! no issued token is lost. If a client received no response, both outcomes are possible.

mod killed;
mod load;
mod long_run;
mod paused;
mod program;
