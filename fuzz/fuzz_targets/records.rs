//! Sidecars and pending records: whatever lies on the store is understood or refused, and what is understood is written
//! back as the same record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vastost::catalog::record::{parse_pending, parse_sidecar, to_bytes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut sidecar) = parse_sidecar("key", bytes) {
        // Any JSON is allowed there, also numbers of more digits than a double has.
        sidecar.retention = None;
        let written = to_bytes(&sidecar).expect("a record can be written");
        assert_eq!(parse_sidecar("key", &written).expect("and read again"), sidecar);
    }
    if let Ok(pending) = parse_pending("key", bytes) {
        let written = to_bytes(&pending).expect("a record can be written");
        assert_eq!(parse_pending("key", &written).expect("and read again"), pending);
    }
});
