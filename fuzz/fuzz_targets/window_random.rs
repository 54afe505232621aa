//! The same target without libFuzzer, for a stable compiler: `cargo run --release --bin window_random SECONDS`. Its bytes come
//! from a counter-seeded generator and from mutations of texts like answers; a failure prints the seed.
use std::time::{Duration, Instant};

/// xorshift64*.
struct Bytes(u64);

impl Bytes {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

const TEXTS: [&str; 4] = [
    "Write to ann@example.com. Or call +1 555-010-9999, ask for Mr. Smith. The desk opens at nine! Does it? Yes.\n\n",
    "IBAN DE89 3704 0044 0532 0130 00 in Berlin。住所は東京です！ päivää ä ö ü. ",
    "word word word word word word word word word word word word word word word ",
    "averylongwordwithoutanyspaceinitthatgoesonandonandonandonandonandon",
];

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let (begun, mut runs) = (Instant::now(), 0u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        runs += 1;
        let mut bytes = Bytes(runs.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut data: Vec<u8> = (0..14).map(|_| bytes.next() as u8).collect();
        for _ in 0..bytes.next() % 12 {
            match bytes.next() % 4 {
                0 => data.extend((0..bytes.next() % 60).map(|_| b" .ab\n@"[(bytes.next() % 6) as usize])),
                1 => data.extend((0..bytes.next() % 40).map(|_| bytes.next() as u8)),
                _ => data.extend(TEXTS[(bytes.next() % 4) as usize].bytes()),
            }
        }
        let outcome = std::panic::catch_unwind(|| fuzz::check(&data));
        if outcome.is_err() {
            std::process::exit(1);
        }
    }
    println!("{runs} runs in {seconds} s, no failure");
}
