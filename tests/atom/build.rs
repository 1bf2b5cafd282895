// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Builds the oracle: the C driver's interpreter, from the kernel's source (KERNEL_SOURCE), with
//! `oracle/shim.h` in the place of the kernel.

use std::{
    env,
    fs,
    path::{
        Path,
        PathBuf, //
    },
    process::Command, //
};

fn main() {
    println!("cargo:rerun-if-env-changed=KERNEL_SOURCE");
    println!("cargo:rerun-if-changed=oracle");
    let source = env::var("KERNEL_SOURCE").expect("KERNEL_SOURCE is not set: scripts/test atom");
    let amd = Path::new(&source).join("drivers/gpu/drm/amd");
    let out = PathBuf::from(env::var("OUT_DIR").expect("OUT_DIR"));
    let headers = out.join("headers");
    for file in ["amdgpu/atom.c", "amdgpu/atom.h"] {
        empty_headers(&amd.join(file), &headers);
    }
    let object = out.join("oracle.o");
    let status = Command::new("cc")
        // Without optimization a shift by 32 or more, which C does not define, stays what the
        // processor makes of it; and so does what is not initialized become zero.
        .args(["-O0", "-g", "-std=gnu11", "-w", "-ftrivial-auto-var-init=zero", "-fPIC"])
        // Headers that the shim stands for.
        .args(["-D__AMDGPU_H__", "-DATOM_BITS_H", "-include", "oracle/shim.h"])
        .arg("-I")
        .arg(&headers)
        .arg("-I")
        .arg(amd.join("include"))
        .arg("-I")
        .arg(amd.join("amdgpu"))
        .arg(format!("-DATOM_C=\"{}\"", amd.join("amdgpu/atom.c").display()))
        .args(["-c", "oracle/oracle.c", "-o"])
        .arg(&object)
        .status()
        .expect("cc");
    assert!(status.success(), "the oracle does not build");
    println!("cargo:rustc-link-arg={}", object.display());
}

/// Makes an empty header for each of the kernel's own that a file includes.
fn empty_headers(file: &Path, into: &Path) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("#include <") else { continue };
        let header = into.join(rest.trim_end().trim_end_matches('>'));
        fs::create_dir_all(header.parent().expect("a folder")).expect("folder for headers");
        fs::write(header, "").expect("header");
    }
}
