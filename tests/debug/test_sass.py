"""Counting the instructions of a cubin: a stand-in for the disassembler prints a listing."""

from __future__ import annotations

import sys

import pytest

from nbcnn.debug import sass
from nbcnn.errors import NbcnnError

LISTING = r"""
        .section  .text.kernel
.text.kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 HMMA.16816.F32 R4, R8, R10, R4 ;
        /*0020*/                   { HMMA.16816.F32 R4, R8, R10, R4 ;
        /*10030*/             @!UP1 UTMALDG.4D.IM2COL [UR8], [UR4] ;
.L_x_0:
        /*0040*/                   EXIT ;
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Makes a disassembler of a Python statement."""

    def make(statement: str) -> None:
        path = tmp_path / "nvdisasm"
        path.write_text(f"#!{sys.executable}\n{statement}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sass, "disassembler", lambda: str(path))

    return make


def test_counts_without_modifiers_and_predicates(tool) -> None:
    tool(f"print({LISTING!r})")
    assert sass.instructions(b"\x7fELF") == {"LDC": 1, "HMMA": 2, "UTMALDG": 1, "EXIT": 1}


def test_says_what_the_disassembler_said(tool) -> None:
    tool("import sys; sys.exit('not a cubin')")
    with pytest.raises(NbcnnError, match="nvdisasm: not a cubin"):
        sass.instructions(b"")


def test_without_a_disassembler_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(sass, "disassembler", lambda: None)
    with pytest.raises(NbcnnError, match="pip install nvidia-cuda-nvdisasm"):
        sass.instructions(b"")
