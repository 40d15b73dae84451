"""What a run shows: lines, and a bar where there is a terminal."""

import math
import os
import re
import struct
import subprocess
import sys
import time

import pytest

from dreamer.log.logger import Logger
from tests.support import ROOT, lines


@pytest.fixture
def clock(monkeypatch):
  """Sets the seconds that the terminal's clock shows, at first 0."""
  now = [0.0]
  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  return lambda seconds: now.__setitem__(0, seconds)


def test_plain_lines_are_those_of_the_log(tmp_path, capsys, clock):
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


def test_the_last_line_comes_once(tmp_path, capsys):
  with Logger(tmp_path, 10) as logger:
    for step in (5, 10):
      logger.progress(step, step, 1)
      logger.write(step, step, 1)
  shown = capsys.readouterr().err.splitlines()
  assert [x[:4] for x in shown].count('100%') == 1


@pytest.mark.parametrize('resumed', [0, 40])
def test_the_first_updates(tmp_path, capsys, clock, resumed):
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


@pytest.mark.parametrize('what', ['write', 'info'])
def test_nobody_reads_the_lines(tmp_path, monkeypatch, what):
  """Told where the loop expects it, and not while it writes a line."""
  reader, writer = os.pipe()
  os.close(reader)
  closed = open(writer, 'w')
  with Logger(tmp_path, 1000) as logger:
    logger.progress(2, 1, 0)
    monkeypatch.setattr(sys, 'stderr', closed)
    if what == 'write':
      logger.write(2, 1, 0)
    else:
      logger.info('a warning')
    with pytest.raises(BrokenPipeError):
      logger.progress(4, 2, 0)
    monkeypatch.undo()
  with pytest.raises(BrokenPipeError):
    closed.close()


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_a_full_disk_for_lines_ends_nothing(tmp_path, monkeypatch):
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


def test_info(tmp_path, capsys):
  with Logger(tmp_path, 10) as logger:
    logger.info('hello')
    logger.progress(0, 0, 0)
  out = capsys.readouterr()
  assert out.err.startswith('hello\n') and not out.out
  assert 'return' not in out.err and 'no ETA before an update' in out.err
  assert not re.search(r'ETA \d', out.err)


def test_rate_counts_from_the_resumed_step(tmp_path, capsys, clock):
  """Over the last minutes: before it was ten times as fast."""
  with Logger(tmp_path, 10 ** 6, 5000) as logger:
    for second in range(1000):
      clock(second)
      step = 5000 + 20 * second + 200 * min(second, 300)
      logger.progress(step, step, 0)
      if second in (0, 300):
        logger.write(step, step, 0)
  shown = capsys.readouterr().err.splitlines()
  assert [re.search(r'[\d.]+ fps', x)[0] for x in shown[::2]] == [
      '0.0 fps', '220.0 fps']
  assert '20.0 fps' in shown[-1]


@pytest.mark.parametrize('seconds, wanted', [
    (0, '0:00:00'), (3661.9, '1:01:01'), (90061, '1d 1:01:01'),
    (math.inf, '?'), (math.nan, '?'), (None, '?')])
def test_seconds_that_are_left(tmp_path, capsys, seconds, wanted):
  with Logger(tmp_path, 100) as logger:
    logger.progress(10, 10, 1, left=seconds)
  assert f'ETA {wanted},' in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, 'openpty'), reason='no terminals')
def test_bar_on_a_terminal(tmp_path):
  text = in_terminal(tmp_path, columns=120)
  text = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', text)  # colours, and the like
  assert re.search(r' 50% [━╸╺]+ 50/100 steps, ETA .* fps, return 7.0', text)
  above = re.split('[\r\n]+', text)
  assert 'hello' in above and text.rstrip().endswith('updates 10')


@pytest.mark.skipif(not hasattr(os, 'openpty'), reason='no terminals')
@pytest.mark.parametrize('columns, kind', [(0, 'xterm'), (80, 'dumb')])
def test_terminal_that_writes_no_line_anew(tmp_path, columns, kind):
  text = in_terminal(tmp_path, columns, kind)
  assert '100% | 100/100 steps' in text
  assert '\r' not in text.replace('\r\n', '')


def in_terminal(folder, columns, kind='xterm'):
  """Runs a logger in a process whose stderr is a terminal; returns its text."""
  import fcntl  # For this test only.
  import termios  # For this test only.
  code = f'''
import itertools, time
time.monotonic = itertools.count().__next__  # Each line is due.
from dreamer.log.logger import Logger
with Logger({str(folder)!r}, 100) as logger:
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
