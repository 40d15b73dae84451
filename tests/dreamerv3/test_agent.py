"""The DreamerV3 agent beyond what its golden cases hold it to."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.envs.spaces import Space
from tests.support import agent_running
from tests.support import agent_tools_v3 as tools
from tests.support.agent_running import eagerly

VECTORS = {f'{name}.{kind}': value for name in ('encoder', 'decoder')
           for kind, value in (('images', 'none'), ('vectors', 'all'))}


@pytest.fixture(autouse=True)
def eager():
  with eagerly():
    yield


def batch_of(agent, **kwargs):
  batch = tools.make_batch(**kwargs)
  return {key: batch[key] for key in agent.batch_keys}


class TestRows:
  """Rows of the replay, and what of them is trained."""

  def data(self, **settings):
    agent = tools.make_agent(**VECTORS, **settings)
    context = agent.config.replay.context
    batch = batch_of(agent, context=context)
    data = agent.model.preprocess(agent.put(batch), None)
    return batch, {key: value.numpy() for key, value in data.items()}

  @pytest.mark.parametrize('context', [0, 1, 3])
  def test_actions_are_those_that_led_there(self, context):
    batch, data = self.data(**{'replay.context': context})
    before = np.concatenate(
        [0 * batch['action'][:, :1], batch['action'][:, :-1]], 1)
    np.testing.assert_array_equal(data['action'], before[:, context:])
    for key in ('reward', 'is_first', 'is_terminal', 'is_last'):
      np.testing.assert_array_equal(data[key], batch[key][:, context:])

  def test_start_is_the_last_row_of_the_context(self):
    batch, data = self.data(**{'replay.context': 3})
    for key in ('deter', 'stoch'):
      np.testing.assert_array_equal(
          data[f'start/{key}'][:, 0], batch[f'stored/{key}'][:, 2])

  def test_start_is_zero_without_context(self):
    _, data = self.data(**{'replay.context': 0})
    assert not data['start/deter'].any() and not data['start/stoch'].any()

  def test_limits_may_be_ends(self):
    batch, data = self.data(limits_end=True)
    ends = (batch['is_terminal'] | batch['is_last'])[:, 1:]
    np.testing.assert_array_equal(data['discount'], 1 - ends)


class TestStored:

  def test_names_are_those_of_the_policys_state(self):
    agent = tools.make_agent(**VECTORS)
    obs = tools.make_obs()
    _, state = agent.policy(obs)
    for key, stored in agent.stored.items():
      assert state[key].shape == (3, *stored.shape)
      kept = stored.decode(stored.encode(state[key]))
      np.testing.assert_array_equal(kept, state[key])

  def test_what_an_update_refreshes(self):
    agent = tools.make_agent(**VECTORS)
    batch = batch_of(agent)
    post = agent_running.update(agent, batch).tensors['post']
    other = tools.make_agent(**VECTORS)
    other.train(batch)
    fresh = other.refreshed()
    np.testing.assert_array_equal(fresh['deter'], post['deter'])
    np.testing.assert_array_equal(fresh['stoch'], post['stoch'].argmax(-1))

  def test_nothing_without_context(self):
    agent = tools.make_agent(**VECTORS, **{'replay.context': 0})
    agent.train(batch_of(agent, context=0))
    assert agent.stored == {} and agent.refreshed() == {}


class TestConsecutive:

  def test_sequences_go_on(self):
    """Two halves, one after the other, are one sequence."""
    settings = {**VECTORS, 'opt.lr': 1e-30, 'rssm.unimix': 0.0}
    whole = tools.make_agent(**settings, batch_length=8)
    halves = tools.make_agent(**settings, **{'replay.consec': 2})
    batch = tools.make_batch(length=8)
    draws = whole.model.rssm.draw
    whole.model.rssm.draw = halves.model.rssm.draw = (
        lambda noise, name, lead: 0 * draws(noise, name, lead))
    whole.train({key: batch[key] for key in whole.batch_keys})
    found = []
    for part in range(2):
      rows = {key: value[:, 4 * part: 4 * part + 5]
              for key, value in batch.items() if key != 'consec'}
      rows.update({key: batch[key] for key in batch if 'stored' in key})
      rows['consec'] = np.full(2, part, np.int32)
      halves.train({key: rows[key] for key in halves.batch_keys})
      found.append(halves.refreshed())
    for key, value in whole.refreshed().items():
      both = tf.concat([x[key] for x in found], 1)
      np.testing.assert_allclose(both, value, atol=1e-5)

  def test_videos(self):
    """Beside sequences a batch says how often each has gone on."""
    agent = tools.make_agent(**{'replay.consec': 2})
    assert set(agent.report(batch_of(agent))) == {'openloop'}

  def test_the_carry_is_part_of_the_state(self):
    agent = tools.make_agent(**VECTORS, **{'replay.consec': 2})
    agent.train(batch_of(agent))
    state = agent.state()
    assert state['norm/carry/deter'].any()
    other = tools.make_agent(**VECTORS, **{'replay.consec': 2})
    other.restore(state)
    batch = {**batch_of(agent), 'consec': np.ones(2, np.int32)}
    for each in (agent, other):
      each.train(batch)
    for key, value in agent.state().items():
      np.testing.assert_array_equal(value, other.state()[key], key)


class TestObservations:

  def test_whole_numbers_are_one_hot(self):
    spaces = {'grid': Space((2, 2), 'int32', 0, 2)}
    agent = tools.make_agent(spaces=spaces, **VECTORS)
    obs = {'grid': tf.constant([[[0, 1], [2, 0]]])}
    np.testing.assert_array_equal(
        agent.model.preprocess_obs(obs)['grid'],
        [[1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0]])

  def test_symlog_of_real_numbers_alone(self):
    agent = tools.make_agent(**VECTORS)
    data = {'speed': tf.constant([[np.e - 1, 1 - np.e]], tf.float32),
            'level': tf.constant([[0., 1., 0., 0., 0.]])}
    seen = []
    agent.model.encoder.mlp = lambda x: seen.append(x) or x
    agent.model.encoder(data)
    np.testing.assert_allclose(seen[0], [[0, 1, 0, 0, 0, 1, -1]], atol=1e-6)

  def test_several_images_of_another_shape(self):
    spaces = {key: Space((16, 24, size), 'uint8', 0, 255)
              for key, size in (('front', 3), ('back', 1))}
    agent = tools.make_agent(spaces=spaces, **{
        'encoder.images': 'all', 'decoder.images': 'all'})
    batch = tools.make_batch(spaces=spaces)
    update = agent_running.update(agent, batch)
    assert {'front', 'back'} <= set(update.losses)
    videos = agent.report(batch)
    assert videos['openloop_front'].shape == (4, 3 * 16, 2 * 24, 3)


class TestActions:

  def test_several_at_once(self):
    agent = tools.make_agent('mixed', **VECTORS)
    action, _ = agent.policy(tools.make_obs(rows=5))
    assert action.shape == (5, 5)  # fire, then turn
    np.testing.assert_array_equal(action[:, :3].sum(1), 1)
    update = agent_running.update(agent, tools.make_batch('mixed'))
    assert {'fire', 'turn'} == set(update.tensors['policy_entropy'])
    assert 'actor/entropy/turn' in update.metrics

  def test_evaluation_samples_too(self):
    agent = tools.make_agent('continuous', **VECTORS)
    first, second = (agent.policy(tools.make_obs(), None, 'eval')[0]
                     for _ in range(2))
    assert not np.allclose(first, second)

  def test_samples_are_not_bounded(self):
    agent = tools.make_agent('continuous', **VECTORS)
    action, _ = agent.policy(tools.make_obs(rows=100))
    assert np.abs(action).max() > 1.5


def test_the_first_update_changes_nothing_in_the_warmup():
  agent = tools.make_agent(**VECTORS, **{'opt.warmup': 10})
  before = {key: x.numpy() for key, x in agent.parameters.items()}
  batch = batch_of(agent)
  agent.train(batch)
  for key, value in agent.parameters.items():
    np.testing.assert_array_equal(value, before[key], key)
  agent.train(batch)
  assert any((x.numpy() != before[key]).any()
             for key, x in agent.parameters.items())


def test_first_predictions_are_zero():
  agent = tools.make_agent(**VECTORS)
  tensors = agent_running.update(agent, tools.make_batch()).tensors
  for key in ('imag_reward', 'imag_value', 'imag_slow_value', 'returns'):
    assert not tensors[key].any(), key


def test_slow_critic_starts_as_a_copy_and_follows():
  agent = tools.make_agent(**VECTORS, **{'slow_critic.fraction': 0.25})
  critic, slow = agent.behaviour.critic, agent.behaviour.slow_critic
  pairs = lambda: [(x.numpy(), y.numpy()) for x, y in
                   zip(critic.variables.values(), slow.variables.values(),
                       strict=True)]
  start = pairs()
  assert all((x == y).all() for x, y in start)
  agent.train(batch_of(agent))
  for (_, before), (fast, slow) in zip(start, pairs(), strict=True):
    np.testing.assert_allclose(slow, 0.25 * fast + 0.75 * before, atol=1e-7)


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_half_precision(precision):
  agent = tools.make_agent(precision=precision, **{
      f'{name}.vectors': 'all' for name in ('encoder', 'decoder')})
  skipped = []
  for _ in range(12):  # float16 first finds its loss scale
    update = agent_running.update(agent, tools.make_batch())
    assert all(np.isfinite(x) for x in update.losses.values())
    skipped.append(update.metrics['skipped/all'])
    if not skipped[-1]:
      break
  assert skipped[-1] == 0 and (precision == 'float16' or len(skipped) == 1)
  assert all(x.dtype == tf.float32 for x in agent.parameters.values())
  assert agent.stored['deter'].dtype == precision


def test_videos_show_what_is_trained():
  """The context row is not shown; half of the others is observed."""
  agent = tools.make_agent()
  batch = tools.make_batch()
  video = agent.report(batch)['openloop']
  assert video.shape == (4, 3 * 32, 2 * 32, 1)
  np.testing.assert_array_equal(video[:, :32, :32, 0],
                                batch['image'][0, 1:, :, :, 0])
