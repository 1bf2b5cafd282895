// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Facilities that ioctls share: writing answers to user space, its notion of time, and its
//! handles.
//!
//! The C driver does each of these where it needs it.

mod handle_table;

pub(crate) use self::handle_table::HandleTable;

use kernel::{
    prelude::*,
    time::{
        msecs_to_jiffies,
        ClockSource,
        Jiffies,
        Monotonic,
        Msecs, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use zerocopy::Immutable;

use crate::abstractions::dma_fence::FOREVER;

/// Writes `value` to a user-space address. Returns `EFAULT` if the address is not writable.
pub(crate) fn write<T: IntoBytes + Immutable + ?Sized>(address: u64, value: &T) -> Result {
    write_up_to(address, u32::MAX, value)
}

/// Writes `value` as [`write()`] does, but no more than `size` bytes.
pub(crate) fn write_up_to<T: IntoBytes + Immutable + ?Sized>(
    address: u64,
    size: u32,
    value: &T,
) -> Result {
    let address = usize::try_from(address).map_err(|_| EFAULT)?;
    let bytes = value.as_bytes();
    let bytes = &bytes[..bytes.len().min(size as usize)];

    UserSlice::new(UserPtr::from_addr(address), bytes.len())
        .writer()
        .write_slice(bytes)
}

/// Reads `count` words from user space. Returns `EFAULT` if the address is not readable.
pub(crate) fn read_words(address: u64, count: usize) -> Result<KVVec<u32>> {
    let mut words = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    if count != 0 {
        let address = usize::try_from(address).map_err(|_| EFAULT)?;
        let length = count.checked_mul(size_of::<u32>()).ok_or(EINVAL)?;
        let mut reader = UserSlice::new(UserPtr::from_addr(address), length).reader();
        for _ in 0..count {
            words.push(reader.read()?, GFP_KERNEL_ACCOUNT)?;
        }
    }
    Ok(words)
}

/// Returns the time until `deadline`, in nanoseconds since boot. A negative deadline never comes.
pub(crate) fn timeout(deadline: u64) -> Jiffies {
    until(deadline, Monotonic::ktime_get())
}

fn until(deadline: u64, now: i64) -> Jiffies {
    const NANOS_PER_MILLI: i64 = 1_000_000;

    // CAST: The interface has a signed number in an unsigned field.
    let deadline = deadline as i64;
    if deadline < 0 {
        return FOREVER;
    }
    let millis = deadline.saturating_sub(now).max(0);
    let millis = millis / NANOS_PER_MILLI + i64::from(millis % NANOS_PER_MILLI != 0);
    Msecs::try_from(millis).map_or(FOREVER, msecs_to_jiffies)
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_uapi)]
mod tests {
    use super::*;

    #[test]
    fn time_until_a_deadline() {
        assert_eq!(until(u64::MAX, 5), FOREVER);
        assert_eq!(until(1 << 63, 5), FOREVER);
        assert_eq!(until(i64::MAX as u64, 5), FOREVER);
        assert_eq!(until(0, 5), 0);
        assert_eq!(until(5, 5), 0);
        assert!(until(6, 5) > 0);
        assert_eq!(until(1_000_000_005, 5), msecs_to_jiffies(1000));
    }
}
