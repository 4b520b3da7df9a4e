//! What strangers do to records and data.

use serde_json::Value;

use super::Dice;
use super::known::{Known, Record};

/// A damaged sidecar, and what it still tells. `other` is the text of another image's.
pub fn sidecar(dice: &mut Dice, text: &[u8], other: Option<&[u8]>, elsewhere: &str) -> (Option<Vec<u8>>, Record) {
    let edited = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(text).expect("a sidecar");
        change(&mut value);
        Some(serde_json::to_vec(&value).expect("JSON"))
    };
    match dice.below(10) {
        0 => (None, Record::Missing),
        1 => (Some(b"\x00garbage".to_vec()), Record::Silent),
        2 => (Some(text[..text.len() - 40].to_vec()), Record::Telling),
        3 => (other.map(<[u8]>::to_vec).or(Some(Vec::new())), Record::Silent),
        4 => (edited(&|v| v["data"]["key"] = elsewhere.into()), Record::Telling),
        5 => (edited(&|v| v["data"]["key"] = "backups/nowhere.nbk".into()), Record::Telling),
        6 => (edited(&|v| v["data"]["size"] = (v["data"]["size"].as_u64().unwrap_or(0) + 1).into()), Record::Telling),
        7 => (edited(&|v| v["crc64nvme"] = "0123456789abcdef".into()), Record::Telling),
        8 => (edited(&|v| v["state"] = "perhaps".into()), Record::Telling),
        _ => (edited(&|v| v["writer"] = Value::Null), Record::Telling),
    }
}

/// Damaged data; None: the object goes.
pub fn data(dice: &mut Dice, known: &Known) -> Option<Vec<u8>> {
    let mut bytes = known.bytes.clone();
    match dice.below(4) {
        0 => return None,
        1 => bytes.truncate(bytes.len() / 2),
        2 => bytes.fill(0x55),
        _ => {
            let at = dice.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
        }
    }
    (bytes != known.bytes).then_some(bytes)
}
