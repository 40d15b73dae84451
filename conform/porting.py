"""What all adapters share: a port runs a case's train steps, arrays are kept.

An adapter is a module with `build(case, port)`, which imports the port from
the folder `port` and returns a `Port`. Run one by

  python conform/NAME.py CASE OUT.npz --port DIR
"""

import contextlib
import pathlib
import shlex
import sys
import warnings

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dreamer import cli, conform, files, npz  # noqa: E402
from dreamer.conform import layouts, samplers  # noqa: E402
from dreamer.errors import UserError  # noqa: E402


class Link:
  """One parameter of the case and the tensor of the port that holds it.

  turn, back: from the case's layout to PyTorch's, and its inverse; both are
  linear. What they do comes before (after) the turn of axes.
  """

  def __init__(self, name, tensor, turn=None, back=None):
    same = lambda x: x
    self.names, self.tensors = [name], [tensor]
    self.turn, self.back = turn or same, back or same

  def load(self, arrays):
    value = layouts.to_torch(self.turn(arrays[self.names[0]]))
    _assign(self.names[0], self.tensors[0], value)

  def read(self, values):
    """Arrays by name in the case's layout, of a value for each tensor."""
    return {self.names[0]: self.back(layouts.from_torch(values[0]))}


class Swapped(Link):
  """A kernel whose rows [one, two] a port joins as [two, one]."""

  def __init__(self, name, tensor, first):
    super().__init__(name, tensor, lambda x: layouts.swap(x, first),
                     lambda x: layouts.swap(x, len(x) - first))


class Gru(Link):
  """V1's GRU in the tensors of torch.nn.GRU or GRUCell."""

  def __init__(self, prefix, cell, suffix=''):
    self.names = [f'{prefix}/{x}' for x in (
        'kernel', 'recurrent_kernel', 'bias')]
    self.tensors = [getattr(cell, f'{x}{suffix}') for x in (
        'weight_ih', 'weight_hh', 'bias_ih', 'bias_hh')]

  def load(self, arrays):
    found = layouts.gru_to_torch(*(arrays[x] for x in self.names))
    for tensor, value in zip(self.tensors, found.values(), strict=True):
      _assign(self.names[0], tensor, value)

  def read(self, values):
    return dict(zip(self.names, layouts.gru_from_torch(*values), strict=True))


class OnImages(Link):
  """A kernel on [one, embed], where a port flattens channels first.

  first: the size of `one`; channels: of the encoder's last layer.
  """

  def __init__(self, name, tensor, first, channels):
    join = lambda function: lambda x: np.concatenate(
        [x[:first], function(x[first:], channels, 0)])
    super().__init__(name, tensor, join(layouts.flat_to_torch),
                     join(layouts.flat_from_torch))


class Joined(Link):
  """Layers of the case, side by side in one of the port.

  sizes: how many outputs each of them has; equal ones without.
  """

  def __init__(self, names, link, sizes=()):
    kind = link.names[0].rsplit('/', 1)[1]
    self.names = [f'{x}/{kind}' for x in names]
    self.tensors, self.link = link.tensors, link
    self.places = np.cumsum(sizes)[:-1] if len(sizes) else len(names)

  def load(self, arrays):
    joined = np.concatenate([arrays[x] for x in self.names], -1)
    self.link.load({self.link.names[0]: joined})

  def read(self, values):
    joined, = self.link.read(values).values()
    parts = np.split(joined, self.places, -1)
    return dict(zip(self.names, parts, strict=True))


def _assign(name, tensor, value):
  if tuple(tensor.shape) != value.shape:
    raise UserError(f'{name}: {value.shape} in the case, {tuple(tensor.shape)}'
                    ' in the port')
  with torch.no_grad():
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def layers(prefix, names, module, turns=None):
  """Links of the Linear and Conv layers inside a module, in order.

  names: what the case calls them; turns: Links in place of some kernels.
  """
  kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
  found = [x for x in module.modules() if isinstance(x, kinds)]
  if len(found) != len(names):
    raise UserError(f'{prefix}: {len(names)} layers in the case, '
                    f'{len(found)} in the port')
  links = []
  for name, layer in zip(names, found, strict=True):
    make = (turns or {}).get(name, Link)
    links.append(make(f'{prefix}/{name}/kernel', layer.weight))
    if layer.bias is not None:
      links.append(Link(f'{prefix}/{name}/bias', layer.bias))
  return links


class Port:
  """A port on a case; adapters override what stands here.

  links: of all parameters. groups: names of the calls of clip_grad_norm_ in
  a train step, as in grad_norm/<group>; '' for one that the case lacks.
  watched: functions of the port, by name, whose variables are looked at.
  said: what the adapter had to add or set, for the reader.
  """

  links, groups, watched, said = (), (), {}, ()
  updates = True  # whether step() moves the parameters

  def step(self, k):
    """Train step k, by the port's own code."""

  def arrays(self, frames):
    """Arrays by name without step{k}/; names with tensor/ are of step 0."""
    return {}

  def fixed(self):
    """A context in which the port's own samplers are replaced."""
    return contextlib.nullcontext()


def run(port, case):
  """Arrays of a port by the names of the case, and what stopped it, or ''."""
  for link in port.links:
    link.load(case.parameters)
  linked = {x for link in port.links for x in link.names}
  found = {f'init/{key}': x for key, x in read(port.links).items()}
  port.lacks = sorted(set(case.shapes) - linked)
  for k in range(case.steps):
    with contextlib.ExitStack() as stack:
      enter = stack.enter_context
      enter(samplers.fixed(torch))
      enter(port.fixed())
      groups = enter(samplers.gradients(torch))
      frames = enter(samplers.watch(**port.watched))
      stopped = _step(port, k)
    found.update(_collect(port, k, frames, groups))
    if k == 0 and port.updates and not stopped:
      found.update({f'param1/{x}': y for x, y in read(port.links).items()})
    if stopped:
      return _known(case, found), stopped
  if port.updates:
    found.update({f'param/{x}': y for x, y in read(port.links).items()})
  return _known(case, found), ''


def _step(port, k):
  try:
    port.step(k)
  except Exception as error:  # whatever stops the port is told
    return (f'train step {k} stops: {type(error).__name__}: '
            f'{cli.one_line(error)}'[:300])
  return ''


def read(links, gradients=None):
  """Arrays of all links; of gradients (id -> array), where they are given."""
  found = {}
  for link in links:
    if gradients is None:
      values = [samplers.array(x) for x in link.tensors]
    elif all(id(x) in gradients for x in link.tensors):
      values = [gradients[id(x)] for x in link.tensors]
    else:
      continue
    found.update(link.read(values))
  return found


def _collect(port, k, frames, groups):
  found = {}
  for key, value in port.arrays(frames).items():
    if not key.startswith('tensor/'):
      found[f'step{k}/{key}'] = samplers.array(value)
    elif k == 0:
      found[key] = samplers.array(value)
  for name, group in zip(port.groups, groups, strict=False):
    if name:
      found[f'step{k}/grad_norm/{name}'] = group[None]
    if k == 0:
      found.update({f'grad/{x}': y for x, y in read(
          port.links, group).items()})
  return found


def _known(case, arrays):
  """Those that the case has, as float32 where they are float64."""
  names = {*case.names, *(f'init/{x}' for x in case.shapes)}
  return {key: x.astype(np.float32) if x.dtype == np.float64 else x
          for key, x in arrays.items() if key in names}


def last(frames, name):
  """The variables of a function's last call; none where it was not called."""
  return frames[name][-1] if frames[name] else {}


def pick(frame, **names):
  """Values by name of what a function of the frame's variables returns.

  What is missing, because the port stopped before, is left out. `__` in a
  name stands for '/'.
  """
  found = {}
  for key, function in names.items():
    with contextlib.suppress(KeyError, IndexError, AttributeError):
      found[key.replace('__', '/')] = function(frame)
  return found


def main(build, doc):
  """Runs an adapter from the command line."""
  parser = cli.Parser(description=doc)
  parser.add_argument('case')
  parser.add_argument('out')
  parser.add_argument('--port', required=True, metavar='DIR')
  cli.guard(lambda: _main(build, parser.parse_args()))


def _main(build, args):
  case = conform.case(args.case)
  files.check_ours(args.out)
  port = start(build, case, args.port)
  arrays, stopped = run(port, case)
  npz.write(args.out, arrays, files.MARK)
  for line in [*port.said, *([stopped] if stopped else [])]:
    print(f'* {line}')  # conform/ports.py reads these
  print(f'{args.out}: {len(arrays)} arrays of {case.name}; python -m '
        f'dreamer.conform {case.name} {shlex.quote(args.out)}')


def start(build, case, folder):
  """The Port of an adapter, imported from a folder."""
  folder = pathlib.Path(folder).resolve()
  if not folder.is_dir():
    raise UserError(f'--port {folder}: no such folder; give a checkout')
  # Two ports have modules that are called dreamer, as this project has: from
  # here on the name is theirs.
  for name in [x for x in sys.modules if x.split('.')[0] == 'dreamer']:
    del sys.modules[name]
  sys.path.insert(0, str(folder))
  warnings.filterwarnings('ignore')
  torch.manual_seed(0)
  torch.set_num_threads(1)
  port = build(case, folder)
  return port


def batch_first(x):
  """[T, B, ...] -> [B, T, ...]."""
  return x.swapaxes(0, 1)


def rows(x, batch):
  """[H, T * B, ...] -> [H, B * T, ...]: the case's order of start states."""
  size, length = batch
  x = samplers.array(x)
  x = x.reshape(len(x), length, size, *x.shape[2:]).swapaxes(1, 2)
  return x.reshape(len(x), size * length, *x.shape[3:])


def embedding(x, case):
  """[B, T, E] of a port that flattens channels first, in the case's order."""
  return layouts.flat_from_torch(
      samplers.array(x), 8 * case.settings['cnn_depth'], 2)


def images_first(images):
  """uint8 [B, T, H, W, C] -> [T, B, C, H, W], as most ports have them."""
  return torch.from_numpy(np.ascontiguousarray(
      images.transpose(1, 0, 4, 2, 3)))
