// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The start of a case: a file on which everything is as it should be.

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    drm::{
        self,
        Driver,
        Node, //
    },
    engine::Engine,
    mem::UserMem,
    num::u64_of,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        BoList,
        BoListEntry,
        Chunk,
        ChunkIb, //
    }, //
};

use crate::case::{
    Failure,
    Outcome,
    Setup,
    expect, //
};

/// One page, in bytes.
pub const PAGE64: u64 = u64_of(PAGE);

/// The engine of the cases that are about none in particular.
pub const ENGINE: Engine = Engine::Dma(0);

/// A handle that no file here ever gets.
pub const NO_HANDLE: u32 = 0x7fff_fff0;

/// A whole session, and the node to open more.
pub struct Rig<'a> {
    /// The node.
    pub node: &'a Node,
    /// File, context, command buffer, a page of data.
    pub session: Session,
}

impl<'a> Rig<'a> {
    /// A fresh one.
    pub fn new(node: &'a Node) -> Result<Self> {
        Ok(Self { node, session: Session::open(node)? })
    }

    /// Its file.
    pub const fn file(&self) -> &drm::File {
        &self.session.file
    }

    /// A GTT BO of `pages`.
    pub fn gtt(&self, pages: u64) -> std::result::Result<u32, Failure> {
        self.file().gem_create(pages * PAGE64, uapi::DOMAIN_GTT, 0).setup("GTT BO")
    }

    /// The handles that a submission needs.
    pub const fn handles(&self) -> [u32; 2] {
        [self.session.ib.handle, self.session.data.handle]
    }

    /// Submits chunks as they are and waits for the job, if there is one.
    pub fn submit(&self, list: u32, chunks: &[Chunk<'_>]) -> Outcome {
        /// So often the C driver may bounce a submission because user memory changed.
        const TRIES: usize = 100;
        let mut answer = self.file().cs(self.session.ctx, list, chunks);
        if self.node.driver == Driver::Reference {
            for _ in 1..TRIES {
                if answer != Err(Errno(libc::EAGAIN)) {
                    break;
                }
                answer = self.file().cs(self.session.ctx, list, chunks);
            }
        }
        self.finish(ENGINE, answer?)
    }

    /// Waits for a job that was accepted.
    pub fn finish(&self, engine: Engine, seq: u64) -> Outcome {
        let done =
            self.session.wait(engine, seq, PATIENCE_MS).setup("WAIT_CS of an accepted job")?;
        expect(done, || format!("accepted, but not done after {PATIENCE_MS} ms"))
    }

    /// A submission in which the IB chunk was changed.
    pub fn submit_ib(&self, engine: Engine, change: impl FnOnce(&mut ChunkIb)) -> Outcome {
        let mut ib = [self.session.nop_ib(engine)];
        change(&mut ib[0]);
        let entries = drm::list_entries(&self.handles());
        let list = [drm::list_request(&entries)];
        let chunks = [handles_chunk(&list), ib_chunk(&ib)];
        let seq = self.file().cs(self.session.ctx, 0, &chunks)?;
        self.finish(engine, seq)
    }

    /// A submission in which the BO_HANDLES chunk was changed.
    pub fn submit_list(&self, change: impl FnOnce(&mut BoList<'_>)) -> Outcome {
        let entries = drm::list_entries(&self.handles());
        self.submit_entries(&entries, change)
    }

    /// A submission with these entries in its BO_HANDLES chunk.
    pub fn submit_entries(
        &self,
        entries: &[BoListEntry],
        change: impl FnOnce(&mut BoList<'_>),
    ) -> Outcome {
        let mut list = [drm::list_request(entries)];
        change(&mut list[0]);
        let ib = [self.session.nop_ib(ENGINE)];
        self.submit(0, &[handles_chunk(&list), ib_chunk(&ib)])
    }

    /// A submission that names one more BO.
    pub fn submit_naming(&self, handle: u32) -> Outcome {
        let [ib, data] = self.handles();
        self.submit_entries(&drm::list_entries(&[ib, data, handle]), |_| ())
    }

    /// A submission with one more chunk at its end.
    pub fn submit_extra(&self, extra: &[Chunk<'_>]) -> Outcome {
        let entries = drm::list_entries(&self.handles());
        let list = [drm::list_request(&entries)];
        let ib = [self.session.nop_ib(ENGINE)];
        let mut chunks = vec![handles_chunk(&list), ib_chunk(&ib)];
        chunks.extend_from_slice(extra);
        self.submit(0, &chunks)
    }

    /// Anonymous memory, every page of it touched.
    pub fn memory(&self, pages: usize) -> std::result::Result<UserMem, Failure> {
        let mut mem = UserMem::anonymous(pages).setup("anonymous memory")?;
        for page in 0..pages {
            mem.write_page(page, &[0x11; PAGE]);
        }
        Ok(mem)
    }
}

/// A BO_HANDLES chunk.
pub fn handles_chunk<'a>(list: &'a [BoList<'a>; 1]) -> Chunk<'a> {
    Chunk::of(uapi::CHUNK_ID_BO_HANDLES, list)
}

/// An IB chunk.
pub fn ib_chunk(ib: &[ChunkIb; 1]) -> Chunk<'_> {
    Chunk::of(uapi::CHUNK_ID_IB, ib)
}
