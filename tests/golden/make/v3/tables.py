"""What the release's replay, driver and wrappers do, as tables."""
import elements
import embodied
import numpy as np

FLAGS = {'is_first': elements.Space(bool), 'is_last': elements.Space(bool),
         'is_terminal': elements.Space(bool)}
REWARD = {'reward': elements.Space(np.float32)}


def ratio(data):
  """How many updates each step allows, by ratio."""
  found = []
  for row in data:
    ask = elements.when.Ratio(row['ratio'])
    found.append(dict(row, repeats=[int(ask(x)) for x in row['steps']]))
  return found


def action_wrappers(data):
  """What reaches an environment through the release's action wrappers."""
  got = []

  class Env(embodied.Env):
    obs_space = {**REWARD, **FLAGS}
    act_space = {
        'reset': elements.Space(bool), 'action': elements.Space(
            np.float32, (3,), *_bounds(data['low'], data['high']))}

    def step(self, action):
      got.append(np.asarray(action['action'], np.float64).tolist())
      return dict(reward=np.float32(0), is_first=False, is_last=False,
                  is_terminal=False)

  env = embodied.wrappers.NormalizeAction(Env(), 'action')
  env = embodied.wrappers.UnifyDtypes(env)
  env = embodied.wrappers.ClipAction(env, 'action')
  for action in data['agent']:
    env.step({'action': np.float32(action), 'reset': np.bool_(False)})
  return dict(data, environment=got)


def _bounds(low, high):
  """Without one (None), infinity."""
  return (np.float32([-np.inf if x is None else x for x in low]),
          np.float32([np.inf if x is None else x for x in high]))


class _Clock(embodied.Env):
  """Episodes of `steps` actions, terminal where these are two."""

  def __init__(self, steps, got):
    self.steps, self.got, self.time, self.over = steps, got, 0, True

  obs_space = {'t': elements.Space(np.float32), **REWARD, **FLAGS}
  act_space = {'reset': elements.Space(bool),
               'action': elements.Space(np.float32, (1,), -1, 1)}

  def step(self, action):
    self.got.append([float(action['action'][0]), bool(action['reset'])])
    first = bool(action['reset'] or self.over)
    self.time = 0 if first else self.time + 1
    self.over = self.time >= self.steps
    return dict(
        t=np.float32(self.time), reward=np.float32(self.time), is_first=first,
        is_last=self.over, is_terminal=self.over and self.steps == 2)


def driver(data):
  """The rows that callbacks see, and the actions that environments get."""
  got, rows, calls = [], [], [0]

  def policy(carry, obs, **kwargs):
    calls[0] += 1
    return (carry, {'action': np.full((2, 1), calls[0], np.float32)},
            {'extra': np.full(2, calls[0], np.int32)})

  def note(row, worker):
    rows.append(dict(worker=worker, **{
        k: np.asarray(v).tolist() for k, v in row.items()}))

  made = embodied.Driver(
      [lambda: _Clock(2, got), lambda: _Clock(3, got)], parallel=False)
  made.on_step(note)
  made.reset(lambda amount: ())
  made(policy, steps=16)
  return dict(data, got=got, rows=rows)


def replay(data):
  """Items, the online queue, draws and what is written back."""
  settings = dict(data['settings'])
  workers = settings.pop('workers')
  made = embodied.replay.Replay(**settings)
  counts, log, before = [0] * workers, [], 0
  for block in data['log']:
    for _ in range(block['rows'][0] - before):
      for worker in range(workers):
        made.add(_row(worker, counts[worker]), worker)
        counts[worker] += 1
    before = block['rows'][0]
    log.append(_draws(made, counts))
  batch = made.sample(2, 'train')
  made.update({'stepid': batch['stepid'][:, 1:],
               'dyn/deter': -batch['dyn/deter'][:, 1:]})
  after = {}
  for item in made.items.values():
    latent = made._getseq(*item, ['dyn/deter'])['dyn/deter']
    after[str(_first(made, item))] = latent[:, 0].tolist()
  update = dict(ids=batch['id'].tolist(), after=after)
  return dict(data, log=log, update=update)


def _row(worker, time):
  name = 1000 * worker + time
  return {
      'id': np.int32(name), 'is_first': np.bool_(time % 7 == 0 or time == 10),
      'is_last': np.bool_(time % 7 == 6),
      'is_terminal': np.bool_(time % 14 == 6),
      'dyn/deter': np.full(2, name, np.float32)}


def _first(made, item):
  """The row that an item starts with."""
  return int(made._getseq(*item, ['id'])['id'][0])


def _draws(made, counts):
  """Items and queue, then a batch to train on and one to report on."""
  items = {str(k): _first(made, v) for k, v in made.items.items()}
  queue = [_first(made, x) for x in made.queue if x[0] in made.chunks]
  train = made.sample(3, 'train')
  report = made.sample(2, 'report')
  names = ('id', 'is_first', 'is_last', 'is_terminal')
  return dict(
      rows=list(counts), items=items, online_before=queue,
      train={k: train[k].tolist() for k in names},
      report=report['id'].tolist())
