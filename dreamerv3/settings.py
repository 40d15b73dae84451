"""Types of the settings of DreamerV3, for checkers; nothing imports them.

Written by `python -m dreamer.config.types` from the YAML.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

Act: TypeAlias = Literal[
    'silu', 'relu', 'relu2', 'relu6', 'elu', 'celu', 'selu', 'gelu_tanh',
    'leaky_relu_01', 'mish', 'softplus', 'softsign', 'squareplus', 'sigmoid',
    'log_sigmoid', 'tanh', 'hard_tanh', 'hard_sigmoid', 'hard_silu',
    'sparse_plus', 'sparse_sigmoid', 'softmax', 'log_softmax', 'none']

Init: TypeAlias = Literal[
    'trunc_normal_in', 'trunc_normal_out', 'trunc_normal_avg', 'normal_in',
    'normal_out', 'normal_avg', 'uniform_in', 'uniform_out', 'uniform_avg',
    'normed_in', 'zeros']


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
  actions: Literal[15, 9, 7, 3]
  level_cache: str


class Replay(Protocol):
  capacity: int
  online: bool
  context: int
  consec: int
  count_resets: bool
  memory_gb: float
  spare_gb: float


class Encoder(Protocol):
  images: str
  vectors: str
  depth: int
  multiples: str
  kernel: int
  outer: bool
  layers: int
  units: int
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  down: Literal['stride', 'pool']
  symlog: bool


class Decoder(Protocol):
  images: str
  vectors: str
  depth: int
  multiples: str
  kernel: int
  outer: bool
  layers: int
  units: int
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  up: Literal['stride', 'repeat']
  blocks: int
  outscale: float
  squares: float
  scale: float
  gradient: bool


class Rssm(Protocol):
  stoch: int
  classes: int
  deter: int
  hidden: int
  blocks: int
  gru_layers: int
  img_layers: int
  obs_layers: int
  absolute: bool
  unimix: float
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  outscale: float


class Reward(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  outscale: float
  dist: Literal['symexp_twohot', 'mse', 'symlog_mse', 'huber']
  bins: int
  strict: bool
  scale: float
  gradient: bool


class DiscountHead(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  outscale: float
  label: Literal['ends', 'discounted']
  scale: float
  gradient: bool


class Kl(Protocol):
  dynamics: float
  representation: float
  free: float


class Actor(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  outscale: float
  unimix: float
  dist: Literal['bounded_normal', 'normal_logstd']
  min_std: float
  max_std: float
  scale: float


class Critic(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['rms', 'layer', 'none']
  norm_eps: float
  init: Init
  outscale: float
  dist: Literal['symexp_twohot', 'mse', 'symlog_mse', 'huber']
  bins: int
  strict: bool
  scale: float
  slow_scale: float


class ReplayCritic(Protocol):
  enabled: bool
  scale: float
  slow_scale: float
  gradient: bool


class SlowCritic(Protocol):
  every_updates: int
  fraction: float
  targets: bool


class ReturnNorm(Protocol):
  kind: Literal['none', 'percentiles', 'mean_std']
  rate: float
  limit: float
  low: float
  high: float
  debias: bool


class Opt(Protocol):
  kind: Literal['laprop', 'adam']
  lr: float
  eps: float
  beta1: float
  beta2: float
  clip: float
  nesterov: bool
  decay: float
  warmup: int
  schedule: Literal['constant', 'linear', 'cosine']
  anneal: int


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
  limits_end: bool
  image_size: int
  images: Literal['all', 'eval', 'none']
  envs: Envs
  atari: Atari
  dmc: Dmc
  dmlab: Dmlab
  train_ratio: float
  eval_every: int
  eval_episodes: int
  log_every: int
  save_every: int
  video_every: int
  replay: Replay
  batch_size: int
  batch_length: int
  encoder: Encoder
  decoder: Decoder
  rssm: Rssm
  reward: Reward
  discount_head: DiscountHead
  kl: Kl
  horizon: int
  discount_horizon: float
  last_starts: int
  start_discount: Literal['predicted', 'replayed']
  start_gradients: bool
  actor: Actor
  actor_entropy: float
  critic: Critic
  replay_critic: ReplayCritic
  slow_critic: SlowCritic
  return_norm: ReturnNorm
  value_norm: ReturnNorm
  advantage_norm: ReturnNorm
  opt: Opt
  loss_scale: int

  agent: str
  presets: tuple[str, ...] | None
  flat: dict[str, Any]

  def __getitem__(self, key: str) -> Any: ...
