"""PlaNet's planner on problems whose optimum is known, and in the agent."""

import types

import numpy as np
import pytest
import tensorflow as tf

from dreamer.envs.spaces import ActionSpace
from dreamer.nn.noise import Noise
from dreamerv1.planner import Planner
from tests.support import agent_tools
from tests.support.agent_noise import FixedNoise

SPEED = 0.25
TARGETS = np.float32([[0.6], [-0.3], [5.0]])


pytestmark = pytest.mark.usefixtures('eager')


class Line:
  """A world model of points on a line: an action moves one by a quarter.

  The state has position and target, the reward is minus their distance
  squared; the noise moves the point when `wind` is above 0.
  """

  def __init__(self, wind=0.0):
    self.wind = wind
    self.rssm = self
    self.reward = types.SimpleNamespace(
        mean=lambda feat: -(feat[..., 0] - feat[..., 1]) ** 2)

  def draw(self, noise, name, lead):
    return noise.normal(name, [*lead, 1])

  def get_feat(self, state):
    return tf.concat([state['position'], state['target']], -1)

  def open_loop(self, start, action, noise):
    moves = SPEED * action[..., :1] + self.wind * noise
    position = start['position'] + tf.cumsum(moves)
    target = tf.broadcast_to(start['target'], position.shape)
    return {'position': position, 'target': target}


def best_plan(target, horizon):
  """From 0 straight to the target, then nothing."""
  position, plan = 0.0, []
  for _ in range(horizon):
    plan.append(np.clip((target - position) / SPEED, -1, 1))
    position += SPEED * plan[-1]
  return np.array(plan)


def make_state(targets):
  targets = tf.constant(targets)
  return {'deter': targets, 'position': 0 * targets, 'target': targets}


def make_planner(actions=1, **settings):
  """With the paper's settings, but for those given."""
  config = types.SimpleNamespace(planner=types.SimpleNamespace(**{
      'horizon': 12, 'candidates': 1000, 'iterations': 10, 'elites': 100,
      **settings}))
  return Planner(config, 0, ActionSpace('continuous', actions), None)


class Given:
  """Draws that the test has chosen, cut to the rows that it plans for."""

  def __init__(self, action, prior):
    self.draws = {'plan_action': action, 'plan_prior': prior}

  def normal(self, name, shape):
    assert list(self.draws[name].shape) == list(shape), name
    return tf.constant(self.draws[name], tf.float32)


class TestOptimum:

  def test_finds_the_best_plan_for_every_row(self):
    means, stds = make_planner().plan(
        Line(), make_state(TARGETS), Noise('0', 0))
    assert means.shape == stds.shape == (10, 3, 12, 1)
    for row, target in enumerate(TARGETS[:, 0]):
      expected = best_plan(target, 12)
      # The last actions hardly matter.
      np.testing.assert_allclose(means[-1, row, :6, 0], expected[:6], atol=.15)
      assert gap(means[-1, row, :, 0], target) < 0.01 * 12 * target ** 2

  def test_acts_by_the_first_action(self):
    action = make_planner().act(
        Line(), make_state(TARGETS), Noise('0', 0), 'train')
    np.testing.assert_allclose(action, [[1], [-1], [1]], atol=0.15)

  def test_better_with_every_iteration(self):
    means, stds = make_planner(horizon=4).plan(
        Line(), make_state(TARGETS[:1]), Noise('0', 0))
    gaps = [gap(x[0, :, 0], TARGETS[0, 0]) for x in means]
    assert gaps[0] > 5 * gaps[4] and gaps[4] > gaps[9] >= 0
    assert np.all(np.diff(np.mean(stds, (1, 2, 3))) < 0)

  def test_horizon_is_all_it_sees(self):
    """Far targets pay for every step towards them, to the last one."""
    means, _ = make_planner(horizon=3).plan(
        Line(), make_state(TARGETS[2:]), Noise('0', 0))
    assert means.shape == (10, 1, 3, 1)
    np.testing.assert_allclose(means[-1, 0, :, 0], 1, atol=0.1)

  def test_useless_dimensions_stay_near_zero(self):
    means, stds = make_planner(actions=2).plan(
        Line(), make_state(TARGETS[:1]), Noise('0', 0))
    assert np.abs(means[-1, 0, 0, 1]) < 0.6 < means[-1, 0, 0, 0]

  def test_in_wind(self):
    means, _ = make_planner().plan(
        Line(wind=0.1), make_state(TARGETS), Noise('0', 0))
    np.testing.assert_allclose(
        means[-1, :, 0, 0], [1, -1, 1], atol=0.3)


def gap(plan, target):
  """How much less than the optimum a plan returns."""
  def total(plan):
    position = SPEED * np.cumsum(np.float64(plan))
    return -np.sum((position - target) ** 2)
  return total(best_plan(target, len(plan))) - total(plan)


class TestByHand:

  def test_one_iteration(self):
    """Target 0.25: the best two of -3, .5, .8, 2 (clipped 1) are .8 and 1."""
    draws = np.float32([-3, 0.5, 0.8, 2]).reshape(1, 1, 4, 1, 1)
    means, stds = make_planner(
        candidates=4, elites=2, iterations=1, horizon=1).plan(
            Line(), make_state([[0.25]]), Given(draws, np.zeros([1, 1, 4, 1])))
    np.testing.assert_allclose(means, [[[[0.9]]]], rtol=1e-6)
    # Half the distance of the two, from the clipped actions.
    np.testing.assert_allclose(
        stds, [[[[np.sqrt(0.01 + 1e-6)]]]], rtol=1e-5)

  def test_second_iteration_draws_from_the_first(self):
    draws = np.zeros([2, 1, 4, 1, 1], np.float32)
    draws[0, 0, :, 0, 0] = [-3, 0.5, 0.8, 2]
    draws[1, 0, :, 0, 0] = [1, 2, -9, -9]
    means, _ = make_planner(
        candidates=4, elites=2, iterations=2, horizon=1).plan(
            Line(), make_state([[0.25]]), Given(draws, np.zeros([2, 1, 4, 1])))
    # 0.9 + 0.1 and, clipped, 0.9 + 0.2.
    np.testing.assert_allclose(means[:, 0, 0, 0], [0.9, 1.0], rtol=1e-5)

  def test_rows_do_not_mix(self):
    """Together each row gets the plan that it gets alone, with its noise."""
    rng = np.random.default_rng(0)
    planner = make_planner(candidates=30, elites=5, iterations=3, horizon=4)
    action = rng.normal(size=(3, 3, 30, 4, 1))
    prior = rng.normal(size=(3, 4, 3, 30, 1))
    line, flat = Line(wind=0.2), lambda x: x.reshape(3, 4, -1, 1)
    together, _ = planner.plan(
        line, make_state(TARGETS), Given(action, flat(prior)))
    for row in range(3):
      alone, _ = planner.plan(
          line, make_state(TARGETS[row:row + 1]),
          Given(action[:, row:row + 1], flat(prior[:, :, row])))
      np.testing.assert_allclose(together[:, row], alone[:, 0], atol=1e-5)


class TestInTheAgent:

  def make(self, **overrides):
    return agent_tools.make_agent(presets=['planet'], **overrides)

  def test_nothing_but_the_model_is_trained(self):
    agent = self.make()
    assert set(agent.optimizers) == {'model', 'discount'}
    assert agent.behaviour.variables == {}
    assert not [x for x in agent.state() if x.startswith(('actor', 'critic'))]
    metrics = agent.train(agent_tools.make_batch())
    assert 'loss/model' in metrics
    assert not [x for x in metrics if 'actor' in x or 'imag/' in x]

  def test_noise_is_added_while_training_only(self):
    """FixedNoise draws .5: .3 times .5 on top of the plan."""
    obs = agent_tools.make_obs()
    plan, _ = self.make(noise=FixedNoise()).policy(obs, None, 'eval')
    action, state = self.make(noise=FixedNoise()).policy(obs, None, 'train')
    assert np.all(np.abs(plan) < 0.8)
    np.testing.assert_allclose(action, plan + 0.15, atol=1e-5)
    assert np.array_equal(state['action'], action)

  @pytest.mark.parametrize('sign', [1, -1])
  def test_plans_with_its_own_model(self, sign):
    """Better (or, by the negative reward, worse) than all random plans."""
    agent = self.make(**{
        'planner.candidates': 200, 'planner.elites': 20,
        'planner.iterations': 6})
    planner, model = agent.behaviour, agent.model
    mean = model.reward.mean
    model.reward.mean = lambda feat: sign * mean(feat)
    state = model.rssm.initial(1)
    still = types.SimpleNamespace(normal=lambda name, shape: Noise(
        '0', 0).normal(name, shape) * (name == 'plan_action'))
    means, _ = planner.plan(model, state, still)
    rng = np.random.default_rng(0)
    plans = tf.concat([means[-1], np.float32(
        rng.uniform(-1, 1, (500, *means.shape[2:])))], 0)
    start = {key: tf.repeat(x, 501, 0) for key, x in state.items()}
    noise = tf.zeros([plans.shape[1], 501, agent.config.rssm.stoch])
    states = model.rssm.open_loop(start, tf.transpose(plans, [1, 0, 2]), noise)
    rewards = model.reward.mean(model.rssm.get_feat(states))
    returns = rewards.numpy().sum(0)
    assert returns.std() > 1e-3
    assert returns[0] > returns[1:].max()

  def test_one_compiled_call_per_step(self, compiled):
    """All candidates and iterations are in it, traced once."""
    agent, traced = self.make(), []
    plan = agent.behaviour.plan
    agent.behaviour.plan = lambda *args: traced.append(1) or plan(*args)
    state = None
    for step in range(3):
      action, state = agent.policy(agent_tools.make_obs(seed=step), state)
      assert action.shape == (3, agent_tools.ACTIONS)
    assert int(agent.counters['acts_train']) == 3
    assert len(traced) == 1
