"""A tiny agent learns a tiny task: fails when learning is broken.

The dummy task pays 1 - distance to a target at (.5, -.5) on a square. A
uniformly random policy gets -3 in 50 steps, moving away from the target -27,
resting in the corner next to it 15, aiming at it 49. Within 200 updates the
agent moves towards it, overshooting into that corner. The thresholds stand
between what an agent gets that doesn't learn and what seed 0 reaches.
"""

import pytest

import dreamerv1
from dreamer.envs import make_envs
from dreamer.log.jsonlines import read_lines
from dreamer.run import training
from dreamer.run.stop import Stop

SETTINGS = {
    'task': 'dummy_continuous', 'action_repeat': 1, 'time_limit': 50,
    'envs.worker': 'inline', 'steps': 700, 'prefill': 500,
    'pretrain_updates': 100, 'train_every': 2, 'train_updates': 1,
    'eval_every': 500, 'eval_episodes': 5, 'log_every': 100, 'video_every': 0,
    'batch_size': 8, 'batch_length': 12, 'horizon': 8, 'discount': 0.9,
    'rssm': {'stoch': 8, 'deter': 48, 'hidden': 48},
    'reward': {'layers': 2, 'units': 48}, 'critic': {'layers': 2, 'units': 48},
    'actor': {'layers': 2, 'units': 48}, 'discount_head.enabled': False,
    'kl': {'scale': 0.3, 'free': 1.0}, 'model_opt.lr': 2e-3,
    'actor_opt.lr': 2e-4, 'critic_opt.lr': 5e-4}

# Metric: (not learned, threshold, sign).
# 11292 is the constant of a unit Normal over 64x64x3, .919 that over 1.
THRESHOLDS = {
    'loss/image': (11800, 11450, -1),
    'loss/reward': (1.0, 0.95, -1),
    'imag/reward': (-0.06, 0.1, 1),
    'imag/return': (-0.5, 1.0, 1),
    'eval/return': (-3, 8, 1)}


@pytest.mark.parametrize('seed', [0])
def test_learns(seed, tmp_path):
  config = dreamerv1.configure(['debug'], **{
      **SETTINGS, 'seed': seed, 'logdir': str(tmp_path)})
  with Stop() as stop:
    training.train(config, 'dreamerv1', dreamerv1.make_agent, make_envs, stop)
  lines, _ = read_lines(tmp_path / 'metrics.jsonl')
  last = {key: value for line in lines for key, value in line.items()}
  print({key: last[key] for key in THRESHOLDS})
  for key, (unlearned, threshold, sign) in THRESHOLDS.items():
    assert sign * unlearned < sign * threshold < sign * last[key], key
