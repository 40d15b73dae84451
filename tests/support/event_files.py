"""What a logger writes, read again."""

import struct


def events(folder):
  """Returns the events of all files, checking each record's framing."""
  from tensorboard.compat.proto import event_pb2  # For this test only.

  # For this test only.
  from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
  masked_crc32c = pywrap_tensorflow.masked_crc32c
  found = []
  for path in sorted(folder.glob('events.out.tfevents.*')):
    data = path.read_bytes()
    while data:
      size, crc = struct.unpack('<QI', data[:12])
      assert masked_crc32c(data[:8]) == crc
      record, data = data[12:12 + size], data[12 + size:]
      assert struct.unpack('<I', data[:4])[0] == masked_crc32c(record)
      found.append(event_pb2.Event.FromString(record))
      data = data[4:]
  return found
