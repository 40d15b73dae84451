"""Types of the settings of DreamerV2, for checkers; nothing imports them.

Written by `python -m dreamer.config.types` from the YAML.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

Starts: TypeAlias = Literal[
    'prioritize_ends', 'inclusive', 'exclusive', 'balanced']

Act: TypeAlias = Literal[
    'elu', 'relu', 'tanh', 'leaky_relu', 'swish', 'selu', 'gelu', 'mish',
    'softplus', 'softsign', 'sigmoid', 'relu6', 'softmax', 'log_softmax',
    'none']


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


class Replay(Protocol):
  episodes: Literal['uniform', 'permutation']
  starts: Starts
  min_length: int
  max_length: int
  capacity_agent_steps: int
  memory_gb: float


class Encoder(Protocol):
  images: str
  vectors: str
  depth: int
  kernels: str
  layers: int
  units: int
  act: Act
  norm: Literal['none', 'layer']
  widths: str


class Decoder(Protocol):
  images: str
  vectors: str
  depth: int
  kernels: str
  layers: int
  units: int
  act: Act
  norm: Literal['none', 'layer']
  widths: str
  gradient: bool


class Rssm(Protocol):
  latents: Literal['discrete', 'gaussian']
  stoch: int
  classes: int
  deter: int
  hidden: int
  act: Act
  norm: Literal['none', 'layer']
  gru_norm: bool
  std_act: Literal['sigmoid2', 'softplus', 'sigmoid']
  min_std: float


class Reward(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['none', 'layer']
  gradient: bool
  scale: float


class DiscountHead(Protocol):
  enabled: bool
  layers: int
  units: int
  act: Act
  norm: Literal['none', 'layer']
  dist: Literal['binary', 'mse']
  gradient: bool
  scale: float


class Kl(Protocol):
  scale: float
  balance: float
  free: float
  free_by: Literal['mean', 'element']
  forward: bool


class Actor(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['none', 'layer']
  dist: Literal['auto', 'onehot', 'trunc_normal', 'tanh_normal']
  min_std: float
  init_std: float
  mean_scale: float


class Critic(Protocol):
  layers: int
  units: int
  act: Act
  norm: Literal['none', 'layer']


class ActorMix(Protocol):
  kind: Literal['constant', 'linear', 'warmup', 'exp']
  start: float
  end: float
  duration: int


class SlowCritic(Protocol):
  enabled: bool
  every_updates: int
  fraction: float


class RewardNorm(Protocol):
  momentum: float
  scale: float
  eps: float


class Expl(Protocol):
  kind: Literal['greedy', 'plan2explore', 'model_loss', 'random']
  until: int
  noise: float
  eval_noise: float
  intrinsic_scale: float
  extrinsic_scale: float
  reward_norm: RewardNorm
  head: Critic
  models: int
  target: Literal['stoch', 'deter', 'feat', 'embed']
  offset: int
  action: bool
  log: bool
  loss: Literal['kl', 'image', 'reward', 'discount']


class ModelOpt(Protocol):
  kind: Literal['adam', 'nadam', 'adamax', 'sgd', 'momentum']
  lr: float
  eps: float
  clip: float
  decay: float


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
  images: Literal['all', 'eval', 'none']
  envs: Envs
  atari: Atari
  dmc: Dmc
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
  reward_transform: Literal['tanh', 'none', 'sign']
  encoder: Encoder
  decoder: Decoder
  rssm: Rssm
  reward: Reward
  discount_head: DiscountHead
  kl: Kl
  horizon: int
  discount: float
  actor: Actor
  critic: Critic
  actor_gradient: Literal['auto', 'reinforce', 'dynamics', 'both']
  actor_mix: ActorMix
  actor_entropy: ActorMix
  slow_critic: SlowCritic
  reward_norm: RewardNorm
  eval_state_mean: bool
  expl: Expl
  model_opt: ModelOpt
  actor_opt: ModelOpt
  critic_opt: ModelOpt
  expl_opt: ModelOpt
  loss_scale: int

  agent: str
  presets: tuple[str, ...] | None
  flat: dict[str, Any]

  def __getitem__(self, key: str) -> Any: ...
