//! How fast a whole log is checked on one core: records of 700 bytes, as the gateway writes them.
//!
//! `cargo bench -p tlog --bench verify` prints the rate and fails below half a million a second.
#![allow(
    missing_docs,
    clippy::print_stdout,
    reason = "a bench reports on standard output"
)]

use std::process::ExitCode;
use std::time::Instant;

use tlog::verify::LogCheck;

const RECORDS: u32 = 2_000_000;
const RECORD_BYTES: usize = 700;
const RECORDS_A_SECOND_MIN: f64 = 500_000.0;

fn main() -> ExitCode {
    let mut record = vec![b'x'; RECORD_BYTES];
    let Ok(mut check) = LogCheck::new([]) else {
        return ExitCode::FAILURE;
    };
    let start = Instant::now();
    for index in 0..RECORDS {
        record[..4].copy_from_slice(&index.to_be_bytes());
        if check.entry(&record).is_err() {
            return ExitCode::FAILURE;
        }
    }
    let rate = f64::from(RECORDS) / start.elapsed().as_secs_f64();
    println!("verify: {rate:.0} records of {RECORD_BYTES} bytes a second on one core");
    if rate < RECORDS_A_SECOND_MIN {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
