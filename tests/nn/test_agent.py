"""What both agents have from their base, tested with either."""

import types

import numpy as np
import pytest
import tensorflow as tf

from dreamer.errors import UserError
from dreamer.nn.agent import Update
from tests.support import agent_running, agent_tools, agent_tools_v2, quick
from tests.support.agent_noise import FixedNoise

pytestmark = pytest.mark.usefixtures('eager')
KINDS = ['continuous', 'discrete']
PLAN = {'expl.kind': 'plan2explore'}
# Actions that differ where their distributions do.
SMOOTH = {agent_tools: {'actor.init_std': 0.5},
          agent_tools_v2: {'rssm.latents': 'gaussian'}}


@pytest.fixture(params=[agent_tools, agent_tools_v2], ids=['v1', 'v2'])
def tools(request):
  """Makes the agents of either paper, and what they learn from."""
  return request.param


def differ(one, two):
  """Names of arrays that are not the same in both, to the bit."""
  assert set(one) == set(two)
  return {key for key in one if not np.array_equal(one[key], two[key])}


class TestUpdate:

  def make(self, **names):
    return Update(*({f'{x}{key}': value for key, value in names.items()}
                    for x in ('loss_', 'group_', 'tensor_', 'metric_')))

  def test_merge(self):
    one = self.make(a=1, b=2)
    merged = one.merge(self.make(c=3))
    assert merged == self.make(a=1, b=2, c=3)
    assert one == self.make(a=1, b=2)

  @pytest.mark.parametrize('index', range(4))
  def test_nothing_is_overwritten(self, index):
    parts = [{}, {}, {}, {}]
    parts[index] = {'x': 1, 'y': 2}
    with pytest.raises(ValueError, match='^x, y: in both parts'):
      Update(*parts).merge(Update(*parts))

  def test_prefix_is_for_all_but_gradients(self):
    update = Update({'a': 1}, {'b': 2}, {'c': 3}, {'d': 4}).prefixed('p_')
    assert update == Update({'p_a': 1}, {'b': 2}, {'p_c': 3}, {'p_d': 4})

  def test_scalars(self):
    assert Update({'a': 1}, {}, {}, {'b': 2}).scalars == {
        'loss/a': 1, 'b': 2}


class TestLearning:

  def test_seed_decides(self, tools):
    def state(seed):
      agent = tools.make_agent(seed=seed)
      for index in range(2):
        agent.train(tools.make_batch(agent.act_space.kind, index))
      return agent.state()
    one, again, other = state(3), state(3), state(4)
    assert not differ(one, again)
    assert {key.split('/')[0] for key in differ(one, other)} >= {
        'encoder', 'rssm', 'decoder', 'reward', 'actor', 'critic', 'opt'}

  def test_steps_draw_different_noise(self, tools):
    agent, batch = tools.make_agent('discrete'), tools.make_batch('discrete')
    with agent_running.no_updates(agent):
      losses = {float(agent.train(batch)['loss/reward']) for _ in range(3)}
    assert len(losses) == 3

  def test_all_is_returned_by_name(self, tools):
    agent, batch = tools.make_agent('discrete'), tools.make_batch('discrete')
    update = agent_running.update(agent, batch)
    assert set(update.gradients) == set(agent.optimizers)
    for group, gradients in update.gradients.items():
      assert list(gradients) == list(agent.optimizers[group].params)
    assert {'model', 'image', 'reward', 'kl', 'actor', 'critic'} <= set(
        update.losses)
    assert {'post', 'prior', 'feat', 'imag_feat', 'returns'} <= set(
        update.tensors)
    assert set(update.scalars) == set(tools.make_agent('discrete').train(batch))
    assert agent.updates == 1


class TestPrecision:

  @pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
  def test_state_is_float32(self, tools, precision):
    agent = tools.make_agent('discrete', precision=precision)
    agent.train(tools.make_batch('discrete'))
    for key, value in agent.state().items():
      expected = 'float64' if key.startswith('norm/') else 'float32'
      count = key.startswith('counter/') or key.endswith(('/step', '/good'))
      assert value.dtype.name == ('int64' if count else expected), key
      assert np.all(np.isfinite(value)), key
    action, state = agent.policy(tools.make_obs(), None)
    assert {x.dtype.name for x in (action, *state.values())} == {'float32'}

  def test_overflow_skips_the_update_and_halves_the_scale(self, tools):
    agent = tools.make_agent(
        'discrete', precision='float16', loss_scale=2 ** 62)
    before = agent.state()
    metrics = agent.train(tools.make_batch('discrete'))
    assert float(metrics['skipped/model']) == 1
    assert float(metrics['loss_scale/model']) == 2.0 ** 61
    after = agent.state()
    for name in agent.optimizers['model'].params:
      assert np.array_equal(before[name], after[name]), name
    assert agent.updates == 1

  def test_float32_has_no_loss_scale(self, tools):
    metrics = tools.make_agent('discrete').train(tools.make_batch('discrete'))
    assert not [key for key in metrics if 'loss_scale' in key]


class TestActing:

  @pytest.mark.parametrize('kind', KINDS)
  def test_reset_rows_forget(self, tools, kind):
    history = {key: np.ones_like(x) for key, x in tools.make_agent(
        kind).initial_state(3).items()}
    def act(state, first):
      obs = {**tools.make_obs(), 'is_first': np.array(first)}
      agent = tools.make_agent(kind, noise=FixedNoise())
      return agent.policy(obs, state, 'eval')[1]
    fresh, reset = act(None, [True] * 3), act(history, [True, False, True])
    for key in fresh:
      np.testing.assert_allclose(
          reset[key][[0, 2]], fresh[key][[0, 2]], atol=1e-6)
    assert np.abs(reset['deter'][1] - fresh['deter'][1]).max() > .01

  @pytest.mark.parametrize('shared', [True, False])
  def test_rows_are_independent(self, tools, shared):
    """Another image of one environment changes its action, no other's."""
    settings = dict(SMOOTH[tools])
    if tools is agent_tools:
      settings['rssm.shared_latent_noise'] = shared
    one, two = tools.make_obs(), tools.make_obs()
    two['image'] = two['image'].copy()
    two['image'][1] = 255 - two['image'][1] // 2
    before, after = (
        tools.make_agent('continuous', **settings).policy(obs, None)[0]
        for obs in (one, two))
    np.testing.assert_allclose(before[[0, 2]], after[[0, 2]], atol=1e-6)
    assert np.abs(before[1] - after[1]).max() > 1e-6

  def test_calls_draw_different_noise(self, tools):
    agent, obs = tools.make_agent('continuous'), tools.make_obs(first=True)
    one, two = (agent.policy(obs, None)[0] for _ in range(2))
    assert not np.allclose(one, two)

  def test_evaluating_does_not_change_what_training_draws(self, tools):
    def act(evaluate):
      agent = tools.make_agent('continuous')
      for _ in range(evaluate):
        agent.policy(tools.make_obs(), None, 'eval')
      return agent.policy(tools.make_obs(), None)[0]
    assert np.array_equal(act(0), act(3))


class TestState:

  @pytest.mark.parametrize('tools, kind, settings', [
      (agent_tools, 'continuous', {'precision': 'float16'}),
      (agent_tools, 'discrete', {'precision': 'float16'}),
      (agent_tools_v2, 'discrete', {'precision': 'float16'}),
      (agent_tools_v2, 'continuous', {
          **PLAN, 'reward_norm.momentum': 0.5,
          'expl.reward_norm.momentum': 0.5})])
  def test_restored_agent_goes_on_with_the_same_bits(
      self, tools, kind, settings):
    one = tools.make_agent(kind, **settings)
    first, second = (tools.make_batch(kind, seed) for seed in (0, 1))
    one.train(first, 100)
    _, history = one.policy(tools.make_obs(), None)
    arrays = {key: value.copy() for key, value in one.state().items()}
    two = tools.make_agent(kind, **settings)
    two.restore(arrays)
    assert two.updates == 1
    for mode in ('train', 'eval'):
      ours, theirs = (agent.policy(tools.make_obs(seed=5), history, mode)
                      for agent in (one, two))
      assert np.array_equal(ours[0], theirs[0])
      assert not differ(ours[1], theirs[1])
    one.train(second, 200)
    two.train(second, 200)
    assert not differ(one.state(), two.state())

  @pytest.mark.parametrize('tools, settings, names', [
      (agent_tools, {'decoder.gradient': False}, {
          'rssm/gru/kernel', 'rssm/gru/recurrent_kernel', 'discount/out/bias',
          'opt/decoder/step', 'opt/discount/m/discount/out/bias'}),
      (agent_tools_v2, {**PLAN, 'reward_norm.momentum': 0.5}, {
          'rssm/gru/dense/kernel', 'rssm/gru/norm/gamma',
          'slow_critic/out/bias', 'expl/actor/dense1/kernel',
          'expl/head3/out/kernel', 'opt/expl_heads/v/expl/head1/out/bias',
          'norm/reward_norm/mag', 'norm/expl/intrinsic/mag'})])
  def test_names(self, tools, settings, names):
    """One for each part in both; the others are what is particular."""
    common = {
        'encoder/conv1/kernel', 'encoder/conv4/bias', 'rssm/img_in/kernel',
        'rssm/img_out/kernel', 'rssm/img_dist/bias', 'rssm/obs_out/kernel',
        'rssm/obs_dist/bias', 'decoder/conv_in/kernel',
        'decoder/conv4/kernel', 'reward/dense1/kernel', 'reward/out/bias',
        'actor/dense1/kernel', 'actor/out/kernel', 'critic/out/kernel',
        'opt/model/m/encoder/conv1/kernel', 'opt/actor/step',
        'counter/updates'}
    assert common | names <= set(
        tools.make_agent('discrete', **settings).state())

  @pytest.mark.parametrize('change, words', [
      (lambda x: x.pop('encoder/conv1/kernel'), 'lacks encoder/conv1/kernel'),
      (lambda x: x.update(stranger=np.zeros(1)), 'has extra stranger'),
      (lambda x: x.update({'reward/dense1/bias': np.zeros(3, np.float32)}),
       'reward/dense1/bias has shape (3,), this agent needs (16,)')])
  def test_what_does_not_fit_changes_nothing(self, tools, change, words):
    agent = tools.make_agent()
    before = agent.state()
    arrays = {key: value + 1 for key, value in before.items()}
    change(arrays)
    with pytest.raises(UserError) as error:
      agent.restore(arrays)
    assert words in str(error.value) and '\n' not in str(error.value)
    assert not differ(before, agent.state())


class TestActingCopy:
  """`acting_state` is all that a copy needs to act as its original does."""

  @pytest.mark.parametrize('tools, kind, settings', [
      (agent_tools, 'continuous', {}),
      quick.slow(agent_tools, 'continuous', {'behaviour': 'planner'}),
      (agent_tools, 'discrete', {
          'expl.schedule': 'linear', 'expl.decay_updates': 10}),
      (agent_tools_v2, 'discrete', {}),
      (agent_tools_v2, 'continuous', {**PLAN, 'expl.until': 500})])
  @pytest.mark.parametrize('env_steps', [quick.slow(0), 1000])
  def test_acts_as_its_original(self, tools, kind, settings, env_steps):
    one, two = (tools.make_agent(kind, **settings) for _ in range(2))
    rng = np.random.default_rng(0)
    for variable in one.parameters.values():
      variable.assign_add(0.1 * rng.normal(size=variable.shape))
    one.restore({**one.state(), 'counter/updates': np.int64(7),
                 'counter/acts_train': np.int64(20)})
    obs = tools.make_obs()
    before = two.policy(obs, None, 'train', env_steps)[0]
    state = one.acting_state()
    assert {'counter/updates', *two.acted} <= set(state)
    assert not any(key.startswith(('decoder', 'opt')) for key in state)
    two.only_act()
    two.take(state)
    first = one.policy(obs, None, 'train', env_steps)
    second = two.policy(obs, None, 'train', env_steps)
    assert not np.allclose(before, first[0])
    for key, value in first[1].items():  # To rounding: XLA compiles the copy.
      np.testing.assert_allclose(second[1][key], value, 1e-5, 1e-6)
    np.testing.assert_array_equal(second[0], second[1]['action'])
    assert two.acting_state()['counter/acts_train'] == 21

  def test_it_keeps_no_moments(self, tools):
    agent = tools.make_agent()
    agent.only_act()
    assert not any(key.startswith('opt/') for key in agent.state())


class TestReport:

  @pytest.mark.parametrize('rows, length', [(2, 4), (8, 9)])
  def test_video(self, tools, rows, length):
    """Truth, model and error below each other; at most 6 sequences."""
    batch = tools.make_batch('continuous', rows=rows, length=length)
    video = tools.make_agent('continuous').report(batch)['openloop']
    rows, channels = min(rows, 6), batch['image'].shape[-1]
    assert video.shape == (length, 3 * 64, rows * 64, channels)
    assert video.dtype == np.uint8
    for row in range(rows):
      columns = video[:, :, 64 * row: 64 * (row + 1)].astype(int)
      truth, model, error = np.split(columns, 3, 1)
      assert np.array_equal(truth, batch['image'][row])
      assert np.abs((model - truth + 255) / 2 - error).max() <= 1

  def test_later_images_are_not_seen_but_actions_are(self, tools):
    batch = tools.make_batch('continuous', length=8)
    def video(key, start):
      other = {**batch, key: batch[key].copy()}
      other[key][:, start:] = 0
      agent = tools.make_agent('continuous')
      for weight in agent.model.variables.values():
        weight.assign(3 * weight)  # Else bytes are too coarse to differ.
      return agent.report(other)['openloop'][:, 64:128]
    plain = video('image', 8)
    assert np.array_equal(plain, video('image', 5))
    for key in ('image', 'action'):
      other = video(key, 4)
      assert np.array_equal(plain[:4], other[:4])
      assert not np.array_equal(plain[4:], other[4:])

  @pytest.mark.parametrize('tools, settings', [
      (agent_tools, {}), (agent_tools_v2, {'decoder.vectors': 'all'})])
  def test_without_images_to_predict(self, tools, settings):
    agent = tools.make_agent(**{'decoder.images': 'none', **settings})
    assert agent.report(tools.make_batch()) == {}

  def test_learning_is_not_changed(self, tools):
    def state(pictures):
      agent = tools.make_agent('discrete')
      for _ in range(pictures):
        agent.report(tools.make_batch('discrete'))
      agent.train(tools.make_batch('discrete'))
      return agent.state()
    assert differ(state(0), state(2)) == {'counter/reports'}


def test_start_states_are_rows_of_sequences_without_gradient(tools):
  agent, x = tools.make_agent(), tf.Variable(np.arange(24.).reshape(2, 3, 4))
  with tf.GradientTape() as tape:
    start = agent.start_states({'deter': x}, types.SimpleNamespace(a=x))
  for row in range(2):
    for t in range(3):
      np.testing.assert_array_equal(start['deter'][row * 3 + t], x[row, t])
  assert tape.gradient(start['deter'], x) is None
