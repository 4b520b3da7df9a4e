use super::*;

/// What a body saw when it was freed: whether its part was marked as failed, and how many parts had a place.
type Freed = Arc<Mutex<Option<(bool, usize)>>>;

struct Watched(Arc<Progress>, Freed);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        b"part"
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let state = self.0.lock();
        *self.1.lock().unwrap() = Some((state.failed.is_some(), state.in_flight));
    }
}

async fn slot() -> (Slot, Freed) {
    let progress = Arc::new(Progress::new(1, 1, 0, None));
    let freed = Arc::default();
    progress.admit().await.unwrap();
    let body = Bytes::from_owner(Watched(Arc::clone(&progress), Arc::clone(&freed)));
    (Slot::of(&progress, body), freed)
}

#[tokio::test]
async fn the_body_is_freed_when_its_end_is_known_and_before_its_place_is() {
    let part = SentPart {
        number: 1,
        size: 4,
        etag: "e".into(),
        crc64: crate::engine::checksum::Crc64(0),
    };

    type End = fn(Slot, SentPart);
    let ends: [(bool, End); 3] = [
        (false, |slot, part| slot.finish(Ok(Sent { part, proven: true }))),
        (true, |slot, _| slot.finish(Err(Error::new(Kind::Network, "lost")))),
        (true, |slot, _| drop(slot)),
    ];

    for (failed, end) in ends {
        let (slot, freed) = slot().await;
        let progress = Arc::clone(&slot.progress);
        // What the request held goes first, as in a task that is cut off.
        drop(slot.body());
        assert_eq!(*freed.lock().unwrap(), None);
        end(slot, part.clone());
        assert_eq!(*freed.lock().unwrap(), Some((failed, 1)));
        progress.wait_idle().await;
    }
}

fn admitted(progress: &Arc<Progress>) -> Slot {
    assert!(progress.try_admit().unwrap());
    Slot::of(progress, Bytes::new())
}

fn starved(progress: &Progress) -> bool {
    progress.lock().starved.is_some()
}

#[test]
fn the_lanes_are_pressed_only_while_the_line_has_room_and_nothing_else_to_send() {
    let lanes = Arc::new(Md5Lanes::start().unwrap());
    let progress = Arc::new(Progress::new(1, 1, 2, Some(Arc::clone(&lanes))));
    let mut slots: Vec<Slot> = (0..3).map(|_| admitted(&progress)).collect();
    assert!(starved(&progress), "nothing is on the line");
    assert!(slots[0].try_enter_line());
    assert!(!starved(&progress), "the line is full");
    assert!(!slots[1].try_enter_line(), "the line is full");
    drop(slots.remove(0));
    assert!(!starved(&progress), "a proven part waits for the line");
    assert!(slots[0].try_enter_line());
    drop(slots.remove(0));
    assert!(starved(&progress), "the line is empty and the last part with the lanes");
    drop(slots);
    assert!(!starved(&progress));
    lanes.stop();
}
