"""The contrastive objective, against a slow and obvious computation."""

import types

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import optim
from dreamerv1 import contrastive
from tests.support import agent_running, agent_tools
from tests.support.agent_noise import FixedNoise

B, T, F = 3, 5, 4
CONTRASTS = ['observations', 'states', 'window', 'batch', 'time']


pytestmark = pytest.mark.usefixtures('eager')


def settings(contrast, rows=2, times=3):
  return types.SimpleNamespace(
      contrast=contrast, window_batch=rows, window_time=times)


def inputs(scale=1.0, offset=0.0, seed=0):
  """Mean, std and features [B, T, F]; predictions are near their features."""
  rng = np.random.default_rng(seed)
  feat = scale * rng.normal(size=(B, T, F))
  mean = feat + 0.5 * scale * rng.normal(size=(B, T, F))
  std = scale * rng.uniform(0.5, 1.5, (B, T, F))
  return [np.float32(x) for x in (mean + offset, std, feat + offset)]


def slow(mean, std, feat, contrast, rows=2, times=3):
  """The bound [B, T], pair by pair, in float64."""
  def log_prob(image, state):
    m, s, x = mean[image], std[image], feat[state]
    each = -0.5 * ((x - m) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi)
    return each.sum()

  mean, std, feat = (np.float64(x) for x in (mean, std, feat))
  bound = np.zeros((B, T))
  for b in range(B):
    for t in range(T):
      pairs = {
          'observations': [((i, j), (b, t)) for i in range(B)
                           for j in range(T)],
          'states': [((b, t), (i, j)) for i in range(B) for j in range(T)],
          'batch': [((b, t), (i, t)) for i in range(B)],
          'time': [((b, t), (b, j)) for j in range(T)],
          # Shifts by -rows // 2 .. and -times // 2 .., wrapping around.
          'window': [((b, t), ((b - i) % B, (t - j) % T))
                     for i in range(-(rows // 2), rows - rows // 2)
                     for j in range(-(times // 2), times - times // 2)]}
      total = sum(np.exp(log_prob(*pair)) for pair in pairs[contrast])
      bound[b, t] = log_prob((b, t), (b, t)) - np.log(total)
  return bound


def fast(arrays, contrast, **window):
  value, _ = contrastive.bound(
      *[tf.constant(x) for x in arrays], settings(contrast, **window))
  return value.numpy()


@pytest.mark.parametrize('contrast', CONTRASTS)
@pytest.mark.parametrize('scale, offset', [(1.0, 0.0), (0.01, 30.0)])
def test_value(contrast, scale, offset):
  arrays = inputs(scale, offset)
  expected = slow(*arrays, contrast)
  assert expected.std() > 1e-3 and np.all(expected < 0)
  np.testing.assert_allclose(
      fast(arrays, contrast), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('rows, times', [(1, 1), (1, 5), (3, 1), (3, 4)])
def test_windows(rows, times):
  arrays = inputs()
  np.testing.assert_allclose(
      fast(arrays, 'window', rows=rows, times=times),
      slow(*arrays, 'window', rows, times), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('contrast', CONTRASTS)
def test_gradient(contrast):
  """Of every input, against differences of the slow computation."""
  arrays = [tf.Variable(x) for x in inputs()]
  with tf.GradientTape() as tape:
    value, _ = contrastive.bound(*arrays, settings(contrast))
    total = tf.reduce_sum(value)
  rng = np.random.default_rng(1)
  for index, grad in enumerate(tape.gradient(total, arrays)):
    for entry in rng.integers(0, (B, T, F), (6, 3)):
      moved = []
      for step in (1e-4, -1e-4):
        parts = [np.float64(x) for x in inputs()]
        parts[index][tuple(entry)] += step
        moved.append(slow(*parts, contrast).sum())
      expected = (moved[0] - moved[1]) / 2e-4
      np.testing.assert_allclose(
          grad[tuple(entry)], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('contrast', CONTRASTS)
def test_is_never_above_zero_however_narrow(contrast):
  assert fast(inputs(0.001, 100.0), contrast).max() <= 0


def test_sees_a_rare_confusion():
  """Two equal states: the pair cannot be told apart, the others can."""
  mean, std, feat = inputs()
  std *= 0.01
  mean = feat.copy()
  mean[2, 3], feat[2, 3] = mean[0, 1], feat[0, 1]
  std[2, 3] = std[0, 1]
  for contrast in ('observations', 'states'):
    value = fast([mean, std, feat], contrast)
    np.testing.assert_allclose(
        value[[0, 2], [1, 3]], -np.log(2), rtol=1e-3)
    value[[0, 2], [1, 3]] = 0
    np.testing.assert_allclose(value, 0, atol=1e-3)


def test_roles_of_images_and_states_differ():
  """One image that predicts everything spoils the other's scores only."""
  arrays = inputs()
  arrays[1][1, 2] = 50  # nearly flat
  states = fast(arrays, 'states') - fast(inputs(), 'states')
  images = fast(arrays, 'observations') - fast(inputs(), 'observations')
  assert np.count_nonzero(states) == 1
  assert np.count_nonzero(images) == B * T


class TestInTheAgent:

  def test_model_is_trained_to_predict_states_from_images(self):
    agent = agent_tools.make_agent(presets=['contrastive'])
    found = agent_running.learn(agent, agent_tools.make_batch())
    expected = slow_bound(found)
    np.testing.assert_allclose(
        found['loss/cpc'], -expected.mean(), rtol=1e-3)
    kl, reward = found['loss/kl'], found['loss/reward']
    np.testing.assert_allclose(
        found['loss/model'], found['loss/cpc'] + kl + reward, rtol=1e-5)
    for name in ('cpc/mean/kernel', 'cpc/std/kernel', 'encoder/conv1/kernel',
                 'rssm/gru/kernel', 'rssm/obs_dist/kernel'):
      assert np.any(found[f'grad/{name}']), name

  def test_initial_spread(self):
    agent = agent_tools.make_agent(presets=['contrastive'], **{
        'cpc.init_std': 2.0, 'cpc.min_std': 0.5})
    size = agent.model.encoder.size
    mean, std = agent.model.cpc(tf.zeros([1, 1, size]))
    np.testing.assert_allclose(std, 2.5, rtol=1e-5)
    assert mean.shape == (1, 1, agent.model.rssm.feat_size)

  @pytest.mark.parametrize('contrast', ['observations', 'window'])
  def test_learns_to_tell_images_apart(self, contrast):
    agent = agent_tools.make_agent(presets=['contrastive'], **{
        'cpc.contrast': contrast, 'model_opt.lr': 0.01})
    head = agent.model.cpc
    group = optim.Adam('cpc', head.variables, agent.config.model_opt)
    rng = np.random.default_rng(0)
    embed, feat = (tf.constant(rng.normal(size=(2, 4, size)), tf.float32)
                   for size in head_sizes(agent))
    losses = []
    for _ in range(40):
      with tf.GradientTape() as tape:
        value, _ = contrastive.bound(*head(embed), feat, agent.config.cpc)
        losses.append(-tf.reduce_mean(value))
      group.apply(group.gradients(tape, losses[-1]))
    assert losses[0] > 0.5 > 5 * losses[-1] >= 0

  @pytest.mark.parametrize('preset', ['contrastive', 'reward_only'])
  def test_pictures_leave_the_model_alone(self, preset):
    """The decoder learns, and nothing else learns from it."""
    batch = agent_tools.make_batch()
    one, two = (agent_running.learn(
        agent_tools.make_agent(
            presets=[preset], noise=FixedNoise(),
            **{'decoder.images': images}), batch)
                for images in ('image', 'none'))
    assert np.any(one['grad/decoder/conv_in/kernel'])
    assert 'grad/decoder/conv_in/kernel' not in two and 'loss/image' not in two
    for name in two:
      np.testing.assert_array_equal(one[name], two[name], name)


def head_sizes(agent):
  return agent.model.encoder.size, agent.model.rssm.feat_size


def slow_bound(found):
  """The bound over all observations from an agent's tensors."""
  names = 'cpc_mean', 'cpc_std', 'feat'
  mean, std, feat = (np.float64(found[f'tensor/{x}']) for x in names)
  mean, std, feat = (x.reshape(-1, x.shape[-1]) for x in (mean, std, feat))
  each = -0.5 * ((feat[:, None] - mean) / std) ** 2 - np.log(std) - (
      0.5 * np.log(2 * np.pi))
  scores = each.sum(-1)  # [state, observation]
  return np.diag(scores) - np.log(np.exp(scores).sum(-1))
