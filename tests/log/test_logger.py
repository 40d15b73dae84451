"""Outputs of a run: JSON lines, TensorBoard, videos, the terminal."""

import io
import json
import math
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dreamer.errors import UserError
from dreamer.log import logger as loggerlib
from dreamer.log import terminal, video
from dreamer.log.jsonlines import read_lines
from dreamer.log.logger import Logger
from tests.support import ROOT, lines


def run(folder, first, last, initial=0, every=10):
  """Writes a metric that equals the step at every step of a range."""
  with Logger(folder, 1000, initial) as logger:
    for step in range(first, last + 1, every):
      logger.scalar('train/return', step)
      logger.write(step, step // 2, step // 10)


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


class Float:
  """Like an eager tensor: a number only where float() asks for it."""

  def __init__(self, value):
    self.value, self.asked = value, 0

  def __float__(self):
    self.asked += 1
    return self.value


class TestJsonLines:

  def test_line(self, tmp_path):
    logger = Logger(tmp_path / 'new' / 'run', 1000)
    logger.add({'image': 1, 'kl': np.float32(2)}, 'loss')
    logger.add({'image': 4}, 'loss')
    logger.add({'replay/steps': np.array(7)})
    logger.write(np.int64(100), 50, 10)
    row, = lines(tmp_path / 'new' / 'run')
    assert list(row)[:5] == ['step', 'agent_steps', 'updates', 'time', 'fps']
    assert (row['step'], row['agent_steps'], row['updates']) == (100, 50, 10)
    assert row['loss/image'] == 2.5 and row['loss/kl'] == 2
    assert row['replay/steps'] == 7 and row['time'] >= 0
    logger.close()
    logger.close()

  def test_values_are_forgotten_after_a_write(self, tmp_path):
    with Logger(tmp_path, 1000) as logger:
      logger.scalar('a', 1)
      logger.write(10, 5, 1)
      logger.scalar('a', 3)
      logger.write(20, 10, 2)
      logger.write(30, 15, 3)
    assert [x.get('a') for x in lines(tmp_path)] == [1, 3, None]

  def test_tensors_are_read_only_at_the_write(self, tmp_path):
    value = Float(2.0)
    with Logger(tmp_path, 1000) as logger:
      logger.scalar('a', value)
      logger.progress(5, 2, 0, 1.0)
      assert value.asked == 0
      logger.write(10, 5, 1)
      assert value.asked == 1

  def test_fps_since_the_last_write(self, tmp_path, monkeypatch):
    with Logger(tmp_path, 1000) as logger:
      monkeypatch.setattr(loggerlib.time, 'monotonic', lambda: 1e9)
      logger._last = (1e9 - 20, 100)
      logger.write(300, 150, 30)
      monkeypatch.setattr(loggerlib.time, 'monotonic', lambda: 1e9 + 4)
      logger.write(500, 250, 50)
    assert [x['fps'] for x in lines(tmp_path)] == [10, 50]

  def test_nan_is_null_and_warned_of_once(self, tmp_path, capsys):
    with Logger(tmp_path, 1000) as logger:
      for step, value in ((10, math.nan), (20, math.inf), (30, 1)):
        logger.scalar('loss/kl', value)
        logger.scalar('loss/image', 5)
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
        logger.add({'grad_norm/model': math.nan, 'loss_scale/model': scale,
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
    row = {'step': 10, 'time': 500.0, 'train/return': 1.0}
    (tmp_path / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
    run(tmp_path, 20, 20, initial=10)
    assert 500 <= lines(tmp_path)[1]['time'] < 1e6

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
    logger._jsonl._file.close()
    logger._jsonl._file = open('/dev/full', 'a')
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
      logger.add({'kl': 3, 'nan': math.nan}, 'loss')
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
      monkeypatch.setattr(loggerlib.time, 'time', lambda now=now: now)
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
        logger.scalar(f'a/{name}', 1)
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
  logger.scalar('a', 1)
  logger.video('b', np.zeros([2, 8, 8, 3], np.uint8))
  logger.write(1, 1, 1)
assert 'tensorflow' not in sys.modules
'''
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
    assert len(events(tmp_path)) == 3


class TestVideo:

  def frames(self, length=6, channels=3):
    rng = np.random.default_rng(0)
    shape = (length, 16, 24, channels)
    return rng.integers(0, 2, shape).astype(np.uint8) * 255

  @pytest.mark.parametrize('channels', [1, 3])
  def test_gif(self, tmp_path, channels):
    frames = self.frames(channels=channels)
    video.write_gif(tmp_path / 'x.gif', frames, 20)
    assert [x.name for x in tmp_path.iterdir()] == ['x.gif']
    with Image.open(tmp_path / 'x.gif') as image:
      assert image.n_frames == 6 and image.info['duration'] == 50
      for index, frame in enumerate(frames):
        image.seek(index)
        found = np.asarray(image.convert('RGB'))
        assert np.array_equal(found, np.broadcast_to(frame, found.shape))

  def test_colours_are_close(self):
    y, x = np.mgrid[:64, :64]
    frame = np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)
    frames = np.stack([np.roll(frame, i, 1) for i in range(40)])
    with Image.open(io.BytesIO(video.encode_gif(frames, 10))) as image:
      image.seek(17)
      error = np.asarray(image.convert('RGB')) - frames[17].astype(float)
    assert np.abs(error).mean() < 8

  @pytest.mark.parametrize('fps, duration', [(10, 100), (30, 30), (500, 20)])
  def test_duration(self, fps, duration):
    data = video.encode_gif(self.frames(2), fps)
    with Image.open(io.BytesIO(data)) as image:
      assert image.info['duration'] == duration

  def test_one_frame(self):
    with Image.open(io.BytesIO(video.encode_gif(self.frames(1), 5))) as image:
      assert image.n_frames == 1

  @pytest.mark.parametrize('channels, width, kept', [
      (1, 24, 1), (3, 24, 3), (4, 96, 1), (6, 48, 3), (12, 96, 3), (2, 48, 1)])
  def test_every_channel_is_shown(self, channels, width, kept, tmp_path):
    frames = np.arange(4 * 16 * 24 * channels, dtype=np.uint64) % 251
    frames = frames.astype(np.uint8).reshape(4, 16, 24, channels)
    shown = video.panels(frames)
    assert shown.shape == (4, 16, width, kept)
    last = shown[:, :, -24:]
    assert np.array_equal(last, frames[..., -kept:])
    assert np.array_equal(shown[:, :, :24], frames[..., :kept])
    with Logger(tmp_path, 100) as logger:
      logger.video('open', frames, 20, ['truth'])
      logger.write(40, 20, 4)
    video.write_gif(tmp_path / 'x.gif', frames, 20)
    with Image.open(tmp_path / 'x.gif') as image:
      assert image.size == (width, 16)

  def test_labels(self):
    frames = self.frames(4)
    labelled = video.label(frames, ['a', 'bb'])
    assert labelled.shape[:2] == (4, 16) and labelled.shape[3] == 3
    assert np.array_equal(labelled[:, :, -24:], frames)
    strip = labelled[:, :, :-24]
    assert strip[:, :8].any() and strip[:, 8:].any()

  def test_logged(self, tmp_path):
    with Logger(tmp_path, 100) as logger:
      logger.video('eval/policy', self.frames(), 20)
      logger.video('open', self.frames(), 20, ['truth'])
      logger.write(40, 20, 4)
      logger.write(50, 25, 5)
    names = sorted(x.name for x in (tmp_path / 'videos').iterdir())
    assert names == [
        '000000000040_eval_policy.gif', '000000000040_open.gif']
    with Image.open(tmp_path / 'videos' / names[1]) as image:
      assert image.size[0] > 24 and image.size[1] == 16
    images = {
        value.tag: value.image for event in events(tmp_path)
        for value in event.summary.value if value.HasField('image')}
    assert set(images) == {'eval/policy', 'open'}
    assert (images['open'].width, images['open'].height) == image.size
    assert images['open'].encoded_image_string.startswith(b'GIF89a')


class TestTerminal:

  @pytest.fixture
  def clock(self, monkeypatch):
    """Sets the seconds that the terminal's clock shows, at first 0."""
    now = [0.0]
    monkeypatch.setattr(terminal.time, 'monotonic', lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)

  def test_plain_lines_are_those_of_the_log(self, tmp_path, capsys, clock):
    with Logger(tmp_path, 1000) as logger:
      for step in range(0, 500, 2):
        clock(step / 10)
        logger.progress(step, step // 2, step // 10, 12.25, 80)
        if step % 100 == 0 and step:
          logger.write(step, step // 2, step // 10)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 6  # at 0, 100, 200, 300, 400 and at the end
    assert shown[2] == (
        ' 20% | 200/1,000 steps, ETA 0:01:20, 10.0 fps, return 12.2, '
        'agent steps 100, updates 20')
    assert shown[-1].startswith(' 50% | 498/1,000 steps')

  def test_the_last_line_comes_once(self, tmp_path, capsys):
    with Logger(tmp_path, 10) as logger:
      for step in (5, 10):
        logger.progress(step, step, 1)
        logger.write(step, step, 1)
    shown = capsys.readouterr().err.splitlines()
    assert [x[:4] for x in shown].count('100%') == 1

  @pytest.mark.parametrize('resumed', [0, 40])
  def test_the_first_updates(self, tmp_path, capsys, clock, resumed):
    """No step is made beside them: updates per second, a line a minute."""
    with Logger(tmp_path, 1000, 100 * bool(resumed)) as logger:
      logger.progress(100, 50, resumed)
      for update in range(1, 101):
        clock(2.0 * update)
        logger.progress(100, 50, resumed + update)
      before = len(capsys.readouterr().err.splitlines())
      logger.write(100, 50, resumed + 100)
      clock(210)
      logger.progress(150, 75, resumed + 100)
      logger.write(150, 75, resumed + 100)
    during, after = capsys.readouterr().err.splitlines()
    assert before == 4  # at 0, 60, 120 and 180 s
    assert '0.5 updates/s' in during and 'fps' not in during
    assert '0.2 fps' in after and 'updates/s' not in after

  def test_nobody_reads_the_lines(self, tmp_path, monkeypatch):
    """Told where the loop expects it, and not while it writes a line."""
    reader, writer = os.pipe()
    os.close(reader)
    closed = open(writer, 'w')
    with Logger(tmp_path, 1000) as logger:
      logger.progress(2, 1, 0)
      monkeypatch.setattr(sys, 'stderr', closed)
      logger.write(2, 1, 0)
      with pytest.raises(BrokenPipeError):
        logger.progress(4, 2, 0)
      monkeypatch.undo()
    with pytest.raises(BrokenPipeError):
      closed.close()

  @pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
  def test_a_full_disk_for_lines_ends_nothing(self, tmp_path, monkeypatch):
    full = open('/dev/full', 'w')
    with Logger(tmp_path, 1000) as logger:
      monkeypatch.setattr(sys, 'stderr', full)
      logger.progress(2, 1, 0)
      logger.info('hello')
      logger.write(2, 1, 0)
      logger.progress(4, 2, 0)
      monkeypatch.undo()
    with pytest.raises(OSError):
      full.close()
    assert [x['step'] for x in lines(tmp_path)] == [2]

  def test_info(self, tmp_path, capsys):
    with Logger(tmp_path, 10) as logger:
      logger.info('hello')
      logger.progress(0, 0, 0)
    out = capsys.readouterr()
    assert out.err.startswith('hello\n') and not out.out
    assert 'return' not in out.err and 'no ETA before an update' in out.err
    assert not re.search(r'ETA \d', out.err)

  def test_rate_counts_from_the_resumed_step(self, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(terminal.time, 'monotonic', lambda: now[0])
    rate = terminal._Rate(5000)
    assert rate.value == 0
    for second in range(1, 1000):
      rate.add(100.0 + second, 5000 + 20 * second)
    assert rate.value == pytest.approx(20)

  @pytest.mark.parametrize('seconds, wanted', [
      (0, '0:00:00'), (3661.9, '1:01:01'), (90061, '1d 1:01:01'),
      (math.inf, '?'), (math.nan, '?'), (None, '?')])
  def test_duration(self, seconds, wanted):
    assert terminal._duration(seconds) == wanted

  @pytest.mark.skipif(not hasattr(os, 'openpty'), reason='no terminals')
  def test_bar_on_a_terminal(self, tmp_path):
    text = in_terminal(tmp_path, columns=120)
    assert re.search(r' 50%\|█+ *\| 50/100 steps, ETA .* fps, return 7.0', text)
    above = re.split('[\r\n]+', text)
    assert 'hello' in above and text.rstrip().endswith('updates 10')

  @pytest.mark.skipif(not hasattr(os, 'openpty'), reason='no terminals')
  @pytest.mark.parametrize('columns, kind', [(0, 'xterm'), (80, 'dumb')])
  def test_terminal_that_writes_no_line_anew(self, tmp_path, columns, kind):
    text = in_terminal(tmp_path, columns, kind)
    assert '100% | 100/100 steps' in text
    assert '\r' not in text.replace('\r\n', '')


def in_terminal(folder, columns, kind='xterm'):
  """Runs a logger in a process whose stderr is a terminal; returns its text."""
  import fcntl  # For this test only.
  import termios  # For this test only.
  code = f'''
from dreamer.log.logger import Logger
with Logger({str(folder)!r}, 100) as logger:
  logger._terminal._interval = 0
  for step in range(0, 101, 10):
    logger.progress(step, step // 2, step // 10, 7, 3)
    if step == 50:
      logger.info('hello')
'''
  ours, theirs = os.openpty()
  size = struct.pack('HHHH', 30 if columns else 0, columns, 0, 0)
  fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
  env = {**os.environ, 'PYTHONIOENCODING': 'utf-8', 'TERM': kind}
  process = subprocess.Popen(
      [sys.executable, '-c', code], cwd=ROOT, stderr=theirs, env=env)
  os.close(theirs)
  data = b''
  try:
    while chunk := os.read(ours, 4096):
      data += chunk
  except OSError:  # The other end was closed.
    pass
  os.close(ours)
  assert process.wait() == 0
  return data.decode()
