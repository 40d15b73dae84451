"""Types of the settings of DreamerV1, for checkers; nothing imports them.

Written by `python -m dreamer.config.types` from the YAML.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

Act: TypeAlias = Literal[
    'elu', 'relu', 'tanh', 'leaky_relu', 'swish', 'selu', 'gelu', 'mish',
    'softplus', 'softsign', 'sigmoid', 'relu6', 'softmax', 'log_softmax',
    'none']

Contrast: TypeAlias = Literal[
    'observations', 'states', 'window', 'batch', 'time']


class UpdateRatio(Protocol):
  least: float
  most: float


class Envs(Protocol):
  amount: int
  worker: Literal['process', 'inline']
  timeout: int
  reset_timeout: int
  restarts: int


class Atari(Protocol):
  sticky: float
  noops: int
  actions: Literal['full', 'minimal']
  color: Literal['gray', 'rgb']
  resize: Literal['area84', 'area', 'bilinear']
  life_loss: Literal['ignore', 'end', 'always']


class Dmc(Protocol):
  camera: int
  normalize_actions: Literal['all', 'quadruped']
  buffer: Literal['full', 'small']
  shadows: Literal['full', 'low', 'off']
  multisampling: bool


class Dmlab(Protocol):
  actions: Literal[9, 7, 3]
  level_cache: str


class Replay(Protocol):
  episodes: Literal['uniform', 'permutation']
  starts: Literal['inclusive', 'exclusive', 'balanced']
  memory_gb: float


class Encoder(Protocol):
  depth: int
  act: Act


class Decoder(Protocol):
  images: Literal['image', 'none']
  depth: int
  act: Act
  gradient: bool


class Rssm(Protocol):
  stoch: int
  deter: int
  hidden: int
  act: Act
  min_std: float
  gru: Literal['reset_after', 'reset_before']
  stats: Literal['joint', 'separate']
  shared_latent_noise: bool


class Reward(Protocol):
  layers: int
  units: int
  act: Act


class DiscountHead(Protocol):
  enabled: bool
  layers: int
  units: int
  act: Act
  gradient: bool
  scale: float


class Cpc(Protocol):
  enabled: bool
  contrast: Contrast
  window_batch: int
  window_time: int
  layers: int
  units: int
  act: Act
  init_std: float
  min_std: float


class Kl(Protocol):
  scale: float
  free: float
  free_by: Literal['element', 'element_over', 'mean']


class Actor(Protocol):
  layers: int
  units: int
  act: Act
  init_std: float
  min_std: float
  mean_scale: float
  stats: Literal['joint', 'separate']
  gradient: Literal['straight_through', 'score']


class Planner(Protocol):
  horizon: int
  candidates: int
  iterations: int
  elites: int


class Expl(Protocol):
  kind: Literal['auto', 'gaussian', 'epsilon', 'random', 'none']
  noise: float
  schedule: Literal['constant', 'half_life', 'linear', 'relative']
  min: float
  decay: int
  decay_updates: int
  eval_noise: float


class ModelOpt(Protocol):
  lr: float
  eps: float
  clip: float


class Config(Protocol):
  logdir: str
  task: str
  seed: int
  steps: int
  precision: Literal['float32', 'float16', 'bfloat16']
  threads: int
  threads_per_op: int
  parallel: bool
  sync_updates: int
  update_ratio: UpdateRatio
  devices: int
  jit: Literal['auto', 'on', 'off']
  deterministic: bool
  unroll: bool
  image_key: str
  action_repeat: int
  time_limit: int
  envs: Envs
  atari: Atari
  dmc: Dmc
  dmlab: Dmlab
  prefill: int
  prefill_end: Literal['continue', 'drop', 'glue']
  pretrain_updates: int
  train_every: int
  train_updates: int
  eval_every: int
  eval_episodes: int
  log_every: int
  save_every: int
  video_every: int
  replay: Replay
  batch_size: int
  batch_length: int
  image_noise: bool
  reward_transform: Literal['none', 'tanh', 'sign']
  encoder: Encoder
  decoder: Decoder
  rssm: Rssm
  reward: Reward
  discount_head: DiscountHead
  cpc: Cpc
  kl: Kl
  behaviour: Literal['actor_critic', 'no_value', 'planner']
  no_value_returns: Literal['undiscounted', 'discounted']
  horizon: int
  discount: float
  bootstrap: Literal['last', 'second_last']
  actor: Actor
  critic: Reward
  planner: Planner
  collect: Literal['mode', 'sample']
  expl: Expl
  model_opt: ModelOpt
  actor_opt: ModelOpt
  critic_opt: ModelOpt
  diagnostic_opt: ModelOpt
  loss_scale: int

  agent: str
  presets: tuple[str, ...] | None
  flat: dict[str, Any]

  def __getitem__(self, key: str) -> Any: ...
