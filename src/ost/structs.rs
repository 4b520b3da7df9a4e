//! Structs of the host, which may have been compiled with an older or a newer header than ours.
//!
//! Both sides agree on the fields that the shorter of the two structs has, and no more:
//!
//! | the host's `struct_size` | a struct that we read | a struct that we fill |
//! |---|---|---|
//! | less than version 1 | refused | refused |
//! | less than ours | the fields that it lacks are zero | filled up to its end |
//! | as ours | read | filled |
//! | more than ours | read, if all that we do not know is zero | filled up to our end, the rest left alone |
//!
//! After the call `struct_size` of a filled struct says how many bytes of it were filled.
//!
//! An example: here `stsp_image_def_t` has 528 bytes, and a later header adds a field of 16. A host with that header
//! passes 544 bytes. While the field is 0 all goes well; once the host uses it, it gets STSP_EINVAL, since this plug-in
//! cannot do what the field asks for and must not leave it out in silence. The other way round a plug-in with the later
//! header takes the 528 bytes of today's hosts, and the field is 0.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::abi::Versioned;
use super::guard::Caller;
use super::pointers::checked;
use crate::error::{Error, Kind, Result};

/// The longest struct that is read, in any version to come: a larger `struct_size` was never set.
const INPUT_SIZE_MAX: usize = 4096;

/// A struct of the host to be filled; written only by [`OutStruct::set`], so a failed call leaves it alone.
pub struct OutStruct<'c, T> {
    place: *mut T,
    host_size: u32,
    call: PhantomData<Caller<'c>>,
}

impl<T: Versioned> OutStruct<'_, T> {
    /// Fills the struct as far as both sides know it, and says in its `struct_size` how far that is.
    pub fn set(self, mut value: T) {
        let filled = self.host_size.min(T::SIZE);
        value.set_struct_size(filled);

        let from = (&raw const value).cast::<u8>();
        let to = self.place.cast::<u8>();
        // SAFETY: `filled` is at most the size of `value`, and at most what the host said that there is at `place`,
        // which `Caller::output_struct` found not NULL and which is ours to write until the call ends.
        unsafe { std::ptr::copy_nonoverlapping(from, to, filled as usize) }
    }
}

impl<'c> Caller<'c> {
    /// A copy of a struct of the host.
    ///
    /// # Safety
    /// `pointer` is NULL, or points to a u32 and to as many bytes as it says, itself included, all of which are
    /// readable and stay unchanged until the call ends.
    pub unsafe fn input<T: Versioned>(self, pointer: *const T, what: &str) -> Result<T> {
        // SAFETY: NULL or a struct that begins with its size, by the rule of this function.
        let host_size = unsafe { host_size(pointer, what) }? as usize;
        if host_size > INPUT_SIZE_MAX {
            let text = format!("{what}.struct_size is {host_size}; no struct of stsp.h is that long");
            return Err(Error::new(Kind::InvalidArgument, text));
        }

        let bytes = pointer.cast::<u8>();
        let known = host_size.min(size_of::<T>());
        // SAFETY: `host_size` bytes are readable from `bytes` on, by the host's own word, and `known` is no more.
        let unknown = unsafe { std::slice::from_raw_parts(bytes.add(known), host_size - known) };
        if let Some(at) = unknown.iter().position(|byte| *byte != 0) {
            let text = format!(
                "{what} asks at byte {} of {host_size} for what this plug-in does not know: the host was compiled \
                 with a newer stsp.h",
                known + at
            );
            return Err(Error::new(Kind::InvalidArgument, text));
        }

        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: `known` is at most what the host gives to read and at most the size of `value`, which is our own.
        unsafe { std::ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast::<u8>(), known) };
        // SAFETY: all bytes are set, those behind `known` to zero, and `Versioned` promises that any bytes are a `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Like [`Caller::input`], for arguments that may be NULL.
    ///
    /// # Safety
    /// As [`Caller::input`].
    pub unsafe fn optional<T: Versioned>(self, pointer: *const T, what: &str) -> Result<Option<T>> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: not NULL, so by the rule of this function it is a struct that is readable until the call ends.
        unsafe { self.input(pointer, what) }.map(Some)
    }

    /// Checks a struct that is to be filled before any work is done.
    ///
    /// # Safety
    /// `place` is NULL, or points to a u32 and to as many bytes as it says, itself included, all of which the host lets
    /// us write until its call ends.
    pub unsafe fn output_struct<T: Versioned>(self, place: *mut T, what: &str) -> Result<OutStruct<'c, T>> {
        // SAFETY: NULL or a struct that begins with its size, by the rule of this function.
        let host_size = unsafe { host_size(place, what) }?;
        Ok(OutStruct {
            place,
            host_size,
            call: PhantomData,
        })
    }
}

/// The size that the host gives its struct: no less than the struct had in version 1.
///
/// # Safety
/// `pointer` is NULL, or points to a u32 that is readable until the call ends.
unsafe fn host_size<T: Versioned>(pointer: *const T, what: &str) -> Result<u32> {
    checked(pointer, what)?;
    // SAFETY: `checked` found the pointer neither NULL nor misaligned for a `T`, which begins with this u32.
    let size = unsafe { pointer.cast::<u32>().read() };
    if size < T::V1_SIZE {
        let text = format!("{what}.struct_size is {size}; sizeof gives {}", T::SIZE);
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::super::abi::stsp_image_def_t;
    use super::super::guard::guard;
    use super::super::status::{STSP_EINVAL, STSP_OK};
    use super::*;

    /// A struct that had two fields in version 1 and has grown by two since.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        struct_size: u32,
        flags: u32,
        added: u64,
        added_last: [u8; 8],
    }

    // SAFETY: `repr(C)`, and made of integers and bytes.
    unsafe impl Versioned for Grown {
        const V1_SIZE: u32 = 8;
        const SIZE: u32 = 24;
        fn set_struct_size(&mut self, size: u32) {
            self.struct_size = size;
        }
    }

    const FULL: Grown = Grown {
        struct_size: 24,
        flags: 0x1111_1111,
        added: 0x2222_2222_2222_2222,
        added_last: [0x33; 8],
    };

    /// Memory of a host: the fields of `FULL`, `behind` in all bytes after them, and a `struct_size`.
    fn memory(struct_size: u32, behind: u8) -> [u64; 6] {
        let mut words = [u64::from_ne_bytes([behind; 8]); 6];
        words[0] = u64::from_ne_bytes([[0; 4], [0x11; 4]].concat().try_into().unwrap());
        words[1] = 0x2222_2222_2222_2222;
        words[2] = 0x3333_3333_3333_3333;
        // SAFETY: the first half of a word of our own.
        unsafe { words.as_mut_ptr().cast::<u32>().write(struct_size) };
        words
    }

    fn read(words: &[u64; 6]) -> (i32, Option<Grown>) {
        let mut taken = None;
        let code = guard("stsp_test", |_, caller| {
            // SAFETY: `words` begins with a u32, has 48 bytes, more than any test says but the one that is refused
            // before a byte is read, and outlives the call.
            taken = Some(unsafe { caller.input(words.as_ptr().cast::<Grown>(), "grown") }?);
            Ok(())
        });
        (code, taken)
    }

    fn fill(words: &mut [u64; 6]) -> i32 {
        guard("stsp_test", |_, caller| {
            // SAFETY: `words` begins with a u32, has room for a whole `Grown`, and is used by nobody else meanwhile.
            let out = unsafe { caller.output_struct(words.as_mut_ptr().cast::<Grown>(), "grown") }?;
            out.set(FULL);
            Ok(())
        })
    }

    #[test]
    fn null_short_and_misaligned_structs_are_refused() {
        let mut room = [0u64; 80];
        room[0] = 8;
        let pointer = room.as_ptr().cast::<stsp_image_def_t>();
        let code_of = |pointer: *const stsp_image_def_t| {
            guard("stsp_test", |_, caller| {
                // SAFETY: NULL, or inside `room`, which is longer than the struct and than any size set here.
                unsafe { caller.input(pointer, "def") }.map(drop)
            })
        };
        assert_eq!(code_of(std::ptr::null()), STSP_EINVAL);
        assert_eq!(code_of(pointer), STSP_EINVAL);
        assert_eq!(code_of(pointer.wrapping_byte_add(4)), STSP_EINVAL);
        room[0] = u64::from(stsp_image_def_t::SIZE);
        assert_eq!(code_of(room.as_ptr().cast()), STSP_OK);
        assert_eq!(read(&memory(Grown::V1_SIZE - 1, 0)), (STSP_EINVAL, None));
        assert_eq!(fill(&mut memory(Grown::V1_SIZE - 1, 0)), STSP_EINVAL);
    }

    #[test]
    fn an_older_hosts_input_is_zero_behind_its_end() {
        let version_1 = Grown {
            struct_size: 8,
            added: 0,
            added_last: [0; 8],
            ..FULL
        };
        assert_eq!(read(&memory(8, 0x77)), (STSP_OK, Some(version_1)));
        let version_2 = Grown {
            struct_size: 16,
            added_last: [0; 8],
            ..FULL
        };
        assert_eq!(read(&memory(16, 0x77)), (STSP_OK, Some(version_2)));
        assert_eq!(read(&memory(24, 0x77)), (STSP_OK, Some(FULL)));
    }

    #[test]
    fn what_a_newer_hosts_input_asks_for_must_be_known() {
        let taken = Grown {
            struct_size: 40,
            ..FULL
        };
        let mut words = memory(40, 0);
        // Behind the host's own end nothing is looked at.
        words[5] = u64::MAX;
        assert_eq!(read(&words), (STSP_OK, Some(taken)));
        // The last byte of the struct, and the first one that is unknown.
        words[4] = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read(&words), (STSP_EINVAL, None));
        words[4] = 0;
        words[3] = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read(&words), (STSP_EINVAL, None));
        assert_eq!(read(&memory(u32::MAX, 0)), (STSP_EINVAL, None));
    }

    #[test]
    fn an_output_is_filled_as_far_as_both_sides_know_it() {
        for (host_size, filled) in [(8, 8), (16, 16), (24, 24), (40, 24), (u32::MAX, 24)] {
            let mut words = [u64::from_ne_bytes([0x77; 8]); 6];
            // SAFETY: the first half of a word of our own.
            unsafe { words.as_mut_ptr().cast::<u32>().write(host_size) };
            let mut wanted = words;
            wanted[..filled as usize / 8].copy_from_slice(&memory(0, 0)[..filled as usize / 8]);
            // SAFETY: the first half of another word of our own.
            unsafe { wanted.as_mut_ptr().cast::<u32>().write(filled) };

            assert_eq!(fill(&mut words), STSP_OK);
            assert_eq!(words, wanted, "a host's struct of {host_size} bytes");
        }
    }
}
