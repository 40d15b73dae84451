"""Programs for machines without TensorFlow, and the same bits under XLA."""


import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from dreamer import envs, npz
from dreamer.config import agents
from dreamer.errors import UserError
from dreamer.export import act, jax_agent, manifest, stablehlo
from dreamer.files import ROOT
from dreamer.run import training
from tests.support import agent_tools, agent_tools_v2, agent_tools_v3

TOOLS = {'dreamerv1': agent_tools, 'dreamerv2': agent_tools_v2,
         'dreamerv3': agent_tools_v3}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A tiny DreamerV1, exported, and the agent that it was."""
  out = tmp_path_factory.mktemp('exported')
  module = agents.find('dreamerv1')
  config = agent_tools.make_config(task='dummy_continuous')
  sizes = stablehlo.export(module, config, out)
  assert set(sizes) == {'state.npz', *(
      f'{name}.stablehlo' for name in stablehlo.STEPS)}
  return out


def make_agent(module, config):
  """An agent of the task, with its environment's spaces."""
  env = envs.make_env(config)
  return module.make_agent(config, env.obs_space, env.act_space)


def test_programs_say_what_goes_in_and_out(folder):
  content = json.loads((folder / 'program.json').read_text())
  config = agent_tools.make_config(task='dummy_continuous')
  assert content['config'] == config.flat
  train = content['programs']['train']
  assert [name for name, *_ in train['inputs']] == [
      f'batch/{key}' for key in sorted(content['batch_keys'])] + ['env_steps']
  assert 'loss/model' in content['metrics']
  assert train['outputs'] == [
      ['output', [len(content['metrics'])], 'float32']]
  assert 'counter/updates' in train['writes']
  assert set(train['writes']) <= set(train['reads']) <= set(content['state'])
  acts = content['programs']['policy_train']
  assert ['state/action', [1, 2], 'float32'] in acts['inputs']
  assert acts['defaults']['amount'] == pytest.approx(config.expl.noise)
  assert content['programs']['policy_eval']['defaults']['amount'] == 0


def test_programs_are_plain_stablehlo(folder):
  for name in stablehlo.STEPS:
    text = (folder / f'{name}.stablehlo').read_text()
    assert 'stablehlo.convolution' in text
    assert ' = mhlo.' not in text and '"mhlo.' not in text
    assert 'loc(' not in text and str(ROOT) not in text


@pytest.mark.slow
def test_truncated_normals_are_exported(tmp_path):
  """DreamerV2's policy for continuous actions needs erf, which is CHLO's."""
  module = agents.find('dreamerv2')
  config = agent_tools_v2.make_config(task='dummy_continuous')
  stablehlo.export(module, config, tmp_path)
  text = (tmp_path / 'train.stablehlo').read_text()
  assert 'chlo.erf ' in text and ' = mhlo.' not in text


def test_what_no_other_compiler_reads_is_named():
  with pytest.raises(UserError, match='mhlo.unknown: no other compiler'):
    stablehlo.portable('    %1 = "mhlo.unknown"(%0) : (tensor<?xf32>)')


def test_state_is_that_of_a_new_agent(folder):
  config = agent_tools.make_config(task='dummy_continuous')
  state = npz.read(folder / 'state.npz')
  content = manifest.read(folder)
  module = agents.find('dreamerv1')
  agent = make_agent(module, config)
  for key, value in agent.state().items():
    shape, dtype = content['state'][key]
    assert list(value.shape) == shape and value.dtype.name == dtype
    stored = state.get(key, np.zeros(shape, dtype))
    assert np.array_equal(stored, value), key


@pytest.mark.parametrize('argv, wanted', [
    (['dreamerv9', '--out', 'x'], 'dreamerv1'),
    (['dreamerv1'], '--out'),
    (['dreamerv1', '--out', 'x', '--envs', '0'], 'envs: 0'),
    (['dreamerv1', '--out', ''], '--out: is empty'),
    (['dreamerv1', '--out', 'x', '--logdir', ''], '--logdir: is empty'),
    (['dreamerv1', '--out', 'x', '--logdir', 'none', '--steps', '3'], 'steps'),
    (['dreamerv1', '--out', 'x', '--logdir', 'none'], 'none is no f')])
def test_mistakes_are_one_line(argv, wanted, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError) as info:
    stablehlo.main(argv)
  assert wanted in str(info.value) and '\n' not in str(info.value)


def test_a_folder_without_programs(tmp_path):
  with pytest.raises(UserError, match='no exported agent.*dreamer.export'):
    manifest.read(tmp_path)


@pytest.mark.parametrize('content', [
    [], {}, {key: {} for key in manifest.KEYS if key != 'rows'}])
def test_a_page_of_something_else(content, tmp_path):
  (tmp_path / 'program.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match='lacks (agent|rows); write one'):
    jax_agent.Exported(tmp_path)


def test_a_policy_names_what_it_is_not_given():
  policy = object.__new__(act.Policy)
  policy.obs_space = {'image': [[64, 64, 3], 'uint8'], 'joints': [[3], 'float']}
  with pytest.raises(KeyError, match='no observation joints; given: image, jo'):
    policy({'image': None, 'joint': None}, is_first=True)


STAND_INS = {
    'missing': ('raise ModuleNotFoundError("No module named jax")',
                'JAX is missing'),
    'old': ('__version__ = "0.4.38"', 'JAX 0.4.38 is too old'),
    'torn': ('raise RuntimeError("jaxlib is\\ntoo old")', 'jaxlib is too old'),
    'future': ('__version__ = "9.1"', 'JAX 9.1 lacks what')}


@pytest.mark.parametrize('kind', STAND_INS)
def test_another_jax_is_one_line(kind, tmp_path, monkeypatch):
  """With the versions that work, from the example and from the agent."""
  content, wanted = STAND_INS[kind]
  (tmp_path / 'jax.py').write_text(content)
  done = subprocess.run(
      [sys.executable, ROOT / 'dreamer/export/act.py', tmp_path],
      env={**os.environ, 'PYTHONPATH': str(tmp_path)}, text=True,
      capture_output=True)
  assert done.returncode == 1 and done.stderr.count('\n') == 1, done.stderr
  assert wanted in done.stderr and act.TRIED in done.stderr
  assert 'pip install' in done.stderr or kind == 'torn'
  if kind == 'future':
    return  # The agent needs public names alone.
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'jax', raising=False)
  with pytest.raises(UserError, match=wanted) as info:
    jax_agent.JaxAgent(tmp_path)
  assert act.TRIED in str(info.value) and '\n' not in str(info.value)


@pytest.mark.parametrize('argv', [['nosuch'], []])
def test_the_example_without_an_export(argv, tmp_path):
  """One line; without a folder it is the example's own."""
  copy = tmp_path / 'act.py'
  copy.write_bytes((ROOT / 'dreamer/export/act.py').read_bytes())
  done = subprocess.run([sys.executable, copy, *argv], cwd=tmp_path, text=True,
                        capture_output=True)
  assert done.returncode == 1 and done.stderr.count('\n') == 1, done.stderr
  assert f'error: {argv[0] if argv else tmp_path}: nothing that' in done.stderr


@pytest.mark.parametrize('agent, overrides, key', [
    ('dreamerv1', {'expl.schedule': 'half_life'}, 'expl.schedule: half_life'),
    ('dreamerv2', {'expl.until': 100}, 'expl.until: 100'),
    ('dreamerv1', {'parallel': True}, 'parallel: true')])
def test_what_is_not_exported_is_refused(agent, overrides, key):
  """What was compiled acts in one way, and without TensorFlow."""
  config = TOOLS[agent].make_config(**overrides)
  with pytest.raises(UserError, match=key):
    jax_agent.check(config)


@pytest.mark.parametrize('agent', agents.known())
def test_what_is_exported_by_default_may_be_trained(agent):
  jax_agent.check(agents.schema(agent).config(['debug']))


def test_the_run_that_was_exported_is_left_alone(tmp_path, monkeypatch):
  """Another one is named, and the line that continues it is JAX's."""
  config = {'logdir': 'runs/exported', 'seed': 3}
  folder = tmp_path / 'a b'
  folder.mkdir()
  (folder / 'program.json').write_text(json.dumps(
      {**dict.fromkeys(manifest.KEYS), 'agent': 'dreamerv3', 'config': config}))
  found = {}
  monkeypatch.setattr(
      training, 'main', lambda agent, envs, argv, **more: found.update(
          argv=argv, **more))
  jax_agent.main(['train', str(folder), '--logdir', 'x'])
  assert found['argv'] == ['--seed=3', '--logdir', 'x']
  assert found['again'] == (
      f"python -m dreamer.export.jax_agent train '{folder}' --logdir x")


def _manifest(folder, agent, rows=1, **overrides):
  """A folder that says what it was exported with."""
  config = agents.schema(agent).config(['debug'], overrides)
  (folder / 'program.json').write_text(json.dumps({
      **dict.fromkeys(manifest.KEYS), 'agent': agent, 'rows': rows,
      'presets': config.presets, 'config': config.flat}))
  return jax_agent.Exported(folder)


def test_a_run_of_an_export_has_its_presets(tmp_path):
  agent = _manifest(tmp_path, 'dreamerv1', horizon=3)
  config = agent.schema().parse(agent.settings(['--steps', '900']), 'x')
  assert config.presets == ('debug',)
  assert config.horizon == 3 and config.steps == 900


@pytest.mark.parametrize('agent, argv, wanted', [
    ('dreamerv1', ['--horizon', '3'], 'horizon: 3 is not what.* with, '),
    ('dreamerv1', ['--seed', '1'], 'seed: 1 is not what'),
    ('dreamerv2', ['--model_opt.lr', '0.5'], 'model_opt.lr: 0.5 is not what'),
    ('dreamerv2', ['--batch_size=3'], 'batch_size: 3 is not what'),
    ('dreamerv3', ['--replay.context', '3'], 'replay.context: 3 is not what'),
    ('dreamerv3', ['--limits_end', 'true'], 'limits_end: true is not what'),
    ('dreamerv1', ['--envs.amount', '3'], 'amount: 3, .*export .*--envs 3'),
    ('dreamerv1', ['--configs', 'no_value'], '--configs: an exported agent')])
def test_settings_that_were_not_compiled_are_refused(
    agent, argv, wanted, tmp_path):
  exported = _manifest(tmp_path, agent, **{'envs.amount': 1})
  parse = lambda argv: exported.schema().parse(exported.settings(argv), 'x')
  with pytest.raises(UserError, match=wanted) as info:
    exported.fits(parse(argv))
  assert '\n' not in str(info.value)
  exported.fits(parse(['--steps', '7', '--save_every=3', '--envs.timeout=9']))


@pytest.mark.parametrize('argv, wanted', [
    (['--configs', 'planet', '--planner.elites', '5000'], 'elites: 5000'),
    (['--steps', '3', '--prefill', '10'], 'steps: 3')])
def test_exports_are_checked_as_trainings_are(argv, wanted, tmp_path):
  with pytest.raises(UserError, match=wanted):
    stablehlo.main(['dreamerv1', '--out', str(tmp_path / 'x'), *argv])
  assert not (tmp_path / 'x').exists()


@pytest.mark.slow
def test_fewer_environments_than_exported(tmp_path):
  """The first rows of all; in a process of its own."""
  config = agent_tools.make_config(task='dummy_continuous')
  stablehlo.export(agents.find('dreamerv1'), config, tmp_path, rows=3)
  code = (
      'import sys, numpy as np\n'
      'from dreamer.export.jax_agent import JaxAgent\n'
      'make = lambda: JaxAgent(sys.argv[1], ("policy_eval",))\n'
      'agent = make()\n'
      'rows = np.random.default_rng(0)\n'
      'obs = {key: rows.integers(0, 255, (3, *shape)).astype(dtype) for key, '
      '(shape, dtype) in agent.content["obs_space"].items()}\n'
      'obs["is_first"] = np.ones(3, bool)\n'
      'whole, _ = make().policy(obs, None, "eval")\n'
      'some, state = agent.policy({k: x[:2] for k, x in obs.items()}, None, '
      '"eval")\n'
      'agent.policy({k: x[:2] for k, x in obs.items()}, state, "eval")\n'
      'assert some.shape == (2, *whole.shape[1:])\n'
      'np.testing.assert_allclose(some, whole[:2], atol=1e-6)')
  done = subprocess.run(
      [sys.executable, '-c', code, str(tmp_path)], cwd=ROOT,
      capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  done = subprocess.run(
      [sys.executable, tmp_path / 'act.py', tmp_path], capture_output=True,
      text=True)
  assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('agent', agents.known())
def test_an_exported_agent_trains(agent, tmp_path):
  """By JAX, in a process of its own, which has no TensorFlow."""
  config = TOOLS[agent].make_config(task='dummy_continuous')
  stablehlo.export(agents.find(agent), config, tmp_path / 'out')

  def train(*argv):
    code = ('import sys\n'
            'from dreamer import cli\n'
            'from dreamer.export import jax_agent\n'
            'cli.guard(jax_agent.main, ["train", *sys.argv[1:]])\n'
            'assert "tensorflow" not in sys.modules')
    return subprocess.run(
        [sys.executable, '-c', code, str(tmp_path / 'out'), '--eval_every',
         '0', *argv], cwd=ROOT, capture_output=True, text=True)

  run = tmp_path / 'run'
  prefill = ['--prefill', '100'] if 'prefill' in config.flat else []
  done = train('--logdir', str(run), '--steps', '300', *prefill)
  assert done.returncode == 0, done.stderr[-2000:]
  lines = [json.loads(line) for line in (
      run / 'metrics.jsonl').read_text().splitlines()]
  assert max(line['step'] for line in lines) >= 300
  losses = [x for line in lines for key, x in line.items()
            if key.startswith('loss/') and x is not None]
  assert losses and np.isfinite(losses).all()
  done = train('--task', 'dummy_discrete', '--logdir', str(tmp_path / 'other'))
  assert done.returncode == 2
  assert 'was exported for observations' in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize('agent', TOOLS)
@pytest.mark.parametrize('kind', ['continuous', 'discrete'])
def test_an_update_compiled_by_xla(agent, kind):
  """The same draws and, to rounding, the same losses and parameters."""
  tools, results = TOOLS[agent], []
  for jit in (False, True):
    learner = tools.make_agent(kind)
    step = tf.function(learner.train_step, autograph=False, jit_compile=jit)
    for seed in range(3):
      batch = learner.put(tools.make_batch(kind, seed))
      metrics, _ = step(batch, tf.constant(0, tf.int64))
    results.append({'metrics': metrics.numpy(), **learner.state()})
  for key, value in results[0].items():
    np.testing.assert_allclose(
        value, results[1][key], rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize('agent', TOOLS)
def test_jax_learns_as_tensorflow(agent, tmp_path):
  """Twenty updates and the actions after them; in a process of its own."""
  module, tools = agents.find(agent), TOOLS[agent]
  config = tools.make_config(task='dummy_continuous')
  stablehlo.export(module, config, tmp_path / 'out')
  learner = make_agent(module, config)
  batch = stablehlo.zero_batch(config, envs.make_env(config).obs_space, learner)
  losses = [float(learner.train(batch)['loss/model']) for _ in range(20)]
  code = (
      'import sys, numpy as np\n'
      'from dreamer.export.jax_agent import JaxAgent\n'
      'agent = JaxAgent(sys.argv[1], ("train",))\n'
      'inputs = agent.content["programs"]["train"]["inputs"]\n'
      'batch = {name[6:]: np.zeros(shape, dtype) for name, shape, dtype in '
      'inputs if name.startswith("batch/")}\n'
      'print([float(agent.train(batch)["loss/model"]) for _ in range(20)])\n'
      'assert "tensorflow" not in sys.modules')
  done = subprocess.run(
      [sys.executable, '-c', code, str(tmp_path / 'out')], cwd=ROOT,
      capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  np.testing.assert_allclose(
      json.loads(done.stdout.splitlines()[-1]), losses, rtol=1e-4)
