"""The picture of a job's life: the phases of the state machine, and each way from one to another.

An SVG without colours of its own: the page's style gives them, in the light and in the dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from airflow_provider_apitask.core.state import Phase

WIDTH, HEIGHT = 840, 460
_BOX = (132, 40)
#: Where each phase stands: the middle of its box.
PLACES: dict[Phase, tuple[int, int]] = {
    Phase.SUBMIT: (106, 108),
    Phase.RECONCILE: (106, 232),
    Phase.SUBMIT_UNKNOWN: (106, 400),
    Phase.POLL: (360, 108),
    Phase.POLL_GRACE: (360, 232),
    Phase.CANCEL: (548, 232),
    Phase.EXPLAIN: (300, 322),
    Phase.FETCH: (734, 108),
    Phase.FAILED: (268, 400),
    Phase.LOST: (372, 400),
    Phase.TIMED_OUT: (478, 400),
    Phase.CANCELLED: (588, 400),
    Phase.SUCCEEDED: (734, 400),
}
#: Those whose boxes have another width.
_WIDTHS = {
    Phase.SUBMIT_UNKNOWN: 148,
    Phase.EXPLAIN: 88,
    Phase.FAILED: 92,
    Phase.LOST: 92,
    Phase.TIMED_OUT: 96,
    Phase.CANCELLED: 100,
}

#: Several phases in one frame, from or to which an arrow goes for all of them.
WAITING = (Phase.POLL, Phase.POLL_GRACE)
WITHOUT_SUCCESS = (Phase.FAILED, Phase.LOST, Phase.TIMED_OUT, Phase.CANCELLED)


@dataclass(frozen=True)
class Way:
    """An arrow.

    :param path: of the SVG; it ends at an arrowhead.
    :param label: what happens, a line each; and where it stands, left-aligned.
    """

    sources: tuple[Phase, ...]
    targets: tuple[Phase, ...]
    path: str
    label: tuple[str, ...] = ()
    at: tuple[int, int] = (0, 0)

    @property
    def moves(self) -> set[tuple[Phase, Phase]]:
        """What it stands for, phase by phase."""
        return {(source, target) for source in self.sources for target in self.targets}


WAYS = (
    Way((Phase.SUBMIT,), (Phase.POLL,), "M172,108 H290", ("accepted",), (196, 100)),
    Way((Phase.SUBMIT,), (Phase.FETCH,), "M140,88 V64 H734 V84", ("done at once",), (404, 57)),
    Way(
        (Phase.SUBMIT,),
        (Phase.SUCCEEDED,),
        "M106,88 V36 H824 V400 H804",
        ("synchronous: the answer is the result",),
        (330, 29),
    ),
    Way((Phase.SUBMIT,), (Phase.RECONCILE,), "M86,128 V208", ("no", "answer"), (38, 164)),
    Way((Phase.RECONCILE,), (Phase.SUBMIT,), "M126,212 V132", ("not taken",), (132, 176)),
    Way((Phase.RECONCILE,), (Phase.POLL,), "M172,222 L300,132", ("found",), (236, 194)),
    Way((Phase.RECONCILE,), (Phase.SUBMIT_UNKNOWN,), "M106,252 V376", ("cannot be told",), (112, 318)),
    Way((Phase.SUBMIT,), (Phase.SUBMIT_UNKNOWN,), "M40,108 H16 V400 H28"),
    Way((Phase.SUBMIT,), WITHOUT_SUCCESS, "M172,118 H226 V356", ("refused",), (182, 290)),
    Way((Phase.POLL,), (Phase.POLL_GRACE,), "M340,128 V208", ("checks", "fail"), (296, 164)),
    Way((Phase.POLL_GRACE,), (Phase.POLL,), "M380,212 V132", ("a check", "works"), (386, 164)),
    Way(WAITING, (Phase.FETCH,), "M446,108 H664", ("the job has succeeded",), (486, 100)),
    Way(WAITING, (Phase.CANCEL,), "M446,232 H478", ("killed,", "cleared,", "deadline"), (452, 172)),
    Way(WAITING, WITHOUT_SUCCESS, "M360,284 V356", ("it failed, is lost, …",), (366, 318)),
    Way(WAITING, (Phase.EXPLAIN,), "M300,284 V298"),
    Way((Phase.EXPLAIN,), (Phase.FAILED,), "M290,342 V376"),
    Way((Phase.CANCEL,), (Phase.CANCELLED, Phase.TIMED_OUT), "M548,252 V356", ("request sent",), (554, 318)),
    Way((Phase.FETCH,), (Phase.SUCCEEDED,), "M734,128 V376", ("result read",), (740, 240)),
    Way((Phase.FETCH,), (Phase.FAILED,), "M692,128 V340 H620 V356", ("cannot", "be had"), (646, 240)),
)


def svg() -> str:
    """The picture."""
    return "\n".join(_parts())


def _parts() -> Iterator[str]:
    yield (
        f'<svg class="job-life" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">'
        "<title>The life of a job: the phases from SUBMIT to its end, and the ways between them</title>"
    )
    yield (
        '<defs><marker id="job-life-head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
    )
    yield _frame(274, 80, 172, 204, "the triggerer waits")
    yield _frame(212, 364, 432, 80, "ended without success")
    for way in WAYS:
        yield f'<path class="way" d="{way.path}" marker-end="url(#job-life-head)"/>'
    for way in WAYS:
        x, y = way.at
        for number, line in enumerate(way.label):
            yield f'<text class="label" x="{x}" y="{y + 14 * number}">{escape(line)}</text>'
    for phase, (x, y) in PLACES.items():
        width, height = _WIDTHS.get(phase, _BOX[0]), _BOX[1]
        kind = "end" if phase.ended else "open"
        yield (
            f'<rect class="{kind}" x="{x - width // 2}" y="{y - height // 2}" width="{width}" '
            f'height="{height}" rx="6"/><text class="phase" x="{x}" y="{y + 5}">{phase.name}</text>'
        )
    yield "</svg>"


def _frame(x: int, y: int, width: int, height: int, label: str) -> str:
    return (
        f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="10"/>'
        f'<text class="label frame-label" x="{x + width - 8}" y="{y + height - 7}">{escape(label)}</text>'
    )
