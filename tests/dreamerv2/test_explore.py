"""Exploration in DreamerV2: noise, random actions, and agents that learn it."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import actions
from dreamer.nn.noise import Noise
from tests.support import agent_running
from tests.support import agent_tools_v2 as tools

KINDS = ['continuous', 'discrete']
PLAN = {'expl.kind': 'plan2explore'}
LOSS = {'expl.kind': 'model_loss'}
FEAT = tools.DETER + tools.STOCH * tools.CLASSES


pytestmark = pytest.mark.usefixtures('eager')


def uniform(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return tf.constant(rng.uniform(-1, 1, shape), tf.float32)


def rewards_of(agent, feat, action):
  """Tensors that the explorer makes of imagined states and actions."""
  return agent.explorer.rewards(agent.model, feat, action)


class TestNoise:

  @pytest.mark.parametrize('kind', KINDS)
  def test_noise_while_training_and_while_evaluating(self, kind):
    def act(**settings):
      agent = tools.make_agent(kind, **settings)
      obs = tools.make_obs(rows=40)
      return {mode: agent.policy(obs, None, mode)[0]
              for mode in ('train', 'eval')}
    plain = act()
    for key, mode in (('noise', 'train'), ('eval_noise', 'eval')):
      noisy = act(**{f'expl.{key}': 0.5})
      other = {'train': 'eval', 'eval': 'train'}[mode]
      assert np.array_equal(plain[other], noisy[other])
      changed = np.any(plain[mode] != noisy[mode], -1).mean()
      # Of the random half of discrete actions, a third stays as it was.
      assert 0.1 < changed < 0.6 if kind == 'discrete' else changed == 1
      assert np.abs(noisy[mode]).max() <= 1


class TestSwitching:

  @pytest.mark.parametrize('until, steps, explores', [
      (0, 0, True), (0, 10 ** 9, True), (500, 499, True), (500, 500, False)])
  def test_until(self, until, steps, explores):
    agent = tools.make_agent('continuous', **{
        'expl.kind': 'random', 'expl.until': until})
    action, state = agent.policy(tools.make_obs(), None, 'train', steps)
    expected = actions.uniform(
        action.shape, False, Noise('0/policy/train', 0)).numpy()
    assert np.array_equal(action, expected) == explores
    assert np.array_equal(state['action'], action)

  def test_evaluating_never_explores(self):
    def act(behaviour):
      agent = tools.make_agent('continuous', **{'expl.kind': behaviour})
      return agent.policy(tools.make_obs(), None, 'eval')[0]
    assert np.array_equal(act('random'), act('greedy'))

  def test_explorer_acts_by_its_own_actor(self):
    agent = tools.make_agent('continuous', **PLAN)
    def act():
      agent.counters['acts_train'].assign(0)
      return agent.policy(tools.make_obs(), None)[0]
    before = act()
    bias = agent.behaviour.actor.variables['actor/mean/bias']
    bias.assign(bias + 1)
    assert np.array_equal(before, act())
    bias = agent.explorer.actor.variables['expl/actor/mean/bias']
    bias.assign(bias + 1)
    assert np.all(act() > before)


class TestLearning:

  @pytest.mark.parametrize('kind', KINDS)
  @pytest.mark.parametrize('settings', [PLAN, LOSS], ids=['plan', 'loss'])
  def test_one_update(self, kind, settings):
    """Moves every weight, and those of the agent as without explorer."""
    settings = {**settings, 'expl.extrinsic_scale': 0.5}
    batch = tools.make_batch(kind)
    agent = tools.make_agent(kind, **settings)
    found = agent_running.learn(agent, batch)
    alone = agent_running.learn(tools.make_agent(kind), batch)
    for key, value in alone.items():
      assert np.array_equal(found[key], value), key
    for key, value in found.items():
      assert np.all(np.isfinite(value)), key
      if key.startswith('step/expl'):
        assert not np.array_equal(value, found[f'init{key[4:]}']), key
    names = [name for group in agent.optimizers.values()
             for name in group.params]
    slow = [key for key in agent.parameters if 'slow_critic' in key]
    assert sorted([*names, *slow]) == sorted(agent.parameters)

  def test_random_learns_nothing_more(self):
    agent = tools.make_agent(**{'expl.kind': 'random'})
    assert agent.explorer is None
    assert set(agent.parameters) == set(tools.make_agent().parameters)

  def test_rewards_of_both_kinds_are_scaled_and_added(self):
    def rewards(**settings):
      agent = tools.make_agent(**PLAN, **{
          f'expl.{key}': value for key, value in settings.items()})
      feat, action = uniform(2, 5, FEAT), uniform(2, 5, tools.ACTIONS, seed=1)
      raw = rewards_of(agent, feat, action)['imag_reward']
      return (raw, agent.explorer.intrinsic(feat, action),
              agent.model.reward(feat))
    raw, inner, outer = rewards(intrinsic_scale=2.0, extrinsic_scale=3.0)
    np.testing.assert_allclose(raw, 2 * inner + 3 * outer, rtol=1e-5)
    raw, inner, _ = rewards()
    np.testing.assert_allclose(raw, inner, rtol=1e-5)

  def test_rewards_are_normed_one_by_one_and_together(self):
    # Momentum 0: each is divided by its own mean magnitude.
    agent = tools.make_agent(**PLAN, **{
        'expl.reward_norm.momentum': 0.0, 'expl.extrinsic_scale': 1.0,
        'reward_norm': {'momentum': 0.0, 'scale': 4.0}})
    feat, action = uniform(2, 5, FEAT), uniform(2, 5, tools.ACTIONS, seed=1)
    found = rewards_of(agent, feat, action)
    raw, normed = found['imag_reward_raw'], found['imag_reward']
    parts = (agent.explorer.intrinsic(feat, action), agent.model.reward(feat))
    total = sum(x / np.abs(x).mean() for x in map(np.asarray, parts))
    np.testing.assert_allclose(raw, total, rtol=1e-4)
    np.testing.assert_allclose(
        normed, 4 * total / np.abs(total).mean(), rtol=1e-4)


class TestPlan2Explore:

  @pytest.mark.parametrize('target, size', [
      ('stoch', tools.STOCH * tools.CLASSES), ('deter', tools.DETER),
      ('feat', FEAT), ('embed', 64)])
  @pytest.mark.parametrize('offset', [0, 1, 3])
  def test_heads_predict_what_comes_later(self, target, size, offset):
    agent = tools.make_agent(**PLAN, **{
        'expl.target': target, 'expl.offset': offset})
    rows, length = tools.ROWS, tools.LENGTH
    stoch = uniform(rows, length, tools.STOCH, tools.CLASSES)
    deter = uniform(rows, length, tools.DETER, seed=1)
    flat = tf.reshape(stoch, [rows, length, -1])
    found = {'post': {'stoch': stoch, 'deter': deter},
             'feat': tf.concat([flat, deter], -1),
             'embed': uniform(rows, length, 64, seed=2)}
    action = uniform(rows, length, tools.ACTIONS, seed=3)
    losses, parts = agent.explorer.heads_loss(found, {'action': action})
    truth = {'stoch': flat, 'deter': deter, 'feat': found['feat'],
             'embed': found['embed']}[target].numpy()[:, offset:]
    assert truth.shape[-1] == size
    total = 0
    for head in agent.explorer.heads:
      for t in range(length - offset):
        # The action beside a state is the one that led there.
        pred = head(tf.concat([found['feat'][:, t], action[:, t]], -1))
        error = 0.5 * (pred - truth[:, t]) ** 2 + 0.5 * np.log(2 * np.pi)
        total += np.sum(error, -1).mean() / (length - offset)
    np.testing.assert_allclose(losses['heads'], total, rtol=1e-4)
    assert np.array_equal(parts['ensemble_targets'], truth)

  def test_gaussian_targets(self):
    agent = tools.make_agent(**PLAN, **{'rssm.latents': 'gaussian'})
    found = agent_running.look(agent, tools.make_batch())
    assert np.array_equal(found['tensor/expl_ensemble_targets'],
                          found['tensor/post/stoch'][:, 1:])

  def test_disagreement_is_the_mean_deviation_of_the_heads(self):
    agent = tools.make_agent(**PLAN)
    feat, action = uniform(2, 5, FEAT), uniform(2, 5, tools.ACTIONS, seed=1)
    preds = [head(tf.concat([feat, action], -1)).numpy()
             for head in agent.explorer.heads]
    assert len(preds) == 3
    expected = np.std(preds, 0).mean(-1)
    reward = agent.explorer.intrinsic(feat, action)
    np.testing.assert_allclose(reward, expected, rtol=1e-4)
    agent.explorer.config = tools.make_config(**PLAN, **{'expl.log': True})
    np.testing.assert_allclose(
        agent.explorer.intrinsic(feat, action), np.log(expected), rtol=1e-4)
    first, *others = [head.variables for head in agent.explorer.heads]
    for other in others:
      for one, two in zip(first.values(), other.values()):
        two.assign(one)
    agent.explorer.config = agent.config
    assert np.all(np.abs(agent.explorer.intrinsic(feat, action)) < 1e-3)

  def test_reward_guides_actions_but_not_the_heads(self):
    agent = tools.make_agent('continuous', **PLAN)
    feat, action = uniform(2, 5, FEAT), uniform(2, 5, tools.ACTIONS, seed=1)
    with tf.GradientTape(persistent=True) as tape:
      tape.watch([feat, action])
      raw = rewards_of(agent, feat, action)['imag_reward']
    for source in (feat, action):
      assert np.all(np.any(tape.gradient(raw, source), -1))
    weights = [w for head in agent.explorer.heads
               for w in head.variables.values()]
    assert tape.gradient(raw, weights) == [None] * len(weights)

  def test_model_learns_nothing_from_the_heads(self):
    agent = tools.make_agent(**PLAN)
    batch = agent_running.tensors(tools.make_batch())
    data = agent.model.preprocess(batch, None)
    with tf.GradientTape() as tape:
      _, found = agent.model.loss(data, Noise('0', 0))
      losses, _ = agent.explorer.heads_loss(found, data)
    weights = list(agent.model.variables.values())
    assert tape.gradient(losses['heads'], weights) == [None] * len(weights)


class TestModelLoss:

  @pytest.mark.parametrize('target', ['kl', 'image', 'reward', 'discount'])
  def test_head_predicts_the_loss_of_each_step(self, target):
    agent = tools.make_agent(**LOSS, **{'expl.loss': target})
    found = agent_running.look(agent, tools.make_batch())
    truth = found['tensor/kl'] if target == 'kl' else (
        -found[f'tensor/like/{target}'])
    assert truth.shape == (tools.ROWS, tools.LENGTH)
    if target != 'kl':
      np.testing.assert_allclose(
          truth.mean(), found[f'loss/{target}'], rtol=1e-5)
    head, = agent.explorer.heads
    pred = head(found['tensor/feat']).numpy()
    loss = 0.5 * (pred - truth) ** 2 + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        found['loss/expl_heads'], loss.mean(), rtol=1e-4)
    np.testing.assert_allclose(
        found['tensor/expl_imag_reward'],
        head(found['tensor/expl_imag_feat']), rtol=1e-4, atol=1e-6)
