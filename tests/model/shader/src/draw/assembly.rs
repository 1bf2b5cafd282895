// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Vertices into primitives (VGT): indices, instances, the order of strips and fans.

use super::{
    Call,
    Indices,
    registers::*, //
};
use crate::{
    bus::Bus,
    memory::{
        Memory,
        Path, //
    },
    stop::Stop, //
};

/// Types of primitives that are implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Triangles,
    Fan,
    Strip,
    Rectangles,
    Quads,
}

impl Kind {
    /// From VGT_PRIMITIVE_TYPE.
    pub fn new(primitive: u32) -> Result<Kind, Stop> {
        Ok(match primitive & 0x3f {
            4 => Kind::Triangles,
            5 => Kind::Fan,
            6 => Kind::Strip,
            17 => Kind::Rectangles,
            19 => Kind::Quads,
            other => {
                let name = match other {
                    1 => "points",
                    2 | 3 | 18 => "lines",
                    9..=12 => "patches",
                    _ => "type",
                };
                return Err(Stop::illegal(format!(
                    "VGT_PRIMITIVE_TYPE {other} ({name}) is not implemented"
                )));
            }
        })
    }
}

/// Three vertices by index, and which of them gives flat parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Primitive {
    pub vertices: [u32; 3],
    pub provoking: usize,
    pub number: u32,
}

/// The primitives of a draw, in order.
pub struct Assembly {
    kind: Kind,
    call: Call,
    /// PROVOKING_VTX_LAST.
    last_provokes: bool,
    reset: Option<u32>,
    limits: (u32, u32, u32),
    pub instance: u32,
    /// The next index, and the primitives of this instance so far.
    position: u32,
    number: u32,
    /// Vertices since the strip or fan began, and the last of them.
    seen: u32,
    kept: [u32; 3],
    /// The second half of a quad.
    second: Option<Primitive>,
}

impl Assembly {
    /// Nothing of the draw assembled.
    pub fn new(r: &Registers, call: Call) -> Result<Assembly, Stop> {
        let reset =
            r.get(VGT_MULTI_PRIM_IB_RESET_EN) & 1 != 0 && call.indices != Indices::Automatic;
        Ok(Assembly {
            kind: Kind::new(r.primitive)?,
            call,
            last_provokes: r.get(PA_SU_SC_MODE_CNTL) & 1 << 19 != 0,
            reset: reset.then(|| r.get(RESET_INDX)),
            limits: (r.get(VGT_MIN_VTX_INDX), r.get(VGT_MAX_VTX_INDX), r.get(VGT_INDX_OFFSET)),
            instance: 0,
            position: 0,
            number: 0,
            seen: 0,
            kept: [0; 3],
            second: None,
        })
    }

    /// Primitives are rectangles.
    pub fn rectangles(&self) -> bool {
        self.kind == Kind::Rectangles
    }

    /// Goes on to the next instance, if there is one.
    pub fn next_instance(&mut self) -> bool {
        self.instance += 1;
        (self.position, self.number, self.seen) = (0, 0, 0);
        self.instance < self.call.instances.max(1)
    }

    /// All indices of this instance have been looked at.
    pub fn ended(&self) -> bool {
        self.position >= self.call.count && self.second.is_none()
    }

    /// The next primitive of this instance. Indices that make none cost time, as there may be many.
    pub fn next<M: Memory + ?Sized>(
        &mut self,
        bus: &mut Bus<'_, M>,
        left: &mut u64,
    ) -> Result<Option<Primitive>, Stop> {
        if let Some(second) = self.second.take() {
            return Ok(Some(second));
        }
        while self.position < self.call.count && *left > 0 {
            let raw = self.raw_index(bus)?;
            self.position += 1;
            if self.reset == Some(raw) {
                self.seen = 0;
                *left -= 1;
                continue;
            }
            let (least, most, offset) = self.limits;
            let index = raw.wrapping_add(offset).max(least).min(most);
            if let Some(primitive) = self.vertex(index) {
                return Ok(Some(primitive));
            }
        }
        Ok(None)
    }

    /// Indices go past the second level of the caches on this generation.
    fn raw_index<M: Memory + ?Sized>(&self, bus: &mut Bus<'_, M>) -> Result<u32, Stop> {
        let n = u64::from(self.position);
        match self.call.indices {
            Indices::Automatic => Ok(self.position),
            // Beyond the buffer indices are 0.
            Indices::Short { most, .. } | Indices::Long { most, .. } if n >= u64::from(most) => {
                Ok(0)
            }
            Indices::Short { base, .. } => {
                let mut bytes = [0; 2];
                bus.read(Path::Target, base + 2 * n, &mut bytes)?;
                Ok(u16::from_le_bytes(bytes).into())
            }
            Indices::Long { base, .. } => bus.word(Path::Target, base + 4 * n),
        }
    }

    /// Takes a vertex; it may be the last of a primitive.
    fn vertex(&mut self, index: u32) -> Option<Primitive> {
        let n = self.seen;
        self.seen += 1;
        let [a, b, c] = self.kept;
        let first = if self.last_provokes { 2 } else { 0 };
        let (vertices, provoking) = match self.kind {
            Kind::Triangles | Kind::Rectangles => {
                self.kept[n as usize % 3] = index;
                if n % 3 != 2 {
                    return None;
                }
                ([a, b, index], first)
            }
            Kind::Fan => {
                self.kept[n.min(1) as usize] = index;
                if n < 2 {
                    return None;
                }
                // The center provokes nothing.
                ([a, b, index], if self.last_provokes { 2 } else { 1 })
            }
            Kind::Strip => {
                self.kept = [b, c, index];
                if n < 2 {
                    return None;
                }
                // Each second one is turned, so that all face the same way.
                match (n % 2, self.last_provokes) {
                    (0, _) => ([b, c, index], first),
                    (_, true) => ([c, b, index], 2),
                    (_, false) => ([b, index, c], 0),
                }
            }
            Kind::Quads => {
                if n % 4 != 3 {
                    self.kept[n as usize % 4] = index;
                    return None;
                }
                // The same vertex provokes both halves.
                let provoking = if self.last_provokes { 2 } else { 0 };
                let half = |vertices| Primitive { vertices, provoking, number: self.number };
                self.second =
                    Some(half(if self.last_provokes { [b, c, index] } else { [a, c, index] }));
                (if self.last_provokes { [a, b, index] } else { [a, b, c] }, provoking)
            }
        };
        self.number += 1;
        Some(Primitive { vertices, provoking, number: self.number - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Flat;

    fn all(
        primitive: u32,
        last_provokes: bool,
        indices: &[u32],
        reset: bool,
    ) -> Vec<([u32; 3], usize)> {
        let mut memory = Flat::default();
        memory.put_words(0x1000, indices);
        let mut r =
            Registers { context: Box::new([0; 0x400]), shader: Box::new([0; 0x200]), primitive };
        r.context[(VGT_MAX_VTX_INDX - 0xa000) as usize] = !0;
        r.context[(PA_SU_SC_MODE_CNTL - 0xa000) as usize] = u32::from(last_provokes) << 19;
        r.context[(VGT_MULTI_PRIM_IB_RESET_EN - 0xa000) as usize] = reset.into();
        r.context[(RESET_INDX - 0xa000) as usize] = !0;
        let most = indices.len() as u32;
        let call =
            Call { count: most, instances: 1, indices: Indices::Long { base: 0x1000, most } };
        let mut assembly = Assembly::new(&r, call).unwrap();
        let mut bus = Bus::new(&mut memory);
        std::iter::from_fn(|| assembly.next(&mut bus, &mut 1000).unwrap())
            .map(|p| (p.vertices, p.provoking))
            .collect()
    }

    #[test]
    fn strips_turn_and_begin_anew() {
        assert_eq!(all(4, false, &[7, 8, 9, 1, 2, 3, 4], false), [([7, 8, 9], 0), ([1, 2, 3], 0)]);
        assert_eq!(all(6, false, &[0, 1, 2, 3], false), [([0, 1, 2], 0), ([1, 3, 2], 0)]);
        assert_eq!(all(6, true, &[0, 1, 2, 3], false), [([0, 1, 2], 2), ([2, 1, 3], 2)]);
        assert_eq!(all(6, true, &[0, 1, 2, !0, 3, 4, 5], true), [([0, 1, 2], 2), ([3, 4, 5], 2)]);
        assert_eq!(all(5, false, &[0, 1, 2, 3], false), [([0, 1, 2], 1), ([0, 2, 3], 1)]);
        assert_eq!(all(19, true, &[0, 1, 2, 3], false), [([0, 1, 3], 2), ([1, 2, 3], 2)]);
        assert!(Kind::new(2).unwrap_err().what.contains("lines"));
    }
}
