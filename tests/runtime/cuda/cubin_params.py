"""The parameters of a kernel by its machine code: section ``.nv.info`` of the ELF file."""

from __future__ import annotations

import struct

_PARAM = 0x17  # EIATTR_KPARAM_INFO: index, ordinal and offset (u16), flags with the size in the top 14 bits


def parameter_sizes(code: bytes, entry: str) -> list[int]:
    """Bytes of each parameter of kernel ``entry``, in order."""
    found: dict[int, int] = {}
    info = _section(code, f".nv.info.{entry}")
    at = 0
    while at < len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if form != 4:  # the value stands in place of the size
            continue
        if attribute == _PARAM:
            _, ordinal, _, flags = struct.unpack_from("<IHHI", info, at)
            found[ordinal] = flags >> 18
        at += size
    return [found[i] for i in range(len(found))]


def _section(code: bytes, name: str) -> bytes:
    table, size, count, names = struct.unpack_from("<Q", code, 40)[0], *struct.unpack_from("<HHH", code, 58)
    headers = [struct.unpack_from("<II4QII2Q", code, table + i * size) for i in range(count)]
    text = headers[names][4]
    for header in headers:
        start = text + header[0]
        if code[start : code.index(0, start)].decode() == name:
            return code[header[4] : header[4] + header[5]]
    raise ValueError(f"no section {name}")
