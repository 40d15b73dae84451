"""Files of a run: JSON lines and TensorBoard's."""

import json
import math
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.log.jsonlines import read_lines
from dreamer.log.logger import Logger
from tests.support import ROOT, lines
from tests.support.event_files import events


def run(folder, first, last, initial=0, every=10):
  """Writes a metric that equals the step at every step of a range."""
  with Logger(folder, 1000, initial) as logger:
    for step in range(first, last + 1, every):
      logger.means.add({'train/return': step})
      logger.write(step, step // 2, step // 10)


def shown(folder):
  """{tag: steps} that TensorBoard shows, as it does without TensorFlow.

  A start of a session ends what was logged from its step on, and so does,
  for its own tags, an event with a lower step than the one before it.
  """
  found, last = {}, -1
  for event in events(folder):
    tags = [x.tag for x in event.summary.value]
    if event.HasField('session_log'):
      assert event.session_log.status == event.session_log.START
    if event.HasField('session_log') or tags and event.step < last:
      for tag in tags or found:
        found[tag] = [x for x in found.get(tag, []) if x < event.step]
    for tag in tags:
      found.setdefault(tag, []).append(event.step)
    last = event.step if tags else last
  return found


def divert(path, other):
  """What this process has open at `path` becomes another file."""
  for link in pathlib.Path('/proc/self/fd').iterdir():
    if os.path.realpath(link) == str(path):
      with open(other, 'a') as file:
        os.dup2(file.fileno(), int(link.name))


class TestJsonLines:

  def test_line(self, tmp_path):
    logger = Logger(tmp_path / 'new' / 'run', 1000)
    logger.means.add({'image': 1, 'kl': np.float32(2)}, 'loss')
    logger.means.add({'image': 4}, 'loss')
    logger.means.add({'replay/steps': np.array(7)})
    logger.write(np.int64(100), 50, 10)
    row, = lines(tmp_path / 'new' / 'run')
    assert list(row)[:6] == [
        'step', 'agent_steps', 'updates', 'time', 'cpu', 'fps']
    assert (row['step'], row['agent_steps'], row['updates']) == (100, 50, 10)
    assert row['loss/image'] == 2.5 and row['loss/kl'] == 2
    assert row['replay/steps'] == 7 and row['time'] >= 0
    logger.close()
    logger.close()

  def test_values_are_forgotten_after_a_write(self, tmp_path):
    with Logger(tmp_path, 1000) as logger:
      logger.means.add({'a': 1})
      logger.write(10, 5, 1)
      logger.means.add({'a': 3})
      logger.write(20, 10, 2)
      logger.write(30, 15, 3)
    assert [x.get('a') for x in lines(tmp_path)] == [1, 3, None]

  def test_fps_since_the_last_write(self, tmp_path, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    with Logger(tmp_path, 1000, initial=100) as logger:
      now[0] += 20
      logger.write(300, 150, 30)
      now[0] += 4
      logger.write(500, 250, 50)
    assert [x['fps'] for x in lines(tmp_path)] == [10, 50]

  def test_nan_is_null_and_warned_of_once(self, tmp_path, capsys):
    with Logger(tmp_path, 1000) as logger:
      for step, value in ((10, math.nan), (20, math.inf), (30, 1)):
        logger.means.add({'loss/kl': value})
        logger.means.add({'loss/image': 5})
        logger.write(step, 0, 0)
    assert [x['loss/kl'] for x in lines(tmp_path)] == [None, None, 1]
    assert [x['loss/image'] for x in lines(tmp_path)] == [5, 5, 5]
    assert 'NaN' not in (tmp_path / 'metrics.jsonl').read_text()
    err = capsys.readouterr().err
    assert err.count('loss/kl is nan at step 10') == 1
    assert err.count('loss/kl') == 1

  def test_a_loss_scale_at_work_is_no_mistake(self, tmp_path, capsys):
    """Until it is 1: what is not finite then was so before."""
    with Logger(tmp_path, 1000) as logger:
      for step, scale in ((10, 2 ** 14), (20, 2 ** 10), (30, 1), (40, 1)):
        logger.means.add({
            'grad_norm/model': math.nan, 'loss_scale/model': scale,
            'grad_norm/actor': math.nan})
        logger.write(step, 0, 0)
    told = capsys.readouterr().err.splitlines()
    told = [line for line in told if line]
    assert [line.split(':')[0] for line in told] == [
        'float16', 'warning', 'warning']
    assert 'of model overflow' in told[0] and '16,384' in told[0]
    assert 'grad_norm/actor is nan at step 10' in told[1]
    assert 'grad_norm/model is nan at step 30' in told[2]
    assert all(x['grad_norm/model'] is None for x in lines(tmp_path))

  def test_resume_moves_later_lines_away(self, tmp_path):
    run(tmp_path, 10, 50)
    run(tmp_path, 40, 70, initial=30)
    assert [x['step'] for x in lines(tmp_path)] == list(range(10, 71, 10))
    later = lines(tmp_path, 'metrics.after_checkpoint.jsonl')
    assert [x['step'] for x in later] == [40, 50]
    run(tmp_path, 70, 70, initial=60)
    later = lines(tmp_path, 'metrics.after_checkpoint.jsonl')
    assert [x['step'] for x in later] == [40, 50, 70]
    assert [x['step'] for x in lines(tmp_path)] == list(range(10, 71, 10))

  def test_time_goes_on_after_a_resume(self, tmp_path):
    row = {'step': 10, 'time': 500.0, 'cpu': 400.0, 'train/return': 1.0}
    (tmp_path / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
    run(tmp_path, 20, 20, initial=10)
    assert 500 <= lines(tmp_path)[1]['time'] < 1e6
    assert 400 <= lines(tmp_path)[1]['cpu'] < 1e6

  def test_cut_anywhere_is_repaired(self, tmp_path, capsys):
    run(tmp_path, 10, 30)
    path = tmp_path / 'metrics.jsonl'
    data = path.read_bytes()
    start = data.rindex(b'{')
    for size in range(start, len(data) + 1, 7):
      path.write_bytes(data[:size])
      run(tmp_path, 40, 40, initial=30)
      steps = [x['step'] for x in lines(tmp_path)]
      assert steps in ([10, 20, 40], [10, 20, 30, 40])
    assert 'damaged line(s) left out' in capsys.readouterr().err

  @pytest.mark.parametrize('damage', [
      b'\0' * 50, b'\xff\xfe', b'[1, 2]\n', b'{"no": "step"}\n', b'\n\n',
      b'{"step": "ten"}\n', b'[' * 100000])
  def test_other_damage_is_left_out(self, tmp_path, damage):
    run(tmp_path, 10, 20)
    with open(tmp_path / 'metrics.jsonl', 'ab') as file:
      file.write(damage)
    run(tmp_path, 30, 30, initial=20)
    assert [x['step'] for x in lines(tmp_path)] == [10, 20, 30]

  def test_refused_folder(self, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot write') as info:
      Logger(tmp_path / 'file', 10)
    assert '\n' not in str(info.value)

  @pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
  def test_full_disk(self, tmp_path):
    logger = Logger(tmp_path, 10)
    divert(tmp_path / 'metrics.jsonl', '/dev/full')
    with pytest.raises(UserError, match='No space left.*free some space'):
      with logger:
        logger.write(1, 1, 1)

  def test_read_lines(self, tmp_path):
    assert read_lines(tmp_path / 'none') == ([], 0)
    (tmp_path / 'x').write_text('{"a": NaN}\n{"b": 1}\n{"c"')
    assert read_lines(tmp_path / 'x') == ([{'a': None}, {'b': 1}], 1)
    with pytest.raises(UserError, match='cannot read'):
      read_lines(tmp_path)


class TestTensorBoard:

  def test_scalars(self, tmp_path):
    with Logger(tmp_path, 1000) as logger:
      logger.means.add({'kl': 3, 'nan': math.nan}, 'loss')
      logger.write(10, 5, 1)
    first, event = events(tmp_path)
    assert first.file_version == 'brain.Event:2' and event.step == 10
    found = {x.tag: x.simple_value for x in event.summary.value}
    assert found.pop('fps') > 0
    assert found == {'agent_steps': 5, 'updates': 1, 'loss/kl': 3}

  def test_text(self, tmp_path, capsys):
    with Logger(tmp_path, 1000, 20) as logger:
      logger.text('environment', 'one\n  two')
    event = events(tmp_path)[-1]
    value, = event.summary.value
    assert event.step == 20 and value.tag == 'environment'
    assert value.metadata.plugin_data.plugin_name == 'text'
    assert value.tensor.string_val == [b'    one\n      two']
    assert 'one\n  two' in capsys.readouterr().err

  def test_written_at_each_write(self, tmp_path):
    logger = Logger(tmp_path, 1000)
    logger.write(10, 5, 1)
    assert len(events(tmp_path)) == 2
    logger.close()

  def test_resume_drops_orphans(self, tmp_path):
    run(tmp_path, 10, 50)
    run(tmp_path, 40, 60, initial=30)
    assert shown(tmp_path)['train/return'] == list(range(10, 61, 10))

  def test_a_clock_that_is_set_back(self, tmp_path, monkeypatch):
    """TensorBoard reads files by name: later ones have later names."""
    for first, now in enumerate([1.7e9, 1.6e9, 1.5e9, 1.5e9 + 1]):
      monkeypatch.setattr(time, 'time', lambda now=now: now)
      run(tmp_path, 40 * first + 10, 40 * first + 40, initial=40 * first)
    found = shown(tmp_path)
    assert found['train/return'] == found['fps'] == list(range(10, 161, 10))
    assert len(list(tmp_path.glob('events*'))) == 4

  @pytest.mark.parametrize('name', [
      'events.out.tfevents.9999999999.machine.7.0', 'events.out.tfevents.x'])
  def test_a_file_of_another_program(self, tmp_path, name):
    (tmp_path / name).touch()
    run(tmp_path, 10, 20)
    assert max(x.name for x in tmp_path.glob('events*')) > name

  def test_what_a_killed_run_wrote_before_its_first_checkpoint(self, tmp_path):
    for _ in range(2):
      run(tmp_path, 10, 20)
      (tmp_path / 'metrics.jsonl').unlink()
    assert shown(tmp_path)['fps'] == [10, 20]

  def test_killed_at_the_step_of_the_checkpoint(self, tmp_path):
    """Whatever had been written at that step by then, it is there once."""
    frames = np.zeros([2, 16, 16, 3], np.uint8)
    run(tmp_path, 10, 20)
    for name in ('one', 'two', 'three'):
      with Logger(tmp_path, 1000, 30) as logger:
        logger.means.add({f'a/{name}': 1})
        logger.video(name, frames)
        logger.score(30, 15, 3, [1.0])
        logger.write(30, 15, 3)
    with Logger(tmp_path, 1000, 30):
      pass
    found = shown(tmp_path)
    assert found.pop('fps') == [10, 20, 30]
    assert {x: found[x] for x in found if x[:2] == 'a/'} == {
        'a/one': [30], 'a/two': [30], 'a/three': [30]}
    assert all(found[x] == [30] for x in ('one', 'two', 'three'))
    assert [x['step'] for x in lines(tmp_path)] == [10, 20, 30]
    assert [x['step'] for x in read_lines(
        tmp_path / 'scores.jsonl')[0]] == [30]

  def test_killed_between_a_line_and_its_events(self, tmp_path):
    run(tmp_path, 10, 20)
    for path in tmp_path.glob('events*'):
      path.unlink()
    run(tmp_path, 30, 30, initial=20)
    assert shown(tmp_path)['train/return'] == [20, 30]

  def test_without_tensorflow(self, tmp_path):
    code = f'''
import sys
import numpy as np
from dreamer.log.logger import Logger
with Logger({str(tmp_path)!r}, 10) as logger:
  logger.means.add({{'a': 1}})
  logger.video('b', np.zeros([2, 8, 8, 3], np.uint8))
  logger.write(1, 1, 1)
assert 'tensorflow' not in sys.modules
'''
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
    assert len(events(tmp_path)) == 3
