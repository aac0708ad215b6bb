#![no_main]

#[path = "../body/bytes.rs"]
mod bytes;
#[path = "../body/router.rs"]
mod router;

libfuzzer_sys::fuzz_target!(|data: &[u8]| router::run(data));
