# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Each kind of difference is found, and only an explanation that fits makes it good."""

import unittest

from accesses import BringUp, between_marks
from compare import Difference, Explanation, differences, judge, merge
from same import streams


def w(reg: str, val: int, by: str = "host") -> dict:
    return {"k": "w", "reg": reg, "val": hex(val), "by": by}


def r(reg: str, val: int = 0) -> dict:
    return {"k": "r", "reg": reg, "val": hex(val), "by": "host"}


def found(c: list[dict], ours: list[dict]) -> list[tuple[str, str]]:
    return [(d.key, d.kind) for d in differences(BringUp(c), BringUp(ours))]


class Same(unittest.TestCase):
    """Two bring-ups of one driver, of which nothing is explained away."""

    def test_polls_and_interleaving_are_no_difference(self):
        a = [w("GB_ADDR_CONFIG", 1), r("SRBM_STATUS", 1), r("SRBM_STATUS"), w("SQ_CONFIG", 1), w("DB_DEBUG", 2, "gfx")]
        b = [w("DB_DEBUG", 2, "gfx"), w("GB_ADDR_CONFIG", 1), r("SRBM_STATUS"), w("SQ_CONFIG", 1)]
        self.assertEqual(streams(a), streams(b))

    def test_order_and_values_are(self):
        a, b = w("SQ_CONFIG", 1), w("DB_DEBUG", 2)
        self.assertNotEqual(streams([a, b]), streams([b, a]))
        self.assertNotEqual(streams([a]), streams([w("SQ_CONFIG", 0)]))
        self.assertNotEqual(streams([a]), streams([a, a]))
        self.assertNotEqual(streams([r("SRBM_STATUS", 1)]), streams([r("SRBM_STATUS")]))

    def test_pages_may_have_other_addresses(self):
        def faults(page0: int, page1: int) -> dict:
            names = [f"VM_CONTEXT{n}_PROTECTION_FAULT_DEFAULT_ADDR" for n in range(2)]
            return streams([w(names[0], page0), w(names[1], page1)])

        self.assertEqual(faults(5, 5), faults(7, 7))
        self.assertNotEqual(faults(5, 5), faults(7, 8))


def job(ring: str, commands: list[str]) -> list[dict]:
    """A submission, of 'OP header dwords', or of 'REGISTER := value' where the command before wrote it."""
    events = []
    for text in commands:
        name, *rest = text.split()
        if rest[0] == ":=":
            events.append(w(name, int(rest[1], 16), ring) | {"job": True})
        else:
            events.append({"k": "pkt", "eng": ring, "op": name, "dw": rest, "job": True})
    return events


class Jobs(unittest.TestCase):
    FLUSH = [
        "WRITE_DATA c0033700 40000000 00000556 00000000 0f43fda0", "VM_CONTEXT7_PAGE_TABLE_BASE_ADDR := f43fda0",
        "WRITE_DATA c0033700 40000000 0000051e 00000000 00000080", "VM_INVALIDATE_REQUEST := 80",
    ]
    BUFFER = ["INDIRECT_BUFFER c0023f00 01000000 00000000 07000008"]
    FENCE = ["EVENT_WRITE_EOP c0044700 00030514 00001080 220000ff 00000003 00000000"]

    def test_addresses_numbers_and_vmids_say_nothing(self):
        other = [
            "WRITE_DATA c0033700 40000000 00000550 00000000 0f43fdc0", "VM_CONTEXT1_PAGE_TABLE_BASE_ADDR := f43fdc0",
            "WRITE_DATA c0033700 40000000 0000051e 00000000 00000002", "VM_INVALIDATE_REQUEST := 2",
            "INDIRECT_BUFFER c0023f00 02000000 00000001 01000008",
            "EVENT_WRITE_EOP c0044700 00030514 0001a000 220000ff 00000009 00000000",
        ]
        self.assertEqual(found(job("gfx", self.FLUSH + self.BUFFER + self.FENCE), job("gfx", other)), [])
        poll = "POLL_REG_MEM 34000008 000054e0 000054dc {0:08x} {0:08x} 0fff000a"
        dma = ["INDIRECT_BUFFER 00010004 01000000 00000000 00000008", "TRAP 00000006"]
        self.assertEqual(found(job("sdma0", [poll.format(0x400), *dma]), job("sdma1", [poll.format(0x800), *dma])), [])

    def test_what_a_fence_flushes_does(self):
        weak = ["EVENT_WRITE_EOP c0044700 00000514 00001080 220000ff 00000003 00000000"]
        kinds = found(job("gfx", self.BUFFER + self.FENCE), job("gfx", self.BUFFER + weak))
        self.assertEqual([kind for _, kind in kinds], ["extra", "missing"])

    def test_order_within_a_submission(self):
        late = job("gfx", self.BUFFER + self.FLUSH + self.FENCE)
        kinds = found(job("gfx", self.FLUSH + self.BUFFER + self.FENCE), late)
        self.assertTrue(kinds and all(kind == "order" for _, kind in kinds))

    def test_jobs_of_the_kernel_do_not_count(self):
        tables = ["GENERATE_PTE_PDE 0000000c 3fda0000 000000f4 0 0 0 0 0 0 400", "TRAP 00000006"]
        self.assertEqual(found(job("sdma0", tables), []), [])


class Kinds(unittest.TestCase):
    def test_alike(self):
        events = [w("IH_RB_CNTL", 0), w("IH_RB_BASE", 5), r("IH_RB_CNTL"), w("IH_RB_CNTL", 1), r("SRBM_STATUS")]
        self.assertEqual(found(events, events), [])

    def test_one_does_not_write(self):
        self.assertEqual(found([w("IH_CNTL", 1)], []), [("IH_CNTL", "missing")])
        self.assertEqual(found([], [w("IH_CNTL", 1)]), [("IH_CNTL", "extra")])

    def test_other_values(self):
        self.assertEqual(found([w("IH_CNTL", 1)], [w("IH_CNTL", 2)]), [("IH_CNTL", "value")])
        pulse = [w("GRBM_SOFT_RESET", 4), w("GRBM_SOFT_RESET", 0)]
        self.assertEqual(found(pulse, pulse[1:]), [("GRBM_SOFT_RESET", "steps")])

    def test_reads(self):
        self.assertEqual(found([r("SRBM_STATUS")] * 3, []), [("SRBM_STATUS", "unread")])
        self.assertEqual(found([], [r("SRBM_STATUS")]), [("SRBM_STATUS", "read")])

    def test_a_change_is_no_poll(self):
        change = [r("IH_CNTL", 4), w("IH_CNTL", 5)]
        self.assertEqual(found(change, change[1:]), [])

    def test_order_within_a_block(self):
        base, size, other = w("IH_RB_BASE", 1), w("IH_RB_CNTL", 1), w("IH_RB_RPTR", 0)
        self.assertEqual(found([base, size, other], [size, other, base]), [("IH_RB_BASE", "order")])
        # Blocks may come in any order.
        self.assertEqual(found([base, w("CP_ME_CNTL", 0)], [w("CP_ME_CNTL", 0), base]), [])

    def test_the_last_write_counts_too(self):
        base, off, on = w("IH_RB_BASE", 1), w("IH_RB_CNTL", 0), w("IH_RB_CNTL", 1)
        self.assertEqual([k for _, k in found([off, base, on], [off, on, base])], ["order"])

    def test_banks(self):
        def queue(n: int) -> dict:
            return w("SRBM_GFX_CNTL", 1 << 2 | n << 8)

        c = [queue(0), w("CP_HQD_ACTIVE", 1), queue(1), w("CP_HQD_ACTIVE", 1)]
        self.assertEqual(found(c, [*c[:2], queue(1)]), [("CP_HQD_ACTIVE@queue1.0.1", "missing")])

    def test_broadcast_reaches_each_engine(self):
        broadcast = [w("GRBM_GFX_INDEX", 0xE000_0000), w("PA_SC_RASTER_CONFIG", 5)]
        each = [e for n in (0, 1) for e in (w("GRBM_GFX_INDEX", n << 16), w("PA_SC_RASTER_CONFIG", 5))]
        each.append(w("GRBM_GFX_INDEX", 0xE000_0000))
        self.assertEqual(found(broadcast, each), [])
        four = differences(BringUp(broadcast, shader_engines=4), BringUp(each, shader_engines=4))
        self.assertEqual([d.key for d in four], ["PA_SC_RASTER_CONFIG@se2", "PA_SC_RASTER_CONFIG@se3"])

    def test_microcode(self):
        code = [w("RLC_GPM_UCODE_DATA", n) for n in range(5)]
        self.assertEqual(found(code, code), [])
        self.assertEqual(found(code, [code[1], code[0], *code[2:]]), [("RLC_GPM_UCODE_DATA", "value")])

    def test_what_a_ring_writes(self):
        self.assertEqual(found([w("VGT_X", 1, "gfx")], [w("VGT_X", 2, "gfx")]), [("gfx> VGT_X", "value")])
        packet = {"k": "pkt", "eng": "gfx", "vmid": 0, "at": "0x0", "op": "CLEAR_STATE", "dw": ["c0001200", "00000000"]}
        self.assertEqual(found([packet], []), [("gfx> CLEAR_STATE", "missing")])


    def test_descriptors_in_memory(self):
        def starts(*dwords: str) -> dict:
            return {"k": "mqd", "queue": "1.0.3", "dw": list(dwords)}

        good = starts("c0310800", "00000000")
        self.assertEqual(found([good], [good]), [])
        self.assertEqual(found([good], []), [("MQD dword 0@queue1.0.3", "missing"), ("MQD dword 1@queue1.0.3", "missing")])
        self.assertEqual(found([good], [starts("00000000", "00000000")]), [("MQD dword 0@queue1.0.3", "value")])
        # What counts is how a queue was started last.
        self.assertEqual(found([good], [starts("1", "2"), good]), [])


class Explanations(unittest.TestCase):
    def test_what_fits(self):
        d = Difference("IH_RB_CNTL", "value", "0x1d", "0x19")
        self.assertEqual(judge([d], [Explanation(["IH_RB_*"], "value", "why", c="0x1d", ours="0x19")]), [])

    def test_nothing_is_left_over(self):
        d = Difference("IH_RB_CNTL", "value", "0x1d", "0x19")
        self.assertEqual(len(judge([d], [])), 1)
        for e in [
            Explanation(["IH_CNTL"], "value", "another register", address=True),
            Explanation(["IH_RB_CNTL"], "steps", "another kind"),
            Explanation(["IH_RB_CNTL"], "value", "another value", c="0x1d", ours="0x1b"),
        ]:
            self.assertEqual(len(judge([d], [e])), 2)

    def test_a_value_is_named(self):
        with self.assertRaises(SystemExit):
            Explanation(["IH_RB_CNTL"], "value", "why")
        with self.assertRaises(SystemExit):
            Explanation(["IH_RB_CNTL"], "because", "why")

    def test_banks(self):
        def wrong(pattern: str) -> int:
            d = Difference("SH_MEM_BASES@vmid9", "missing")
            return len(judge([d], [Explanation([pattern], "missing", "why")]))

        for pattern in ("SH_MEM_BASES", "SH_MEM_BASES@vmid9", "SH_*"):
            self.assertEqual(wrong(pattern), 0)
        self.assertEqual(wrong("SH_MEM_BASES@vmid1"), 2)


class Page(unittest.TestCase):
    def test_a_difference_of_one_chip_says_so(self):
        def rows(*chips: str) -> list[str]:
            return merge([Difference("IH_CNTL", "extra", "", "0x1", chip) for chip in chips], {"Bonaire", "Hawaii"})

        self.assertEqual(len(rows("Bonaire", "Hawaii")), 1)
        self.assertNotIn("(", rows("Bonaire", "Hawaii")[0])
        self.assertIn("(Hawaii)", rows("Hawaii")[0])

    def test_more_banks_are_no_difference(self):
        found = [Difference("X@se0", "unread", chip="Bonaire"), Difference("X@se0", "unread", chip="Hawaii"),
                 Difference("X@se1", "unread", chip="Hawaii")]
        self.assertEqual([r.split(" | ")[:2] for r in merge(found, {"Bonaire", "Hawaii"})],
                         [["| `X@se0…se1`", "only the C driver reads it"]])


class Marks(unittest.TestCase):
    def test_between(self):
        begin, end = ({"k": "cfg", "at": "0x3c", "val": v} for v in ("0xa5", "0x5a"))
        a, b, c = (w("IH_CNTL", n) for n in (1, 2, 3))
        self.assertEqual(list(between_marks([a, begin, b, end, c])), [b])
        with self.assertRaises(SystemExit):
            list(between_marks([a, begin, b]))


if __name__ == "__main__":
    unittest.main()
