"""The losses of DreamerV1 and who gets their gradients."""

import types

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn.noise import Noise
from tests.support import agent_running, agent_tools
from tests.support.agent_noise import FixedNoise

KINDS = ['continuous', 'discrete']


pytestmark = pytest.mark.usefixtures('eager')


tensors = agent_running.tensors


def world_losses(agent, batch, noise):
  model = agent.model
  return model.loss(model.preprocess(tensors(batch), noise), noise)


class TestWorldModel:

  # KL of the two steps is 1 and 5; 3 nats are free.
  @pytest.mark.parametrize('free, loss, grads', [
      ('element', (3 + 5) / 2, (0, 0.5)), ('element_over', 2 / 2, (0, 0.5)),
      ('mean', 3.0, (0.25, 0.25))])
  def test_free_nats(self, free, loss, grads):
    agent = agent_tools.make_agent(**{'kl.free_by': free, 'kl.free': 3.0})
    mean = tf.Variable([[[2 ** .5], [10 ** .5]]])
    ones = tf.ones([1, 2, 1])
    with tf.GradientTape() as tape:
      result, kl = agent.model.kl_loss(
          {'mean': mean, 'std': ones}, {'mean': 0 * ones, 'std': ones})
    np.testing.assert_allclose(kl, [[1, 5]], rtol=1e-5)
    np.testing.assert_allclose(result, loss, rtol=1e-5)
    # d KL / d mean = mean; at equal 3 and mean 3 both sides may count.
    slope = tape.gradient(result, mean).numpy().ravel() / mean.numpy().ravel()
    if free != 'mean':
      np.testing.assert_allclose(slope, grads, atol=1e-5)

  def test_batch_maximum_below_has_no_gradient(self):
    agent = agent_tools.make_agent(**{'kl.free_by': 'mean'})
    mean, ones = tf.Variable([[[1.], [2.]]]), tf.ones([1, 2, 1])
    with tf.GradientTape() as tape:
      result, _ = agent.model.kl_loss(
          {'mean': mean, 'std': ones}, {'mean': 0 * ones, 'std': ones})
    assert float(result) == 3.0
    assert not np.any(tape.gradient(result, mean))

  def test_labels_of_the_discount_are_0_and_gamma(self):
    agent = agent_tools.make_agent(discount=0.97)
    data = agent.model.preprocess(
        tensors(agent_tools.make_batch()), FixedNoise())
    np.testing.assert_allclose(
        data['discount'], [[.97, .97, .97, 0], [.97] * 4], rtol=1e-6)

  def test_images(self):
    batch = tensors(agent_tools.make_batch())
    raw = batch['image'].numpy().astype(np.float32)
    one = agent_tools.make_agent(image_noise=False).model.preprocess(
        batch, FixedNoise())['image']
    np.testing.assert_allclose(one, raw / 255 - 0.5, atol=1e-6)
    model = agent_tools.make_agent(image_noise=True).model
    two = model.preprocess(batch, Noise('0', 0))['image'].numpy()
    noise = (two + 0.5) * 256 - raw
    assert noise.min() > -1e-3 and noise.max() < 1 + 1e-3
    assert abs(noise.mean() - 0.5) < 0.01
    assert not np.array_equal(
        two, model.preprocess(batch, Noise('0', 1))['image'])

  def test_shared_noise_is_one_vector_for_all_rows(self):
    def draws(shared):
      agent = agent_tools.make_agent(
          **{'rssm.shared_latent_noise': shared, 'image_noise': False})
      _, found = world_losses(agent, agent_tools.make_batch(), Noise('0', 0))
      post = found['post']
      return (post['stoch'] - post['mean']) / post['std']  # [B, T, S]
    shared, alone = draws(True), draws(False)
    np.testing.assert_allclose(shared[0], shared[1], atol=1e-4)
    assert np.abs(shared[:, 0] - shared[:, 1]).min() > 1e-3
    assert np.abs(alone[0] - alone[1]).min() > 1e-3

  @pytest.mark.parametrize('gru', ['reset_after', 'reset_before'])
  def test_filtering_is_the_same_while_acting(self, gru):
    agent = agent_tools.make_agent(**{'rssm.gru': gru})
    rssm = agent.model.rssm
    rng = np.random.default_rng(0)
    normal = lambda *shape: tf.constant(rng.normal(size=shape), tf.float32)
    embed, action = normal(2, 4, agent.model.encoder.size), normal(2, 4, 3)
    first = tf.zeros(2, tf.bool)
    noise = {'post': normal(4, 2, 4), 'prior': normal(4, 2, 4)}
    post, prior = rssm.observe(embed, action, noise)
    state = rssm.initial(2)
    for t in range(4):
      guess = rssm.img_step(state, action[:, t], noise['prior'][t])
      state = rssm.obs_step(
          state, action[:, t], embed[:, t], first, noise['post'][t])
      for key in state:
        np.testing.assert_allclose(post[key][:, t], state[key], atol=1e-5)
        np.testing.assert_allclose(prior[key][:, t], guess[key], atol=1e-5)

  def test_diagnostic_heads_leave_the_model_alone(self):
    agent = agent_tools.make_agent(**{'decoder.gradient': False})
    batch = agent_tools.make_batch()
    with tf.GradientTape(persistent=True) as tape:
      losses, _ = world_losses(agent, batch, FixedNoise())
    for name, variable in agent.model.variables.items():
      head = name.split('/')[0]
      for loss, own in (('image', 'decoder'), ('discount', 'discount')):
        grad = tape.gradient(losses[loss], variable)
        assert (grad is not None) == (head == own), (loss, name)
      if head in ('decoder', 'discount'):
        assert tape.gradient(losses['model'], variable) is None


class TestBehaviour:

  @pytest.mark.parametrize('enabled, gradient, rows', [
      (True, True, agent_tools.ROWS * (agent_tools.LENGTH - 1)),
      (True, False, agent_tools.ROWS * agent_tools.LENGTH),
      (False, True, agent_tools.ROWS * agent_tools.LENGTH)])
  def test_starts(self, enabled, gradient, rows):
    agent = agent_tools.make_agent(**{
        'discount_head.enabled': enabled, 'discount_head.gradient': gradient})
    found = agent_running.learn(agent, agent_tools.make_batch())
    assert found['tensor/imag_feat'].shape == (3, rows, 8 + 4)
    assert found['tensor/returns'].shape == (2, rows)

  @pytest.mark.parametrize('kind', KINDS)
  def test_who_gets_gradients(self, kind):
    agent = agent_tools.make_agent(kind, **{'discount_head.gradient': True})
    noise = FixedNoise()
    for loss in ('actor', 'critic'):
      with tf.GradientTape() as tape:
        _, found = world_losses(agent, agent_tools.make_batch(kind), noise)
        start = agent.start_states(found['post'], {})
        losses, _ = agent.behaviour.loss(
            agent.model.map(tf.stop_gradient), start, noise)
      grads = tape.gradient(losses[loss], agent.parameters)
      for name, grad in grads.items():
        assert (grad is not None) == name.startswith(loss), (loss, name)
        assert grad is None or np.any(grad), (loss, name)

  def test_losses_are_taken_before_any_update(self):
    one = agent_tools.make_agent(noise=FixedNoise())
    two = agent_tools.make_agent(noise=FixedNoise(), **{
        'model_opt.lr': 1.0, 'actor_opt.lr': 1.0, 'critic_opt.lr': 1.0})
    batch = agent_tools.make_batch()
    found = agent_running.learn(
        agent_tools.make_agent(noise=FixedNoise()), batch)
    for agent in (one, two):
      metrics = agent.train(batch)
      for loss in ('model', 'actor', 'critic', 'discount'):
        np.testing.assert_allclose(
            metrics[f'loss/{loss}'], found[f'loss/{loss}'], rtol=1e-5)

  def test_returns_without_value(self):
    def learn(returns):
      agent = agent_tools.make_agent(
          noise=FixedNoise(), behaviour='no_value',
          no_value_returns=returns, discount=0.9)
      found = agent_running.learn(agent, agent_tools.make_batch())
      return (found['tensor/imag_reward'], found['tensor/returns'],
              found['loss/actor'])
    reward, returns, loss = learn('undiscounted')
    np.testing.assert_allclose(returns, reward.sum(0, keepdims=True), 1e-5)
    np.testing.assert_allclose(loss, -reward.sum(0).mean(), rtol=1e-4)
    reward, returns, loss = learn('discounted')
    np.testing.assert_allclose(
        returns[0], reward[0] + .9 * reward[1] + .81 * reward[2], atol=1e-5)
    np.testing.assert_allclose(returns[2], reward[2], atol=1e-6)
    np.testing.assert_allclose(loss, -returns.mean(), rtol=1e-4)

  def test_optimal_action_is_found(self):
    # Reward is the first action; the value head is out of the way.
    agent = agent_tools.make_agent(
        behaviour='no_value', **{'actor_opt.lr': 0.03, 'actor.init_std': 0.5})
    model = types.SimpleNamespace(
        rssm=agent.model.rssm,
        reward=types.SimpleNamespace(mean=lambda feat: feat[..., 0]),
        imagined_discount=agent.model.imagined_discount)
    step = lambda prev, action, noise: {
        **prev, 'stoch': tf.repeat(action[:, :1], 4, 1)}
    frozen = types.SimpleNamespace(
        img_step=step, get_feat=model.rssm.get_feat)
    model.rssm.map = lambda fn: frozen
    start = {key: tf.zeros([8, size]) for key, size in (
        ('deter', 8), ('stoch', 4), ('mean', 4), ('std', 4))}
    for index in range(60):
      with tf.GradientTape(persistent=True) as tape:
        losses, found = agent.behaviour.loss(model, start, Noise('0', index))
      group = agent.optimizers['actor']
      group.apply(group.gradients(tape, losses['actor']))
    assert found['imag_action'].numpy()[..., 0].mean() > 0.9
