#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Pictures by unmodified Mesa: radeonsi on the shader core, beside llvmpipe.

    draw.py SHIM NOOP-SHIM [PICTURE...]

SHIM is libshim.so (`cargo build --release -p amdgpu-shader --example shim`), NOOP-SHIM is
libamdgpu_noop_drm_shim.so of Debian's mesa-drm-shim. Each picture is drawn twice, in processes of their
own, by OpenGL ES 2 without a window. A pixel may differ by one step of its 8 bits. A line for each picture;
the status is 0 if all are alike.
"""

import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

SIZE = 256

VERTEX = """
attribute vec4 p; attribute vec4 c; varying vec4 v;
void main() { gl_Position = p; v = c; }
"""
PIXEL = """
precision mediump float; varying vec4 v;
void main() { gl_FragColor = v; }
"""
TEXTURED = """
precision mediump float; varying vec4 v; uniform sampler2D t;
void main() { if (gl_FragCoord.x > 150.0) discard; gl_FragColor = texture2D(t, v.xy); }
"""

RED, GREEN, BLUE, YELLOW, CYAN, PINK = (
    [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 1])
TRIANGLE = [[-0.9, -0.9, 0, 1], [0.9, -0.7, 0, 1], [0, 0.9, 0, 1]]
# With other W at each vertex, through each other, and one behind the eye.
CROSSING = [[-0.9, -0.9, 0.5, 1], [0.9, -0.7, -0.5, 1], [0, 0.9, 0, 1],
            [-0.8, 0.8, -0.6, 1.5], [0.9, 0.6, 0.4, 1], [0.1, -0.95, 0.1, 2]]
BEHIND = [[-0.5, -0.9, 0.2, 1], [0.7, -0.9, 0.2, 1], [0.3, 3.0, -2.0, -0.4]]

# Name: positions, colors, and what is on: depth, blend, texture.
PICTURES = {
    "clear": ([], [], ""),
    "triangle": (TRIANGLE, [RED, GREEN, BLUE], ""),
    "blend": (TRIANGLE, [[1, 0, 0, 0.5], [0, 1, 0, 0.7], [0, 0, 1, 0.2]], "blend"),
    "depth": (CROSSING, [RED, GREEN, BLUE, YELLOW, CYAN, PINK], "depth"),
    "clip": (BEHIND, [RED, GREEN, BLUE], "depth"),
    "texture": (TRIANGLE, [[0, 0, 0, 0], [1, 0, 0, 0], [0.3, 1, 0, 0]], "texture"),
}


class Gles:
    """A context of OpenGL ES 2 with no surface, and a framebuffer in it."""

    def __init__(self, depth):
        egl = ctypes.CDLL("libEGL.so.1")
        self.gl = ctypes.CDLL("libGLESv2.so.2")
        for name in ("eglGetPlatformDisplay", "eglCreateContext"):
            getattr(egl, name).restype = ctypes.c_void_p
        surfaceless, es_api, version, none = 0x31DD, 0x30A0, 0x3098, 0x3038
        display = ctypes.c_void_p(egl.eglGetPlatformDisplay(surfaceless, None, None))
        if not egl.eglInitialize(display, None, None):
            sys.exit("draw.py: eglInitialize failed")
        egl.eglBindAPI(es_api)
        context = egl.eglCreateContext(display, None, None, (ctypes.c_int * 3)(version, 2, none))
        egl.eglMakeCurrent(display, None, None, ctypes.c_void_p(context))
        self.gl.glGetString.restype = ctypes.c_char_p
        self.renderer = self.gl.glGetString(0x1F01).decode()
        self.texture([])
        framebuffer, color, depth_buffer = 0x8D40, 0x8CE0, 0x8D00
        self.gl.glBindFramebuffer(framebuffer, self.new("glGenFramebuffers"))
        self.gl.glFramebufferTexture2D(framebuffer, color, 0xDE1, self.target, 0)
        if depth:
            renderbuffer = self.new("glGenRenderbuffers")
            self.gl.glBindRenderbuffer(0x8D41, renderbuffer)
            self.gl.glRenderbufferStorage(0x8D41, 0x81A5, SIZE, SIZE)
            self.gl.glFramebufferRenderbuffer(framebuffer, depth_buffer, 0x8D41, renderbuffer)
        self.gl.glViewport(0, 0, SIZE, SIZE)

    def new(self, generator):
        name = ctypes.c_uint()
        getattr(self.gl, generator)(1, ctypes.byref(name))
        return name

    def texture(self, texels):
        """The target if there are no texels; else an image of 64 by 64 of them."""
        name, size = self.new("glGenTextures"), 64 if texels else SIZE
        data = (ctypes.c_ubyte * len(texels))(*texels) if texels else None
        self.gl.glBindTexture(0xDE1, name)
        self.gl.glTexImage2D(0xDE1, 0, 0x1908, size, size, 0, 0x1908, 0x1401, data)
        for parameter in (0x2800, 0x2801):
            self.gl.glTexParameteri(0xDE1, parameter, 0x2601 if texels else 0x2600)
        for parameter in (0x2802, 0x2803):
            self.gl.glTexParameteri(0xDE1, parameter, 0x812F)
        if not texels:
            self.target = name

    def program(self, pixel):
        program = self.gl.glCreateProgram()
        for kind, text in ((0x8B31, VERTEX), (0x8B30, pixel)):
            shader = self.gl.glCreateShader(kind)
            source = ctypes.c_char_p(text.encode())
            self.gl.glShaderSource(shader, 1, ctypes.byref(source), None)
            self.gl.glCompileShader(shader)
            self.gl.glAttachShader(program, shader)
        self.gl.glBindAttribLocation(program, 0, b"p")
        self.gl.glBindAttribLocation(program, 1, b"c")
        self.gl.glLinkProgram(program)
        self.gl.glUseProgram(program)

    def attribute(self, number, vectors):
        flat = [value for vector in vectors for value in vector]
        data = (ctypes.c_float * len(flat))(*flat)
        self.gl.glVertexAttribPointer(number, 4, 0x1406, 0, 0, data)
        self.gl.glEnableVertexAttribArray(number)
        return data


def draw(name, file):
    positions, colors, on = PICTURES[name]
    gles = Gles("depth" in on)
    gl, number = gles.gl, ctypes.c_float
    gl.glClearColor(number(0.2), number(0.4), number(0.6), number(1))
    gl.glClear(0x4000 | (0x100 if "depth" in on else 0))
    if positions:
        gles.program(TEXTURED if on == "texture" else PIXEL)
        if on == "depth":
            gl.glEnable(0xB71)
        if on == "blend":
            gl.glEnable(0xBE2)
            gl.glBlendFunc(0x302, 0x303)
        if on == "texture":
            gles.texture([(x * 4, y * 4, (x + y) * 2, 255)[n] for y in range(64) for x in range(64) for n in range(4)])
        kept = gles.attribute(0, positions), gles.attribute(1, colors)
        gl.glDrawArrays(4, 0, len(positions))
        del kept
    pixels = (ctypes.c_ubyte * (4 * SIZE * SIZE))()
    gl.glReadPixels(0, 0, SIZE, SIZE, 0x1908, 0x1401, pixels)
    if gl.glGetError():
        sys.exit("draw.py: OpenGL has an error")
    pathlib.Path(file).write_bytes(gles.renderer.encode() + b"\n" + bytes(pixels))


def drawn(name, folder, environment):
    """The renderer and the pixels of a picture that a process of its own draws."""
    file = pathlib.Path(folder) / "picture"
    subprocess.run([sys.executable, __file__, "--draw", name, file], check=True, env={**os.environ, **environment})
    renderer, pixels = file.read_bytes().split(b"\n", 1)
    return renderer.decode(), pixels


def judge(name, shims):
    cache = {"MESA_SHADER_CACHE_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        ours, seen = drawn(name, folder, {"LD_PRELOAD": ":".join(shims), "AMDGPU_GPU_ID": "bonaire", **cache})
        other, wanted = drawn(name, folder, {"LIBGL_ALWAYS_SOFTWARE": "1", "GALLIUM_DRIVER": "llvmpipe", **cache})
    if "radeonsi" not in ours or "llvmpipe" not in other:
        return f"drawn by {ours} and {other}"
    if len(set(wanted[n:n + 4] for n in range(0, len(wanted), 4))) < (2 if PICTURES[name][0] else 1):
        return "llvmpipe has drawn nothing"
    wrong = [n // 4 for n, (a, b) in enumerate(zip(seen, wanted)) if abs(a - b) > 1]
    if wrong:
        x, y = wrong[0] % SIZE, wrong[0] // SIZE
        at = slice(4 * wrong[0], 4 * wrong[0] + 4)
        return f"{len(set(wrong))} pixels differ, the first at {x}, {y}: {list(seen[at])}, llvmpipe {list(wanted[at])}"
    return None


def main():
    if sys.argv[1:2] == ["--draw"]:
        return draw(*sys.argv[2:])
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    failed = False
    for name in sys.argv[3:] or PICTURES:
        wrong = judge(name, sys.argv[1:3])
        failed |= wrong is not None
        print(f"not ok {name}: {wrong}" if wrong else f"ok {name}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
