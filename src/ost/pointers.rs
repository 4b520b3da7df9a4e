//! Pointers of the host: strings, buffers, places for results. What they point to is borrowed from the [`Caller`].
//!
//! Nothing from the host is trusted that can be checked: NULL, alignment, sizes, termination. What cannot be checked is
//! what the header asks of the host: that a pointer that is not NULL points to as much memory as it says, for the call.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;

use super::guard::Caller;
use crate::error::{Error, Kind, Result};

/// The longest string that is read from a pointer.
pub const STRING_MAX: usize = 4096;

/// A place for one result; written only by [`Out::set`], so a failed call leaves it alone.
pub struct Out<'c, T> {
    place: *mut T,
    call: PhantomData<Caller<'c>>,
}

impl<T> Out<'_, T> {
    pub fn set(self, value: T) {
        // SAFETY: `Caller::output` took the place after it had found it neither NULL nor misaligned, and the host lets
        // us write there until its call ends, which this value does not outlive.
        unsafe { self.place.write(value) }
    }
}

impl<'c> Caller<'c> {
    /// Checks the place for a result before any work is done.
    ///
    /// # Safety
    /// `place` is NULL, or the host lets us write a `T` there until its call ends.
    pub unsafe fn output<T>(self, place: *mut T, what: &str) -> Result<Out<'c, T>> {
        checked(place, what)?;
        Ok(Out {
            place,
            call: PhantomData,
        })
    }

    /// A string of at most [`STRING_MAX`] - 1 bytes.
    ///
    /// # Safety
    /// `pointer` is NULL, or the bytes up to the first NUL, or the first [`STRING_MAX`] when none of them is NUL, are
    /// readable and stay unchanged until the call ends.
    pub unsafe fn string(self, pointer: *const c_char, what: &str) -> Result<&'c [u8]> {
        if pointer.is_null() {
            return Err(null(what));
        }

        let bytes = pointer.cast::<u8>();
        for len in 0..STRING_MAX {
            // SAFETY: the string has not ended before this byte, and `len` is below STRING_MAX: the host's string
            // reaches at least this far.
            if unsafe { bytes.add(len).read() } == 0 {
                // SAFETY: the loop has just read each of these `len` bytes, and the host leaves them as they are until
                // its call ends, which `'c` does not outlive.
                return Ok(unsafe { std::slice::from_raw_parts(bytes, len) });
            }
        }

        let text = format!("{what} has no end within {STRING_MAX} bytes");
        Err(Error::new(Kind::InvalidArgument, text))
    }

    /// Like [`Caller::string`], for arguments that may be NULL.
    ///
    /// # Safety
    /// As [`Caller::string`].
    pub unsafe fn optional_string(self, pointer: *const c_char, what: &str) -> Result<Option<&'c [u8]>> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: not NULL, so by the rule of this function it is a string that is readable until the call ends.
        unsafe { self.string(pointer, what) }.map(Some)
    }

    /// Bytes to read from the host.
    ///
    /// # Safety
    /// `pointer` is NULL, or `len` bytes from there on are readable and stay unchanged until the call ends.
    pub unsafe fn bytes(self, pointer: *const c_void, len: u64, what: &str) -> Result<&'c [u8]> {
        let len = checked_len(pointer, len, what)?;
        if len == 0 {
            return Ok(&[]);
        }
        // SAFETY: `checked_len` found `pointer` not NULL and `len` below isize::MAX; the host gives so many bytes to
        // read and does not write to them until its call ends, which `'c` does not outlive.
        Ok(unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) })
    }

    /// Bytes to fill for the host.
    ///
    /// # Safety
    /// `pointer` is NULL, or `len` bytes from there on are writable, and nobody else uses them until the call ends.
    pub unsafe fn bytes_mut(self, pointer: *mut c_void, len: u64, what: &str) -> Result<&'c mut [u8]> {
        let len = checked_len(pointer, len, what)?;
        if len == 0 {
            return Ok(&mut []);
        }
        // SAFETY: `checked_len` found `pointer` not NULL and `len` below isize::MAX; the host leaves so many bytes to
        // us alone until its call ends, which `'c` does not outlive, and whatever is in them is a u8.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast::<u8>(), len) })
    }
}

/// Refuses a pointer that is NULL or misaligned for a `T`.
pub fn checked<T>(pointer: *const T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(what));
    }
    if !pointer.is_aligned() {
        let text = format!("{what} is not aligned to {} bytes", align_of::<T>());
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    Ok(())
}

fn null(what: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("{what} is NULL"))
}

fn checked_len(pointer: *const c_void, len: u64, what: &str) -> Result<usize> {
    if pointer.is_null() && len > 0 {
        return Err(null(what));
    }
    let fits = usize::try_from(len).ok().filter(|len| isize::try_from(*len).is_ok());
    fits.ok_or_else(|| {
        let text = format!("{what}: {len} bytes cannot be addressed");
        Error::new(Kind::InvalidArgument, text)
    })
}

/// The text of a fixed-size field, up to its NUL.
pub fn field<'a>(field: &'a [c_char], what: &str) -> Result<&'a [u8]> {
    // SAFETY: the bytes of `field`, borrowed for as long as `field` is; c_char and u8 have one layout, and any byte is
    // a u8.
    let bytes = unsafe { std::slice::from_raw_parts(field.as_ptr().cast::<u8>(), field.len()) };
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| Error::new(Kind::InvalidArgument, format!("{what} has no terminating NUL")))?;
    Ok(bytes.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::abi::to_field;
    use super::super::guard::guard;
    use super::super::status::{STSP_EINVAL, STSP_OK};
    use super::*;

    #[test]
    fn strings_without_end_are_refused_and_fields_are_cut() {
        let long = vec![c_char::from_ne_bytes([b'x']); STRING_MAX];
        let code = guard("stsp_test", |_, caller| {
            // SAFETY: STRING_MAX bytes of `long` are readable, and it outlives the call.
            unsafe { caller.string(long.as_ptr(), "name") }.map(drop)
        });
        assert_eq!(code, STSP_EINVAL);
        assert!(field(&long[..16], "name").is_err());
        assert_eq!(field(&to_field::<4>(b"abcdef"), "name").unwrap(), b"abc");
    }

    #[test]
    fn buffers_are_lent_whole_and_results_set_once() {
        let from = *b"sixteen bytes...";
        let mut to = [0_u8; 16];
        let mut moved = 0_u64;
        let code = guard("stsp_test", |_, caller| {
            // SAFETY: `moved` is this test's, outlives the call, and is used by nobody else meanwhile.
            let out = unsafe { caller.output(&raw mut moved, "moved") }?;
            // SAFETY: 16 bytes of this test, which nobody changes meanwhile.
            let read = unsafe { caller.bytes(from.as_ptr().cast(), 16, "from") }?;
            // SAFETY: 16 bytes of this test, which nobody else uses meanwhile.
            let written = unsafe { caller.bytes_mut(to.as_mut_ptr().cast(), 16, "to") }?;

            written.copy_from_slice(read);
            out.set(16);
            Ok(())
        });
        assert_eq!((code, moved, to), (STSP_OK, 16, from));
    }
}
