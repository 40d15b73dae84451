"""Single changes of our agent's settings: what another program may have done.

Each key that reaches a train step, with every other value that the schema
lists or that a source of configs/paper_<agent>.yaml names for it.
"""

from __future__ import annotations

import contextlib
import difflib
import typing
from unittest import mock

from dreamer.audit.sources import Sources
from dreamer.config import agents
from dreamer.config.rules import show
from dreamer.errors import UserError
from tests.parity import keys_v1, keys_v2, keys_v3

# Keys that reach a train step, by their first part.
LEARNING = (
    'precision', 'reward_transform', 'image_noise', 'encoder', 'decoder',
    'rssm', 'reward', 'discount_head', 'kl', 'discount', 'lambda',
    'bootstrap', 'actor', 'critic', 'actor_gradient', 'actor_mix',
    'actor_entropy', 'slow_critic', 'reward_norm', 'model_opt', 'actor_opt',
    'critic_opt', 'diagnostic_opt', 'expl_opt', 'cpc', 'discount_horizon',
    'limits_end', 'last_starts', 'start_discount', 'start_gradients',
    'replay_critic', 'return_norm', 'value_norm', 'advantage_norm', 'opt')
# Other sizes are other parameters: no program with them gets the case's.
SIZES = ('units', 'layers', 'depth', 'stoch', 'classes', 'deter', 'hidden',
         'kernels', 'widths', 'images', 'vectors', 'enabled', 'duration')


MANY = 6  # of more choices, those that a source names


class Change(typing.NamedTuple):
  """One change: its words, and a context of an agent in which it holds.

  settings: keys of ours with other values; enter: None, or a function of the
  agent that returns a context manager.
  """

  words: str
  settings: dict = {}
  enter: typing.Any = None


def settings(agent: str, config: typing.Any) -> list[Change]:
  """All single changes of a config's settings."""
  found = []
  for key, value in config.flat.items():
    parts = key.split('.')
    if parts[0] not in LEARNING or _other_sizes(parts) or _idle(config, parts):
      continue
    for other in alternatives(agent, key, value):
      found.append(Change(
          f'{key} {_text(other)} in place of {_text(value)}', {key: other}))
  return found


def _other_sizes(parts):
  """The critic's replayed loss, which can be left out, has no parameters."""
  return parts[-1] in SIZES and parts[0] != 'replay_critic'


def _idle(config, parts):
  """Whether nothing reads a key, as another one turns it off."""
  first, last = parts[0], parts[-1]
  get = config.flat.get
  explores = get('expl.kind', get('expl.behaviour'))
  off = {'discount_head': not get('discount_head.enabled', True),
         'cpc': not get('cpc.enabled'),
         'actor_mix': get('actor_gradient') != 'both',
         'expl_opt': explores not in ('plan2explore', 'model_loss')}
  constant = first in ('actor_mix', 'actor_entropy') and len(parts) > 1 and (
      last == 'kind' or last == 'end' and config[first].kind == 'constant')
  return off.get(first, False) or constant


def alternatives(agent: str, key: str, value: typing.Any) -> list:
  """Other values of a key, in the order of schema and sources."""
  schema = agents.schema(agent)
  rule = str(schema.allowed.get(key, ''))
  found: list = []
  if isinstance(value, bool):
    found = [not value]
  elif isinstance(value, str) and rule.count(', ') < MANY:
    found = rule.split(', ') if rule else []
  many = isinstance(value, str) and rule.count(', ') >= MANY
  last = key.split('.')[-1]
  for suite in _sources(agent).suites.values():
    for name, entry in suite.entries.items():
      if name == key or many and name.split('.')[-1] == last:
        cells = [*entry.cells.values(), entry.silent, *entry.variants]
        found += [x.value for x in cells if x]
  kind = type(value)
  found = [kind(x) if kind is not bool else x for x in found]
  return list(dict.fromkeys(x for x in found if x != value))


_CACHE: dict = {}


def _sources(agent):
  if agent not in _CACHE:
    _CACHE[agent] = Sources.load(agent)
  return _CACHE[agent]


def named(changes: list[Change], words: str) -> Change:
  """The change of these words, or the only one in whose words they stand.

  Raises UserError where it is none, or one of several.
  """
  found = [x for x in changes if x.words == words] or [
      x for x in changes if words in x.words]
  if len(found) == 1:
    return found[0]
  every = [x.words for x in changes]
  names = [x.words for x in found] or difflib.get_close_matches(
      words, every, 3, 0.3) or [*every[:3], f'{len(every)} in all']
  raise UserError(f'--with {words}: in the words of {len(found)} changes, and '
                  f'has to be in those of one: {"; ".join(names)}')


def _text(value):
  return value if isinstance(value, str) else show(value)


@contextlib.contextmanager
def changed(changes: typing.Iterable[Change]) -> typing.Iterator[None]:
  """Configs of cases have the settings of some changes inside."""
  overrides: dict = {}
  for change in changes:
    overrides.update(change.settings)

  def other(right):
    return lambda *args: right(*args).update(overrides)

  with contextlib.ExitStack() as stack:
    if overrides:
      for module in (keys_v1, keys_v2, keys_v3):
        stack.enter_context(mock.patch.object(
            module, 'make_config', other(module.make_config)))
    yield
