"""The agents by name, and what a run's config.yaml says of its origin."""

import ast

import pytest

import dreamerv1
import dreamerv2
from dreamer.config import agents
from dreamer.errors import ConfigError
from dreamer.files import ROOT

PACKAGES = {'dreamerv1': dreamerv1, 'dreamerv2': dreamerv2}


def test_every_agent_is_there():
  assert agents.AGENTS == tuple(PACKAGES)
  for name, package in PACKAGES.items():
    assert package.NAME == name
    assert agents.path(name) == ROOT / 'configs' / f'{name}.yaml'
    assert package.schema().agent == agents.schema(name).agent == name


def test_nothing_else_in_the_core_knows_their_names():
  """But for `bench`, which measures them, and examples in texts."""
  names = {*agents.AGENTS, *(f'configs/{x}.yaml' for x in agents.AGENTS)}
  found = set()
  for path in (ROOT / 'dreamer').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Constant) and node.value in names:
        found.add(str(path.relative_to(ROOT / 'dreamer')))
  assert found == {'config/agents.py', 'bench/__main__.py'}


@pytest.fixture
def run(tmp_path):
  """A function that writes the folder of a run."""
  def write(agent, presets=(), lines=0):
    config = agents.schema(agent).config(presets, {'logdir': str(tmp_path)})
    path = tmp_path / 'config.yaml'
    config.save(path)
    path.write_text('\n'.join(path.read_text().split('\n')[lines:]))
    return tmp_path, config
  return write


@pytest.mark.parametrize('agent', agents.AGENTS)
def test_a_run_says_what_it_is(run, agent):
  path, config = run(agent, ['debug'])
  for place in (path, str(path), path / 'config.yaml'):
    found = agents.saved(place)
    assert (found.agent, found.presets) == (agent, ('debug',))
    assert found.config.flat == config.flat
    assert agents.read(place) == config
    assert agents.read(place).agent == agent


@pytest.mark.parametrize('agent', agents.AGENTS)
def test_an_older_run_is_known_by_its_keys(run, agent):
  path, config = run(agent, [], 2)
  assert (path / 'config.yaml').read_text().startswith('logdir')
  found = agents.saved(path)
  assert (found.agent, found.presets) == (agent, None)
  assert agents.read(path) == config


def test_a_run_of_another_version(run):
  """`saved` gives what was written, `read` refuses it."""
  path, config = run('dreamerv2')
  text = (path / 'config.yaml').read_text()
  (path / 'config.yaml').write_text(
      text.replace('seed: 0', 'sead: 0'))
  found = agents.saved(path)
  assert found.agent == 'dreamerv2' and found.config.sead == 0
  with pytest.warns(UserWarning), pytest.raises(
      ConfigError, match='did you mean seed'):
    agents.read(path)


@pytest.mark.parametrize('agent', agents.AGENTS)
def test_a_run_that_is_older_than_a_key(run, agent):
  path, config = run(agent, ['debug'])
  file = path / 'config.yaml'
  file.write_text(file.read_text().replace('seed: 0\n', ''))
  with pytest.warns(UserWarning, match='has no seed: older than that, or'):
    found = agents.read(path)
  assert found == config and found.presets == ('debug',)
  file.write_text(f'agent: {agent}\nseed: 5\n')
  with pytest.warns(UserWarning, match='has no logdir, .* and .* more: older'):
    assert agents.read(path).seed == 5
  file.write_text(f'agent: {agent}\nseed: -5\n')
  with pytest.warns(UserWarning), pytest.raises(
      ConfigError, match='config.yaml: seed: -5 is not allowed'):
    agents.read(path)


@pytest.mark.parametrize('text, wanted', [
    ('agent: dreamerv3', "unknown agent 'dreamerv3' (did you mean dreamerv"),
    ('agent: 3', 'agent: 3 is no name'),
    ('presets: dmc', "presets: 'dmc' is no list of names"),
    ('a: [', 'no valid YAML'), ('[1]', 'no mapping')])
def test_damage(tmp_path, text, wanted):
  path = tmp_path / 'config.yaml'
  path.write_text(text)
  with pytest.raises(ConfigError) as info:
    agents.saved(tmp_path)
  assert str(info.value).startswith(f'{path}: ') and wanted in str(info.value)
  assert str(info.value).count(str(path)) == 1 and '\n' not in str(info.value)


def test_no_run(tmp_path):
  with pytest.raises(ConfigError, match='no config.yaml in it'):
    agents.saved(tmp_path)
  with pytest.raises(ConfigError, match='none: cannot read'):
    agents.saved(tmp_path / 'none')
  with pytest.raises(ConfigError, match='unknown agent .planet.; allowed'):
    agents.path('planet')
