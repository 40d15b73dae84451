"""Checkpoints and files: whole or absent, whatever happens."""

import errno
import json
import os
import zipfile

import numpy as np
import pytest

from dreamer import files, npz
from dreamer.errors import UserError
from dreamer.rng import pack_rng, unpack_rng
from dreamer.run.checkpoint import Checkpoints


def example(value):
  rng = np.random.default_rng(value)
  return {
      'dynamics/gru/kernel': rng.normal(size=(5, 3)).astype(np.float32),
      'file': np.array(value), 'flag': np.array([True, False]),
      'wide': np.asfortranarray(rng.normal(size=(4, 6))),
      'names': np.array(['a', 'bc']), 'raw': np.array([b'x', b'yz']),
      'empty': np.zeros((0, 3), np.int64), 'images': np.arange(6, dtype='u1')}


def same(left, right):
  assert list(left) == list(right)
  for key, value in left.items():
    assert value.dtype == right[key].dtype and value.shape == right[key].shape
    np.testing.assert_array_equal(value, right[key])


def save(folder, steps):
  meta = {'env_steps': steps, 'task': 'dummy', 'nested': {'a': [1, 2.5]}}
  return Checkpoints(folder).save(example(steps), meta)


def test_round_trip(tmp_path):
  path = save(tmp_path / 'new', 1234)
  assert path.name == '000000001234.npz'
  arrays, meta = Checkpoints(tmp_path / 'new').load()
  same(arrays, example(1234))
  assert meta == {
      'env_steps': 1234, 'task': 'dummy', 'nested': {'a': [1, 2.5]}}


def test_nothing_to_load(tmp_path):
  assert Checkpoints(tmp_path / 'absent').load() is None
  (tmp_path / 'notes.npz').write_bytes(b'mine')
  assert Checkpoints(tmp_path).load() is None
  assert (tmp_path / 'notes.npz').exists()


def test_keeps_the_last_two(tmp_path):
  (tmp_path / '.000000000001.npz.77.tmp').write_bytes(b'left over')
  for steps in (1, 20, 300):
    save(tmp_path, steps)
  names = sorted(x.name for x in tmp_path.iterdir())
  assert names == ['000000000020.npz', '000000000300.npz']
  assert Checkpoints(tmp_path).load()[1]['env_steps'] == 300


def test_never_removes_what_it_just_saved(tmp_path):
  for steps in (20, 300, 1):
    path = save(tmp_path, steps)
  assert path.exists()


def test_same_arrays_same_bytes(tmp_path):
  one, two = save(tmp_path / 'a', 7), save(tmp_path / 'b', 7)
  assert one.read_bytes() == two.read_bytes()


def truncate(path):
  path.write_bytes(path.read_bytes()[:-200])


def flip(path):
  data = bytearray(path.read_bytes())
  place = data.index(example(2)['dynamics/gru/kernel'].tobytes())
  data[place + 3] ^= 1
  path.write_bytes(data)


def bracket(path):
  """In the header of an array that is not read at once."""
  arrays = {**npz.read(path), 'large': np.zeros([40, 50])}
  npz.write(path, arrays)
  data = bytearray(path.read_bytes())
  place = data.index(b'(40, 50)') + len('(40, 50')
  data[place] = ord('(')
  path.write_bytes(data)


def empty(path):
  path.write_bytes(b'')


def text(path):
  path.write_text('not a zip')


def without_array(path):
  arrays = npz.read(path)
  del arrays['file']
  npz.write(path, arrays)


def without_meta(path):
  npz.write(path, example(2))


def pickled(path):
  arrays = npz.read(path)
  arrays['file'] = np.array([{'a': 1}], object)
  np.savez(path, **{k: v for k, v in arrays.items() if k != 'file'},
           obj=arrays['file'])


@pytest.mark.parametrize('damage', [
    truncate, flip, bracket, empty, text, without_array, without_meta, pickled])
def test_damaged_is_set_aside_and_the_previous_used(tmp_path, damage):
  save(tmp_path, 1)
  path = save(tmp_path, 2)
  damage(path)
  content = path.read_bytes()
  with pytest.warns(UserWarning, match='000000000002.npz is damaged'):
    assert Checkpoints(tmp_path).load()[1]['env_steps'] == 1
  assert path.read_bytes() == content  # Whoever reads changes nothing.
  assert len(list(tmp_path.iterdir())) == 2
  with pytest.warns(UserWarning, match='000000000002.npz is damaged'):
    arrays, meta = Checkpoints(tmp_path).load(move=True)
  assert meta['env_steps'] == 1
  same(arrays, example(1))
  assert not path.exists()
  assert (tmp_path / 'damaged' / path.name).read_bytes() == content


def test_all_damaged(tmp_path):
  for steps in (1, 2):
    truncate(save(tmp_path, steps))
  with pytest.warns(UserWarning, match='damaged') as warned:
    assert Checkpoints(tmp_path).load(move=True) is None
  assert len(warned) == 2
  truncate(save(tmp_path, 2))
  with pytest.warns(UserWarning):
    Checkpoints(tmp_path).load(move=True)
  assert len(list((tmp_path / 'damaged').iterdir())) == 3


def test_random_damage_never_returns_wrong_arrays(tmp_path):
  rng = np.random.default_rng(0)
  good = save(tmp_path, 1).read_bytes()
  found = 0
  for _ in range(300):
    data = bytearray(good)
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path = tmp_path / '000000000001.npz'
    path.write_bytes(data)
    try:
      arrays = npz.read(path)
    except npz.DAMAGE:
      found += 1
      continue
    arrays.pop('__meta__', None)
    for key, value in arrays.items():
      if key in example(1):  # a flipped name is found by the manifest
        np.testing.assert_array_equal(value, example(1)[key])
  assert found > 150


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_disk_full_leaves_the_old_ones(tmp_path, monkeypatch, number):
  save(tmp_path, 1)
  save(tmp_path, 2)
  before = {x.name: x.read_bytes() for x in tmp_path.iterdir()}
  write = zipfile.ZipFile.open

  def full(self, name, mode='r', **kwargs):
    if mode == 'w' and name == 'flag.npy':
      raise OSError(number, os.strerror(number))
    return write(self, name, mode, **kwargs)
  monkeypatch.setattr(zipfile.ZipFile, 'open', full)
  with pytest.raises(UserError, match='disk full: .*000000000003.npz'):
    save(tmp_path, 3)
  assert {x.name: x.read_bytes() for x in tmp_path.iterdir()} == before
  monkeypatch.undo()
  save(tmp_path, 3)
  assert Checkpoints(tmp_path).load()[1]['env_steps'] == 3


def test_error_in_the_sync_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'a.txt'
  path.write_text('old')

  def full(handle):
    raise OSError(errno.ENOSPC, 'No space left on device')
  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(UserError, match='disk full'):
    with files.atomic_write(path, 'w') as file:
      file.write('new')
  assert path.read_text() == 'old'
  assert os.listdir(tmp_path) == ['a.txt']


def test_atomic_write(tmp_path):
  path = tmp_path / 'deep' / 'a.txt'
  with files.atomic_write(path, 'w') as file:
    file.write('grüße')
    file.flush()
    assert not path.exists()
    assert os.path.dirname(file.name) == str(path.parent)
  assert path.read_text(encoding='utf-8') == 'grüße'
  with pytest.raises(ZeroDivisionError):
    with files.atomic_write(path) as file:
      file.write(b'half')
      raise ZeroDivisionError
  assert path.read_text(encoding='utf-8') == 'grüße'
  assert os.listdir(path.parent) == ['a.txt']


def test_atomic_write_where_it_may_not(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='can not write'):
    with files.atomic_write(tmp_path / 'file' / 'a') as file:
      file.write(b'')


def test_objects_and_bfloat16_are_refused(tmp_path):
  import ml_dtypes  # For this test only.
  checkpoints = Checkpoints(tmp_path)
  for value in (np.array([None]), np.zeros(2, ml_dtypes.bfloat16)):
    with pytest.raises(AssertionError):
      checkpoints.save({'a': value}, {'env_steps': 1})
  assert os.listdir(tmp_path) == []


def test_layout_finds_every_array(tmp_path):
  path = tmp_path / 'a.npz'
  arrays = {'image': np.arange(60, dtype='u1').reshape(10, 3, 2),
            'half': np.arange(10, dtype=np.float16)}
  npz.write(path, arrays)
  layout = npz.layout(path)
  with open(path, 'rb') as file:
    for key, value in arrays.items():
      for dtype in (value.dtype, np.float32):
        out = np.empty((4, *value.shape[1:]), dtype)
        npz.read_rows(file, layout[key], 3, out)
        np.testing.assert_array_equal(out, value[3:7])
    with pytest.raises(EOFError):
      npz.read_rows(file, layout['half'], 10 ** 6, np.empty(4, np.float16))


def test_rng_state_survives():
  one = np.random.default_rng([3, 4])
  one.integers(10, size=3, dtype=np.uint32)  # leaves half a word behind
  words = pack_rng(one)
  assert words.dtype == np.uint64 and words.shape == (6,)
  two = np.random.default_rng(9)
  unpack_rng(two, words)
  for rng in (one, two):
    assert json.dumps(rng.bit_generator.state)
  assert one.bit_generator.state == two.bit_generator.state
  np.testing.assert_array_equal(
      one.integers(10, size=5, dtype=np.uint32),
      two.integers(10, size=5, dtype=np.uint32))
