"""Loads `deepmind_lab`, which users build, or says what it lacks."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import pathlib
import sys
import types

import numpy as np

from dreamer.cli import one_line
from dreamer.errors import UserError

NAME = 'deepmind_lab'
SOURCES = 'https://github.com/google-deepmind/lab'
BUILD = (
    'no package index has it: build it from source as '
    f'{SOURCES}/blob/master/docs/users/build.md says; with the tools of today '
    f'that needs the changes in {SOURCES}/issues/258; python -m '
    'dreamer.envs.suites.dmlab check tells whether it is usable')
# Modules that its package imports besides the extension.
REMEDIES = {
    'imp': 'which Python has no more since 3.12; use Python 3.10 or 3.11',
    'pkg_resources': "pip install 'setuptools<81'",
    'dm_env': 'pip install dm-env',
}


def load(task: str) -> types.ModuleType:
  """Returns the module.

  Its package loads an extension file by modules that Python and setuptools
  no longer have. Where that fails, the file is loaded without the package.

  Args:
    task: For messages.

  Raises:
    UserError: it is not installed, or what it needs is missing.
  """
  if NAME in sys.modules:
    return sys.modules[NAME]
  spec = importlib.util.find_spec(NAME)
  if spec is None:
    raise UserError(f'task={task}: needs {NAME}; {BUILD}')
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):
      module = _import(spec)
      module.Lab  # noqa: B018 - a folder of that name has none
  except Exception as error:  # Whatever an import can raise.
    where = spec.origin or ', '.join(spec.submodule_search_locations or ())
    if not _is_numpy(error):
      print(said.getvalue(), end='', file=sys.stderr)
    raise UserError(
        f'task={task}: {NAME} is installed ({where}), but {_why(error)}'
    ) from error
  return module


def _import(spec):
  try:
    return importlib.import_module(NAME)
  except Exception as error:  # Some old setuptools raise AttributeErrors.
    path = _extension(spec)
    if path is None or _is_numpy(error):
      raise
    return _load_extension(path)


def _extension(spec):
  """The extension file in the folder of the package, or None."""
  found = [
      path for folder in spec.submodule_search_locations or ()
      for path in sorted(pathlib.Path(folder).glob(f'{NAME}*.so'))]
  return found[0] if found else None


def _load_extension(path):
  """By the name that the extension itself looks for in sys.modules."""
  spec = importlib.util.spec_from_file_location(NAME, path)
  assert spec and spec.loader  # by the ending of its name
  module = importlib.util.module_from_spec(spec)
  sys.modules[NAME] = module
  try:
    spec.loader.exec_module(module)
  except BaseException:
    del sys.modules[NAME]
    raise
  return module


def _is_numpy(error):
  text = str(error)
  return 'numpy.core.multiarray failed to import' in text or (
      '_ARRAY_API' in text or 'compiled using NumPy 1' in text)


def _why(error):
  if _is_numpy(error):
    return (
        f'was built with the headers of NumPy 1, and here is NumPy '
        f'{np.__version__}; build it again with those of this one: python -c '
        '"import numpy; print(numpy.get_include())"')
  if isinstance(error, ModuleNotFoundError) and error.name:
    remedy = REMEDIES.get(error.name, 'install that')
    return f'it needs the module {error.name}; {remedy}'
  return f'does not load: {type(error).__name__}: {one_line(error)}'
