"""Episodes whose elements tell where they are from, and stores of them."""

import pathlib

import numpy as np

from dreamer.replay.replay import Replay


def episode(length, tag=0, terminal=False, vectors=True):
  """Every element tells its episode and row: image 100 * tag + row."""
  row = np.arange(length)
  value = (100 * tag + row).astype(np.float32)
  arrays = {
      'image': (np.zeros((length, 4, 4, 3)) + row[:, None, None, None]
                + 10 * tag).astype(np.uint8),
      'action': np.stack([value, -value], 1),
      'reward': value,
      'discount': np.ones(length, np.float32),
      'is_first': row == 0, 'is_last': row == length - 1,
      'is_terminal': np.zeros(length, bool)}
  arrays['action'][0] = 0
  if terminal:
    arrays['discount'][-1] = 0
    arrays['is_terminal'][-1] = True
  if vectors:
    arrays['speed'] = np.stack([value, value, value], 1)
  return arrays


def proprio(rows, tag=0):
  """An episode without images, with bytes, vectors and a number."""
  arrays = episode(rows, tag)
  del arrays['image']
  arrays['ram'] = np.arange(rows * 128, dtype=np.uint8).reshape(rows, 128)
  arrays['height'] = arrays['reward'].astype(np.float64) / 2
  return arrays


def fill(folder, lengths, owner=True, **kwargs):
  """A store with episodes of these lengths, tagged 0, 1, ..."""
  replay = Replay(folder, 0, owner=owner, **kwargs)
  for tag, length in enumerate(lengths):
    replay.add(episode(length, tag))
  return replay


def starts(batch):
  """Tags and first rows of a batch."""
  value = batch['reward'][:, 0].astype(int)
  return value // 100, value % 100


def equal(left, right):
  assert set(left) == set(right)
  for key, value in left.items():
    assert value.dtype == right[key].dtype, key
    np.testing.assert_array_equal(value, right[key], err_msg=key)


def check_rows(batch, full, keys):
  """Each sequence is a piece of the episode it claims to be from."""
  length = batch['reward'].shape[1]
  for row, (tag, start) in enumerate(zip(*starts(batch))):
    # is_first: where the learner's state starts anew, whatever was recorded.
    source = {**full[tag], 'is_first': np.arange(999) == start}
    equal({k: batch[k][row] for k in keys},
          {k: source[k][start: start + length] for k in keys})


def pieces(batch, going_on=False):
  """Lists (tag, first row, rows) of the pieces of a batch, in order.

  going_on: whether the first one may have begun in an earlier batch.
  """
  value = batch['reward'].reshape(-1).astype(int)
  first = batch['is_first'].reshape(-1)
  assert first[0] or going_on
  seams = np.flatnonzero(first)
  seams = [0, *seams] if not first[0] else seams
  found = []
  for begin, end in zip(seams, [*seams[1:], len(value)]):
    np.testing.assert_array_equal(np.diff(value[begin: end]), 1)
    found.append((value[begin] // 100, value[begin] % 100, end - begin))
  return found


def names(folder):
  return sorted(x.name for x in pathlib.Path(folder).glob('*.npz'))
