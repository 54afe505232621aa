//! The laptop cloud: emulators of the AWS services that the functions call, on loopback only.
pub mod bedrock;
