"""Messages between learner and workers: a JSON header and raw arrays.

Layout: 4 bytes length of the header (little endian), the header in UTF-8,
then the bytes of each array in the header's order, up to a multiple of 8.
Nothing that arrives is ever executed or unpickled.
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
ALIGN = 8
LARGE = 2 ** 18  # bytes of an array from which on it isn't copied
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
  waiting = [LENGTH.pack(len(header)), header]
  for value in arrays.values():
    if value.nbytes < LARGE:  # Many small ones are faster as one.
      waiting.append(value.tobytes())
    else:
      sock.sendall(b''.join(waiting))
      sock.sendall(value.reshape(-1).view(np.uint8).data)
      waiting = []
    waiting.append(bytes(-value.nbytes % ALIGN))
  sock.sendall(b''.join(waiting))


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
  specs = [(key, np.dtype(dtype), shape)
           for key, dtype, shape in header['arrays']]
  sizes = [math.prod(shape) * dtype.itemsize for _, dtype, shape in specs]
  data = _read(sock, sum(x + -x % ALIGN for x in sizes), deadline)
  arrays, start = {}, 0
  for (key, dtype, shape), size in zip(specs, sizes, strict=True):
    assert dtype.kind in KINDS, dtype
    arrays[key] = np.frombuffer(
        data, dtype, math.prod(shape), start).reshape(shape)
    start += size + -size % ALIGN
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
