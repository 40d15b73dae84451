"""Tiny agents learn tiny tasks: fails when learning is broken.

The dummy task pays 1 - distance to a target at (.5, -.5) on a square. With
continuous actions a uniformly random policy gets -3 in 50 steps, moving away
from the target -27, resting in the corner next to it 15, aiming at it 49.
Within 200 updates DreamerV1 moves towards it, overshooting into that corner.
With discrete actions a random policy gets -1, repeating the best one of the
five 13 in the episodes of the evaluation, aiming 43; within 300 updates
DreamerV2 goes to the target. The thresholds stand between what an agent gets
that doesn't learn and what seed 0 reaches.
"""

import pytest

import dreamerv1
import dreamerv2
from dreamer.envs import make_envs
from dreamer.log.jsonlines import read_lines
from dreamer.run import training
from dreamer.run.stop import Stop
from tests.support import quick

SETTINGS = {
    'action_repeat': 1, 'time_limit': 50, 'envs.worker': 'inline',
    'steps': 700, 'prefill': 500, 'train_every': 2, 'train_updates': 1,
    'eval_every': 500, 'eval_episodes': 5, 'log_every': 100, 'video_every': 0,
    'batch_size': 8, 'batch_length': 12, 'horizon': 8, 'discount': 0.9,
    'reward': {'layers': 2, 'units': 48}, 'critic': {'layers': 2, 'units': 48},
    'actor': {'layers': 2, 'units': 48}, 'discount_head.enabled': False}
V1 = {
    **SETTINGS, 'task': 'dummy_continuous', 'pretrain_updates': 100,
    'rssm': {'stoch': 8, 'deter': 48, 'hidden': 48},
    'kl': {'scale': 0.3, 'free': 1.0}, 'model_opt.lr': 2e-3,
    'actor_opt.lr': 2e-4, 'critic_opt.lr': 5e-4}
V2 = {
    **SETTINGS, 'task': 'dummy_discrete', 'pretrain_updates': 200,
    'rssm': {'stoch': 16, 'classes': 8, 'deter': 48, 'hidden': 48},
    'reward_transform': 'none', 'kl.scale': 0.1,
    'slow_critic.every_updates': 20,
    'actor_entropy': {'start': 0.1, 'end': 0.1},
    'model_opt': {'lr': 3e-3, 'eps': 1e-4}, 'actor_opt.lr': 1e-3,
    'critic_opt.lr': 2e-3}

# Metric: (not learned, threshold, sign).
# 11292 is the constant of a unit Normal over 64x64x3, .919 that over 1.
MODEL = {
    'loss/image': (11800, 11450, -1),
    'loss/reward': (1.0, 0.95, -1),
    'imag/reward': (-0.06, 0.1, 1),
    'imag/return': (-0.5, 1.0, 1)}
AGENTS = {
    'dreamerv1': (dreamerv1, V1, {**MODEL, 'eval/return': (-3, 8, 1)}),
    'dreamerv2': (dreamerv2, V2, {**MODEL, 'eval/return': (13, 16, 1)})}


@pytest.mark.parametrize('name', ['dreamerv1', quick.slow('dreamerv2')])
def test_learns(name, tmp_path):
  agent, settings, thresholds = AGENTS[name]
  config = agent.configure(['debug'], **{
      **settings, 'seed': 0, 'logdir': str(tmp_path)})
  with Stop() as stop:
    training.train(config, name, agent.make_agent, make_envs, stop)
  lines, _ = read_lines(tmp_path / 'metrics.jsonl')
  last = {key: value for line in lines for key, value in line.items()}
  print({key: last[key] for key in thresholds})
  for key, (unlearned, threshold, sign) in thresholds.items():
    assert sign * unlearned < sign * threshold < sign * last[key], key
