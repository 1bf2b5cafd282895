// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The ioctls of DRM drivers.
//!
//! C header: [`include/drm/drm_ioctl.h`](srctree/include/drm/drm_ioctl.h)
//!
//! The DRM core copies the argument in and out, checks the permissions, and calls the entry that
//! [`drm_ioctls!`] has put into the driver's table. The entry ensures that the device is not being
//! unplugged, and calls the driver's function with references.

use super::{
    device::UnplugGuard,
    Device,
    Driver,
    File, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    mem::needs_drop, //
};
use kernel::{
    ffi,
    ioctl,
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

/// The caller must be authenticated on a primary node.
pub(crate) const AUTH: u32 = bindings::drm_ioctl_flags_DRM_AUTH;
/// The caller must be the master of a primary node.
pub(crate) const MASTER: u32 = bindings::drm_ioctl_flags_DRM_MASTER;
/// The ioctl may be used on a render node.
pub(crate) const RENDER_ALLOW: u32 = bindings::drm_ioctl_flags_DRM_RENDER_ALLOW;
/// The driver's function enters the section of [`Device::enter`] itself, for as long as it needs
/// the section, because it waits for others, or copies from or to user space. The DRM core has one
/// such section for all devices, and unplugging any device waits for all threads in it.
pub(crate) const OUTSIDE: u32 = 1 << 31;

const _: () = assert!((AUTH | MASTER | RENDER_ALLOW) & OUTSIDE == 0);

/// Direction in which the argument is copied, which determines the ioctl's code.
#[derive(Clone, Copy)]
#[expect(clippy::upper_case_acronyms, reason = "the names of the C macros")]
pub(crate) enum Direction {
    /// `DRM_IOW`: from user space to the kernel.
    IOW,
    /// `DRM_IOWR`: to the kernel and back.
    IOWR,
}

/// An entry of a driver's table of ioctls, made by [`drm_ioctls!`].
#[repr(transparent)]
pub(crate) struct Descriptor<D>(bindings::drm_ioctl_desc, PhantomData<fn(D)>);

/// Type of the functions in a table of the driver `D`.
type Callback = unsafe extern "C" fn(
    *mut bindings::drm_device,
    *mut ffi::c_void,
    *mut bindings::drm_file,
) -> ffi::c_int;

impl<D> Clone for Descriptor<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Descriptor<D> {}

impl<D> Descriptor<D> {
    /// Entry for a number that has no ioctl.
    const NONE: Self = Self(pin_init::zeroed(), PhantomData);

    /// Makes an entry. Used by [`drm_ioctls!`].
    ///
    /// # Safety
    ///
    /// `func` must accept a device and an open file of the driver `D` and a pointer to an `Arg`.
    pub(crate) const unsafe fn new<Arg>(
        direction: Direction,
        number: u32,
        flags: u32,
        name: &'static CStr,
        func: Callback,
    ) -> Self {
        let number = bindings::DRM_COMMAND_BASE + number;
        let cmd = match direction {
            Direction::IOW => ioctl::_IOW::<Arg>(bindings::DRM_IOCTL_BASE as u32, number),
            Direction::IOWR => ioctl::_IOWR::<Arg>(bindings::DRM_IOCTL_BASE as u32, number),
        };

        Self(
            bindings::drm_ioctl_desc {
                cmd,
                flags: flags & !OUTSIDE,
                func: Some(func),
                name: as_char_ptr_in_const_context(name),
            },
            PhantomData,
        )
    }
}

// SAFETY: A descriptor is constant.
unsafe impl<D> Sync for Descriptor<D> {}

/// Returns the length of a table with these numbers. Used by [`drm_ioctls!`].
pub(crate) const fn table_len(numbers: &[u32]) -> usize {
    let mut len = 0;
    let mut i = 0;
    while i < numbers.len() {
        if numbers[i] as usize >= len {
            len = numbers[i] as usize + 1;
        }
        i += 1;
    }
    assert!(len <= (bindings::DRM_COMMAND_END - bindings::DRM_COMMAND_BASE) as usize);
    len
}

/// Builds a table with each entry at the index of its number. Used by [`drm_ioctls!`].
pub(crate) const fn table<D, const N: usize, const LEN: usize>(
    entries: [Descriptor<D>; N],
) -> [Descriptor<D>; LEN] {
    let mut table = [const { Descriptor::NONE }; LEN];
    let mut i = 0;
    while i < N {
        let entry = entries[i];
        let slot = &mut table[(ioctl::_IOC_NR(entry.0.cmd) - bindings::DRM_COMMAND_BASE) as usize];
        assert!(slot.0.func.is_none(), "two ioctls have one number");
        *slot = entry;
        i += 1;
    }
    table
}

/// Enters the section that an ioctl with these flags runs in, if any. Returns `ENODEV` if the
/// device is unplugged.
fn section<D: Driver>(dev: &Device<D>, flags: u32) -> Result<Option<UnplugGuard>> {
    if flags & OUTSIDE != 0 {
        return Ok(None);
    }
    dev.enter().map(Some).ok_or(ENODEV)
}

/// An argument that user space writes and does not get back: every bit pattern is a value.
pub(crate) trait Input: FromBytes {}

impl<T: FromBytes> Input for T {}

/// An argument that user space gets: there are no bytes in it but those of its fields, as others
/// would be what happens to lie on the kernel's stack.
pub(crate) trait Output: IntoBytes {}

impl<T: IntoBytes> Output for T {}

/// Checks that a driver's view of an argument fits into the buffer of the DRM core.
const fn check_view<Arg, View>() {
    assert!(!needs_drop::<View>());
    assert!(size_of::<View>() <= size_of::<Arg>());
    // The buffer may lie on the stack. All drivers have 64-bit words in it.
    assert!(align_of::<View>() <= align_of::<u64>());
}

/// Calls a driver's function for an argument that is a structure that goes to the kernel and back.
/// Used by [`drm_ioctls!`].
///
/// # Safety
///
/// The pointers must be those that the DRM core calls an ioctl of the driver `D` with. The ioctl's
/// code must have been made from `Arg`.
pub(crate) unsafe fn call_iowr<D: Driver, Arg, View: Input + Output>(
    dev: *mut bindings::drm_device,
    data: *mut ffi::c_void,
    file: *mut bindings::drm_file,
    flags: u32,
    handler: fn(&Device<D>, &mut View, &File<D>) -> Result<u32>,
) -> ffi::c_int {
    // SAFETY: By the requirements of this function.
    unsafe { call_iow::<D, Arg, View>(dev, data, file, flags, handler) }
}

/// Calls a driver's function for an argument that is a structure that goes to the kernel. Used by
/// [`drm_ioctls!`].
///
/// # Safety
///
/// As for [`call_iowr`]. If the argument goes back, too, `View` must be [`Output`].
pub(crate) unsafe fn call_iow<D: Driver, Arg, View: Input>(
    dev: *mut bindings::drm_device,
    data: *mut ffi::c_void,
    file: *mut bindings::drm_file,
    flags: u32,
    handler: fn(&Device<D>, &mut View, &File<D>) -> Result<u32>,
) -> ffi::c_int {
    const {
        check_view::<Arg, View>();
        assert!(size_of::<View>() == size_of::<Arg>());
    }

    // SAFETY: The core keeps the open file, and by it the device, during the ioctl.
    let (dev, file) = unsafe { (Device::<D>::from_raw(dev), File::<D>::from_raw(file)) };
    let Ok(_section) = section(dev, flags) else {
        return ENODEV.to_errno();
    };

    // SAFETY: The core gives us a buffer of at least the size in the ioctl's code, which nobody
    // else uses, filled with what user space gave or zeroes. That is a `View`, as any bytes are,
    // and it was checked to fit.
    match handler(dev, unsafe { &mut *data.cast() }, file) {
        Ok(value) => ffi::c_int::try_from(value).unwrap_or(ERANGE.to_errno()),
        Err(e) => e.to_errno(),
    }
}

/// Calls a driver's function for an argument that is a union of input and output. Used by
/// [`drm_ioctls!`].
///
/// # Safety
///
/// As for [`call_iowr`].
pub(crate) unsafe fn call_union<D: Driver, Arg, In: Input, Out: Output>(
    dev: *mut bindings::drm_device,
    data: *mut ffi::c_void,
    file: *mut bindings::drm_file,
    flags: u32,
    handler: fn(&Device<D>, &In, &File<D>) -> Result<Out>,
) -> ffi::c_int {
    const {
        check_view::<Arg, In>();
        check_view::<Arg, Out>();
    }

    // SAFETY: As in `call_iow`.
    let (dev, file) = unsafe { (Device::<D>::from_raw(dev), File::<D>::from_raw(file)) };
    let Ok(_section) = section(dev, flags) else {
        return ENODEV.to_errno();
    };

    // SAFETY: As in `call_iow`; the union has room for it.
    let input = unsafe { data.cast::<In>().read() };
    match handler(dev, &input, file) {
        Ok(output) => {
            // SAFETY: As in `call_iow`; the union has room for it.
            unsafe { data.cast::<Out>().write(output) };
            0
        }
        Err(e) => e.to_errno(),
    }
}

/// Makes a driver's table of ioctls.
///
/// The driver comes first. Each entry then has the direction of the argument, the name of the
/// number within the driver's range, the type of the argument, flags, and a function. Names and
/// types are looked up in `crate::bindings`. The type of the argument determines the ioctl's code.
/// What the function gets must be [`Input`], as user space chooses every bit of it. What goes back
/// to user space must be [`Output`].
///
/// * For a structure: `fn(&Device<D>, &mut Arg, &File<D>) -> Result<u32>`, where the number is the
///   ioctl's return value (usually 0).
/// * For a structure, given as `Arg as (View)`, where the function gets a type of the driver's own
///   with that layout: `fn(&Device<D>, &mut View, &File<D>) -> Result<u32>`.
/// * For a union, given as `Arg: In => Out`: `fn(&Device<D>, &In, &File<D>) -> Result<Out>`. On
///   failure the argument is unchanged.
///
/// The function runs within a section of [`Device::enter`], unless the flags contain [`OUTSIDE`].
/// An unplugged device returns `ENODEV`.
macro_rules! drm_ioctls {
    ($driver:ty; $((
        $direction:ident, $number:ident,
        $arg:ident $(as ($view:ty))? $(: $in:ident => $out:ident)?,
        $flags:expr, $handler:expr $(,)?
    )),* $(,)?) => {
        const {
            #[allow(unused_imports, reason = "a table names some of the flags")]
            use $crate::abstractions::drm::ioctl::{
                self,
                Direction,
                AUTH,
                MASTER,
                OUTSIDE,
                RENDER_ALLOW, //
            };

            const LEN: usize = ioctl::table_len(&[$($crate::bindings::$number),*]);
            const TABLE: [ioctl::Descriptor<$driver>; LEN] = ioctl::table([$({
                /// Calls the driver's function.
                ///
                /// # Safety
                ///
                /// Must only be called by the DRM core, as the driver's ioctl.
                unsafe extern "C" fn callback(
                    dev: *mut $crate::bindings::drm_device,
                    data: *mut ::kernel::ffi::c_void,
                    file: *mut $crate::bindings::drm_file,
                ) -> ::kernel::ffi::c_int {
                    // The driver's expressions are evaluated here, outside of the unsafe block.
                    let flags = $flags;
                    let handler = $handler;
                    // SAFETY: This function is in a table of the driver only, with the code made
                    // from the argument's type. By its direction, this is the function for it.
                    unsafe {
                        $crate::abstractions::drm::ioctl::drm_ioctls!(
                            @call $direction $driver, $arg $(as ($view))? $(: $in => $out)?,
                            dev, data, file, flags, handler
                        )
                    }
                }

                let flags = $flags;
                // SAFETY: See above.
                unsafe {
                    ioctl::Descriptor::<$driver>::new::<$crate::bindings::$arg>(
                        Direction::$direction,
                        $crate::bindings::$number,
                        flags,
                        ::kernel::c_str!(::core::stringify!($number)),
                        callback,
                    )
                }
            }),*]);
            &TABLE
        }
    };
    (
        @call $direction:ident $driver:ty, $arg:ident,
        $dev:ident, $data:ident, $file:ident, $flags:ident, $handler:ident
    ) => {
        $crate::abstractions::drm::ioctl::drm_ioctls!(
            @call $direction $driver, $arg as ($crate::bindings::$arg),
            $dev, $data, $file, $flags, $handler
        )
    };
    (
        @call IOW $driver:ty, $arg:ident as ($view:ty),
        $dev:ident, $data:ident, $file:ident, $flags:ident, $handler:ident
    ) => {
        $crate::abstractions::drm::ioctl::call_iow::<$driver, $crate::bindings::$arg, $view>(
            $dev, $data, $file, $flags, $handler,
        )
    };
    (
        @call IOWR $driver:ty, $arg:ident as ($view:ty),
        $dev:ident, $data:ident, $file:ident, $flags:ident, $handler:ident
    ) => {
        $crate::abstractions::drm::ioctl::call_iowr::<$driver, $crate::bindings::$arg, $view>(
            $dev, $data, $file, $flags, $handler,
        )
    };
    (
        @call IOWR $driver:ty, $arg:ident: $in:ident => $out:ident,
        $dev:ident, $data:ident, $file:ident, $flags:ident, $handler:ident
    ) => {
        $crate::abstractions::drm::ioctl::call_union::<
            $driver,
            $crate::bindings::$arg,
            $crate::bindings::$in,
            $crate::bindings::$out,
        >($dev, $data, $file, $flags, $handler)
    };
}
pub(crate) use drm_ioctls;

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_drm_ioctl)]
mod tests {
    use super::*;

    /// A placeholder driver: these tables are never given to the DRM core.
    struct Nobody;

    /// A structure of whose bytes nobody has said anything. Four belong to no field.
    #[expect(dead_code, reason = "only what it is counts")]
    #[repr(C)]
    struct Unproved {
        _wide: u64,
        _narrow: u32,
    }

    // What user space may not write, or not see, is no argument: this is ambiguous if it is one.
    const _: fn() = || {
        trait AmbiguousIfInput<A> {
            fn check() {}
        }
        impl<T> AmbiguousIfInput<()> for T {}
        struct Written;
        impl<T: Input> AmbiguousIfInput<Written> for T {}

        trait AmbiguousIfOutput<A> {
            fn check() {}
        }
        impl<T> AmbiguousIfOutput<()> for T {}
        struct Seen;
        impl<T: Output> AmbiguousIfOutput<Seen> for T {}

        let _ = <bool as AmbiguousIfInput<_>>::check;
        let _ = <&'static u64 as AmbiguousIfInput<_>>::check;
        let _ = <Unproved as AmbiguousIfInput<_>>::check;
        let _ = <&'static u64 as AmbiguousIfOutput<_>>::check;
        let _ = <Unproved as AmbiguousIfOutput<_>>::check;
    };

    unsafe extern "C" fn func(
        _dev: *mut bindings::drm_device,
        _data: *mut ffi::c_void,
        _file: *mut bindings::drm_file,
    ) -> ffi::c_int {
        0
    }

    const fn entry<Arg>(direction: Direction, number: u32, flags: u32) -> Descriptor<Nobody> {
        // SAFETY: `func` makes no use of its arguments.
        unsafe { Descriptor::new::<Arg>(direction, number, flags, c"test", func) }
    }

    #[test]
    fn entries_are_where_their_number_says() {
        const NUMBERS: &[u32] = &[3, 0];
        const LEN: usize = table_len(NUMBERS);
        const TABLE: [Descriptor<Nobody>; LEN] = table([
            entry::<[u64; 3]>(Direction::IOWR, NUMBERS[0], AUTH | RENDER_ALLOW),
            entry::<u32>(Direction::IOW, NUMBERS[1], RENDER_ALLOW),
        ]);

        assert_eq!(TABLE.len(), 4);
        assert!(TABLE[1].0.func.is_none() && TABLE[2].0.func.is_none());

        // Direction, size, type `d`, number: drivers' numbers begin at 0x40.
        assert_eq!(TABLE[0].0.cmd, 0x4004_6440);
        assert_eq!(TABLE[0].0.flags, RENDER_ALLOW);
        assert_eq!(TABLE[3].0.cmd, 0xc018_6443);
        assert_eq!(TABLE[3].0.flags, AUTH | RENDER_ALLOW);
        assert!(TABLE[3].0.func.is_some());
    }

    #[test]
    fn no_entries_no_table() {
        assert_eq!(table_len(&[]), 0);
        assert_eq!(table_len(&[5]), 6);
    }
}
