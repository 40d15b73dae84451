"""What all command lines share: errors and warnings of one line."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TextIO

from dreamer import files
from dreamer.errors import UserError

PIPE = 141  # the status of what a closed pipe ends, as shells give it
FULL = errno.ENOSPC, errno.EDQUOT, errno.EIO  # also a terminal that has gone


def guard(function: Callable[..., Any], *args: Any) -> None:
  """Calls a main function; what a user did wrong becomes one line, exit 2.

  Where nobody reads what is printed any more, it ends without a word.
  TensorFlow, where it is imported, comes without Keras 3 (and Matplotlib and
  pandas with that): TensorFlow Probability brings the older Keras anyway.
  """
  os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
  _open_closed()
  try:
    try:
      _answered(function, *args)
    finally:
      sys.stdout.flush()  # Here it can be caught, at the exit it can't.
  except BrokenPipeError:
    _print_to_nowhere(sys.stdout, sys.stderr)
    sys.exit(PIPE)
  except OSError as error:
    if error.errno not in FULL:
      raise
    _print_to_nowhere(sys.stdout)
    what = error.filename or 'what is printed, or a file'
    tell(f'error: can not write {what}: {error.strerror}')
    sys.exit(2)


def _open_closed():
  """Else the first files would get the numbers of closed streams.

  And what is meant for standard error would go into them.
  """
  handle = os.open(os.devnull, os.O_RDWR)
  while handle <= 2:
    handle = os.dup(handle)
  os.close(handle)
  for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, mode))


def _answered(function, *args):
  try:
    with warnings_to(tell), matplotlib_is_quiet():
      files.here()
      function(*args)
  except UserError as e:
    tell(f'error: {one_line(e)}')
    sys.exit(2)
  except KeyboardInterrupt:
    tell('interrupted')
    sys.exit(130)


def _print_to_nowhere(*streams):
  """Python flushes both streams once more when it exits."""
  with open(os.devnull, 'w') as nowhere:
    for stream in streams:
      with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), stream.fileno())


@contextlib.contextmanager
def warnings_to(show: Callable[[str], Any]) -> Iterator[None]:
  """Sends warnings to a function of one text."""
  with warnings.catch_warnings():
    warnings.showwarning = (
        lambda message, *_, **__: show(f'warning: {one_line(message)}'))
    yield


def tell(text: str, write: Callable[..., Any] = print) -> None:
  """Writes a line to standard error.

  It may be lost: where the terminal has gone or a disk is full, that must
  not end what goes on. A closed pipe is told by BrokenPipeError.
  """
  if sys.stderr is None:  # It was closed when Python started.
    return
  with may_be_lost(sys.stderr):
    write(text, file=sys.stderr)
    sys.stderr.flush()


@contextlib.contextmanager
def may_be_lost(stream: TextIO) -> Iterator[None]:
  """What is written to a stream within may be lost, as in `tell`."""
  try:
    yield
  except BrokenPipeError:
    raise
  except OSError as error:
    if error.errno == errno.EIO:  # The terminal has gone, for ever.
      _print_to_nowhere(stream)


@contextlib.contextmanager
def matplotlib_is_quiet() -> Iterator[None]:
  """It tells of a home that can't be written, and of fonts: no matter."""
  logger = logging.getLogger('matplotlib')
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def command(name: str, agent: str, *argv: str) -> str:
  """A command of an agent as a user called this one, to be shown.

  run.sh leaves its own path: who calls it may have no `python` at hand.
  """
  script = os.environ.get('DREAMER_RUN_SH')
  words = [script, name, agent] if script else ['python', '-m', agent, name]
  return shlex.join([*words, *argv])


def of_module(module: str, *argv: str) -> str:
  """The same of a module that run.sh knows by its name, as `scores`."""
  script = os.environ.get('DREAMER_RUN_SH')
  return shlex.join([*([script] if script else ['python', '-m']),
                     module, *argv])


def one_line(message: object) -> str:
  return ' '.join(str(message).split())


class Parser(argparse.ArgumentParser):
  """Raises UserError, without the usage that argparse puts before it."""

  def __init__(self, **kwargs: Any) -> None:
    super().__init__(allow_abbrev=False, **kwargs)

  def parse_args(  # type: ignore[override]
      self, args: Sequence[str] | None = None,
      namespace: Any = None) -> argparse.Namespace:
    """As usual; `~` is expanded, also in `--key=~/folder`."""
    args = sys.argv[1:] if args is None else args
    return super().parse_args(list(map(_expanded, args)), namespace)

  def error(self, message: str) -> NoReturn:
    raise UserError(f'{message}; see {self.prog} --help')


def _expanded(argument):
  start, equals, path = argument.partition('=')
  if equals and start.startswith('--'):
    return start + equals + files.expand(path)
  return files.expand(argument)
