"""What ``explain --kernels`` prints of a program, to the letter."""

from __future__ import annotations

import json

from rich.console import Console

from nbcnn.cli.explain import _kernels
from nbcnn.lower.model import StepInfo
from nbcnn.lower.select import Candidate

OTHER = Candidate("softmax", None, "fused is no softmax")


def step(node: str, kernel: str, family: str, *candidates: Candidate, **facts) -> StepInfo:
    op = "layout" if family == "layout" else "fused"
    facts = {"layout": "" if op == "layout" else "nhwc", "macs": 0, "nbytes": 2048} | facts
    return StepInfo(0, node, op, kernel, family, "", candidates=candidates, **facts)


STEPS = [
    step("image", "f32_from_nchw__avx512", "layout"),
    step(
        "conv1",
        "f32_igemm_10x32_res__avx512",
        "igemm[10x2, order 1]",
        Candidate("igemm", 103e-6, None, True),
        Candidate("winograd2", 400e-6, None),
        *(Candidate(f"igemm[{rows}x2]", rows * 30e-6, None, True) for rows in (7, 8, 12, 14)),
        OTHER,
        macs=12_345,
        seconds=98.76e-6,
        measured=True,
    ),
    step(
        "conv2",
        "f32_winograd4_7x32__avx512",
        "winograd4",
        Candidate("winograd2", 12e-6, None),
        Candidate("igemm", 30e-6, None),
        OTHER,
        seconds=10e-6,
    ),
    step(
        "conv3",
        "f32_igemm_7x32__avx512",
        "igemm",
        Candidate("winograd4", None, "it is grouped"),
        Candidate("winograd2", None, "it is grouped"),
        OTHER,
        seconds=20e-6,
    ),
    step("probs", "f32_softmax__avx512", "softmax", Candidate("igemm", None, "no conv"), seconds=1e-6),
]

SHOWN = """
 node   op      kernel                       us  layout    MACs    bytes  not taken
 image  layout  f32_from_nchw                                    2.0 KiB
 conv1  fused   igemm[10x2, order 1]       98.8  nhwc    12,345  2.0 KiB  igemm 103.0
                f32_igemm_10x32_res    measured                           igemm[7x2] 210.0
                                                                          igemm[8x2] 240.0
                                                                          igemm[12x2] 360.0
                                                                          and 2 slower
 conv2  fused   winograd4                  10.0  nhwc            2.0 KiB  winograd2 12.0 estimated
                f32_winograd4_7x32    estimated                           igemm 30.0 estimated
 conv3  fused   igemm                      20.0  nhwc            2.0 KiB  winograd4, winograd2: it is grouped
                f32_igemm_7x32        estimated
 probs  fused   softmax                     1.0  nhwc            2.0 KiB
                f32_softmax           estimated
"""


def test_the_table() -> None:
    console = Console(width=120, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(_kernels(STEPS))
    shown = [line.rstrip() for line in captured.get().splitlines() if "─" not in line and line.strip()]
    assert shown == SHOWN.strip("\n").splitlines()


def test_a_tuned_model(cli) -> None:
    assert "measured" in cli("explain", "digits", "--kernels", "--tune").stdout
    rows = json.loads(cli("explain", "digits", "--kernels", "--tune", "--json").stdout)
    measured = [row for row in rows if row["measured"]]
    assert len(measured) >= 3
    for row in measured:
        assert row["seconds"] > 0 and any(c["measured"] for c in row["candidates"])


def test_tuned_times_are_made_ahead(cli, tmp_path) -> None:
    folder = tmp_path / "cache"
    warm = ("cache", "warm", "digits", "--tune", "--threads", "1")
    assert cli(*warm, cache=folder).exit_code == 0
    kept = {path.name for path in folder.glob("trial-*")}
    assert kept
    assert cli(*warm, cache=folder).exit_code == 0
    assert {path.name for path in folder.glob("trial-*")} == kept
