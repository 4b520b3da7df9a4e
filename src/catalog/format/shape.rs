//! How many values a record may have, counted before it is parsed.
//!
//! A value of two bytes takes a hundred once it is parsed, so the size of a record does not bound the memory that it
//! takes. A record of 10,000 parts has 60,000 values.

/// Values of one record: four times as many as the largest image needs.
pub const VALUES_MAX: usize = 250_000;

/// Refuses a text with more values than a record can have. Each value stands behind a comma or an opening bracket;
/// those inside of strings count too, of which no record has many.
pub fn check(json: &[u8]) -> Result<(), String> {
    let values = json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > VALUES_MAX {
        return Err(format!(
            "it has about {values} values, and no record has more than {VALUES_MAX}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_most_parts_has_few_enough_values_and_a_bomb_has_not() {
        let part =
            r#"{"number":1,"offset":0,"size":16777216,"etag":"0123456789abcdef0123456789abcdef","crc64nvme":"00"},"#;
        assert_eq!(check(part.repeat(20_000).as_bytes()), Ok(()));
        for bomb in ["0,", "[],", "{}[", "[[[[[[[["] {
            assert!(check(bomb.repeat(7 << 18).as_bytes()).is_err(), "{bomb}");
        }
    }
}
