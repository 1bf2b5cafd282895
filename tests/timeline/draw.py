#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Draws what the kernel traced of the main job as a picture (SVG).

The argument is what `trace-run main-job` printed. There are two strips: the phase in which memory is
replaced between submissions, and a moment of the race, in which it is replaced all the while.
"""

import collections
import errno
import html
import re
import sys

# --- what was traced ---------------------------------------------------------------------------

LINE = re.compile(r"^\s*(?P<task>.+)-(?P<pid>\d+)\s+\[\d+\]\s+\S+\s+(?P<time>\d+\.\d+): (?P<event>\w+): (?P<rest>.*)$")

Event = collections.namedtuple("Event", "time pid name text args")
Bar = collections.namedtuple("Bar", "start end kind label note")


def events(path):
    for line in open(path, errors="replace"):
        match = LINE.match(line.rstrip())
        if not match:
            continue
        args = dict(re.findall(r"(\w+)=([^ ,]+)", match["rest"]))
        yield Event(float(match["time"]), match["pid"], match["event"], match["rest"], args)


class Trace:
    """Bars of each lane, and marks, from a run of events."""

    def __init__(self, stream):
        self.submissions, self.gathers, self.invalidations, self.jobs = [], [], [], []
        self.marks = []
        open_submissions, open_gathers, open_invalidations = {}, {}, {}
        rings, running, done_last = {}, {}, {}
        for e in stream:
            a = e.args
            if e.name == "tracing_mark_write":
                self.marks.append((e.time, e.text))
            elif e.name == "cs_submit":
                open_submissions[e.pid] = (e.time, [])
            elif e.name == "cs_retry" and e.pid in open_submissions:
                open_submissions[e.pid][1].append(e.time)
            elif e.name == "cs_publish" and e.pid in open_submissions:
                start, tries = open_submissions.pop(e.pid)
                self.submissions.append(Bar(start, e.time, "submission", a["seq"], tries))
            elif e.name == "userptr_gather":
                open_gathers[e.pid] = e.time
            elif e.name == "userptr_gathered" and e.pid in open_gathers:
                self.gathers.append(Bar(open_gathers.pop(e.pid), e.time, "gather", a["pages"], a["bo"]))
                if a["error"] not in ("0", str(-errno.EBUSY)) and e.pid in open_submissions:
                    start, tries = open_submissions.pop(e.pid)
                    self.submissions.append(Bar(start, e.time, "refused", "", tries[:-1]))
            elif e.name == "userptr_invalidate":
                open_invalidations[e.pid, a["bo"]] = (e.time, a)
            elif e.name == "userptr_invalidated" and (e.pid, a["bo"]) in open_invalidations:
                start, begun = open_invalidations.pop((e.pid, a["bo"]))
                # Who looked for jobs and found none did not wait.
                kind = "wait" if begun["wait"] == "1" and e.time - start > 50e-6 else "invalidation"
                self.invalidations.append(Bar(start, e.time, kind, a["pages"], a["bo"]))
            elif e.name == "drm_sched_job_queue":
                rings[a["fence"]] = a["ring"]
            elif e.name == "drm_sched_job_run":
                running[a["fence"]] = e.time
            elif e.name == "drm_sched_job_done" and a["fence"] in running:
                ring = rings.get(a["fence"], "")
                # A ring runs one job after the other, so a job begins when the one before it ends.
                start = max(running.pop(a["fence"]), done_last.get(ring, 0))
                done_last[ring] = e.time
                self.jobs.append(Bar(start, e.time, "job", a["fence"].split(":")[1], ring))

    def phase(self, name):
        """The first and the last moment of a phase of the main job."""
        start = next((t for t, text in self.marks if text == f"phase {name}"), None)
        if start is None:
            sys.exit(f"the phase '{name}' is not in the trace")
        return start, next(t for t, text in self.marks if t > start and text == "phase over")


# How much of the race is shown, in seconds.
SPAN = 0.024


def moment_of_the_race(trace, start, end):
    """The part of the race that shows most: tries that were lost, and notifiers that wait."""
    best, window = -1, 0.0
    for first in (s for s in trace.submissions if start <= s.start and s.end <= end):
        a, b = first.start - SPAN / 20, first.start - SPAN / 20 + SPAN
        within = [s for s in trace.submissions if a <= s.start and s.end <= b]
        tries = sum(len(s.note) for s in within if s.kind == "submission")
        refused = sum(s.kind == "refused" for s in within)
        waits = sum(i.kind == "wait" and a <= i.start and i.end <= b for i in trace.invalidations)
        score = tries + 3 * waits - refused / 4
        if score > best:
            best, window = score, a
    return window, window + SPAN


# --- the picture -------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT = 1180, 150, 24
LANE, GAP = 34, 12
INK, FAINT, PAPER = "#24292f", "#d8dee4", "#ffffff"
COLORS = {
    "submission": "#2f6fde",
    "refused": "#b8c0ca",
    "retry": "#b42318",
    "gather": "#1a8f5a",
    "invalidation": "#e08a00",
    "wait": "#f4b942",
    "job": "#7a4fd0",
}
LANES = [
    ("submissions", "CS ioctls", "submissions"),
    ("gathers", "pages looked up", "gathers"),
    ("invalidations", "MMU notifier", "invalidations"),
    ("jobs on the GPU", "SDMA ring", "jobs"),
]
MANNERS = {
    "replace UnmapMap": "munmap, mmap",
    "replace MoveAway": "mremap away, mmap",
    "replace Discard": "MADV_DONTNEED",
}


class Picture:
    def __init__(self):
        self.parts, self.height = [], 0

    def add(self, text):
        self.parts.append(text)

    def text(self, x, y, words, size=12, color=INK, anchor="start", weight="normal"):
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
            f'text-anchor="{anchor}" font-weight="{weight}">{html.escape(words)}</text>'
        )

    def box(self, x, y, width, height, color, title="", radius=2, extra=""):
        self.add(
            f'<rect x="{x:.2f}" y="{y:.1f}" width="{max(width, 1.2):.2f}" height="{height}" rx="{radius}" '
            f'fill="{color}" {extra}><title>{html.escape(title)}</title></rect>'
        )

    def line(self, x1, y1, x2, y2, color, width=1.0, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(
            f'<line x1="{x1:.2f}" y1="{y1:.1f}" x2="{x2:.2f}" y2="{y2:.1f}" '
            f'stroke="{color}" stroke-width="{width}"{dashes}/>'
        )

    def svg(self):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:.0f}" '
            f'width="{WIDTH}" height="{self.height:.0f}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        )
        return head + "\n" + "\n".join(self.parts) + "\n</svg>\n"


def tick(span):
    """A round distance of about a tenth of the span, in seconds."""
    step = 1e-6
    while True:
        for factor in (1, 2, 5):
            if span / (step * factor) <= 11:
                return step * factor
        step *= 10


def strip(picture, trace, start, end, top, title, caption):
    """One strip: lanes against time. Gives where it ends."""
    scale = (WIDTH - LEFT - RIGHT) / (end - start)
    x = lambda t: LEFT + (min(max(t, start), end) - start) * scale
    picture.text(20, top + 4, title, 15, weight="600")
    for n, words in enumerate(caption):
        picture.text(20, top + 24 + 16 * n, words, 12, "#57606a")
    lanes_top = top + 24 + 16 * len(caption) + 22
    bottom = lanes_top + len(LANES) * (LANE + GAP)

    # What the process says it is doing.
    marks = [m for m in trace.marks if start <= m[0] <= end]
    for n, (time, words) in enumerate(marks):
        if words in MANNERS:
            until = marks[n + 1][0] if n + 1 < len(marks) else end
            picture.box(x(time), lanes_top - 6, x(until) - x(time), bottom - lanes_top + 6, "#f6f3ea", radius=0)
            picture.text(x(time) + 3, lanes_top - 10, MANNERS[words], 11, "#7d6a2e")

    step = tick(end - start)
    for n in range(int((end - start) / step) + 1):
        at = x(start + n * step)
        picture.line(at, lanes_top - 6, at, bottom, FAINT)
        picture.text(at, bottom + 15, f"{n * step * 1e3:g} ms", 11, "#57606a", "middle")

    for n, (name, what, field) in enumerate(LANES):
        y = lanes_top + n * (LANE + GAP)
        picture.text(LEFT - 14, y + 15, name, 13, INK, "end", "600")
        picture.text(LEFT - 14, y + 29, what, 11, "#57606a", "end")
        picture.line(LEFT, y + LANE, WIDTH - RIGHT, y + LANE, FAINT)
        for bar in getattr(trace, field):
            if bar.end < start or bar.start > end:
                continue
            draw_bar(picture, bar, x, y)
    return bottom + 34


def draw_bar(picture, bar, x, y):
    left, right = x(bar.start), x(bar.end)
    took = f"{(bar.end - bar.start) * 1e3:.2f} ms"
    if bar.kind in ("submission", "refused"):
        tries = len(bar.note) + 1
        title = f"submission {bar.label} ({bar.kind}), {tries} tries, {took}"
        picture.box(left, y + 6, right - left, LANE - 12, COLORS[bar.kind], title)
        for time in bar.note:
            picture.line(x(time), y + 2, x(time), y + LANE - 2, COLORS["retry"], 1.6)
        if tries > 1 and right - left > 16:
            picture.text((left + right) / 2, y + 0.5, f"{tries} tries", 10, COLORS["retry"], "middle")
    elif bar.kind == "job":
        picture.box(left, y + 6, right - left, LANE - 12, COLORS["job"], f"job {bar.label} on {bar.note}, {took}")
    else:
        words = {"gather": "gathered", "wait": "invalidated, and waited for jobs", "invalidation": "invalidated"}
        title = f"{bar.label} pages of buffer {bar.note} {words[bar.kind]}, {took}"
        picture.box(left, y + 6, right - left, LANE - 12, COLORS[bar.kind], title)
        if bar.kind == "gather" and right - left > 60:
            picture.text((left + right) / 2, y + 21, f"{bar.label} pages", 10.5, PAPER, "middle")
        if bar.kind == "wait":
            picture.line(left, y + 3, left, y + LANE - 3, COLORS["invalidation"], 2.4)


def legend(picture, y):
    entries = [
        ("submission", "submission"),
        ("refused", "refused (EFAULT: a hole)"),
        ("retry", "try that was lost"),
        ("gather", "gather"),
        ("invalidation", "invalidation"),
        ("wait", "notifier waits for jobs"),
        ("job", "job runs"),
    ]
    at = 20.0
    for kind, words in entries:
        if kind == "retry":
            picture.line(at + 6, y - 11, at + 6, y + 3, COLORS[kind], 1.8)
        else:
            picture.box(at, y - 10, 14, 12, COLORS[kind])
        picture.text(at + 20, y, words, 12)
        at += 44 + 6.4 * len(words)


def main(path):
    trace = Trace(events(path))
    picture = Picture()
    picture.text(20, 32, "User memory that changes under the GPU", 20, weight="700")
    legend(picture, 62)
    start, end = trace.phase("remap")
    y = strip(
        picture, trace, start, end, 100,
        "Replaced between submissions",
        ["Three rounds, in each of which the process replaces parts of its memory (shaded), as the notifier is told. The next submission",
         "gathers once, those after it do not; the three jobs copy the memory to the card and back."],
    )
    start, end = moment_of_the_race(trace, *trace.phase("race unmap"))
    y = strip(
        picture, trace, start, end, y + 26,
        "Replaced all the while, by another thread",
        ["A moment of the race: where pages that were gathered are invalidated before the job is queued, the submission tries again;",
         "where it meets a hole, because the thread has unmapped and not yet mapped, it is refused. Once a job is queued, the notifier,",
         "and with it the thread that wants to replace the memory, waits until the job is done."],
    )
    picture.height = y
    print(picture.svg())


main(sys.argv[1])
