// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The report of a first boot: what a person needs who looks for the reason why a card does not
//! work, in lines of `key=value`.
//!
//! A report outlives its card: it stays in debugfs (`amdgpu_rs/first-boot/`, by PCI slot) when the
//! probe fails, which is when it is read. The next probe of the same card replaces it.

use core::fmt::Write;

use kernel::{
    debugfs,
    device,
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// Text that grows.
pub(crate) struct Text(KVec<u8>);

impl Text {
    /// Creates an empty text.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Returns the text, without the end of the last line.
    pub(crate) fn as_str(&self) -> &str {
        // Only whole strings are added, so this does not fail.
        core::str::from_utf8(&self.0).unwrap_or("").trim_end()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0
            .extend_from_slice(text.as_bytes(), GFP_KERNEL)
            .map_err(|_| core::fmt::Error)
    }
}

/// Set if each line is logged as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    Silent,
    Aloud,
}

/// The report of one card.
#[pin_data]
pub(crate) struct Report {
    dev: ARef<device::Device>,
    volume: Volume,
    /// Set when the card came up.
    complete: AtomicFlag,
    #[pin]
    text: Mutex<Text>,
}

impl Report {
    fn new(dev: &device::Device, volume: Volume) -> impl PinInit<Self> + '_ {
        pin_init!(Self {
            dev: dev.into(),
            volume,
            complete: AtomicFlag::new(false),
            text <- new_mutex!(Text::new(), "Report::text"),
        })
    }

    /// Adds a line. One that there is no memory for is lost.
    pub(crate) fn say(&self, key: fmt::Arguments<'_>, value: fmt::Arguments<'_>) {
        if self.volume == Volume::Aloud {
            dev_info!(self.dev, "first-boot {key}={value}\n");
        }
        let _ = writeln!(self.text.lock(), "{key}={value}");
    }

    /// Called when the card came up.
    pub(crate) fn complete(&self) {
        self.say(fmt!("result"), fmt!("up"));
        self.complete.store(true, Relaxed);
    }
}

/// Format in which debugfs shows a report.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.lock().as_str())
    }
}

/// A guard of a probe that is under way. If the card does not come up, its report is logged.
pub(crate) struct Probing(Arc<Report>);

impl core::ops::Deref for Probing {
    type Target = Arc<Report>;

    fn deref(&self) -> &Arc<Report> {
        &self.0
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        let report = &self.0;
        if report.complete.load(Relaxed) {
            return;
        }
        report.say(fmt!("result"), fmt!("failed"));
        if report.volume == Volume::Silent {
            let text = report.text.lock();
            for line in text.as_str().split('\n') {
                dev_info!(report.dev, "first-boot {line}\n");
            }
        }
    }
}

/// The reports of all cards, in debugfs.
#[pin_data]
pub(crate) struct Reports {
    dir: debugfs::Dir,
    #[pin]
    files: Mutex<KVec<(CString, File)>>,
}

type File = Pin<KBox<debugfs::File<Arc<Report>>>>;

impl Reports {
    /// Creates the directory of the reports in `parent`.
    pub(crate) fn new(parent: &debugfs::Dir) -> impl PinInit<Self> + '_ {
        pin_init!(Self {
            dir: parent.subdir(c"first-boot"),
            files <- new_mutex!(KVec::new(), "Reports::files"),
        })
    }

    /// Begins the report of a card, in place of its last one.
    pub(crate) fn begin(&self, dev: &device::Device, volume: Volume) -> Result<Probing> {
        let report = Arc::pin_init(Report::new(dev, volume), GFP_KERNEL)?;
        let name = CString::try_from(dev.name())?;
        let mut files = self.files.lock();
        // A file goes before another of its name comes.
        files.retain(|(other, _)| **other != *name);
        let data = Ok::<_, Error>(report.clone());
        let file = KBox::pin_init(self.dir.read_only_file(&name, data), GFP_KERNEL)?;
        files.push((name, file), GFP_KERNEL)?;
        Ok(Probing(report))
    }
}
