//! One line of a list: its fields, and the image or the fragment that they describe.

/// NetBackup's media type of disk.
const MEDIA_TYPE_DISK: u64 = 0;

/// A fragment on a disk pool's volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `<client>_<ctime>`.
    pub backup_id: Vec<u8>,
    /// Seconds since 1970.
    pub backup_time: u64,
    pub copy: u32,
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The volume's id, such as `@aaaab`.
    pub volume: Vec<u8>,
    /// The media server that wrote it.
    pub host: Vec<u8>,
}

/// How many fragments were passed over, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// On tape, or on any other media than disk.
    pub not_disk: u64,
    /// On a basic disk, or on a volume that was not chosen.
    pub other_volume: u64,
    /// No backup data: the fragment number is below 1.
    pub not_data: u64,
}

/// The backup that an IMAGE line names.
pub struct Image {
    /// `<client>_<ctime>`.
    pub backup_id: Vec<u8>,
    /// Seconds since 1970.
    pub time: u64,
}

impl Fragment {
    /// The basename of its OST image.
    pub fn basename(&self) -> Vec<u8> {
        let mut name = self.copy_name();
        name.extend_from_slice(format!("_F{}", self.number).as_bytes());
        name
    }

    pub fn copy_name(&self) -> Vec<u8> {
        let mut name = self.backup_id.clone();
        name.extend_from_slice(format!("_C{}", self.copy).as_bytes());
        name
    }
}

/// The fields of a line; one that begins with a quotation mark ends with one and may hold spaces.
pub fn fields(line: &[u8]) -> std::result::Result<Vec<Vec<u8>>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = line.trim_ascii();
    while let Some(first) = rest.first() {
        let quoted = *first == b'"';
        let body = if quoted {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };

        let end = body.iter().position(|byte| {
            if quoted {
                *byte == b'"'
            } else {
                byte.is_ascii_whitespace()
            }
        });
        let end = match end {
            Some(end) => end,
            None if quoted => return Err("a quotation mark is not closed"),
            None => body.len(),
        };

        let (field, after) = body.split_at_checked(end).unwrap_or((body, &[]));
        fields.push(field.to_vec());
        rest = if quoted {
            after.get(1..).unwrap_or_default()
        } else {
            after
        }
        .trim_ascii_start();
    }

    Ok(fields)
}

/// Backup id and backup time of an IMAGE line.
pub fn image(fields: &[Vec<u8>]) -> std::result::Result<Image, String> {
    let backup_id = field(fields, 5, "backup id")?;
    let time = number(fields, 13, "backup time")?;
    let ctime = backup_id
        .rsplit(|byte| *byte == b'_')
        .next()
        .filter(|ctime| ctime.len() < backup_id.len());
    if !ctime.is_some_and(|ctime| !ctime.is_empty() && ctime.iter().all(u8::is_ascii_digit)) {
        return Err(format!(
            "backup id {:?} does not end in a time",
            String::from_utf8_lossy(backup_id)
        ));
    }

    Ok(Image {
        backup_id: backup_id.to_vec(),
        time,
    })
}

/// The fragment of a FRAG line; None for one that is counted as skipped.
pub fn fragment(
    fields: &[Vec<u8>],
    image: &Image,
    skipped: &mut Skipped,
) -> std::result::Result<Option<Fragment>, String> {
    let copy = number(fields, 1, "copy number")?;
    let copy = u32::try_from(copy).map_err(|_| format!("copy number {copy} is too large"))?;
    if number(fields, 5, "media type")? != MEDIA_TYPE_DISK {
        skipped.not_disk += 1;
        return Ok(None);
    }

    let fragment_number = signed(fields, 2, "fragment number")?;
    if fragment_number < 1 {
        skipped.not_data += 1;
        return Ok(None);
    }

    let volume = field(fields, 8, "id or path")?;
    if is_path(volume) {
        skipped.other_volume += 1;
        return Ok(None);
    }

    let too_large = |_| format!("fragment number {fragment_number} is too large");
    let fragment_number = u32::try_from(fragment_number).map_err(too_large)?;
    let kilobytes = number(fields, 3, "KB")?;
    let remainder = number(fields, 4, "remainder")?;
    let size = kilobytes
        .checked_mul(1024)
        .and_then(|bytes| bytes.checked_add(remainder));
    let size = size.ok_or_else(|| format!("{kilobytes} KB are more than 64 bits can count in bytes"))?;

    Ok(Some(Fragment {
        backup_id: image.backup_id.clone(),
        backup_time: image.time,
        copy,
        number: fragment_number,
        size,
        volume: volume.to_vec(),
        host: field(fields, 9, "host")?.to_vec(),
    }))
}

/// `/path`, `C:\path`, `\\server\path`: a basic disk.
fn is_path(volume: &[u8]) -> bool {
    matches!(volume, [b'/' | b'\\', ..] | [_, b':', ..])
}

fn field<'a>(fields: &'a [Vec<u8>], at: usize, name: &str) -> std::result::Result<&'a [u8], String> {
    fields.get(at).map(Vec::as_slice).ok_or_else(|| {
        let count = fields.len().saturating_sub(1);
        format!("the line has {count} fields, {name} is field {at}; is this the output of `bpimagelist -l`?")
    })
}

fn number(fields: &[Vec<u8>], at: usize, name: &str) -> std::result::Result<u64, String> {
    let text = field(fields, at, name)?;
    let parsed = std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        format!(
            "{name} (field {at}) is {:?}, not a number",
            String::from_utf8_lossy(text)
        )
    })
}

fn signed(fields: &[Vec<u8>], at: usize, name: &str) -> std::result::Result<i64, String> {
    let text = field(fields, at, name)?;
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        format!(
            "{name} (field {at}) is {:?}, not a number",
            String::from_utf8_lossy(text)
        )
    })
}

/// Why a line of another kind is refused, with what it probably is.
pub fn unknown(kind: &[u8], line_number: u64) -> String {
    let text: String = String::from_utf8_lossy(kind).chars().take(40).collect();
    let hint = match kind {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16, as PowerShell writes it; save it as ASCII or UTF-8",
        [b'{' | b'[', ..] => "this is JSON; use `bpimagelist -l`",
        [0xef, 0xbb, 0xbf, ..] if line_number == 1 => "the file begins with a byte order mark; save it without",
        _ => "IMAGE, HISTO or FRAG was expected, as `bpimagelist -l` prints them",
    };
    format!("{text:?}: {hint}")
}
