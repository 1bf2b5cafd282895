// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Makes SPIR-V of each shader in `shaders/`.

use std::{
    error::Error,
    fs,
    path::Path, //
};

use naga::{
    back::spv,
    front::wgsl,
    valid::{
        Capabilities,
        ValidationFlags,
        Validator, //
    }, //
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=shaders");
    let out = std::env::var("OUT_DIR")?;
    for file in fs::read_dir("shaders")? {
        let path = file?.path();
        let words = assemble(&fs::read_to_string(&path)?)
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        let name = path.file_stem().ok_or("a shader without a name")?;
        fs::write(Path::new(&out).join(name).with_extension("spv"), bytes)?;
    }
    Ok(())
}

/// The words of one shader, checked by naga's own validator.
fn assemble(source: &str) -> Result<Vec<u32>, Box<dyn Error>> {
    let module = wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    // Version 1.0, which any Vulkan takes.
    let options = spv::Options { lang_version: (1, 0), ..spv::Options::default() };
    Ok(spv::write_vec(&module, &info, &options, None)?)
}
