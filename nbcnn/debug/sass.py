"""What instructions a cubin holds, by NVIDIA's disassembler: the wheel nvidia-cuda-nvdisasm, or a toolkit."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from importlib.metadata import PackageNotFoundError, files

from nbcnn.errors import NbcnnError

_LINE = re.compile(r"\s+/\*[0-9a-f]{4,5}\*/\s+(?:\{)?\s*(?:@!?U?P\w+ )?\s*([A-Z0-9_]+)")


def disassembler() -> str | None:
    """Path of nvdisasm, from the wheel or the search path; None if there is none."""
    try:
        for file in files("nvidia-cuda-nvdisasm") or ():
            if file.name in ("nvdisasm", "nvdisasm.exe"):
                return str(file.locate())
    except PackageNotFoundError:
        pass
    return shutil.which("nvdisasm")


def instructions(code: bytes) -> Counter[str]:
    """How often each instruction occurs, without its modifiers: ``{"HMMA": 128, "LDSM": 32, ...}``.

    Raises NbcnnError if there is no disassembler, or it cannot read ``code``.
    """
    tool = disassembler()
    if tool is None:
        raise NbcnnError("no nvdisasm: pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        done = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NbcnnError(f"nvdisasm: {done.stderr.strip()}")
    return Counter(m.group(1) for line in done.stdout.splitlines() if (m := _LINE.match(line)))
