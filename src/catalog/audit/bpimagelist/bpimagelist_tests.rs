use proptest::prelude::*;

use super::fragments::LINE_MAX;
use super::*;

const DATE: u64 = 1_795_305_600;
const LIST: &str = "\
IMAGE db01.example.com 0 0 12 db01.example.com_1795305600 Gold 0 *NULL* root Full 0 3 1795305600 421 1797984000 0 0 \
3145728 120 2 4 0 Gold_1795305600_FULL.f *NULL* *NULL* 0 1 0 0 0 \"two words\" 0 0 0 0 0 0 0 *NULL* 0\n\
HISTO -1 -1 -1 -1 -1 -1 -1 -1 -1 -1\n\
FRAG 1 1 2097152 512 0 0 0 @aaaab media1 262144 0 0 -1 0 *NULL* 1797984000 0 65537 0 0 0 6 0 1795306000 1 0\n\
FRAG 1 2 1048576 0 0 0 0 @aaaab media1 262144 0 0 -1 0 *NULL* 1797984000 0 65537\n\
FRAG 1 -1 7 0 0 0 0 @aaaab media1 262144 0 0 -1 0 *NULL* 1797984000 0 65537\n\
FRAG 2 1 3145728 0 2 13 13 A00002 media1 65536 0 1795306000 0 0 *NULL* 1797984000 0 3\n\
FRAG 3 1 3145728 0 0 0 0 \"C:\\basic disk\" media1 65536 0 0 -1 0 *NULL* 1797984000 0 3\n";

fn read(text: &str) -> Result<Expected> {
    Expected::read(text.as_bytes(), "list", &BTreeSet::new())
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn fragments_on_disk_pools_become_ost_images_with_sizes_to_the_byte() {
    let expected = read(LIST).unwrap();
    let images: Vec<_> = expected
        .iter()
        .map(|(name, image)| (String::from_utf8_lossy(name), image.size))
        .collect();
    assert_eq!(
        images,
        [
            ("db01.example.com_1795305600_C1_F1".into(), 2_097_152 * 1024 + 512),
            ("db01.example.com_1795305600_C1_F2".into(), 1 << 30)
        ]
    );

    assert_eq!(
        expected.skipped(),
        Skipped {
            not_disk: 1,
            other_volume: 1,
            not_data: 1
        }
    );

    let (_, first) = expected.iter().next().unwrap();
    assert_eq!(
        (first.place.volume.as_str(), first.place.host.as_str()),
        ("@aaaab", "media1")
    );

    assert_eq!(first.backup_time, 1_795_305_600);
}

#[test]
fn a_fragment_is_read_field_by_field() {
    let fragment = Fragments::new(LIST.as_bytes(), "list").next().unwrap().unwrap();
    assert_eq!(fragment.basename(), b"db01.example.com_1795305600_C1_F1");
    assert_eq!(
        (fragment.copy, fragment.number, fragment.backup_time),
        (1, 1, 1_795_305_600)
    );
}

#[test]
fn a_header_belongs_to_its_copy_and_an_unlisted_fragment_does_not() {
    let expected = read(LIST).unwrap();
    let known = |kind: &str| expected.look_up(format!("db01.example.com_1795305600{kind}").as_bytes(), DATE);
    assert!(matches!(known("_C1_F2"), Known::Fragment(image) if image.size == 1 << 30));
    assert!(matches!(known("_C1_HDR"), Known::Companion));
    assert!(matches!(known("_C1_IM"), Known::Companion));
    assert!(matches!(known("_C1_F3"), Known::Nothing));
    assert!(matches!(known("_C2_HDR"), Known::Nothing));
    assert!(matches!(expected.look_up(b"loose", DATE), Known::Nothing));
}

#[test]
fn an_image_of_the_same_name_and_another_date_is_another_image() {
    let expected = read(&LIST.replace(" 3 1795305600 421", " 3 1795305609 421")).unwrap();
    let known = |date| expected.look_up(b"db01.example.com_1795305600_C1_F1", date);
    // The backup time, or the time in the backup id.
    assert!(matches!(known(DATE + 9), Known::Fragment(_)) && matches!(known(DATE), Known::Fragment(_)));
    assert!(matches!(known(DATE + 1), Known::OtherDate(image) if image.backup_time == DATE + 9));
}

#[test]
fn a_list_that_was_cut_is_refused() {
    let image = LIST.lines().next().unwrap();
    let lines = LIST.lines().count();
    for cut in [LIST.len() - 1, LIST.len() - 3, LIST.find("\nFRAG 2").unwrap()] {
        assert!(
            refused(&LIST[..cut]).contains("ends within this line, so it is not whole"),
            "{cut}"
        );
    }

    for cut in [format!("{image}\n"), format!("{LIST}{image}\nHISTO -1 -1\n")] {
        let told = refused(&cut);
        assert!(
            told.contains("ends before the fragments of db01.example.com_1795305600"),
            "{told}"
        );
    }

    assert_eq!(lines, 7);
}

#[test]
fn what_was_seen_on_the_store_is_remembered() {
    let expected = read(LIST).unwrap();
    let name = b"db01.example.com_1795305600_C1_F1";
    let Known::Fragment(image) = expected.look_up(name, DATE) else {
        panic!("unknown")
    };
    image.mark_seen();
    assert_eq!(expected.iter().filter(|(_, image)| !image.was_seen()).count(), 1);
}

#[test]
fn volumes_can_be_chosen() {
    let other = Expected::read(LIST.as_bytes(), "list", &BTreeSet::from([b"@aaaac".to_vec()])).unwrap();
    assert!(other.is_empty());
    assert_eq!(other.skipped().other_volume, 3);
    assert!(other.has_volume(b"@aaaab") && !other.has_volume(b"@aaaac"));
    assert_eq!(other.volumes().collect::<Vec<_>>(), [b"@aaaab"]);
    let chosen = Expected::read(LIST.as_bytes(), "list", &BTreeSet::from([b"@aaaab".to_vec()])).unwrap();
    assert_eq!(chosen.len(), 2);
}

#[test]
fn line_ends_of_windows_and_lists_one_after_the_other_are_understood() {
    assert_eq!(read(&LIST.replace('\n', "\r\n")).unwrap().len(), 2);
    assert_eq!(read(&format!("{LIST}\n{LIST}")).unwrap().len(), 2);
    assert_eq!(read("").unwrap().len(), 0);
    assert!(
        refused(&format!("{LIST}{}", LIST.replace("2097152 512", "2097152 0"))).contains("again, with another size")
    );
}

#[test]
fn lines_that_cannot_be_understood_are_named_with_file_and_number() {
    let image = LIST.lines().next().unwrap();
    for (text, message) in [
        (
            "FRAG 1 1 1 0 0 0 0 @a h",
            "list: line 1: FRAG before the first IMAGE".to_string(),
        ),
        (
            "IMAGE a 0 0",
            "list: line 1: the line has 3 fields, backup id is field 5".into(),
        ),
        (
            &image.replace("com_1795305600 ", "com_later "),
            "does not end in a time".into(),
        ),
        (
            &format!("{image}\nFRAG 1 1 x 0 0 0 0 @a h"),
            "list: line 2: KB (field 3) is \"x\", not a number".into(),
        ),
        (
            &format!("{image}\nFRAG 1 1 9 0 0 0 0 \"@a h"),
            "list: line 2: a quotation mark is not closed".into(),
        ),
        (
            &format!("{image}\nFRAG 1 1 18446744073709551615 0 0 0 0 @a h"),
            "more than 64 bits can count".into(),
        ),
        (
            &format!("{image}\nFRAG 1 4294967296 9 0 0 0 0 @a h"),
            "fragment number 4294967296 is too large".into(),
        ),
        ("[ {", "this is JSON; use `bpimagelist -l`".into()),
        ("Client:  db01", "IMAGE, HISTO or FRAG was expected".into()),
        (&"x".repeat(LINE_MAX + 1), "longer than 65536 bytes".into()),
    ] {
        let found = refused(text);
        assert!(found.contains(&message), "{found}");
    }

    let wide: Vec<u8> = "\u{feff}IMAGE".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let found = Expected::read(wide.as_slice(), "list", &BTreeSet::new())
        .unwrap_err()
        .to_string();

    assert!(found.contains("UTF-16"), "{found}");
}

#[test]
fn nothing_follows_an_error() {
    let mut fragments = Fragments::new(&b"no\nIMAGE"[..], "list");
    assert!(fragments.next().unwrap().is_err());
    assert!(fragments.next().is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut list = LIST.lines().next().unwrap().as_bytes().to_vec();
        list.extend_from_slice(b"\nFRAG 1 ");
        list.extend_from_slice(&bytes);
        let read = Expected::read(list.as_slice(), "list", &BTreeSet::new());
        prop_assert!(read.is_ok_and(|expected| expected.len() <= bytes.len()) || refused_with_line(&list));
    }

    #[test]
    fn what_a_line_says_comes_back(copy in 1..99u32, number in 1..9_999u32, kb in 0..1u64 << 40, rest in 0..1024u64) {
        let image = LIST.lines().next().unwrap();
        let list = format!("{image}\nFRAG {copy} {number} {kb} {rest} 0 0 0 @aaaab media1 0 0\n");
        let found: Vec<_> = Fragments::new(list.as_bytes(), "list").collect::<Result<_>>().unwrap();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].basename(), format!("db01.example.com_1795305600_C{copy}_F{number}").into_bytes());
        prop_assert_eq!(found[0].size, kb * 1024 + rest);
    }
}

fn refused_with_line(list: &[u8]) -> bool {
    Expected::read(list, "list", &BTreeSet::new()).is_err_and(|error| error.to_string().starts_with("list: line "))
}
