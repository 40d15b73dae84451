"""What code in another process raised, told in one line."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Callable

from dreamer.cli import one_line
from dreamer.errors import UserError
from dreamer.files import ROOT

LENGTH = 300  # of a message, in characters
OURS = str(ROOT / 'dreamer') + os.sep
LIBRARIES = (
    f'{os.sep}site-packages{os.sep}', f'{os.sep}dist-packages{os.sep}',
    sysconfig.get_path('stdlib') + os.sep, '<frozen')


class WorkerError(UserError):
  """What a process serves failed, crashed or hangs; `restart()` it.

  Attributes:
    place: What was raised where, equal when the same mistake is made again;
      None where that is not known, as after a crash or a hang.
  """

  def __init__(self, text: str, place: str | None = None) -> None:
    super().__init__(text)
    self.place = place


def describe(
    error: BaseException,
    remedy: Callable[[BaseException], str] | None = None
) -> tuple[str, str]:
  """Returns the line for the user, and the place of a WorkerError.

  remedy: what may help, for the end of the line; or ''.
  """
  message = one_line(error)
  kind = type(error).__name__
  text = f'{kind}: {message[:LENGTH]}' if message else kind
  frames = traceback.extract_tb(error.__traceback__)
  frame = own_frame(frames) or (frames[-1] if frames else None)
  spot = f'{frame.filename}:{frame.lineno}' if frame else 'nowhere'
  # Addresses differ from process to process.
  place = re.sub(r'0x[0-9a-fA-F]+', '0x', f'{spot} {text}')
  where = f' ({short(spot)} in {frame.name})' if frame else ''
  return f'{text}{where}{remedy(error) if remedy else ""}', place


def own_frame(
    frames: traceback.StackSummary) -> traceback.FrameSummary | None:
  """The innermost frame in a file of the user's, or None."""
  own = [x for x in frames if not x.filename.startswith(OURS)
         and not any(part in x.filename for part in LIBRARIES)]
  return own[-1] if own else None


def short(path: str) -> str:
  """A path, from the working folder on where it lies in it."""
  try:
    return path.removeprefix(os.getcwd() + os.sep)
  except FileNotFoundError:  # The folder was deleted meanwhile.
    return path
