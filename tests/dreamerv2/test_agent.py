"""The DreamerV2 agent: losses on worked examples, acting, state, errors."""

import copy
import functools
import types

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import dreamerv2
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.nn import layers
from dreamer.nn.noise import Noise
from dreamerv2 import variants
from dreamerv2.actor_critic import ActorCritic
from dreamerv2.reward_norm import RewardNorm
from dreamerv2.world_model import WorldModel
from tests.support import agent_running
from tests.support import agent_tools_v2 as tools
from tests.support.agent_noise import FixedNoise
from tests.support.agent_running import eagerly

KINDS = ['continuous', 'discrete']
LATENTS = ['discrete', 'gaussian']
PLAN = {'expl.kind': 'plan2explore'}
INPUTS = {**tools.SPACES, 'map': Space((64, 64, 3), 'uint8')}
ALL = {f'{name}.{kind}': 'all' for name in ('encoder', 'decoder')
       for kind in ('images', 'vectors')}


pytestmark = pytest.mark.usefixtures('eager')


def random(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return tf.constant(rng.normal(size=shape), tf.float32)


def count(module):
  return sum(int(np.prod(x.shape)) for x in module.variables.values())


class TestSizes:

  def test_parameters_of_the_atari_agent(self):
    """22.25M with 18 actions, without the slow critic, counted by hand."""
    config, space = dreamerv2.configure(['atari']), ActionSpace('discrete', 18)

    class Zeros(layers.Init):  # drawn at once

      def glorot(self, name, shape):
        return np.zeros(shape, np.float32)

    init = Zeros(0)
    model = WorldModel(config, {'image': Space((64, 64, 1), 'uint8')}, 18, init)
    behaviour = ActorCritic(config, model.rssm.feat_size, space, init)
    dense = lambda *sizes: sum(
        (x + 1) * y for x, y in zip(sizes[:-1], sizes[1:]))
    conv = lambda kernel, *sizes: sum(
        (kernel ** 2 * x + 1) * y for x, y in zip(sizes[:-1], sizes[1:]))
    feat, mlp = 32 * 32 + 600, [400] * 4
    expected = {
        model.encoder: conv(4, 1, 48, 96, 192, 384),
        model.rssm: dense(1024 + 18, 600) + dense(1200, 1800) + 2 * 1800
        + dense(600, 600, 1024) + dense(600 + 1536, 600, 1024),
        model.decoder: dense(feat, 1536) + conv(5, 1536, 192, 96)
        + conv(6, 96, 48, 1),
        behaviour.actor: dense(feat, *mlp, 18)}
    expected.update({head: dense(feat, *mlp, 1) for head in (
        model.reward, model.discount, behaviour.critic)})
    assert {x.name: count(x) for x in expected} == {
        x.name: size for x, size in expected.items()}
    assert sum(expected.values()) == 22_245_398
    assert count(behaviour.slow_critic) == count(behaviour.critic)

  @pytest.mark.parametrize('settings', [{}, PLAN])
  def test_groups_are_disjoint_and_all_but_the_slow_critics(self, settings):
    agent = tools.make_agent(**settings)
    names = [name for group in agent.optimizers.values()
             for name in group.params]
    slow = {name for name in agent.parameters if 'slow_critic' in name}
    assert slow and sorted([*names, *slow]) == sorted(agent.parameters)

  def test_initial_values(self):
    agent = tools.make_agent(**ALL, spaces=INPUTS)
    for name, value in agent.parameters.items():
      value = value.numpy()
      if name.endswith(('/bias', '/beta')):
        assert not value.any(), name
      elif name.endswith('/gamma'):
        assert np.all(value == 1), name
      else:
        field = np.prod(value.shape[:-2])
        limit = np.sqrt(6 / field / sum(value.shape[-2:]))
        assert 0.6 * limit < np.abs(value).max() <= limit, name


@functools.cache
def gaussian_model():
  return tools.make_agent(**{'rssm.latents': 'gaussian'}).model


class TestKL:
  """Of Normals with deviation 1: half the squared distance of the means."""

  def loss(self, means, stds=(1.0, 1.0), **settings):
    """Loss, KL of each step, gradients of the posterior's, prior's mean."""
    model = copy.copy(gaussian_model())
    model.config = tools.make_config(
        **{f'kl.{key}': value for key, value in settings.items()})
    model.__class__ = variants.choose(WorldModel, model.config)
    post, prior = (tf.Variable(np.float32(mean)[None, :, None])
                   for mean in means)
    state = lambda mean, std: {'mean': mean, 'std': tf.fill(mean.shape, std)}
    with tf.GradientTape() as tape:
      loss, kl = model.kl_loss(state(post, stds[0]), state(prior, stds[1]))
    grads = tape.gradient(loss, [post, prior], unconnected_gradients='zero')
    return float(loss), kl.numpy().ravel(), *(
        tf.convert_to_tensor(grad).numpy().ravel() for grad in grads)

  # KLs of the two steps are 1 and 5. The slope of their mean is (m - 0) / 2
  # for the posterior's mean m, and the opposite for the prior's.
  @pytest.mark.parametrize('settings, loss, post, prior', [
      ({'balance': 0.8}, 3, (.1, .1), (.4, .4)),
      ({'balance': 0.0}, 3, (.5, .5), (0, 0)),
      ({'balance': 1.0}, 3, (0, 0), (.5, .5)),
      ({'balance': 0.8, 'free': 2.0}, 3, (.1, .1), (.4, .4)),
      ({'balance': 0.8, 'free': 4.0}, 4, (0, 0), (0, 0)),
      ({'balance': 0.8, 'free': 2.0, 'free_by': 'element'}, 3.5, (0, .1),
       (0, .4)),
      ({'balance': 0.8, 'free': 6.0, 'free_by': 'element'}, 6, (0, 0), (0, 0)),
      # Half: the plain KL, and free nats always by element.
      ({'balance': 0.5}, 3, (.5, .5), (.5, .5)),
      ({'balance': 0.5, 'free': 2.0, 'free_by': 'mean'}, 3.5, (0, .5),
       (0, .5)),
      # KL and sides are both exchanged: the prior's share stays.
      ({'balance': 0.8, 'forward': True}, 3, (.1, .1), (.4, .4))])
  def test_balance_and_free_nats(self, settings, loss, post, prior):
    means = np.sqrt([2, 10])
    found = self.loss((means, (0, 0)), **settings)
    np.testing.assert_allclose(found[0], loss, rtol=1e-5)
    np.testing.assert_allclose(found[1], [1, 5], rtol=1e-5)
    np.testing.assert_allclose(found[2], post * means, atol=1e-5)
    np.testing.assert_allclose(found[3], -np.array(prior) * means, atol=1e-5)

  @pytest.mark.parametrize('balance', [0.5, 0.8])
  def test_direction(self, balance):
    # log(s2 / s1) + s1^2 / (2 s2^2) - 1/2 for deviations 1 and 2
    for forward, expected in ((False, np.log(2) + 1 / 8 - 1 / 2),
                              (True, -np.log(2) + 4 / 2 - 1 / 2)):
      loss, kl, _, _ = self.loss(
          ((0, 0), (0, 0)), (1.0, 2.0), balance=balance, forward=forward)
      np.testing.assert_allclose([loss, *kl], expected, rtol=1e-5)


class TestSequences:

  def inputs(self, latents, rows=2, length=4):
    rssm = tools.make_agent(**{'rssm.latents': latents}).model.rssm
    noise = {key: rssm.draw(Noise('0', 0), key, [length, rows])
             for key in ('post', 'prior')}
    return (rssm, random(rows, length, 64), random(rows, length, 3, seed=1),
            noise)

  @pytest.mark.parametrize('latents', LATENTS)
  def test_reset_in_the_middle_is_two_sequences(self, latents):
    rssm, embed, action, noise = self.inputs(latents)
    first = tf.constant([[0, 0, 1, 0], [1, 1, 0, 1]])
    whole = rssm.observe(embed, action, first, noise)
    for row, start, end in ((0, 0, 2), (0, 2, 4), (1, 0, 1), (1, 1, 3),
                            (1, 3, 4)):
      part = np.s_[row:row + 1, start:end]
      own = rssm.observe(embed[part], action[part], first[part], {
          key: value[start:end, row:row + 1] for key, value in noise.items()})
      for found, expected in zip(whole, own):
        for key in expected:
          np.testing.assert_allclose(
              found[key][part], expected[key], atol=1e-5, err_msg=key)

  @pytest.mark.parametrize('latents', LATENTS)
  def test_nothing_passes_a_reset(self, latents):
    rssm, embed, action, noise = self.inputs(latents)
    first = tf.constant([[0, 0, 1, 0]] * 2)
    # The action at the reset, too, is not that of this episode.
    changed = tf.concat([action[:, :3] + 1, action[:, 3:]], 1)
    one, two = (rssm.observe(embed, x, first, noise)[0]['deter']
                for x in (action, changed))
    np.testing.assert_array_equal(one[:, 2:], two[:, 2:])
    assert np.all(np.any(one[:, :2] != two[:, :2], -1))

  @pytest.mark.parametrize('latents', LATENTS)
  def test_filtering_is_the_same_while_acting(self, latents):
    rssm, embed, action, noise = self.inputs(latents)
    first = tf.constant([[1, 0, 0, 1], [0, 0, 1, 0]])
    post, prior = rssm.observe(embed, action, first, noise)
    state = rssm.initial(2)
    for t in range(4):
      begins = first[:, t].numpy().astype(bool)
      known = {key: np.array(x) for key, x in state.items()}
      known['action'] = np.array(action[:, t])
      for key, x in known.items():
        x[begins] = 0
        known[key] = tf.constant(x)
      guess = rssm.img_step(known, known['action'], noise['prior'][t])
      state = rssm.obs_step(
          state, action[:, t], embed[:, t], first[:, t], noise['post'][t])
      for key in state:
        np.testing.assert_allclose(post[key][:, t], state[key], atol=1e-5)
        np.testing.assert_allclose(prior[key][:, t], guess[key], atol=1e-5)

  def test_open_loop_is_a_loop_of_steps(self):
    rssm, _, action, noise = self.inputs('discrete')
    action = tf.transpose(action, [1, 0, 2])
    start = {key: value + 0.1 for key, value in rssm.initial(2).items()}
    states = rssm.open_loop(start, action, noise['prior'])
    state = start
    for t in range(4):
      state = rssm.img_step(state, action[t], noise['prior'][t])
      for key in state:
        np.testing.assert_allclose(states[key][t], state[key], atol=1e-5)


class TestWorldModel:

  def test_data_as_the_model_sees_it(self):
    spaces = {**tools.SPACES, 'ram': Space((4,), 'uint8'),
              'steps': Space((1,), 'int32')}
    agent = tools.make_agent(**ALL, spaces=spaces, discount=0.97)
    batch = tools.make_batch(spaces={**tools.SPACES, 'ram': spaces['ram']})
    batch['steps'] = np.full((2, 4, 1), 7, np.int32)
    data = agent.model.preprocess(
        agent_running.tensors(batch), None)
    for key in ('image', 'ram'):
      np.testing.assert_allclose(
          data[key], batch[key] / 255 - 0.5, atol=1e-6, err_msg=key)
    for key in ('speed', 'steps'):
      assert np.array_equal(data[key], batch[key])
      assert data[key].dtype == tf.float32
    np.testing.assert_allclose(
        data['discount'], [[.97, .97, .97, 0], [.97] * 4], rtol=1e-6)

  @pytest.mark.parametrize('name, function', [
      ('none', lambda x: x), ('tanh', np.tanh), ('sign', np.sign)])
  def test_rewards(self, name, function):
    model = copy.copy(gaussian_model())
    model.config = tools.make_config(reward_transform=name)
    batch = tools.make_batch()
    np.testing.assert_allclose(
        model.preprocess(agent_running.tensors(batch), None)['reward'],
        function(batch['reward']), rtol=1e-5)

  def test_who_gets_gradients(self):
    """Heads with `gradient: false` learn, from features that do not."""
    agent = tools.make_agent(**{
        'decoder.gradient': False, 'discount_head.gradient': False})
    weights = agent.model.variables
    data = agent.model.preprocess(
        agent_running.tensors(tools.make_batch()), None)
    with tf.GradientTape(persistent=True) as tape:
      losses, _ = agent.model.loss(data, FixedNoise())
    inner = ('encoder/', 'rssm/')
    reached = {'image': ('decoder/',), 'kl': inner,
               'discount': ('discount/',),
               'reward': ('reward/', *inner)}
    prior = ('img_out', 'img_dist')  # seen by the KL only
    for loss, prefixes in reached.items():
      grads = tape.gradient(losses[loss], weights)
      for name, grad in grads.items():
        expected = name.startswith(prefixes) and (
            loss == 'kl' or not any(part in name for part in prior))
        assert (grad is not None) == expected, (loss, name)

  def test_losses_are_scaled_and_summed(self):
    scales = {'kl': 0.7, 'reward': 3.0, 'discount_head': 5.0}
    agent = tools.make_agent(**{
        **ALL, **{f'{key}.scale': x for key, x in scales.items()}},
                             spaces=INPUTS)
    found = agent_running.look(agent, tools.make_batch(spaces=INPUTS))
    keys = ('image', 'map', 'speed', 'angle')
    total = sum(found[f'loss/{key}'] for key in keys)
    total += sum(scale * found[f'loss/{key.removesuffix("_head")}']
                 for key, scale in scales.items())
    np.testing.assert_allclose(found['loss/model'], total, rtol=1e-5)
    for key in keys:
      np.testing.assert_allclose(
          found[f'loss/{key}'], -found[f'tensor/like/{key}'].mean(), rtol=1e-5)

  def test_images_and_vectors_together(self):
    agent = tools.make_agent(**ALL, spaces=INPUTS)
    batch = tools.make_batch(spaces=INPUTS)
    found = agent_running.learn(agent, batch)
    assert found['init/encoder/conv1/kernel'].shape == (4, 4, 1 + 3, 2)
    assert found['init/encoder/dense1/kernel'].shape == (2 + 3, 16)
    assert found['tensor/embed'].shape == (2, 4, 32 * 2 + 16)
    assert all(np.any(value) for key, value in found.items()
               if key.startswith('grad/decoder/'))
    means = agent.model.decoder.image_means(found['tensor/feat'])
    shapes = {key: tuple(value.shape) for key, value in means.items()}
    assert shapes == {'image': (2, 4, 64, 64, 1), 'map': (2, 4, 64, 64, 3)}
    video = agent.report(batch)
    assert {key: value.shape for key, value in video.items()} == {
        'openloop': (4, 192, 128, 1), 'openloop_map': (4, 192, 128, 3)}

  def test_each_vector_has_a_unit_normal(self):
    agent = tools.make_agent(**ALL)
    batch = tools.make_batch()
    found = agent_running.look(agent, batch)
    means = agent.model.decoder.vector_means(found['tensor/feat'])
    for key in ('speed', 'angle'):
      error = scipy.stats.norm(means[key], 1).logpdf(batch[key]).sum(-1)
      np.testing.assert_allclose(
          found[f'tensor/like/{key}'], error, rtol=1e-4)

  def test_acting_without_what_is_only_predicted(self):
    agent = tools.make_agent(**{
        'encoder.images': 'none', 'encoder.vectors': 'speed'})
    obs = tools.make_obs()
    action, _ = agent.policy(
        {key: obs[key] for key in ('speed', 'is_first')}, None)
    assert action.shape == (3, tools.ACTIONS)
    assert agent.batch_keys[:2] == ('speed', 'image')


def slow_returns(reward, value, discount, lambda_):
  """Returns [H, N] of [H + 1, N] each, mixed from all n-step returns."""
  horizon, result = len(reward) - 1, []
  for t in range(horizon):
    steps = []
    for end in range(t + 1, horizon + 1):
      total, factor = 0.0, 1.0
      for k in range(t, end):
        total, factor = total + factor * reward[k], factor * discount[k]
      steps.append(total + factor * value[end])
    shares = [(1 - lambda_) * lambda_ ** i for i in range(len(steps) - 1)]
    shares.append(lambda_ ** (len(steps) - 1))
    result.append(sum(x * y for x, y in zip(shares, steps)))
  return np.array(result)


class TestImagination:

  def look(self, kind='discrete', **settings):
    """Agent and what it computes; its slow critic isn't the critic."""
    agent = tools.make_agent(kind, horizon=4, **settings)
    agent.counters['updates'].assign(1)
    return agent, agent_running.look(agent, tools.make_batch(kind))

  def test_start_rows_and_first_action(self):
    agent, found = self.look()
    rows, length = tools.ROWS, tools.LENGTH
    feat = agent.model.rssm.get_feat({
        key: tf.constant(found[f'tensor/post/{key}'])
        for key in ('stoch', 'deter')})
    for row in range(rows):
      for t in range(length):  # the last and the terminal ones included
        assert np.array_equal(
            found['tensor/imag_feat'][0, row * length + t], feat[row, t])
    assert found['tensor/imag_feat'].shape[:2] == (4 + 1, rows * length)
    assert not found['tensor/imag_action'][0].any()
    assert found['tensor/imag_action'][1:].any(-1).all()

  def test_action_leads_to_the_state_beside_it(self):
    agent, found = self.look()
    feat = tf.constant(found['tensor/imag_feat'])
    stoch, deter = tf.split(
        feat, [tools.STOCH * tools.CLASSES, tools.DETER], -1)
    state = {'deter': deter, 'stoch': tf.reshape(
        stoch, [*stoch.shape[:-1], tools.STOCH, tools.CLASSES])}
    for h in range(1, 5):
      before = {key: value[h - 1] for key, value in state.items()}
      action = tf.constant(found['tensor/imag_action'][h])
      after = agent.model.rssm.img_step(before, action)
      np.testing.assert_allclose(after['deter'], state['deter'][h], atol=1e-5)

  @pytest.mark.parametrize('enabled', [True, False])
  def test_weights_after_a_terminal_start_are_0(self, enabled):
    _, found = self.look(**{
        'discount': 0.9, 'discount_head.enabled': enabled})
    discount, weight = found['tensor/imag_discount'], found['tensor/weight']
    terminal = tools.LENGTH - 1  # row 0, last step
    others = np.arange(8) != terminal
    assert np.all(weight[0] == 1)
    if not enabled:
      np.testing.assert_allclose(discount, 0.9, rtol=1e-6)
      np.testing.assert_allclose(
          weight[:, terminal], 0.9 ** np.arange(5), rtol=1e-5)
      return
    assert discount[0, terminal] == 0 and not weight[1:, terminal].any()
    np.testing.assert_allclose(discount[0, others], 0.9, rtol=1e-6)
    np.testing.assert_allclose(weight[1, others], 0.9, rtol=1e-6)
    assert np.all(weight[:, others] > 0)

  @pytest.mark.parametrize('kind, gradient, mix', [
      ('discrete', 'reinforce', 0), ('discrete', 'dynamics', 1),
      ('discrete', 'both', 0.3), ('continuous', 'reinforce', 0),
      ('continuous', 'dynamics', 1)])
  def test_losses_by_slow_loops(self, kind, gradient, mix):
    agent, found = self.look(kind, **{
        'actor_gradient': gradient, 'actor_mix.start': mix, 'lambda': 0.7,
        'discount': 0.9, 'actor_entropy.start': 0.2})
    feat, action = found['tensor/imag_feat'], found['tensor/imag_action']
    reward = agent.model.reward(feat).numpy()
    value = agent.behaviour.slow_critic(feat).numpy()
    discount = tf.sigmoid(agent.model.discount(feat)).numpy()
    discount[0] = 0.9
    discount[0, tools.LENGTH - 1] = 0
    target = slow_returns(reward, value, discount, 0.7)
    np.testing.assert_allclose(found['tensor/returns'], target, atol=1e-5)
    pred = agent.behaviour.critic(feat).numpy()
    assert np.abs(pred - value).max() > 1e-3
    actor, critic = [], []
    for n in range(feat.shape[1]):
      weight = 1.0
      for t in range(4):
        critic.append(-weight * scipy.stats.norm(pred[t, n], 1).logpdf(
            target[t, n]))
        if t + 1 < 4:  # the action that leads from state t to t + 1
          log_prob, entropy = self.policy(agent, feat[t, n], action[t + 1, n])
          score = log_prob * (target[t + 1, n] - value[t, n])
          actor.append(-weight * (
              mix * target[t + 1, n] + (1 - mix) * score + 0.2 * entropy))
        weight *= discount[t, n]
    assert len(actor) == 3 * 8 and len(critic) == 4 * 8
    np.testing.assert_allclose(
        found['loss/actor'], np.mean(actor), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found['loss/critic'], np.mean(critic), rtol=1e-4)

  def policy(self, agent, feat, action):
    """Log density of the action, and entropy."""
    dist = agent.behaviour.actor.dist(feat[None])
    if agent.act_space.discrete:
      probs = tf.nn.softmax(dist.logits[0]).numpy()
      return np.log(probs @ action), scipy.stats.entropy(probs)
    loc, scale = dist.loc[0].numpy(), dist.scale[0].numpy()
    exact = scipy.stats.truncnorm(
        (-1 - loc) / scale, (1 - loc) / scale, loc, scale)
    return exact.logpdf(action).sum(), exact.entropy().sum()

  def gradients(self, kind, gradient, loss):
    """Gradients of weights, and of the start states, from one loss."""
    agent = tools.make_agent(
        kind, actor_gradient=gradient, **{'actor_entropy.start': 0.1})
    rssm, noise = agent.model.rssm, Noise('0', 0)
    start = {'deter': random(3, tools.DETER),
             'stoch': random(3, *rssm.stoch_shape)}
    with tf.GradientTape() as tape:
      tape.watch(start)
      losses, _ = agent.behaviour.loss(
          agent.model, start, np.zeros(3, bool), noise, 0)
    return tape.gradient(losses[loss], [agent.parameters, start])

  @pytest.mark.parametrize('kind', KINDS)
  def test_reinforce_needs_no_gradient_through_the_dynamics(self, kind):
    weights, start = self.gradients(kind, 'reinforce', 'actor')
    assert set(start.values()) == {None}
    for name, grad in weights.items():
      assert (grad is not None) == name.startswith('actor/'), name
      assert grad is None or np.any(grad), name

  @pytest.mark.parametrize('kind', KINDS)
  def test_dynamics_differentiates_states_but_not_the_model(self, kind):
    weights, start = self.gradients(kind, 'dynamics', 'actor')
    for name, grad in weights.items():
      if name.startswith('rssm/'):
        assert grad is None, name
      if name.startswith('actor/'):
        assert np.any(grad), name
    assert np.any(start['deter'])

  @pytest.mark.parametrize('kind', KINDS)
  def test_critic_alone_learns_from_its_loss(self, kind):
    weights, start = self.gradients(kind, 'dynamics', 'critic')
    assert set(start.values()) == {None}
    for name, grad in weights.items():
      assert (grad is not None) == name.startswith('critic/'), name

  @pytest.mark.parametrize('kind', KINDS)
  def test_agent_moves_each_part_by_its_own_loss(self, kind):
    """A start state's posterior gets no gradient from behaviours."""
    plain, other = (
        agent_running.learn(tools.make_agent(kind, **{
            'actor_entropy.start': entropy}), tools.make_batch(kind))
        for entropy in (0.0, 5.0))
    for key, value in plain.items():
      moved = key.startswith(('grad/actor/', 'step/actor/', 'loss/actor'))
      same = np.array_equal(value, other[key])
      assert same or moved, key
    assert not np.array_equal(
        plain['grad/actor/dense1/kernel'], other['grad/actor/dense1/kernel'])

  def test_both_is_the_mix_of_the_two(self):
    losses = {}
    for gradient in ('dynamics', 'reinforce', 'both'):
      _, found = self.look(**{
          'actor_gradient': gradient, 'actor_mix.start': 0.3})
      losses[gradient] = found['loss/actor']
    np.testing.assert_allclose(
        losses['both'], 0.3 * losses['dynamics'] + 0.7 * losses['reinforce'],
        rtol=1e-4)

  @pytest.mark.parametrize('kind, gradient', [
      ('discrete', 'reinforce'), ('discrete', 'dynamics'),
      ('continuous', 'dynamics'), ('continuous', 'reinforce')])
  def test_best_action_is_found(self, kind, gradient, compiled):
    """States are the actions that led there; the third is paid for."""
    config = tools.make_config(**{
        'actor_gradient': gradient, 'horizon': 3, 'discount': 0.5,
        'slow_critic.enabled': False, 'actor_entropy.start': 0.0})
    space = ActionSpace(kind, 3)
    behaviour = variants.choose(ActorCritic, config)(
        config, 3, space, layers.Init(0))
    model = types.SimpleNamespace(
        rssm=types.SimpleNamespace(
            draw=lambda *args: None, imagine=echo,
            get_feat=lambda states: states['deter']),
        reward=types.SimpleNamespace(mean=lambda feat: feat[..., 2]),
        imagined_discount=lambda feat, first: tf.fill(feat.shape[:2], 0.5))
    start = {'deter': tf.zeros([64, 3])}
    weights = list(behaviour.actor.variables.values())

    @tf.function(autograph=False)
    def update(index):
      with tf.GradientTape() as tape:
        losses, found = behaviour.loss(
            model, start, tf.zeros([64]), Noise('0', index), 0)
      for weight, grad in zip(weights, tape.gradient(losses['actor'], weights)):
        weight.assign_sub(0.3 * grad)
      return found['imag_action'][1:]

    before = float(tf.reduce_mean(update(tf.constant(0))[..., 2]))
    for index in range(1, 150):
      actions = update(tf.constant(index))
    after = float(tf.reduce_mean(actions[..., 2]))
    assert after > (0.9 if kind == 'discrete' else 0.4) > before


def echo(policy, start, draws, unroll):
  """A rollout in which the state is the last action."""
  states = [start['deter']]
  for noise in tf.unstack(draws['policy']):
    states.append(policy(tf.stop_gradient(states[-1]), noise))
  states = tf.stack(states[1:])
  return {'deter': states}, states


class TestSlowCritic:

  def weights(self, critic):
    return np.concatenate(
        [x.numpy().ravel() for x in critic.variables.values()])

  @pytest.mark.parametrize('every, fraction, copied', [
      (100, 1.0, {0: 1.0, 100: 1.0, 200: 1.0}),
      (100, 0.25, {0: 1.0, 100: 0.25, 200: 0.25}),
      (1, 0.5, {0: 1.0, 1: 0.5, 99: 0.5, 100: 0.5})])
  def test_copies(self, every, fraction, copied):
    """After the updates 1, 101, ...; the first copies it whole."""
    behaviour = ActorCritic(
        tools.make_config(**{'slow_critic': {
            'every_updates': every, 'fraction': fraction}}),
        4, ActionSpace('discrete', 3), layers.Init(0))
    first = self.weights(behaviour.slow_critic)
    assert not np.array_equal(first, self.weights(behaviour.critic))
    for updates in (0, 1, 50, 99, 100, 101, 200):
      before = self.weights(behaviour.slow_critic)
      for weight in behaviour.critic.variables.values():
        weight.assign_add(tf.ones(weight.shape))
      behaviour.update_slow(tf.constant(updates, tf.int64))
      share = copied.get(updates, fraction if every == 1 else 0.0)
      expected = share * self.weights(behaviour.critic) + (1 - share) * before
      np.testing.assert_allclose(
          self.weights(behaviour.slow_critic), expected, rtol=1e-5, atol=1e-6)

  def test_agent_copies_after_its_updates(self):
    agent = tools.make_agent(**{'slow_critic.every_updates': 2})
    behaviour, same = agent.behaviour, []
    for _ in range(3):
      agent.train(tools.make_batch())
      same.append(np.array_equal(
          *map(self.weights, (behaviour.slow_critic, behaviour.critic))))
    assert same == [True, False, True]

  def test_without_it_the_critic_is_its_own_target(self):
    agent = tools.make_agent(**{'slow_critic.enabled': False})
    found = agent_running.look(agent, tools.make_batch())
    np.testing.assert_allclose(
        found['tensor/imag_value'][:-1], found['tensor/critic_pred'],
        atol=1e-6)
    assert not any('slow_critic' in key for key in agent.parameters)


class TestRewardNorm:

  def norm(self, **settings):
    section = tools.make_config(**{
        f'reward_norm.{key}': x for key, x in settings.items()}).reward_norm
    return RewardNorm('norm', section)

  def test_magnitude_is_updated_before_it_divides(self):
    norm = self.norm(momentum=0.75, scale=3.0, eps=0.5)
    x = tf.constant([[2.0, -6.0]])
    # .75 * 1 + .25 * 4 = 1.75, then .75 * 1.75 + .25 * 4 = 2.3125
    for mag in (1.75, 2.3125):
      out = norm(x)
      assert float(norm.mag) == mag and norm.mag.dtype == tf.float64
      expected = np.array([2, -6]) / (mag + 0.5) * 3
      np.testing.assert_allclose(out, [expected], rtol=1e-6)
      assert out.dtype == tf.float32

  def test_off(self):
    norm = self.norm()
    x = random(3, 4)
    np.testing.assert_allclose(norm(100 * x), 100 * x, rtol=1e-6)
    assert float(norm.mag) == 1

  def test_gradient_takes_the_magnitude_as_given(self):
    norm, x = self.norm(momentum=0.0, eps=0.0), tf.Variable([2.0, -6.0])
    with tf.GradientTape() as tape:
      out = norm(x)
    np.testing.assert_allclose(tape.gradient(out, x), [.25, .25])


class TestSummaries:

  def test_moments_of_rewards(self):
    agent = tools.make_agent(**{'reward_norm.scale': 3.0})
    batch = agent_running.tensors(tools.make_batch())
    with agent_running.no_updates(agent):
      update = agent.learn(batch, tf.constant(0, tf.int64))
    reward = update.tensors['imag_reward_raw'].numpy()
    for key, value in (('imag/reward', reward.mean()),
                       ('imag/reward_std', reward.std()),
                       ('imag/reward_normed', 3 * reward.mean()),
                       ('imag/reward_normed_std', 3 * reward.std())):
      np.testing.assert_allclose(
          update.metrics[key], value, rtol=1e-4, err_msg=key)


class TestTraining:

  def test_schedules_are_read_at_environment_steps(self):
    agent = tools.make_agent(**{
        'actor_gradient': 'both', 'actor_entropy': {
            'kind': 'linear', 'start': 1.0, 'end': 3.0, 'duration': 1000},
        'actor_mix': {'kind': 'exp', 'start': 1.0, 'duration': 500,
                      'end': 0.0}})
    with agent_running.no_updates(agent):
      metrics = agent.train(tools.make_batch(), 500)
    assert float(metrics['actor/entropy_scale']) == 2.0
    assert float(metrics['actor/mix']) == 0.5

  @pytest.mark.slow
  def test_compiled_graph_computes_the_same_and_learns(self, compiled):
    batch = tools.make_batch()
    batch['image'] = np.zeros_like(batch['image']) + np.uint8(230)
    settings = {'model_opt.lr': 3e-3}
    with eagerly():
      expected = tools.make_agent(**settings).train(batch)
    agent = tools.make_agent(**settings)
    first = agent.train(batch)
    assert set(first) == set(expected)
    for key, value in first.items():
      np.testing.assert_allclose(
          value, expected[key], rtol=1e-3, atol=1e-5, err_msg=key)
    for _ in range(100):
      last = agent.train(batch)
    for loss, least in (('image', 100), ('reward', 0.1), ('discount', 0.05)):
      fall = float(first[f'loss/{loss}'] - last[f'loss/{loss}'])
      assert fall > least, loss


@functools.cache
def smooth_update(precision):
  """With Gaussian latents: an argmax may fall the other way in half."""
  agent = tools.make_agent(
      'continuous', noise=FixedNoise(), precision=precision,
      **{'rssm.latents': 'gaussian', 'loss_scale': 64})
  return agent_running.learn(agent, tools.make_batch('continuous'))


class TestPrecision:

  @pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
  def test_near_float32(self, precision):
    exact, half = smooth_update('float32'), smooth_update(precision)
    for key, value in half.items():
      assert np.all(np.isfinite(value)), key
      if key.startswith('loss/'):
        np.testing.assert_allclose(
            value, exact[key], rtol=0.03, atol=0.01, err_msg=key)
    for group in ('encoder', 'rssm', 'decoder', 'reward', 'actor', 'critic'):
      names = [key for key in exact if key.startswith(f'grad/{group}/')]
      one, two = (np.concatenate([found[key].ravel() for key in names])
                  for found in (exact, half))
      cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
      assert cosine > 0.96, group


class TestActing:

  @pytest.mark.parametrize('kind', KINDS)
  @pytest.mark.parametrize('mode', ['train', 'eval'])
  def test_samples_to_train_and_modes_to_evaluate(self, kind, mode):
    agent = tools.make_agent(kind)
    action, state = agent.policy(tools.make_obs(rows=20), None, mode)
    actor = agent.behaviour.actor
    dist = actor.dist(agent.model.rssm.get_feat(agent_running.tensors(state)))
    noise = Noise(f'0/policy/{mode}', 0)
    expected = dist.mode() if mode == 'eval' else dist.sample(
        actor.draw(noise, 'act', [20]))
    np.testing.assert_allclose(action, expected, atol=1e-6)
    assert np.array_equal(state['action'], action)
    if kind == 'discrete':
      assert set(action.ravel()) == {0.0, 1.0}
      assert np.all(action.sum(-1) == 1)

  @pytest.mark.parametrize('mode', ['train', 'eval'])
  @pytest.mark.parametrize('mean', [True, False])
  def test_latents_are_samples_or_modes(self, mode, mean):
    agent = tools.make_agent(eval_state_mean=mean)
    obs = tools.make_obs(rows=20)
    latents = [agent.policy(obs, None, mode)[1]['stoch'] for _ in range(2)]
    assert np.array_equal(*latents) == (mean and mode == 'eval')
    assert np.all(latents[0].sum(-1) == 1)


class TestState:

  @pytest.mark.parametrize('settings, words', [
      ({'rssm.deter': 9}, 'gru/dense/kernel has shape (14, 24), this agent '
       'needs (15, 27)'),
      ({'rssm.latents': 'gaussian'}, 'img_in/kernel has shape (18, 6), this '
       'agent needs (6, 6)'),
      ({'slow_critic.enabled': False}, 'has extra slow_critic'),
      ({'rssm.norm': 'layer'}, 'lacks opt/model/m/rssm/img_in/norm'),
      (PLAN, 'lacks expl/')])
  def test_checkpoint_of_another_config(self, settings, words):
    arrays = tools.make_agent().state()
    with pytest.raises(UserError) as error:
      tools.make_agent(**settings).restore(arrays)
    assert words in str(error.value)


@pytest.mark.slow
def test_no_boolean_is_transposed():
  """Of which oneDNN would warn at the first update, on CPUs without AVX-512."""
  agent = tools.make_agent()
  batch = agent.put(tools.make_batch())
  graph = tf.function(
      agent.train_step, autograph=False).get_concrete_function(
          batch, tf.constant(0, tf.int64)).graph
  definition = graph.as_graph_def()
  nodes = [*definition.node, *(
      node for function in definition.library.function
      for node in function.node_def)]
  types = [node.attr['T'].type for node in nodes if node.op == 'Transpose']
  assert types and tf.bool.as_datatype_enum not in types
