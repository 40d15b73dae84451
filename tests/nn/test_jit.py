"""Updates and actions compiled by XLA: key `jit`."""

import contextlib
import logging
import re
import types

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import device, layers
from tests.support import agent_tools, agent_tools_v2

TOOLS = {'dreamerv1': agent_tools, 'dreamerv2': agent_tools_v2}
slow = pytest.mark.slow


@contextlib.contextmanager
def warnings_of_retracing():
  """Gives a list of what TensorFlow then says of functions traced anew."""
  device.setup(agent_tools.make_config())
  told: list[str] = []
  handler = logging.Handler()
  handler.emit = lambda record: told.extend(
      x for x in [record.getMessage()] if 'retracing' in x)
  tf.get_logger().addHandler(handler)
  try:
    yield told
  finally:
    tf.get_logger().removeHandler(handler)


def test_auto_follows_the_device(monkeypatch):
  compiles = lambda jit, devices=1: device.compiles(
      types.SimpleNamespace(jit=jit, devices=devices))
  for gpus in ([], ['GPU:0']):
    monkeypatch.setattr(
        tf.config, 'list_physical_devices', lambda kind, g=gpus: g)
    assert [compiles(jit) for jit in ('auto', 'on', 'off')] == [
        bool(gpus), True, False]
    assert not compiles('auto', devices=2)


@pytest.mark.parametrize('name, step, warns', [
    ('Agent', 'train_step', False), ('MyPaper', 'policy_step', False),
    ('Agent', 'report_step', False), ('Replicas', 'step', False),
    ('Study', 'step', True)])
def test_several_runs_in_a_process_are_no_mistake(name, step, warns):
  """Each traces the same code; TensorFlow says so of others' functions."""
  code = f'class {name}:\n  def {step}(self, x):\n    return x, {name + step!r}'
  names = {'__name__': 'study'}
  exec(code, names)  # code of its own, as TensorFlow counts by code
  with warnings_of_retracing() as told:
    for _ in range(12):
      function = getattr(names[name](), step)
      tf.function(function, autograph=False)(tf.zeros([]))
  assert bool(told) == warns


def test_several_short_scans_are_no_mistake():
  with warnings_of_retracing() as told:
    for _ in range(12):
      layers.scan(lambda x, y: x + y, tf.zeros([1]), tf.zeros([]), unroll=True)
  assert not told


@pytest.mark.parametrize('agent', TOOLS)
def test_an_agent_is_compiled_as_its_key_says(agent, monkeypatch):
  asked, function = {}, tf.function

  def spy(step, **settings):
    asked[step.__name__] = settings.get('jit_compile')
    return function(step, **settings)

  monkeypatch.setattr(tf, 'function', spy)
  for jit in ('on', 'off'):
    learner = TOOLS[agent].make_agent(jit=jit)
    assert learner.compiled == (jit == 'on')
    assert asked['train_step'] == asked['policy_step'] == (jit == 'on')


@slow
@pytest.mark.parametrize('agent', TOOLS)
def test_resume_is_exact(agent):
  tools = TOOLS[agent]
  batch = lambda index: tools.make_batch('continuous', index)
  obs = tools.make_obs()
  whole = tools.make_agent(jit='on')
  for index in range(2):
    whole.train(batch(index))
  whole.policy(obs)
  saved = whole.state()
  resumed = tools.make_agent(jit='on')
  resumed.restore(saved)
  for learner in (whole, resumed):
    for index in range(2, 4):
      learner.train(batch(index))
  for x, y in zip(whole.policy(obs)[1].values(),
                  resumed.policy(obs)[1].values(), strict=True):
    np.testing.assert_array_equal(x, y)
  one, two = whole.state(), resumed.state()
  for key in one:
    np.testing.assert_array_equal(one[key], two[key], err_msg=key)


@slow
@pytest.mark.parametrize('agent, kind, overrides', [
    ('dreamerv1', 'continuous', {}), ('dreamerv1', 'discrete', {}),
    ('dreamerv1', 'continuous', {'behaviour': 'planner'}),
    ('dreamerv2', 'continuous', {}), ('dreamerv2', 'discrete', {})])
@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_actions_are_the_same(agent, kind, overrides, mode):
  """Also the planner's, whose search is compiled as a whole."""
  found = []
  for jit in ('on', 'off'):
    learner = TOOLS[agent].make_agent(kind, jit=jit, **overrides)
    action, state = learner.policy(TOOLS[agent].make_obs(), None, mode)
    found.append({**state, 'action': action})
  for key, value in found[0].items():
    np.testing.assert_allclose(
        value, found[1][key], rtol=1e-4, atol=1e-5, err_msg=key)


@slow
@pytest.mark.parametrize('agent', TOOLS)
def test_loss_scales_move(agent):
  """An overflow halves a group's scale, changes nothing and is counted."""
  learner = TOOLS[agent].make_agent(
      jit='on', precision='float16', loss_scale=2 ** 62)
  before = {key: x.numpy() for key, x in learner.parameters.items()}
  metrics = learner.train(TOOLS[agent].make_batch('continuous'))
  skipped = [name for name in learner.optimizers
             if float(metrics[f'skipped/{name}'])]
  assert 'model' in skipped
  for name in skipped:
    assert float(metrics[f'loss_scale/{name}']) == 2.0 ** 61
    for key in learner.optimizers[name].params:
      np.testing.assert_array_equal(
          learner.parameters[key].numpy(), before[key], err_msg=key)


def test_what_a_run_computes_on():
  learner = agent_tools.make_agent(threads=0)
  amount = sum(x.numpy().size for x in learner.parameters.values())
  assert re.fullmatch(
      r'computes on CPU, \d+ threads?(, \d+ per operation)?; float32; not '
      rf'compiled \(jit auto\); {amount:,} parameters', learner.computes)


def test_a_gpu_that_only_the_driver_sees(tmp_path, monkeypatch):
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  driver = tmp_path / 'version'
  assert device.unused_gpu(str(driver)) is None
  driver.write_text('NVRM version: 1\n')
  assert './run.sh setup --gpu' in device.unused_gpu(str(driver))
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')  # somebody's wish
  assert device.unused_gpu(str(driver)) is None
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: ['x'])
  assert device.unused_gpu(str(driver)) is None


@pytest.mark.parametrize('gpus', [[], ['GPU:0']])
@pytest.mark.parametrize('wanted', [True, False])
def test_determinism_is_a_key_of_gpus(gpus, wanted, monkeypatch):
  calls = []
  experimental = tf.config.experimental
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: gpus)
  monkeypatch.setattr(experimental, 'set_memory_growth', lambda *args: None)
  monkeypatch.setattr(
      experimental, 'enable_op_determinism', lambda: calls.append(True))
  monkeypatch.setattr(
      tf.config.optimizer, 'set_experimental_options', lambda options: None)
  device.setup(types.SimpleNamespace(
      threads=tf.config.threading.get_inter_op_parallelism_threads(),
      threads_per_op=tf.config.threading.get_intra_op_parallelism_threads(),
      precision='float32', deterministic=wanted))
  assert calls == [True] * (bool(gpus) and wanted)
