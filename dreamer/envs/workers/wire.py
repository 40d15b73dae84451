"""Messages between learner and workers: a JSON header and raw arrays.

Layout: 4 bytes length of the header (little endian), the header in UTF-8,
then the bytes of each array in the header's order. Nothing that arrives is
ever executed or unpickled.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = 'biuf'
LENGTH = struct.Struct('<I')


def send(
    sock: socket.socket, kind: str, arrays: Mapping[str, Any] | None = None,
    **meta: Any) -> None:
  """Sends one message; `arrays` is a dict of name -> array or number."""
  arrays = {
      key: np.ascontiguousarray(value).reshape(np.shape(value))
      for key, value in (arrays or {}).items()}
  for key, value in arrays.items():
    assert value.dtype.kind in KINDS, (key, value.dtype)
  specs = [[k, v.dtype.str, v.shape] for k, v in arrays.items()]
  header = json.dumps(
      {'kind': kind, 'meta': meta, 'arrays': specs}).encode()
  parts = [LENGTH.pack(len(header)), header]
  sock.sendall(b''.join(parts + [x.tobytes() for x in arrays.values()]))


def receive(
    sock: socket.socket, timeout: float | None = None
) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
  """Returns (kind, arrays, meta) of the next message.

  Raises:
    EOFError: the other side is gone.
    TimeoutError: no complete message within `timeout` seconds.
  """
  deadline = None if timeout is None else time.monotonic() + timeout
  length, = LENGTH.unpack(_read(sock, LENGTH.size, deadline))
  header = json.loads(bytes(_read(sock, length, deadline)))
  arrays = {}
  for key, dtype, shape in header['arrays']:
    dtype = np.dtype(dtype)
    assert dtype.kind in KINDS, dtype
    data = _read(sock, math.prod(shape) * dtype.itemsize, deadline)
    arrays[key] = np.frombuffer(data, dtype).reshape(shape)
  return header['kind'], arrays, header['meta']


def _read(sock, amount, deadline):
  data = bytearray(amount)
  view = memoryview(data)
  while view:
    if deadline is not None:
      sock.settimeout(max(1e-3, deadline - time.monotonic()))
    try:
      count = sock.recv_into(view)
    except ConnectionError as error:
      raise EOFError(str(error)) from error
    if not count:
      raise EOFError('connection closed')
    view = view[count:]
  return data
