// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A test driver on a device without hardware, and tests of the promise of this folder's types: no
//! sequence of safe calls breaks memory safety.

use super::{
    Attachment,
    Budget,
    Buffer,
    Caching,
    Ctx,
    Device,
    Driver,
    DriverObject,
    Flags,
    Kind,
    MemType,
    Move,
    Moved,
    Object,
    PageSource,
    Place,
    Placement,
    Reserved,
    Resource,
    ResourceManager,
    ResourceRequest,
    Setup,
    Spec, //
};
use crate::{
    abstractions::{
        dma_fence::Interruptible,
        drm::{
            self,
            device::{
                device_as_raw,
                Allocation,
                Base, //
            },
            DriverInfo,
            Features,
            UnregisteredDevice, //
        },
        mm::hmm::Pfn, //
    },
    bindings, //
};
use core::cell::Cell;
use kernel::{
    device::Bound,
    faux,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    workqueue, //
};

/// A DRM driver that cannot be opened.
struct TestDriver;

/// Its operations for TTM.
struct TestTtm;

#[pin_data]
struct TestData {
    #[pin]
    ttm: Device<TestTtm>,
    /// The device that the driver answers with while it is fickle.
    #[pin]
    another: Device<TestTtm>,
    is_fickle: Atomic<bool>,
}

impl TestData {
    fn new(base: &Base) -> impl PinInit<Self, Error> + '_ {
        Self::with(base, |_| Ok(()))
    }

    /// Returns data with the kinds of memory that `setup` adds.
    fn with<'a>(
        base: &'a Base,
        setup: impl FnOnce(&mut Setup<'_, TestTtm>) -> Result + 'a,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            ttm <- Device::new(base, Flags::NONE, setup),
            another <- Device::new(base, Flags::NONE, |_| Ok(())),
            is_fickle: Atomic::new(false),
        }? Error)
    }
}

/// Action of the driver when an object moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMove {
    /// Takes the new place at once.
    InPlace,
    /// Takes the new place at once, and then returns an error.
    InPlaceThenFail,
    /// Tries to discard the contents first.
    Discard,
}

struct TestBo {
    page_source: PageSource,
    on_move: OnMove,
}

impl TestBo {
    const PLAIN: Self = Self {
        page_source: PageSource::Pages(Caching::Cached),
        on_move: OnMove::InPlace,
    };
    const USER: Self = Self {
        page_source: PageSource::UserWrite,
        on_move: OnMove::InPlace,
    };

    const fn on_move(on_move: OnMove) -> Self {
        Self {
            on_move,
            ..Self::PLAIN
        }
    }
}

#[vtable]
impl drm::Driver for TestDriver {
    type Data = TestData;
    type File = ();
    type Object = Object<TestBo>;

    const INFO: DriverInfo = DriverInfo {
        major: 1,
        minor: 0,
        patchlevel: 0,
        name: c"ttm_test",
        desc: c"tests of TTM's abstraction",
    };
    const FEATURES: Features = Features::GEM;
    const IOCTLS: &'static [drm::ioctl::Descriptor<Self>] = &[];

    fn open(_dev: &drm::Device<Self>) -> Result<Pin<KBox<()>>> {
        Err(ENODEV)
    }
}

#[vtable]
impl Driver for TestTtm {
    type Drm = TestDriver;
    type Bo = TestBo;

    fn device(drm: &drm::Device<TestDriver>) -> &Device<Self> {
        if drm.is_fickle.load(Relaxed) {
            &drm.another
        } else {
            &drm.ttm
        }
    }

    fn evict(_bo: &Buffer<TestBo>, _from: Resource<'_, Self>) -> Placement {
        Placement::NOWHERE
    }

    fn move_(mv: Move<'_, Self>) -> Result<Moved> {
        let bo = mv.buffer();
        match bo.on_move {
            OnMove::InPlace => mv.in_place(),
            OnMove::InPlaceThenFail => {
                mv.in_place()?;
                Err(EIO)
            }
            OnMove::Discard => {
                if let Some(reserved) = bo.reserved(mv.held()) {
                    reserved.discard(&mut Ctx::new(Interruptible::No))?;
                }
                mv.in_place()
            }
        }
    }
}

#[vtable]
impl DriverObject for TestBo {
    type Driver = TestTtm;

    fn page_source(&self) -> PageSource {
        self.page_source
    }

    fn imported(_drm: &drm::Device<TestDriver>, _size: usize) -> Result<impl PinInit<Self, Error>> {
        Err::<Result<Self>, _>(EOPNOTSUPP)
    }
}

/// A manager that records on drop whether TTM could still find it.
struct Probe {
    /// Set by the test before the device goes away.
    ttm: Atomic<usize>,
    found: Arc<Atomic<bool>>,
}

impl ResourceManager for Probe {
    type Allocation = ();

    const USES_TT: bool = true;

    fn alloc(&self, _request: ResourceRequest<'_>) -> Result<((), u64)> {
        Ok(((), 0))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let raw = self.ttm.load(Relaxed) as *const bindings::ttm_device;
        if !raw.is_null() {
            // SAFETY: The test put the address of the device there, which is being dropped. An
            // entry of a list that was removed points nowhere.
            let next = unsafe { (*raw).device_list.next };
            self.found
                .store(!next.is_null() && next as usize >> 48 == 0xffff, Relaxed);
        }
    }
}

/// A kind of memory that the processor cannot reach.
struct Hidden;

impl ResourceManager for Hidden {
    type Allocation = ();

    const USES_TT: bool = false;

    fn alloc(&self, _request: ResourceRequest<'_>) -> Result<((), u64)> {
        Ok(((), 0))
    }
}

/// A device without hardware, with the driver's device on it.
struct Fixture {
    attachment: Option<Attachment<TestTtm>>,
    drm: UnregisteredDevice<TestDriver>,
    found: Arc<Atomic<bool>>,
    parent: faux::Registration,
}

const PROBED: MemType = MemType::private(0);

impl Fixture {
    fn new() -> Result<Self> {
        Self::named(c"ttm-test")
    }

    /// Makes a fixture. Two at a time need two names.
    fn named(name: &'static CStr) -> Result<Self> {
        let parent = faux::Registration::new(name, None)?;
        let dev: &kernel::device::Device<Bound> = parent.as_ref().as_ref();
        // SAFETY: Nobody does DMA with the device yet.
        unsafe { bindings::rust_ext_dma_coerce_mask(device_as_raw(dev)) };

        let found = Arc::new(Atomic::new(true), GFP_KERNEL)?;
        let probe = Probe {
            ttm: Atomic::new(0),
            found: found.clone(),
        };
        let allocation = Allocation::<TestDriver>::new(dev)?;
        let base: &Base = allocation.base();
        let drm = allocation.init(TestData::with(base, move |setup| {
            setup.add(MemType::TT, 1 << 30, Ok(Budget::new(1 << 30)))?;
            setup.add(MemType::VRAM, 1 << 30, Ok(Hidden))?;
            setup.add(PROBED, 1 << 30, Ok(probe))
        }))?;
        Ok(Self {
            attachment: None,
            drm,
            found,
            parent,
        })
    }

    fn attached() -> Result<Self> {
        let mut this = Self::new()?;
        this.attach()?;
        Ok(this)
    }

    fn attach(&mut self) -> Result {
        let dev = self.parent.as_ref().as_ref();
        self.attachment = Some(Attachment::new(dev, &self.drm)?);
        Ok(())
    }

    fn object(&self, data: TestBo, mem_type: MemType) -> Result<ARef<Object<TestBo>>> {
        self.sized(data, mem_type, 4 * PAGE_SIZE)
    }

    fn sized(&self, data: TestBo, mem_type: MemType, size: usize) -> Result<ARef<Object<TestBo>>> {
        Object::new(
            &self.drm,
            Spec {
                size,
                align: 0,
                kind: Kind::Device,
                placement: &Placement::new(&[Place::new(mem_type)]),
                share: None,
            },
            &mut ctx(),
            Ok::<_, Error>(data),
        )
    }
}

fn ctx() -> Ctx {
    Ctx::new(Interruptible::No)
}

fn place(mem_type: MemType) -> Placement {
    Placement::new(&[Place::new(mem_type)])
}

// A device that may have no references cannot be referenced again: this is ambiguous if it can.
const _: fn() = || {
    trait AmbiguousIfCounted<A> {
        fn check() {}
    }
    impl<T: ?Sized> AmbiguousIfCounted<()> for T {}
    struct Counted;
    impl<T: ?Sized + AlwaysRefCounted> AmbiguousIfCounted<Counted> for T {}

    let _ = <drm::Device<TestDriver> as AmbiguousIfCounted<_>>::check;
    let _ = <Buffer<TestBo> as AmbiguousIfCounted<_>>::check;
};

// What only the caller can know to be true has to be promised: this is ambiguous if a safe function
// does it.
const _: fn() = || {
    trait AmbiguousIfSafe<A> {
        fn check(&self) {}
    }
    impl<F> AmbiguousIfSafe<()> for F {}
    struct Set;
    impl<F> AmbiguousIfSafe<Set> for F where
        F: Fn(&Reserved<'static, TestBo>, &[Pfn], &mut Ctx) -> Result
    {
    }
    struct Mark;
    impl<F: Fn(&Reserved<'static, TestBo>)> AmbiguousIfSafe<Mark> for F {}

    AmbiguousIfSafe::check(&Reserved::<'static, TestBo>::set_user_pages);
    AmbiguousIfSafe::check(&Reserved::<'static, TestBo>::mark_user_pages_dirty);
};

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(rust_ttm)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_there_while_attached_only() -> Result {
        let mut fixture = Fixture::new()?;
        let bo = fixture.object(TestBo::PLAIN, MemType::SYSTEM)?;
        let populate = || bo.lock(Interruptible::No)?.reserved().populate(&mut ctx());

        assert_eq!(populate(), Err(ENODEV));
        fixture.attach()?;
        assert_eq!(populate(), Ok(()));
        assert!(bo.lock(Interruptible::No)?.reserved().is_populated());

        fixture.attachment = None;
        let lock = bo.lock(Interruptible::No)?;
        assert!(!lock.reserved().is_populated());
        assert!(lock.reserved().dma_address(0).is_none());
        // The object lies nowhere now.
        assert_eq!(lock.reserved().populate(&mut ctx()), Err(ENXIO));
        assert_eq!(
            lock.reserved().validate(&place(MemType::TT), &mut ctx()),
            Err(ENODEV)
        );
        Ok(())
    }

    #[test]
    fn the_attachment_is_made_once() -> Result {
        let mut fixture = Fixture::attached()?;
        assert_eq!(fixture.attach(), Err(EBUSY));
        fixture.attachment = None;
        assert_eq!(fixture.attach(), Err(EBUSY));

        let other = faux::Registration::new(c"ttm-test-other", None)?;
        let fresh = Fixture::named(c"ttm-test-fresh")?;
        let wrong = Attachment::<TestTtm>::new(other.as_ref().as_ref(), &fresh.drm);
        assert_eq!(wrong.err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn a_leaked_attachment_ends_with_the_binding() -> Result {
        let mut fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::PLAIN, MemType::TT)?;
        bo.lock(Interruptible::No)?
            .reserved()
            .populate(&mut ctx())?;

        // Dropped only after the parent is unbound, as if it had been leaked.
        let leaked = fixture.attachment.take();
        let Fixture { drm, parent, .. } = fixture;
        drop(parent);
        let populated = bo.lock(Interruptible::No)?.reserved().is_populated();
        assert!(!populated);
        drop(leaked);
        drop(bo);
        drop(drm);
        Ok(())
    }

    #[test]
    fn the_attachment_that_ends_is_the_one_that_began() -> Result {
        let mut fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::PLAIN, MemType::TT)?;
        bo.lock(Interruptible::No)?
            .reserved()
            .populate(&mut ctx())?;

        fixture.drm.is_fickle.store(true, Relaxed);
        fixture.attachment = None;
        fixture.drm.is_fickle.store(false, Relaxed);
        let lock = bo.lock(Interruptible::No)?;
        assert!(!lock.reserved().is_populated());
        assert_eq!(
            lock.reserved().validate(&place(MemType::TT), &mut ctx()),
            Err(ENODEV)
        );
        Ok(())
    }

    #[test]
    fn the_kernel_maps_nothing_afterwards() -> Result {
        let mut fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::PLAIN, MemType::TT)?;
        bo.lock(Interruptible::No)?
            .reserved()
            .map(0..1)?
            .write(0, &[1])?;
        fixture.attachment = None;

        let again = fixture.object(TestBo::PLAIN, MemType::SYSTEM)?;
        let lock = again.lock(Interruptible::No)?;
        assert_eq!(lock.reserved().map(0..1).err(), Some(ENODEV));
        Ok(())
    }

    #[test]
    fn a_move_that_was_done_counts() -> Result {
        let fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::on_move(OnMove::InPlaceThenFail), MemType::TT)?;
        let lock = bo.lock(Interruptible::No)?;
        assert_eq!(lock.reserved().mem_type(), Some(MemType::TT));
        lock.reserved()
            .validate(&place(MemType::SYSTEM), &mut ctx())?;
        assert_eq!(lock.reserved().mem_type(), Some(MemType::SYSTEM));
        Ok(())
    }

    #[test]
    fn a_move_cannot_be_interfered_with() -> Result {
        let fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::on_move(OnMove::Discard), MemType::TT)?;
        let lock = bo.lock(Interruptible::No)?;
        lock.reserved()
            .validate(&place(MemType::SYSTEM), &mut ctx())?;
        assert_eq!(lock.reserved().mem_type(), Some(MemType::SYSTEM));
        // Afterward everything is as before.
        assert!(bo.reserved(lock.reserved().held()).is_some());
        Ok(())
    }

    #[test]
    fn user_pages_are_not_for_the_processor() -> Result {
        let fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::USER, MemType::SYSTEM)?;
        // SAFETY: The object is refused before the mapping is looked at.
        let ret = unsafe { Object::<TestBo>::mmap_callback(bo.gem(), core::ptr::null_mut()) };
        assert_eq!(ret, EPERM.to_errno());

        let lock = bo.lock(Interruptible::No)?;
        assert_eq!(lock.reserved().map(0..1).err(), Some(EINVAL));
        // SAFETY: There is no page that anybody could access.
        let set = |pages: &[Pfn]| unsafe { lock.reserved().set_user_pages(pages, &mut ctx()) };
        assert_eq!(set(&[Pfn::NONE; 3]), Err(EINVAL));
        assert_eq!(set(&[Pfn::NONE; 4]), Err(EFAULT));
        assert_eq!(lock.reserved().populate(&mut ctx()), Err(EFAULT));
        Ok(())
    }

    #[test]
    fn a_tree_of_data_is_waited_for() -> Result {
        let parent = faux::Registration::new(c"ttm-test", None)?;
        let allocation = Allocation::<TestDriver>::new(parent.as_ref().as_ref())?;
        let ttm = KBox::pin_init(
            Device::<TestTtm>::new(allocation.base(), Flags::NONE, |_| Ok(())),
            GFP_KERNEL,
        )?;
        // The tree is dropped later than the allocation, whose memory it points to.
        workqueue::system().try_spawn(GFP_KERNEL, move || {
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(100));
            drop(ttm);
        })?;
        drop(allocation);
        Ok(())
    }

    #[test]
    fn an_initializer_cannot_begin_again() -> Result {
        let parent = faux::Registration::new(c"ttm-test", None)?;
        let allocation = &Allocation::<TestDriver>::new(parent.as_ref().as_ref())?;
        let again = || allocation.init(TestData::new(allocation.base())).err();
        let (within, again) = (&Cell::new(None), &again);
        let drm = allocation.init(try_pin_init!(TestData {
            _: { within.set(again()) },
            ttm <- Device::new(allocation.base(), Flags::NONE, |_| Ok(())),
            another <- Device::new(allocation.base(), Flags::NONE, |_| Ok(())),
            is_fickle: Atomic::new(false),
        }? Error))?;
        assert_eq!(within.get(), Some(EBUSY));
        assert_eq!(again(), Some(EBUSY));
        drop(drm);
        Ok(())
    }

    #[test]
    fn what_lies_nowhere_is_not_mapped() -> Result {
        let fixture = Fixture::attached()?;
        let bo = fixture.object(TestBo::PLAIN, MemType::TT)?;
        let lock = bo.lock(Interruptible::No)?;
        lock.reserved().discard(&mut ctx())?;
        assert_eq!(lock.reserved().map(0..1).err(), Some(ENXIO));

        // Memory that the processor cannot reach is not mapped either.
        lock.reserved()
            .validate(&place(MemType::VRAM), &mut ctx())?;
        assert_eq!(lock.reserved().map(0..1).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn sharing_makes_no_chain() -> Result {
        let fixture = Fixture::attached()?;
        let first = fixture.object(TestBo::PLAIN, MemType::SYSTEM)?;
        let mut last = first.clone();
        for _ in 0..1000 {
            let next = {
                let lock = last.lock(Interruptible::No)?;
                let reserved = lock.reserved();
                Object::new(
                    &fixture.drm,
                    Spec {
                        size: PAGE_SIZE,
                        align: 0,
                        kind: Kind::Kernel,
                        placement: &place(MemType::SYSTEM),
                        share: Some(&reserved),
                    },
                    &mut ctx(),
                    Ok::<_, Error>(TestBo::PLAIN),
                )?
            };
            last = next;
            assert!(last
                .share()
                .is_some_and(|owner| core::ptr::eq(&**owner, &*first)));
        }
        Ok(())
    }

    #[test]
    fn sizes_that_c_cannot_count_are_refused() -> Result {
        let fixture = Fixture::attached()?;
        for size in [1 << 43, (1 << 44) + PAGE_SIZE, usize::MAX - (PAGE_SIZE - 1)] {
            let refused = fixture.sized(TestBo::PLAIN, MemType::SYSTEM, size);
            assert!(refused.is_err_and(|e| e == EINVAL));
        }
        Ok(())
    }

    #[test]
    fn managers_go_after_ttm_forgot_the_device() -> Result {
        let fixture = Fixture::attached()?;
        let found = fixture.found.clone();
        let ttm = &fixture.drm.ttm;
        let probe = ttm.manager::<Probe>(PROBED).ok_or(EINVAL)?;
        probe.ttm.store(ttm.as_raw() as usize, Relaxed);
        drop(fixture);
        assert!(!found.load(Relaxed));
        Ok(())
    }
}
