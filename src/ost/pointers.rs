//! Pointers of the host: structs, strings, buffers, places for results.
//!
//! Nothing from the host is trusted that can be checked: NULL, alignment, sizes, termination. What cannot be checked is
//! what the header asks of the caller: that a non-NULL pointer points to as much memory as it says, for the call.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};

use super::abi::Versioned;
use crate::error::{Error, Kind, Result};

/// The longest string that is read from a pointer.
pub const STRING_MAX: usize = 4096;

fn null(what: &str) -> Error {
    Error::new(Kind::InvalidArgument, format!("{what} is NULL"))
}

/// A pointer that is not NULL and fit for a `T`.
fn checked<T>(pointer: *const T, what: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(what));
    }
    if !pointer.is_aligned() {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("{what} is not aligned to {} bytes", align_of::<T>()),
        ));
    }
    Ok(())
}

/// A struct of the caller, if its `struct_size` says that it is as long as ours.
///
/// # Safety
/// `pointer` is NULL, or points to a struct that begins with its size and stays unchanged during `'a`.
pub unsafe fn input<'a, T: Versioned>(pointer: *const T, what: &str) -> Result<&'a T> {
    checked(pointer, what)?;
    // SAFETY: not NULL and aligned; every struct begins with this u32, whatever its length.
    let size = unsafe { pointer.cast::<u32>().read() };
    if size < T::SIZE {
        let text = format!("{what}.struct_size is {size}; sizeof gives {}", T::SIZE);
        return Err(Error::new(Kind::InvalidArgument, text));
    }
    // SAFETY: the caller's own size says that all of T is there; the fields are plain data of any value.
    Ok(unsafe { &*pointer })
}

/// Like [`input`], for arguments that may be NULL.
///
/// # Safety
/// As [`input`].
pub unsafe fn optional<'a, T: Versioned>(pointer: *const T, what: &str) -> Result<Option<&'a T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise, passed on.
    unsafe { input(pointer, what) }.map(Some)
}

/// A place for one result; written only by [`Out::set`], so a failed call leaves it alone.
pub struct Out<T>(*mut T);

/// Checks an output argument before any work is done.
///
/// # Safety
/// `pointer` is NULL, or points to a `T` that the caller lets us write during the call.
pub unsafe fn output<T>(pointer: *mut T, what: &str) -> Result<Out<T>> {
    checked(pointer, what).map(|()| Out(pointer))
}

/// Like [`output`], for a struct that carries its size.
///
/// # Safety
/// As [`input`], and writable.
pub unsafe fn output_struct<T: Versioned>(pointer: *mut T, what: &str) -> Result<Out<T>> {
    // SAFETY: the same promise, passed on; the reference ends here.
    unsafe { input(pointer.cast_const(), what) }.map(|_| Out(pointer))
}

impl<T> Out<T> {
    pub fn set(self, value: T) {
        // SAFETY: made by `output`, which checked the pointer, in this same call.
        unsafe { self.0.write(value) }
    }
}

impl<T: Versioned> Out<T> {
    /// Writes the struct and keeps the caller's own `struct_size`.
    pub fn set_struct(self, mut value: T) {
        // SAFETY: made by `output_struct`, which checked the pointer; the struct begins with its size.
        value.set_struct_size(unsafe { self.0.cast::<u32>().read() });
        self.set(value);
    }
}

/// A string of at most [`STRING_MAX`] - 1 bytes.
///
/// # Safety
/// `pointer` is NULL, or points to bytes of which the first NUL or the first [`STRING_MAX`] are readable during `'a`.
pub unsafe fn string<'a>(pointer: *const c_char, what: &str) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return Err(null(what));
    }
    let bytes = pointer.cast::<u8>();
    for len in 0..STRING_MAX {
        // SAFETY: every byte before this one was no NUL, so this one is still readable.
        if unsafe { bytes.add(len).read() } == 0 {
            // SAFETY: these bytes have just been read.
            return Ok(unsafe { std::slice::from_raw_parts(bytes, len) });
        }
    }
    Err(Error::new(
        Kind::InvalidArgument,
        format!("{what} has no end within {STRING_MAX} bytes"),
    ))
}

/// Like [`string`], for arguments that may be NULL.
///
/// # Safety
/// As [`string`].
pub unsafe fn optional_string<'a>(pointer: *const c_char, what: &str) -> Result<Option<&'a [u8]>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same promise, passed on.
    unsafe { string(pointer, what) }.map(Some)
}

/// Bytes to read from the caller.
///
/// # Safety
/// `pointer` is NULL, or points to `len` bytes that stay unchanged during `'a`.
pub unsafe fn bytes<'a>(pointer: *const c_void, len: u64, what: &str) -> Result<&'a [u8]> {
    let len = checked_len(pointer, len, what)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, and the caller gives `len` readable bytes; `checked_len` keeps it below isize::MAX.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) })
}

/// Bytes to fill for the caller.
///
/// # Safety
/// `pointer` is NULL, or points to `len` writable bytes that nobody else uses during `'a`.
pub unsafe fn bytes_mut<'a>(pointer: *mut c_void, len: u64, what: &str) -> Result<&'a mut [u8]> {
    let len = checked_len(pointer, len, what)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL, and the caller gives `len` writable bytes; bytes of any value are valid u8.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast::<u8>(), len) })
}

fn checked_len(pointer: *const c_void, len: u64, what: &str) -> Result<usize> {
    if pointer.is_null() && len > 0 {
        return Err(null(what));
    }
    let fits = usize::try_from(len).ok().filter(|len| isize::try_from(*len).is_ok());
    fits.ok_or_else(|| {
        Error::new(
            Kind::InvalidArgument,
            format!("{what}: {len} bytes cannot be addressed"),
        )
    })
}

/// The text of a fixed-size field, up to its NUL.
pub fn field<'a>(field: &'a [c_char], what: &str) -> Result<&'a [u8]> {
    // SAFETY: c_char and u8 have the same layout, and any byte is valid.
    let bytes = unsafe { std::slice::from_raw_parts(field.as_ptr().cast::<u8>(), field.len()) };
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| Error::new(Kind::InvalidArgument, format!("{what} has no terminating NUL")))?;
    Ok(bytes.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::abi::{stsp_image_def_t, to_field};
    use super::super::guard::guard;
    use super::super::status::{STSP_EINVAL, STSP_OK};
    use super::*;

    #[test]
    fn structs_that_are_null_short_or_misaligned_are_refused() {
        let mut room = [0u64; 80];
        room[0] = 8;
        let pointer = room.as_ptr().cast::<stsp_image_def_t>();
        let refused = |pointer: *const stsp_image_def_t| {
            // SAFETY: NULL, or inside `room`, which is longer than the struct.
            guard("stsp_test", |_| unsafe { input(pointer, "def") }.map(drop))
        };
        assert_eq!(refused(std::ptr::null()), STSP_EINVAL);
        assert_eq!(refused(pointer), STSP_EINVAL);
        assert_eq!(refused(pointer.wrapping_byte_add(4)), STSP_EINVAL);
        room[0] = u64::from(stsp_image_def_t::SIZE);
        assert_eq!(refused(room.as_ptr().cast()), STSP_OK);
    }

    #[test]
    fn strings_without_end_are_refused_and_fields_are_cut() {
        let long = vec![c_char::from_ne_bytes([b'x']); STRING_MAX];
        // SAFETY: STRING_MAX bytes are readable.
        assert!(unsafe { string(long.as_ptr(), "name") }.is_err());
        assert!(field(&long[..16], "name").is_err());
        assert_eq!(field(&to_field::<4>(b"abcdef"), "name").unwrap(), b"abc");
    }
}
