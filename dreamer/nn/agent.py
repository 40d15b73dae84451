"""What agents of all papers share around learning; acting is in `acting`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dreamer.errors import UserError
from dreamer.nn import acting, device, openloop, optim
from dreamer.nn.acting import Tensors
from dreamer.replay.stored import Stored
from dreamer.scalars import Scalars


class Update(NamedTuple):
  """What one update, or a part of it, computes: dicts by name.

  losses and metrics are scalars; gradients, before clipping, are by group of
  parameters and then by parameter; tensors are what the losses are made of,
  some of them dicts.
  """

  losses: Tensors
  gradients: dict[str, Tensors]
  tensors: dict[str, Any]
  metrics: Tensors

  def merge(self, other: Update) -> Update:
    """This part and another; nothing may have its name in both."""
    for ours, theirs in zip(self, other, strict=True):
      twice = set(ours) & set(theirs)
      if twice:
        raise ValueError(f'{", ".join(sorted(twice))}: in both parts')
    return Update(*({**x, **y} for x, y in zip(self, other, strict=True)))

  def prefixed(self, prefix: str) -> Update:
    """With this before all names but those of gradients."""
    rename = lambda items: {f'{prefix}{key}': x for key, x in items.items()}
    return Update(rename(self.losses), self.gradients, rename(self.tensors),
                  rename(self.metrics))

  @property
  def scalars(self) -> Tensors:
    """Metrics and losses as they are logged."""
    losses = {f'loss/{key}': value for key, value in self.losses.items()}
    return {**self.metrics, **losses}


class Agent(acting.Acting):
  """World model, behaviour and optimisers behind five calls.

  `train(batch)` updates on sequences [B, T, ...], `policy(obs, state)` acts
  for n environments, `report(batch)` predicts videos open loop, `state()` and
  `restore(arrays)` carry everything that learning changes.

  A subclass is a paper. In its constructor it makes `model`, `behaviour`,
  `explore` (its action noise) and, by `_make_optimizers`, `optimizers` by
  group; `modules` lists what has parameters. It writes `_learn` and `opts`.

  Args are the Config, the ActionSpace, and, for tests, a noise object that
  replaces every random draw.
  """

  optimizers: dict[str, optim.Optimizer]
  metrics: tuple[str, ...] = ()  # names of what `train` returns, once it has
  stored: Mapping[str, Stored] = {}  # what a replay keeps of acting states
  signals: tuple[str, ...] = ()  # replayed arrays beside obs and action

  def __init__(self, config: Any, act_space: Any, noise: Any = None):
    super().__init__(config, act_space, noise)
    compiled = lambda step: tf.function(
        step, autograph=False, jit_compile=self.compiled)
    self._train = compiled(self.train_step)
    self._fresh: Tensors = {}  # of the last update
    self.others: Sequence[Agent] = ()  # that learn with it, elsewhere
    self._report = tf.function(self.report_step, autograph=False)

  @property
  def batch_keys(self) -> tuple[str, ...]:
    """Names of the replayed arrays that `train` and `report` read."""
    return (*self.obs_keys, 'action', *self.signals)

  # Learning

  def train(
      self, batch: Mapping[str, Any], env_steps: int = 0) -> Scalars:
    """One update of all parameters; metrics by name, float32.

    The batch holds what `batch_keys` names, [B, T, ...], as arrays or as
    `put` returns them; env_steps is where schedules are read. Nothing waits
    for the device until a metric is read.
    """
    updates = self.updates
    values, self._fresh = self._train(
        self.put(batch), tf.constant(env_steps, tf.int64))
    self._updates = updates + 1
    return Scalars(self.metrics, values, tf.stack)

  def compiled_text(self, batch: Mapping[str, Any]) -> str:
    """XLA's program of `train` for this device, as text (HLO, optimised).

    For an agent that XLA compiles: key `jit`.
    """
    ir = self._train.experimental_get_compiler_ir(
        self.put(batch), tf.constant(0, tf.int64))
    return ir(stage='optimized_hlo')

  def refreshed(self) -> Tensors:
    """Of the last update: new `stored` arrays, [B, T, ...] by name."""
    return self._fresh

  def put(self, batch: Mapping[str, Any]) -> Tensors:
    """What `train` reads of a batch, on the device."""
    return {key: tf.convert_to_tensor(batch[key]) for key in self.batch_keys}

  @device.without_gc()  # while it is traced
  def train_step(
      self, batch: Tensors, env_steps: tf.Tensor) -> tuple[tf.Tensor, Tensors]:
    """An update, to be traced: its metrics [K], see `metrics`; `refreshed`."""
    update = self.learn(batch, env_steps)
    scalars = update.scalars
    self.metrics = tuple(scalars)
    values = [tf.cast(x, tf.float32) for x in scalars.values()]
    return tf.stack(values), self.fresh(update.tensors)

  def fresh(self, tensors: dict[str, Any]) -> Tensors:
    """Stored arrays anew, [B, T, ...], from an update's tensors."""
    del tensors
    return {}

  def learn_with(self, others: Sequence[Agent], step: Callable) -> None:
    """From now on `train` calls `step`, which updates others as well."""
    self.others = others
    self._train = tf.function(step, autograph=False)

  def learn(self, batch: Tensors, env_steps: tf.Tensor) -> Update:
    """The same, with all that the update computes."""
    self._updates = None
    noise = self._noise('learn/train', self.counters['updates'])
    data = self.model.preprocess(batch, noise)
    update = self._learn(data, noise, env_steps)
    self.counters['updates'].assign_add(1)
    return update

  def _learn(self, data, noise, env_steps):
    """One update on preprocessed sequences; returns the Update."""
    raise NotImplementedError

  def _differentiate(
      self, loss: Callable, groups: Mapping[str, str]) -> Update:
    """Losses and tensors of `loss()` and the gradients of groups.

    groups: of each group of parameters the loss that it learns from.
    """
    with optim.gradient_tape() as tape:
      losses, tensors = loss()
    gradients = {
        group: self.optimizers[group].gradients(tape, losses[name])
        for group, name in groups.items()}
    return Update(losses, gradients, tensors, {})

  def _apply(self, update: Update) -> Update:
    """Moves the parameters by their gradients; adds metrics of that."""
    for group, gradients in update.gradients.items():
      update.metrics.update(self.optimizers[group].apply(gradients))
    return update

  def start_states(self, post: Tensors, after: Any) -> Tensors:
    """Posteriors [B, T, ...] as rows b * T + t, gradient stopped: [N, ...].

    Waiting for what is in `after`, the model's gradients, frees their memory
    before the rollout takes its.
    """
    with tf.control_dependencies(tf.nest.flatten(after)):
      post = {key: tf.identity(value) for key, value in post.items()}
    rows = lambda x: tf.reshape(x, [-1, *x.shape[2:]])
    return {key: tf.stop_gradient(rows(x)) for key, x in post.items()}

  # Pictures

  def report(
      self, batch: Mapping[str, np.ndarray],
      context: int = 5) -> dict[str, np.ndarray]:
    """Open-loop videos [T, 3 H, B W, C] uint8: truth, prediction, error.

    The model sees `context` observations, then only actions; one video for
    each image it predicts. At most 6 sequences.
    """
    if not self.model.decoder.images:
      return {}
    context = min(context, batch['action'].shape[1] - 1)
    videos = self._report(
        self.put({key: batch[key][:6] for key in self.batch_keys}), context)
    return {'openloop' if key == 'image' else f'openloop_{key}':
            openloop.to_uint8(video).numpy() for key, video in videos.items()}

  def report_step(self, batch: Tensors, context: int) -> Tensors:
    """Videos, to be traced: [T, 3 H, B W, C] float32 by image."""
    noise = self._noise('learn/report', self.counters['reports'])
    self.counters['reports'].assign_add(1)
    model = self._bind(self.model)
    data, rssm = model.preprocess(batch, noise), model.rssm
    rows, length = data['action'].shape[:2]
    seen = {key: value[:, :context] for key, value in data.items()}
    _, post, _ = model.infer(seen, noise)
    start = {key: value[:, -1] for key, value in post.items()}
    later = tf.transpose(data['action'][:, context:], [1, 0, 2])
    draw = rssm.draw(noise, 'open_loop', [length - context, rows])
    prior = rssm.open_loop(start, later, draw)
    swap = lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    feat = tf.concat([
        swap(rssm.get_feat(post)), rssm.get_feat(prior)], 0)  # [T, B, F]
    truth = model.preprocess_obs(  # without noise
        {key: batch[key][:, -length:] for key in self.obs_keys})
    return {key: openloop.compare(swap(truth[key]) + 0.5, mean + 0.5)
            for key, mean in model.decoder.image_means(feat).items()}

  # State

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Everything a checkpoint holds, by name."""
    found = dict(self.parameters)
    for optimizer in self.optimizers.values():
      found.update({f'opt/{k}': v for k, v in optimizer.variables.items()})
    found.update({f'norm/{k}': v for k, v in self.statistics.items()})
    found.update({f'counter/{k}': v for k, v in self.counters.items()})
    return found

  def state(self) -> dict[str, np.ndarray]:
    """Copies of all variables by name, as arrays."""
    return {key: value.numpy() for key, value in self.variables.items()}

  def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Takes back what `state` returned.

    Raises UserError unless names and shapes agree exactly; then nothing has
    been changed.
    """
    variables = self.variables
    _check(variables, arrays)
    self._updates = None
    for key, variable in variables.items():
      variable.assign(arrays[key])
    for other in self.others:
      other.restore(arrays)

  def only_act(self) -> None:
    """Gives up learning; acting then answers sooner."""
    super().only_act()
    self.optimizers = {}  # frees their memory

  def take(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Takes over a part of a state, such as `acting_state` gives."""
    super().take(arrays)
    for other in self.others:
      other.take(arrays)

  @property
  def opts(self) -> dict[str, Any]:
    """Sections of the optimisers by group of parameters."""
    raise NotImplementedError

  def _make_optimizers(self, groups):
    """One for each group, with a loss scale where float16 needs it."""
    half = self.config.precision == 'float16'
    scale = self.config.loss_scale if half else None
    kind = lambda section: optim.KINDS[section.get('kind', 'adam')]
    return {key: kind(self.opts[key])(
        key, x, self.opts[key], scale, self.opts[key].get('decay', 0.0))
            for key, x in groups.items()}

def _check(variables, arrays):
  """Raises UserError unless arrays fit the variables."""
  ours, theirs = set(variables), set(arrays)
  for names, what in ((ours - theirs, 'lacks'), (theirs - ours, 'has extra')):
    if names:
      raise UserError(
          f'checkpoint: {what} {sorted(names)[0]} and {len(names) - 1} more; '
          'use the config of that run')
  for key, variable in variables.items():
    if tuple(variable.shape) != arrays[key].shape:
      raise UserError(
          f'checkpoint: {key} has shape {arrays[key].shape}, this agent '
          f'needs {tuple(variable.shape)}; use the config of that run')
