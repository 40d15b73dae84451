"""TensorFlow's settings for the whole process, before its first use."""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import os
import pathlib
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from dreamer import cli, cpus
from dreamer.errors import UserError

# Functions that agents trace, as TensorFlow calls them.
OURS = (r'\.(train_step|policy_step|report_step) of |Replicas\.step of |'
        r'Direct\._trace|function scan\.<locals>')
# Lines about what a CPU does not have, printed before any log level counts.
NOISE = (
    'All log messages before absl::InitializeLog()', 'cudart_stub.cc',
    'failed call to cuInit', 'oneDNN custom operations are on',
    'This TensorFlow binary is optimized', 'To enable the following instr')


def setup(config: Any) -> None:
  """Imports TensorFlow and sets its threads, memory and determinism.

  Raises UserError where it runs already with another number of threads.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # By default only on CPUs with AVX-512 or AMX; elsewhere convolutions run
  # backward at a third of the speed without it.
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
  with _without(NOISE), cli.matplotlib_is_quiet(), without_gc():
    with _Hidden('h5py', 'jax', 'keras', 'pandas', 'scipy', 'tf_keras'):
      # Seconds, and environment variables have to be set before.
      import tensorflow as tf
    tf.get_logger().addFilter(_is_told)
    gpus = tf.config.list_physical_devices('GPU')
    _set_threads(tf.config.threading, config.threads, config.threads_per_op)
    for gpu in gpus:
      with contextlib.suppress(RuntimeError):  # Its user has set it up.
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus and config.deterministic:  # CPUs do not need it.
      tf.config.experimental.enable_op_determinism()
    tf.zeros([])  # Starts what prints.
  if unused := unused_gpu():
    warnings.warn(unused, stacklevel=2)
  if not gpus:
    # Takes 2 s of every start; no update is faster for it on a CPU.
    tf.config.optimizer.set_experimental_options(
        {'disable_meta_optimizer': True})
    _warn_if_emulated(config.precision)


def compiles(config: Any) -> bool:
  """Whether XLA compiles updates and actions: key `jit`."""
  if config.devices > 1:  # XLA has no reductions between them.
    return False
  if config.jit != 'auto':
    return config.jit == 'on'
  # Importing it takes seconds, and environment variables have to be set before.
  import tensorflow as tf
  return bool(tf.config.list_physical_devices('GPU'))


def describe(config: Any, compiled: bool, parameters: int) -> str:
  """What a run computes on, in one line."""
  # As in `compiles`.
  import tensorflow as tf
  gpus = tf.config.list_physical_devices('GPU')
  names = [tf.config.experimental.get_device_details(gpu).get(
      'device_name', gpu.name) for gpu in gpus]
  amount = config.threads or cpus.allowed()
  where = ', '.join(names[:config.devices]) if gpus else (
      f'CPU, {amount} thread{"s" * (amount != 1)}')
  within = tf.config.threading.get_intra_op_parallelism_threads()
  if not gpus and within not in (0, amount):
    where += f', {within} per operation'
  if config.devices > 1:
    where = f'{config.devices} devices: {where}'
  return (f'computes on {where}; {config.precision}; '
          f'{"compiled by XLA" if compiled else "not compiled"} (jit '
          f'{config.jit}); {parameters:,} parameters')


def unused_gpu(driver: str = '/proc/driver/nvidia/version') -> str | None:
  """A warning, if the driver sees a GPU that TensorFlow does not."""
  # As in `compiles`.
  import tensorflow as tf
  hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
  if hidden or not os.path.exists(driver) or (
      tf.config.list_physical_devices('GPU')):
    return None
  return ('an NVIDIA driver is here, but TensorFlow sees no GPU and computes '
          "on the CPU: install NVIDIA's libraries by ./run.sh setup --gpu "
          "(installed: pip install 'dreamer-reproduced[gpu]')")


class _Hidden(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Packages that can't be imported meanwhile: an ImportError.

  TensorFlow goes without them, and starts in two thirds of the time. Where
  they are is known still, and those that are loaded already stay.
  """

  def __init__(self, *names):
    self._names = names

  def __enter__(self):
    sys.meta_path.insert(0, self)

  def __exit__(self, *_):
    sys.meta_path.remove(self)

  def find_spec(self, name, path, target=None):
    if name not in self._names:
      return None
    spec = importlib.machinery.PathFinder.find_spec(name, path, target)
    if spec:
      spec.loader = self
    return spec

  def exec_module(self, module):
    raise ImportError(f'{module.__name__} is not needed here')


def _is_told(record):
  """All but the warning that steps of agents are traced again and again.

  TensorFlow counts the traces of all objects that share a function's code:
  several runs in one process are no mistake.
  """
  text = record.getMessage()
  ours = re.search(OURS, text)
  return not (ours and 'triggered tf.function retracing' in text)


def _warn_if_emulated(precision, cpuinfo='/proc/cpuinfo'):
  """Half precision is slower than float32 on CPUs that only emulate it."""
  needs = {'bfloat16': ('avx512_bf16', 'amx_bf16'), 'float16': ('amx_fp16',)}
  try:
    flags = pathlib.Path(cpuinfo).read_text().split()
  except OSError:
    return
  if precision in needs and not set(needs[precision]) & set(flags):
    warnings.warn(
        f'precision: {precision} is emulated on this CPU and slower than '
        'float32', stacklevel=3)


def _set_threads(threading, wanted, per_op):
  """wanted: 0: as many as there may be; TensorFlow itself knows no quotas."""
  if wanted and per_op > wanted:
    raise UserError(f'threads_per_op: {per_op} is not allowed with threads '
                    f'{wanted}; allowed: 0..{wanted}')
  limited = cpus.quota() < (os.cpu_count() or 1)
  amount = wanted or limited * cpus.allowed()
  within = min(per_op, amount or per_op) or amount
  get = (threading.get_intra_op_parallelism_threads,
         threading.get_inter_op_parallelism_threads)
  before = tuple(x() for x in get)
  if (within, amount) == before:
    return
  try:
    threading.set_intra_op_parallelism_threads(within)
    threading.set_inter_op_parallelism_threads(amount)
  except RuntimeError:
    if before[1] == amount or not (wanted or any(before)):
      return  # Its user has started it, or an agent of another size.
    raise UserError(
        f'threads: TensorFlow runs already, not with {wanted} threads; set '
        'threads before anything else uses TensorFlow') from None


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
  """For imports and tracing: few cycles, and seconds of looking for them."""
  enabled = gc.isenabled()
  gc.disable()
  try:
    yield
  finally:
    if enabled:
      gc.enable()


@contextlib.contextmanager
def _without(noise):
  """Holds back standard error, also that of C++, and drops known lines."""
  sys.stderr.flush()
  with tempfile.TemporaryFile() as file, os.fdopen(os.dup(2), 'wb') as real:
    os.dup2(file.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(real.fileno(), 2)
      file.seek(0)
      for line in file:
        if not any(text.encode() in line for text in noise):
          real.write(line)
