//! The service at its door: every test starts the real binary on a folder of its own and speaks HTTP to it.

mod bad_input;
mod durability;
mod instance;
mod journey;
mod lambda_binaries;
mod sample;
mod streaming;
