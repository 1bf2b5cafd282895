// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A Vulkan device, and a queue of each kind that computes.

use std::{
    ffi::CStr,
    fmt, //
};

use ash::{
    Entry,
    Instance,
    ext,
    vk, //
};

/// Why something could not be done: what was asked, and Vulkan's answer.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Says in words what was asked when Vulkan refuses it.
pub fn asked<T>(what: &str, answer: std::result::Result<T, vk::Result>) -> Result<T> {
    answer.map_err(|e| format!("{what}: {e:?}"))
}

/// A queue, and the family that it is of.
pub struct Queue {
    /// Its name here.
    pub name: &'static str,
    /// Family, for command pools.
    pub family: u32,
    /// Bits of a timestamp.
    pub timestamp_bits: u32,
    /// The queue.
    pub handle: vk::Queue,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A device with its queues. What is made on it borrows it, and so is gone before it.
pub struct Gpu {
    /// The device's name.
    pub name: String,
    /// Nanoseconds of a tick of its clock.
    pub tick_ns: f64,
    /// The device's functions.
    pub device: ash::Device,
    /// Functions for user memory.
    pub host_memory: ext::external_memory_host::Device,
    /// A queue of each kind.
    pub queues: Vec<Queue>,
    memory: vk::PhysicalDeviceMemoryProperties,
    instance: Instance,
    // Last: the library, in which the functions lie.
    _entry: Entry,
}

impl Gpu {
    /// Opens the first device with `word` in its name.
    ///
    /// # Errors
    ///
    /// In words: no Vulkan, no such device, or one that lacks what is needed.
    pub fn open(word: &str) -> Result<Self> {
        // SAFETY: the loader's initializers do nothing that Rust could mind.
        let entry = unsafe { Entry::load() }.map_err(|e| format!("the Vulkan loader: {e}"))?;
        let about = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
        let info = vk::InstanceCreateInfo::default().application_info(&about);
        // SAFETY: `info` and what it refers to live until the call returns.
        let instance = asked("an instance", unsafe { entry.create_instance(&info, None) })?;
        match Self::on(entry, instance.clone(), word) {
            Ok(gpu) => Ok(gpu),
            Err(why) => {
                // SAFETY: nothing was made of this instance that is still there.
                unsafe { instance.destroy_instance(None) };
                Err(why)
            }
        }
    }

    fn on(entry: Entry, instance: Instance, word: &str) -> Result<Self> {
        // SAFETY: of a valid instance; so below, with devices that it named.
        let devices = unsafe { instance.enumerate_physical_devices() };
        let mut seen = Vec::new();
        for physical in asked("the devices", devices)? {
            // SAFETY: as above.
            let properties = unsafe { instance.get_physical_device_properties(physical) };
            let name = properties.device_name_as_c_str().map_or("?".into(), CStr::to_string_lossy);
            if name.contains(word) {
                let tick_ns = f64::from(properties.limits.timestamp_period);
                return Self::with(entry, instance, physical, name.into_owned(), tick_ns);
            }
            seen.push(name.into_owned());
        }
        Err(format!("no device has '{word}' in its name: {seen:?}"))
    }

    fn with(
        entry: Entry,
        instance: Instance,
        physical: vk::PhysicalDevice,
        name: String,
        tick_ns: f64,
    ) -> Result<Self> {
        // SAFETY: of a valid instance, with a device that it named; so for the next.
        let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
        // SAFETY: as above.
        let memory = unsafe { instance.get_physical_device_memory_properties(physical) };
        let kinds = kinds_of(&families);
        let priority = [1.0];
        let wanted: Vec<_> = kinds
            .iter()
            .map(|&(_, family)| {
                let info = vk::DeviceQueueCreateInfo::default().queue_family_index(family);
                info.queue_priorities(&priority)
            })
            .collect();
        let extensions = [ext::external_memory_host::NAME.as_ptr()];
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&wanted)
            .enabled_extension_names(&extensions);
        // SAFETY: `info` and what it refers to live until the call returns.
        let device = unsafe { instance.create_device(physical, &info, None) };
        let device = asked(&format!("{name}: a device with user memory"), device)?;
        let queue = |&(name, family): &(&'static str, u32)| {
            let properties = &families[family as usize];
            Queue {
                name,
                family,
                timestamp_bits: properties.timestamp_valid_bits,
                // SAFETY: one queue of this family was asked for.
                handle: unsafe { device.get_device_queue(family, 0) },
            }
        };
        let queues = kinds.iter().map(queue).collect();
        let host_memory = ext::external_memory_host::Device::new(&instance, &device);
        Ok(Self { name, tick_ns, device, host_memory, queues, memory, instance, _entry: entry })
    }

    /// The first type of memory among `allowed` (a bit each) that has all of `flags`.
    ///
    /// # Errors
    ///
    /// In words, if there is none.
    pub fn memory_type(&self, allowed: u32, flags: vk::MemoryPropertyFlags) -> Result<u32> {
        (0..self.memory.memory_type_count)
            .zip(self.memory.memory_types)
            .find(|(n, kind)| allowed >> n & 1 != 0 && kind.property_flags.contains(flags))
            .map(|(n, _)| n)
            .ok_or_else(|| format!("no type of memory in {allowed:#x} is {flags:?}"))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: all that was made on the device borrowed it and is gone; a device without work
        // may be destroyed, then its instance.
        unsafe {
            // What failed before has no bearing on what is destroyed here.
            let _ = self.device.device_wait_idle();
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// The families that compute: the one that draws too, and the first that does not.
fn kinds_of(families: &[vk::QueueFamilyProperties]) -> Vec<(&'static str, u32)> {
    let first = |draws: bool| {
        (0..).zip(families).find(|(_, family)| {
            let flags = family.queue_flags;
            flags.contains(vk::QueueFlags::COMPUTE)
                && flags.contains(vk::QueueFlags::GRAPHICS) == draws
        })
    };
    let named = [("graphics", first(true)), ("compute", first(false))];
    named.into_iter().filter_map(|(name, found)| Some((name, found?.0))).collect()
}
