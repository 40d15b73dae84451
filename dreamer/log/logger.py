"""Progress on the terminal, metrics as JSON lines, TensorBoard and videos.

Every written line carries environment steps, agent steps and gradient steps
(updates). A resumed run continues the files: what was written after the
checkpoint is moved away, so that each step occurs once.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from dreamer.errors import UserError
from dreamer.files import Path, atomic_write
from dreamer.log import video
from dreamer.log.jsonlines import read_lines, to_line
from dreamer.log.means import Means
from dreamer.log.terminal import Terminal

METRICS = 'metrics'
SCORES = 'scores'
SECONDS = 'time', 'cpu'  # that a run has taken
EVENTS = 'events.out.tfevents'  # TensorBoard finds files by this


class Logger:
  """Sends what was collected between two writes to all outputs.

  means: of metrics; what is added to them stands in the next line.
  """

  def __init__(self, logdir: Path, steps_total: int, initial: int = 0):
    """Opens the outputs in `logdir`.

    steps_total: length of the run in environment steps.
    initial: step of the checkpoint that the run resumes from; 0: a new run.
    Raises UserError where a file can't be written.
    """
    self._logdir = pathlib.Path(logdir)
    self.means = Means()
    self._videos: dict[str, tuple[np.ndarray, float, tuple[str, ...]]] = {}
    self._warned: set[tuple[str, bool]] = set()
    self._terminal = Terminal(steps_total, initial)
    self._jsonl = _JsonLines(self._logdir, METRICS, initial)
    self._scores = _JsonLines(self._logdir, SCORES, initial)
    for name, file in ((METRICS, self._jsonl), (SCORES, self._scores)):
      if file.repaired:
        self.info(f'warning: {name}.jsonl: {file.repaired} damaged line(s) '
                  'left out')
    self._board = _TensorBoard(
        self._logdir, initial, self._jsonl.row(initial))
    self._start = time.monotonic() - self._jsonl.seconds['time']
    self._cpu = time.process_time() - self._jsonl.seconds['cpu']
    self._last = (time.monotonic(), initial)

  def video(self, name: str, frames: np.ndarray, fps: float = 20,
            labels: Sequence[str] = ()) -> None:
    """Keeps uint8 frames [T, H, W, C] for the next write.

    labels: texts for a strip on the left, from top to bottom.
    """
    self._videos[name] = (frames, fps, tuple(labels))

  def write(self, step: int, agent_steps: int, updates: int) -> None:
    """Writes the collected metrics and videos, at `step` env steps.

    The line also has the seconds that the run has taken: `time` by the clock,
    `cpu` of all threads of this process. What a stopped run did after its last
    checkpoint does not count.
    """
    now = time.monotonic()
    row = {
        'step': int(step), 'agent_steps': int(agent_steps),
        'updates': int(updates), 'time': round(now - self._start, 3),
        'cpu': round(time.process_time() - self._cpu, 3)}
    scalars = {'fps': self._fps(now, step)}
    scalars.update(self.means.pop())
    scalars = {name: self._finite(name, value, step, scalars)
               for name, value in scalars.items()}
    before = self._jsonl.row(step)
    row = self._jsonl.complete({**row, **scalars})
    if before:
      self._board.forget(step)
      self._board.images(step)
    self._board.scalars(row)
    self._write_videos(step)
    self._board.flush()
    self._terminal.logged()

  def score(self, step: int, agent_steps: int, updates: int,
            returns: Sequence[float], **more: Any) -> None:
    """Writes the returns of an evaluation, and how they were measured."""
    finite = [x if math.isfinite(x) else None for x in returns]
    self._scores.complete({
        'step': int(step), 'agent_steps': int(agent_steps),
        'updates': int(updates), 'returns': finite, **more})

  def progress(self, step: int, agent_steps: int, updates: int,
               last_return: float | None = None,
               left: float | None = None) -> None:
    """Shows how far the run is; cheap enough for every step.

    left: seconds until its end, if they are known.
    """
    self._terminal.progress(step, agent_steps, updates, last_return, left)

  def text(self, name: str, text: str) -> None:
    """Prints some lines, and keeps them for TensorBoard."""
    self.info(text)
    self._board.text(name, text)

  def info(self, text: str) -> None:
    """Prints a line above the progress bar."""
    self._terminal.print(text)

  def close(self) -> None:
    """Closes all files and the progress bar; may be called twice."""
    self._terminal.close()
    self._jsonl.close()
    self._scores.close()
    self._board.close()

  def __enter__(self) -> Logger:
    return self

  def __exit__(self, *error):
    self.close()

  def _fps(self, now, step):
    (before, first), self._last = self._last, (now, step)
    return (step - first) / max(now - before, 1e-6)

  def _finite(self, name, value, step, scalars):
    if math.isfinite(value):
      return value
    group = name.removeprefix('grad_norm/')
    scale = scalars.get(f'loss_scale/{group}', 0.0) if group != name else 0.0
    text = f'warning: {name} is {value} at step {step}; written as null'
    if scale > 1.0:  # It can still be halved.
      text = (f'float16: gradients of {group} overflow, so its updates are '
              f'skipped and its loss scale, {scale:,.0f} on average, is halved '
              f'until they fit; until then {name} is written as null')
    if (name, scale > 1.0) not in self._warned:
      self._warned.add((name, scale > 1.0))
      self.info(text)
    return None

  def _write_videos(self, step):
    for name, (frames, fps, labels) in self._videos.items():
      frames = video.panels(frames)
      frames = video.label(frames, labels) if labels else frames
      gif = video.encode_gif(frames, fps)
      file = f'{step:012d}_{name.replace("/", "_")}.gif'
      with atomic_write(self._logdir / 'videos' / file) as f:
        f.write(gif)
      self._board.image(step, name, gif, *frames.shape[1:3])
    self._videos.clear()


class _JsonLines:
  """Appends to NAME.jsonl, after bringing it in line with a checkpoint."""

  def __init__(self, logdir, name, initial):
    self._path = path = logdir / f'{name}.jsonl'
    try:
      logdir.mkdir(parents=True, exist_ok=True)
      kept, later = self._read(path, initial)
      if later:
        orphans = logdir / f'{name}.after_checkpoint.jsonl'
        with open(orphans, 'a', encoding='utf-8') as file:
          file.writelines(map(to_line, later))
      if kept or later or self.repaired:
        with atomic_write(path, 'w') as file:
          file.writelines(map(to_line, kept))
      self._last = kept[-1] if kept else {}
      self._file = open(path, 'a', encoding='utf-8')
    except OSError as e:
      raise UserError(_refused(path, e)) from None

  def _read(self, path, initial):
    rows, damaged = read_lines(path)
    good = [row for row in rows if isinstance(row.get('step'), (int, float))]
    kept = [row for row in good if row['step'] <= initial]
    self.repaired = damaged + len(rows) - len(good)
    self.seconds = {
        name: max([row.get(name) or 0 for row in kept], default=0)
        for name in SECONDS}
    return kept, [row for row in good if row['step'] > initial]

  def write(self, row):
    """Adds a row."""
    try:
      self._file.write(to_line(row))
      self._file.flush()
    except OSError as e:
      raise UserError(_refused(self._path, e)) from None
    self._last = row

  def row(self, step):
    """The last row, where it is that of a step; else None."""
    return self._last if self._last.get('step') == step else None

  def complete(self, row):
    """Adds a row, or puts it into the last one if that has its step.

    So it is where a run continues at a step that it had ended at. Returns
    the row as it is now.
    """
    before = self.row(row['step'])
    if before is None:
      self.write(row)
      return row
    row = {**before, **row}
    rows = read_lines(self._path)[0][:-1]
    self._file.close()
    with atomic_write(self._path, 'w') as file:
      file.writelines(map(to_line, [*rows, row]))
    self._file = open(self._path, 'a', encoding='utf-8')
    self._last = row
    return row

  def close(self):
    with contextlib.suppress(OSError):  # Told by `write`, which flushes.
      self._file.close()


class _TensorBoard:
  """Writes an event file with TensorBoard's own records; no TensorFlow.

  A session log tells TensorBoard to forget what an interrupted run had
  logged after the checkpoint. What it had logged at that step is written
  again: metrics.jsonl tells whether all of it had come so far.

  row: that of the step `initial` in metrics.jsonl, or None.
  """

  def __init__(self, logdir, initial, row):
    self._event, self._summary = event_pb2.Event, summary_pb2.Summary
    self._initial, self._logdir = initial, logdir
    earlier = [x.name for x in logdir.glob(f'{EVENTS}.*')]
    path = logdir / _name_behind(earlier, initial)
    try:
      self._file = open(path, 'ab')
    except OSError as e:
      raise UserError(_refused(path, e)) from None
    self._records = RecordWriter(self._file)
    self._write(file_version='brain.Event:2')
    if earlier:
      self.forget(initial if row else initial + 1)
    if row:
      self.images(initial)
      self.scalars(row)
      self.flush()

  def forget(self, step):
    """What was logged from a step on is out of date."""
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(step=step, session_log=start)

  def scalars(self, row):
    """Writes the numbers of a row of metrics.jsonl; None is left out."""
    self._write(step=row['step'], summary=self._summary(value=[
        self._summary.Value(tag=name, simple_value=value)
        for name, value in row.items()
        if value is not None and name not in ('step', *SECONDS)]))

  def images(self, step):
    """Writes the videos again that were logged at a step."""
    start = f'{step:012d}_'
    for path in sorted((self._logdir / 'videos').glob(f'{start}*.gif')):
      with contextlib.suppress(OSError, ValueError):
        data = path.read_bytes()
        name = path.stem.removeprefix(start)
        self.image(step, name, data, *video.size(data))

  def text(self, name, text):
    """Writes Markdown that shows lines of plain text as they are."""
    indented = '\n'.join(f'    {line}' for line in text.splitlines())
    self._write(step=self._initial, summary=self._summary(value=[
        self._summary.Value(
            tag=name,
            metadata={'plugin_data': {'plugin_name': 'text'}},
            tensor={'dtype': 'DT_STRING', 'string_val': [indented.encode()],
                    'tensor_shape': {'dim': [{'size': 1}]}})]))

  def image(self, step, name, encoded, height, width):
    """Writes an encoded image or GIF."""
    image = self._summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=encoded)
    self._write(step=step, summary=self._summary(
        value=[self._summary.Value(tag=name, image=image)]))

  def flush(self):
    self._call(self._file.flush)

  def close(self):
    self._call(self._file.close)

  def _write(self, **content):
    event = self._event(wall_time=time.time(), **content)
    self._call(self._records.write, event.SerializeToString())

  def _call(self, function, *args):
    try:
      function(*args)
    except OSError as e:
      raise UserError(_refused(self._file.name, e)) from None


def _name_behind(names, initial):
  """Of an event file: TensorBoard reads them in the order of their names.

  It takes what comes in a later file for newer, also where the clock was set
  back between them.
  """
  last = max(names, default='')
  stamp = int(time.time())
  if found := re.match(rf'{re.escape(EVENTS)}\.(\d{{10}})\.', last):
    stamp = max(stamp, int(found[1]) + 1)
  name = f'{EVENTS}.{stamp:010d}.{initial:012d}'
  return name if name > last else f'{last}.{initial:012d}'


def _refused(path, error):
  return (f'{path}: cannot write: {error.strerror or error}; free some space '
          'or choose another logdir, then resume')
