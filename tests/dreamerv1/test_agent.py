"""The DreamerV1 agent: sizes, training, precision, state, pictures."""


import numpy as np
import pytest

from dreamer.envs.spaces import ActionSpace, Space
from dreamer.nn import layers, recurrent
from dreamerv1 import variants
from tests.support import agent_running, agent_tools
from tests.support.agent_noise import FixedNoise
from tests.support.agent_running import eagerly

PROFILES = ['paper', 'paper_code', 'released']
KINDS = ['continuous', 'discrete']


pytestmark = pytest.mark.usefixtures('eager')


class TestSizes:

  def test_parameters_of_the_release(self):
    import dreamerv1  # For this test only.
    config = dreamerv1.schema().config(['released'])
    agent = variants.make_agent(
        config, {'image': Space((64, 64, 3), np.uint8)},
        ActionSpace('continuous', 6))
    count = lambda module: sum(
        int(np.prod(x.shape)) for x in module.variables.values())
    assert count(agent.model) == 5296820
    assert count(agent.behaviour.actor) == 578412
    assert count(agent.behaviour.critic) == 413601

  @pytest.mark.parametrize('channels', [1, 4])
  def test_channels_of_the_image(self, channels):
    agent = variants.make_agent(
        agent_tools.make_config(),
        {'image': Space((64, 64, channels), np.uint8)},
        ActionSpace('continuous', agent_tools.ACTIONS))
    batch = agent_tools.make_batch()
    batch['image'] = np.repeat(batch['image'][..., :1], channels, -1)
    assert np.isfinite(float(agent.train(batch)['loss/model']))
    assert agent.report(batch)['openloop'].shape[-1] == channels

  def test_every_group_is_disjoint_and_together_they_are_everything(self):
    agent = agent_tools.make_agent(**{'decoder.gradient': False})
    groups = {k: set(v.params) for k, v in agent.optimizers.items()}
    assert set(groups) == {'model', 'decoder', 'discount', 'actor', 'critic'}
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(agent.parameters)


class TestInitialValues:

  def test_kernels_and_biases(self):
    agent = agent_tools.make_agent('discrete', **{'rssm.deter': 32})
    for name, value in agent.parameters.items():
      value = value.numpy()
      if name.endswith('/bias'):
        assert not value.any(), name
      elif name.endswith('recurrent_kernel'):
        np.testing.assert_allclose(value @ value.T, np.eye(32), atol=1e-5)
      else:
        field = np.prod(value.shape[:-2])
        limit = np.sqrt(6 / field / sum(value.shape[-2:]))
        assert 0.6 * limit < np.abs(value).max() <= limit, name

  def test_gates_of_the_block_cell_start_open(self):
    gru = recurrent.TF1GRU('gru', 3, 4, layers.Init(0))
    bias = gru.variables['gru/gates/bias'].numpy()
    assert np.all(bias == 1) and bias.shape == (8,)
    assert not gru.variables['gru/candidate/bias'].numpy().any()


class TestTraining:

  @pytest.mark.parametrize('kind', KINDS)
  @pytest.mark.parametrize('profile', PROFILES)
  def test_every_profile(self, profile, kind):
    agent = agent_tools.make_agent(kind, [profile])
    before = agent.state()
    metrics = agent.train(agent_tools.make_batch(kind))
    # In float16 the first updates may overflow, until the scale has fallen.
    skipped = {k.split('/')[1] for k, v in metrics.items()
               if k.startswith('skipped/') and v}
    assert profile == 'released' or not skipped
    for key, value in metrics.items():
      overflow = key.startswith('grad_norm/') and key[10:] in skipped
      assert value.shape == (), key
      assert overflow or np.isfinite(float(value)), key
    for group, opt in agent.optimizers.items():
      for name, value in opt.params.items():
        changed = not np.array_equal(value, before[name])
        # Below the free nats a batch maximum has no gradient.
        assert changed or group in skipped or 'img' in name, name
    assert agent.updates == 1

  def test_compiled_graph_computes_the_same_and_learns(self, compiled):
    batch = agent_tools.make_batch('discrete')
    batch['image'] = np.zeros_like(batch['image']) + np.uint8(230)
    settings = {'discount_head.gradient': True, 'model_opt.lr': 3e-3,
                'unroll': True}
    with eagerly():
      expected = agent_tools.make_agent('discrete', **settings).train(batch)
    agent = agent_tools.make_agent('discrete', **settings)
    first = agent.train(batch)
    assert set(first) == set(expected)
    for key, value in first.items():
      np.testing.assert_allclose(value, expected[key], rtol=1e-3, err_msg=key)
    for _ in range(100):
      last = agent.train(batch)
    for loss, least in (('image', 300), ('reward', 0.1), ('discount', 0.1)):
      fall = float(first[f'loss/{loss}'] - last[f'loss/{loss}'])
      assert fall > least, loss


class TestPrecision:

  @pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
  @pytest.mark.parametrize('kind', KINDS)
  def test_near_float32(self, precision, kind):
    batch = agent_tools.make_batch(kind)
    def learn(precision):
      agent = agent_tools.make_agent(
          kind, noise=FixedNoise(), precision=precision, loss_scale=64)
      return agent_running.learn(agent, batch)
    exact, half = learn('float32'), learn(precision)
    for key, value in half.items():
      assert np.all(np.isfinite(value)), key
      if key.startswith('loss/'):
        np.testing.assert_allclose(value, exact[key], rtol=0.02, err_msg=key)
    for group in ('encoder', 'rssm', 'decoder', 'reward', 'critic'):
      names = [key for key in exact if key.startswith(f'grad/{group}/')]
      one, two = (np.concatenate([found[key].ravel() for key in names])
                  for found in (exact, half))
      cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
      assert cosine > 0.97, group
