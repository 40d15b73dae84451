"""A batch shared by two devices gives what one device computes."""

import json
import subprocess
import sys

import pytest

from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.run import checks
from tests.support import agent_tools, agent_tools_v2, quick

# In a process of its own, since devices are split before their first use.
CODE = '''
import json, sys
import numpy as np
import tensorflow as tf
cpu, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import importlib
from dreamer import envs
from dreamer.export import stablehlo
name, kind, settings = json.loads(sys.argv[1])
limit = 1e-3 if settings.get('precision') == 'float16' else 1e-5
module = importlib.import_module(name)
tools = importlib.import_module(
    'tests.support.agent_tools' + name.replace('dreamerv', '_v').replace(
        '_v1', ''))
agents = []
for amount in 1, 2:
  config = tools.make_config(
      devices=amount, batch_size=4, task=f'dummy_{kind}', **settings)
  env = envs.make_env(config)
  agents.append(module.make_agent(config, env.obs_space, env.act_space))
one, two = agents
assert two.computes.startswith('computes on 2 devices: CPU'), two.computes
rng = np.random.default_rng(0)
for update in range(3):
  batch = stablehlo.zero_batch(config, env.obs_space, one)
  for key, x in batch.items():
    if x.dtype == np.uint8:
      batch[key] = rng.integers(0, 255, x.shape, np.uint8)
    elif key in ('reward', 'action'):
      batch[key] = rng.uniform(-1, 1, x.shape).astype(x.dtype)
    elif key in ('is_first', 'is_terminal'):
      batch[key] = rng.random(x.shape) < 0.1
  found = [agent.train(batch, 100) for agent in agents]
  for key in found[0]:
    if key.endswith(('_std', '_min', '_max')):
      continue  # of a batch: its metric is a mean over devices
    np.testing.assert_allclose(
        float(found[1][key]), float(found[0][key]), rtol=limit, atol=limit,
        err_msg=key)
  assert two.updates == update + 1
  states = [agent.state() for agent in agents]
  for key, x in states[0].items():
    # LaProp divides gradients by their size: rounding, where they are no more.
    loose = 1e-3 if key.startswith('opt/all/momentum') else limit
    np.testing.assert_allclose(
        states[1][key], x, rtol=loose, atol=loose, err_msg=key)
other = two.others[0].state()
for key, x in states[1].items():
  np.testing.assert_array_equal(other[key], x, err_msg=key)
two.restore(states[0])
assert all(np.array_equal(x, states[0][key])
           for key, x in two.others[0].state().items())
print('same', len(states[0]), len(found[0]))
'''


def run(code, *argv):
  return subprocess.run(
      [sys.executable, '-c', code, *argv], cwd=ROOT, capture_output=True,
      text=True, timeout=250)


@pytest.mark.parametrize('name, kind, settings', [
    quick.slow('dreamerv1', 'continuous', {
        'kl.free_by': 'mean', 'kl.free': 0.5}),
    pytest.param('dreamerv2', 'discrete', {'reward_norm.momentum': 0.9},
                 marks=pytest.mark.slow),
    pytest.param('dreamerv3', 'discrete', {'return_norm.limit': 1e-8},
                 marks=pytest.mark.slow),
    pytest.param('dreamerv3', 'continuous', {
        'advantage_norm.kind': 'mean_std',
        'value_norm.kind': 'percentiles'}, marks=pytest.mark.slow),
    pytest.param('dreamerv1', 'discrete', {
        'rssm.shared_latent_noise': True, 'precision': 'float16'},
        marks=pytest.mark.slow),
    pytest.param('dreamerv1', 'continuous', {
        'decoder.gradient': False, 'discount_head.enabled': True,
        'discount_head.gradient': True}, marks=pytest.mark.slow),
    pytest.param('dreamerv2', 'continuous', {
        'expl.kind': 'plan2explore', 'reward_norm.momentum': 0.9},
        marks=pytest.mark.slow)])
def test_as_on_one_device(name, kind, settings):
  """Metrics, gradients (as moments) and parameters of three updates."""
  done = run(CODE, json.dumps([name, kind, settings]))
  assert done.returncode == 0, done.stderr[-3000:]
  assert done.stdout.startswith('same ')


PERCENTILES = '''
import numpy as np
import tensorflow as tf
cpu, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from dreamer.nn import replicas
values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
strategy = tf.distribute.MirroredStrategy(replicas.devices(2))
def share():
  index = tf.distribute.get_replica_context().replica_id_in_sync_group
  return replicas.percentiles(tf.constant(values)[index], 5, 50, 95)
found = tf.function(lambda: strategy.run(share))()
for percent, x in zip((5, 50, 95), found):
  for one in strategy.experimental_local_results(x):
    np.testing.assert_allclose(one, np.percentile(values, percent), rtol=1e-5)
alone = replicas.percentiles(tf.constant(values), 5, 95)
np.testing.assert_allclose(alone, np.percentile(values, [5, 95]), rtol=1e-5)
print('same')
'''


def test_percentiles_are_of_all_replicas():
  done = run(PERCENTILES)
  assert done.returncode == 0, done.stderr[-3000:]
  assert done.stdout == 'same\n'


@pytest.mark.parametrize('tools, settings, wanted', [
    (agent_tools, {'devices': 3, 'batch_size': 4}, 'devices: 3 .*batch_size 4'),
    (agent_tools_v2, {'devices': 2, 'batch_size': 4, 'jit': 'on'}, 'jit: on')])
def test_what_can_not_be_shared(tools, settings, wanted):
  with pytest.raises(UserError, match=wanted):
    checks.devices(tools.make_config(**settings))


def test_contrasts_need_all_rows():
  import dreamerv1  # Only here.
  config = agent_tools.make_config(
      **{'devices': 2, 'batch_size': 4, 'cpc.enabled': True})
  with pytest.raises(UserError, match='devices: 2 .*contrastive'):
    dreamerv1.validate(config)


def test_more_devices_than_there_are():
  from dreamer.nn import replicas  # TensorFlow is set up by now.
  with pytest.raises(UserError, match='devices: 99 are more than'):
    replicas.devices(99)
