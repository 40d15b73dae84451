"""The policy of DreamerV1 and its exploration."""

import json

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from dreamer.envs.spaces import ActionSpace
from dreamer.nn.noise import Noise
from dreamerv1.explore import Exploration
from tests.support import GOLDEN, agent_tools

KINDS = ['continuous', 'discrete']


pytestmark = pytest.mark.usefixtures('eager')


def log_density(dist, action):
  """Of tanh-Normal actions, summed over their dimensions."""
  normal = scipy.stats.norm(dist.mean, dist.std)
  return np.sum(
      normal.logpdf(np.arctanh(action)) - np.log(1 - action ** 2), -1)


class TestActing:

  @pytest.mark.parametrize('kind', KINDS)
  @pytest.mark.parametrize('mode, collect', [
      ('eval', 'mode'), ('eval', 'sample'), ('train', 'mode'),
      ('train', 'sample')])
  def test_mode_or_sample_without_noise(self, kind, mode, collect):
    agent = agent_tools.make_agent(
        kind, collect=collect, **{'expl.noise': 0.0, 'actor.init_std': 0.5})
    action, state = agent.policy(agent_tools.make_obs(), None, mode)
    dist = agent.behaviour.actor.dist(
        tf.concat([state['stoch'], state['deter']], -1))
    noise = Noise(f'0/policy/{mode}', 0)
    if mode == 'train' and collect == 'sample':
      expected = dist.sample(agent.behaviour.actor.draw(noise, 'act', [3]))
    else:
      draws = agent.behaviour.actor.draw(noise, 'act', [100, 3])
      expected = dist.mode(draws)
      if kind == 'continuous':  # No sample of the row is likelier.
        density = lambda x: log_density(dist, x.numpy())
        best = density(dist.sample(draws)).max(0)
        np.testing.assert_allclose(density(expected), best, rtol=1e-3)
    np.testing.assert_allclose(action, expected, atol=1e-6)
    assert np.array_equal(state['action'], action)

  @pytest.mark.parametrize('collect', ['mode', 'sample'])
  def test_discrete_actions_are_exactly_one_hot(self, collect):
    agent = agent_tools.make_agent('discrete', collect=collect)
    action, _ = agent.policy(agent_tools.make_obs(rows=20), None)
    assert set(action.ravel()) == {0.0, 1.0}
    assert np.all(action.sum(-1) == 1)

  def test_next_step_sees_the_action_after_exploration(self):
    agent = agent_tools.make_agent(**{'expl.kind': 'random'})
    action, state = agent.policy(agent_tools.make_obs(), None)
    assert np.array_equal(state['action'], action)


class TestExploration:

  def behaviour(self, words):
    table = json.loads((GOLDEN / 'v1_exploration.json').read_text())
    return next(value for key, value in table['behaviour'].items()
                if key.startswith(words))

  def test_gaussian(self):
    agent = agent_tools.make_agent()
    action = tf.repeat(tf.constant([[0.5, -0.9, 0.0]]), 200000, 0)
    noisy = agent.explore(action, 0.3, Noise('0', 0), 'train').numpy()
    expected = self.behaviour('additive_gaussian')
    found = [noisy.mean(0), noisy.std(0), (noisy == -1).mean(0),
             (noisy == 1).mean(0)]
    np.testing.assert_allclose(found, expected, atol=3e-3)

  def test_epsilon_draws_from_all_actions(self):
    exploration = Exploration(
        agent_tools.make_config(), ActionSpace('discrete', 4))
    action = tf.repeat(tf.constant([[0., 1., 0., 0.]]), 40000, 0)
    noisy = exploration(action, 0.4, Noise('0', 0), 'train').numpy()
    assert np.all(noisy.sum(-1) == 1) and set(noisy.ravel()) == {0, 1}
    np.testing.assert_allclose(noisy.mean(0), [.1, .7, .1, .1], atol=0.01)
    np.testing.assert_allclose(
        noisy.mean(0), self.behaviour('epsilon_greedy amount 0.4'), atol=0.03)

  def test_random(self):
    agent = agent_tools.make_agent(**{'expl.kind': 'random'})
    action = tf.ones([20000, 3])
    noisy = agent.explore(action, 0.0, Noise('0', 0), 'train').numpy()
    np.testing.assert_allclose(noisy.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(noisy.std(0), 3 ** -.5, atol=0.02)
    assert np.array_equal(agent.explore(action, 0.0, None, 'eval'), action)

  def test_noise_while_evaluating(self):
    agent = agent_tools.make_agent()
    action = tf.zeros([100000, 3])
    noisy = agent.explore(action, 0.1, Noise('0', 0), 'eval').numpy()
    np.testing.assert_allclose(noisy.std(0), 0.1, rtol=0.02)

  @pytest.mark.parametrize('settings, steps, updates, amount', [
      ({'noise': 0.3}, 10 ** 6, 10 ** 6, 0.3),
      # The paper's: from .4 to .1 over the first 200k updates.
      ({'schedule': 'linear', 'noise': 0.4, 'min': 0.1}, 0, 0, 0.4),
      ({'schedule': 'linear', 'noise': 0.4, 'min': 0.1}, 0, 100000, 0.25),
      ({'schedule': 'linear', 'noise': 0.4, 'min': 0.1}, 0, 200000, 0.1),
      ({'schedule': 'linear', 'noise': 0.4, 'min': 0.1}, 0, 900000, 0.1),
      # TF1's: .1 is reached at 150k, and .075 with an amount of .3.
      ({'schedule': 'relative', 'noise': 0.4, 'min': 0.25}, 0, 100000, 0.2),
      ({'schedule': 'relative', 'noise': 0.4, 'min': 0.25}, 0, 150000, 0.1),
      ({'schedule': 'relative', 'noise': 0.3, 'min': 0.25}, 0, 180000, 0.075),
      # TF2's, by environment steps.
      ({'schedule': 'half_life', 'decay': 1000}, 2000, 0, 0.075),
      ({'schedule': 'half_life', 'decay': 1000, 'min': 0.1}, 5000, 0, 0.1),
      ({'schedule': 'half_life'}, 5000, 0, 0.3)])
  def test_schedules(self, settings, steps, updates, amount):
    agent = agent_tools.make_agent(
        **{f'expl.{key}': value for key, value in settings.items()})
    found = agent.explore.now('train', steps, updates)
    assert found == ('train', pytest.approx(amount, rel=1e-6))
