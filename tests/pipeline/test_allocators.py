"""A process that goes on for ever gives back what it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_THREADS = 20

_PROCESS = f"""
import ctypes, pathlib, sys, threading
import pyarrow
from pipeline import allocators

allocators.settle()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
busy = threading.Barrier({_THREADS} + 1)

def allocate():
    libc.free(ctypes.c_void_p(libc.malloc(100)))
    busy.wait()
    busy.wait()

libc.malloc.restype = ctypes.c_void_p
for _ in range({_THREADS}):
    threading.Thread(target=allocate).start()
busy.wait()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
busy.wait()
print(pathlib.Path(sys.argv[1]).read_text().count("<heap nr="), pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_many_threads_allocate_from_few_arenas(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROCESS, str(tmp_path / "malloc.xml")]
    arenas, pool = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert int(arenas) <= 2
    assert pool == "system"
