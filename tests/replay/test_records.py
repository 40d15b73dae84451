"""Records that change, while the last two checkpoints stay as they were."""

import os

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.replay.records import NONE, Records

SIZE = 12


class Model:
  """Rows with records, what they hold, and two checkpoints of all that."""

  def __init__(self, path, seed):
    self.path, self.rng = path, np.random.default_rng(seed)
    self.records = Records(path, SIZE)
    self.slots = np.full(40, NONE)
    self.content = {}
    self.checkpoints = []

  def write(self):
    rows = np.flatnonzero(self.rng.random(len(self.slots)) < 0.3)
    data = self.rng.integers(0, 256, (len(rows), SIZE), np.uint8)
    self.slots[rows] = self.records.write(
        self.slots[rows], blank(self.records, data))
    self.content.update(zip(rows.tolist(), data, strict=True))

  def release(self):
    rows = np.flatnonzero(self.rng.random(len(self.slots)) < 0.1)
    self.records.release(self.slots[rows])
    self.slots[rows] = NONE
    for row in rows.tolist():
      self.content.pop(row, None)

  def save(self, again=False):
    self.records.sync()
    saved = (self.slots.copy(), dict(self.content), self.records.state())
    if again and self.checkpoints:
      self.checkpoints.pop()
    again = again and bool(self.checkpoints)
    self.checkpoints = [*self.checkpoints, saved][-2:]
    self.records.saved(again)

  def save_again(self):
    """In the place of the last one."""
    if len(self.checkpoints) == 2:
      self.save(again=True)

  def kill(self):
    """Goes on from the last checkpoint, or from the one before."""
    self.records.close()
    if len(self.checkpoints) < 2:
      return
    if self.rng.random() < 0.5:
      self.checkpoints.pop()  # it is damaged
    slots, content, state = self.checkpoints[-1]
    self.slots, self.content = slots.copy(), dict(content)
    self.records = Records(self.path, SIZE)
    self.records.restore(self.slots, state)

  def check(self):
    found, good = self.records.read(self.slots)
    assert np.flatnonzero(good).tolist() == sorted(self.content)
    for row, data in self.content.items():
      np.testing.assert_array_equal(found[row], data)


@pytest.mark.parametrize('seed', range(8))
def test_as_a_model(seed, tmp_path):
  model = Model(tmp_path / 'x.bin', seed)
  for _ in range(300):
    name = model.rng.choice(
        ['write', 'release', 'save', 'save_again', 'kill'],
        p=[0.5, 0.1, 0.2, 0.1, 0.1])
    getattr(model, name)()
    model.check()
  # 40 rows now, in the last checkpoints, and beneath a place that was taken.
  assert os.path.getsize(model.path) <= 5 * 40 * (SIZE + 4)


def write(records, amount):
  data = np.arange(amount * SIZE, dtype=np.uint8).reshape(amount, SIZE)
  return records.write(np.full(amount, NONE), blank(records, data)), data


def blank(records, data):
  found = records.blank(len(data))
  found[:, :SIZE] = data
  return found


def test_without_checkpoints_it_is_overwritten(tmp_path):
  records = Records(tmp_path / 'x.bin', SIZE)
  slots, data = write(records, 3)
  again = records.write(slots, blank(records, data + 1))
  np.testing.assert_array_equal(slots, again)
  assert records.stale == 0
  records.saved()
  later = records.write(slots[:2], blank(records, data[:2]))
  assert not set(later) & set(slots) and records.stale == 2


@pytest.mark.parametrize('damage', ['gone', 'cut', 'changed'])
def test_damage_is_told_once_and_never_stops(tmp_path, damage):
  path = tmp_path / 'x.bin'
  records = Records(path, SIZE)
  slots, data = write(records, 3)
  state = records.state()
  records.close()
  content = bytearray(path.read_bytes())
  content[20] ^= 1
  if damage == 'gone':
    path.unlink()
  else:
    path.write_bytes(content if damage == 'changed' else content[:20])
  records = Records(path, SIZE)
  records.restore(slots, state)
  expected = {'gone': [], 'cut': [0], 'changed': [0, 2]}[damage]
  with pytest.warns(UserWarning, match='can not be read; zeros') as told:
    _, good = records.read(slots)
    records.read(slots)
  assert len(told) == 1
  assert np.flatnonzero(good).tolist() == expected
  # What is written then is read again.
  slots = records.write(slots, blank(records, data))
  assert records.read(slots)[1].all()


def test_disk_full(tmp_path, monkeypatch):
  records = Records(tmp_path / 'x.bin', SIZE)

  def full(*_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'pwrite', full)
  with pytest.raises(UserError, match=r'disk full: .*x\.bin'):
    write(records, 2)
