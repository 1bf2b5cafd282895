// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tracepoints that the C side of this module defines with `TRACE_EVENT`.
//!
//! The kernel crate's `declare_trace!` looks for tracepoints among its own bindings, which do not
//! have those of a module. This macro looks among ours. The functions that it makes are safe, as
//! they take only numbers.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

/// A valid argument of a tracepoint.
///
/// # Safety
///
/// A value refers to nothing: whatever it is, a tracepoint may copy it.
pub(crate) unsafe trait Number: Copy {}

// SAFETY: A truth value.
unsafe impl Number for bool {}
// SAFETY: A number.
unsafe impl Number for i32 {}
// SAFETY: A number.
unsafe impl Number for u32 {}
// SAFETY: A number.
unsafe impl Number for u64 {}

/// Makes one function that emits each tracepoint, and one that returns true while it is enabled.
///
/// While the tracepoint is disabled, each function costs one no-op instruction. The C file must
/// define `CREATE_RUST_TRACE_POINTS`, and the argument types must be those of `TP_PROTO`.
macro_rules! declare_tracepoints {
    ($(
        $(#[$attr:meta])*
        $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?);
    )*) => {$(
        kernel::macros::paste! {
            $(#[$attr])*
            #[inline(always)]
            $vis fn $name($($arg: $type),*) {
                const fn is_number<T: $crate::abstractions::tracepoint::Number>() {}
                const { $( is_number::<$type>(); )* }

                if [<$name _enabled>]() {
                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: A tracepoint may be called anywhere, and by the requirement of
                    // `Number` it may copy its arguments. It follows no pointer.
                    unsafe {
                        $crate::bindings::[<rust_do_trace_ $name>]($($arg),*)
                    };
                    #[cfg(not(CONFIG_TRACEPOINTS))]
                    { $( let _ = $arg; )* }
                }
            }

            /// Returns true while the tracepoint is enabled.
            #[inline(always)]
            #[allow(dead_code, reason = "a driver asks only where its arguments cost something")]
            $vis fn [<$name _enabled>]() -> bool {
                #[cfg(CONFIG_TRACEPOINTS)]
                // SAFETY: The key is that of a tracepoint that the C side defines.
                return unsafe {
                    kernel::jump_label::static_branch_unlikely!(
                        $crate::bindings::[<__tracepoint_ $name>],
                        $crate::bindings::tracepoint,
                        key
                    )
                };
                #[cfg(not(CONFIG_TRACEPOINTS))]
                false
            }
        }
    )*};
}

pub(crate) use declare_tracepoints;
