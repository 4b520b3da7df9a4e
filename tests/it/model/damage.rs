//! What strangers do to records and data.

use serde_json::Value;

use super::Dice;
use super::known::{Known, Record};

fn edited(text: &[u8], change: impl Fn(&mut Value)) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(text).expect("a record");
    change(&mut value);
    Some(serde_json::to_vec(&value).expect("JSON"))
}

/// A damaged sidecar, and what it still tells; None: the object goes. `other` is the text of another image's, `elsewhere`
/// the key of another image's data.
pub fn sidecar(dice: &mut Dice, text: &[u8], other: Option<&[u8]>, elsewhere: &str) -> (Option<Vec<u8>>, Record) {
    let edit = |change: &dyn Fn(&mut Value)| edited(text, change);
    match dice.below(16) {
        0 => (None, Record::Missing),
        1 => (Some(b"\x00garbage".to_vec()), Record::Silent),
        2 => (Some(text[..text.len() - 40].to_vec()), Record::Telling),
        3 => (other.map(<[u8]>::to_vec).or(Some(Vec::new())), Record::Silent),
        4 => (edit(&|v| v["data"]["key"] = elsewhere.into()), Record::Telling),
        5 => (
            edit(&|v| v["data"]["key"] = "backups/nowhere.nbk".into()),
            Record::Telling,
        ),
        6 => (
            edit(&|v| v["data"]["size"] = (v["data"]["size"].as_u64().unwrap_or(0) + 1).into()),
            Record::Telling,
        ),
        7 => (edit(&|v| v["crc64nvme"] = "0123456789abcdef".into()), Record::Telling),
        8 => (edit(&|v| v["state"] = "perhaps".into()), Record::Telling),
        9 => (edit(&|v| v["writer"] = Value::Null), Record::Telling),
        // A delete of another image's data.
        10 => {
            let stolen = |v: &mut Value| (v["state"], v["data"]["key"]) = ("deleting".into(), elsewhere.into());
            (edit(&stolen), Record::Telling)
        }
        11 => (edit(&|v| v["schema"] = 2.into()), Record::Later),
        12 => {
            let attempt = |v: &mut Value| {
                let key = v["data"]["key"].as_str().expect("a key").to_owned();
                let own = key.rsplit('.').nth(1).expect("an attempt");
                v["data"]["key"] = key.replace(own, "00112233445566ff").into();
            };
            (edit(&attempt), Record::Astray)
        }
        // Hints, which change with every copy.
        13 => (
            edit(&|v| v["data"]["version_id"] = "0123456789abcdef0123456789abcdef".into()),
            Record::Good,
        ),
        14 => (
            edit(&|v| v["data"]["etag"] = "48ed760a74d8bd3a5a5a5a5a5a5a5a5a".into()),
            Record::Good,
        ),
        _ => (edit(&|v| v["x-later"] = "unknown".into()), Record::Good),
    }
}

/// A damaged pending record.
pub fn pending(dice: &mut Dice, text: &[u8], elsewhere: &str) -> (Option<Vec<u8>>, Record) {
    let edit = |change: &dyn Fn(&mut Value)| edited(text, change);
    match dice.below(8) {
        0 => (None, Record::Missing),
        1 => (Some(b"{".to_vec()), Record::Silent),
        2 | 3 => (edit(&|v| v["schema"] = 2.into()), Record::Later),
        4 => (edit(&|v| v["key"] = elsewhere.into()), Record::Telling),
        5 => {
            let both = |v: &mut Value| (v["key"], v["content"]["data"]["key"]) = (elsewhere.into(), elsewhere.into());
            (edit(&both), Record::Telling)
        }
        6 => (edit(&|v| v["attempt"] = "junk".into()), Record::Telling),
        _ => (edit(&|v| v["writer"] = Value::Null), Record::Telling),
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
