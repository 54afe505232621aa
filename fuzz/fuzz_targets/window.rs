//! `RUSTC_BOOTSTRAP=1 cargo fuzz run window --sanitizer none --features libfuzzer -- -max_total_time=600`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::check(data));
