//! Images written, read, described, listed, deleted.

use super::on_every_server;
use crate::common::{MIB, Site, Wish, backup, image, pattern, restore};

on_every_server!(images_of_awkward_sizes_come_back_byte_for_byte);

const PART: usize = 5 << 20;

fn small_parts(wish: &Wish) -> Wish {
    Wish { settings: "[transfer]\npart_size = \"5 MiB\"\nimage_size_max = \"8 GiB\"\n".into(), ..wish.clone() }
}

fn images_of_awkward_sizes_come_back_byte_for_byte(wish: &Wish) {
    let site = Site::new(&small_parts(wish));
    let server = site.open();
    for (number, size) in (1..).zip([0, 1, 511, 512, 513, PART - 1, PART, PART + 1, 3 * PART, 4 * PART + 77]) {
        let (def, data) = (image("sizes", number), pattern(size, number));
        backup(&server, &def, &data, 256 << 10);
        assert_eq!(server.info("main", &def).unwrap().size, size as u64);
        assert!(restore(&server, &def, 256 << 10) == data, "size {size}");
    }
    assert!(MIB > 0);
    server.close().unwrap();
}
