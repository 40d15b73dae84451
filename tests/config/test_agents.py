"""The agents by name, and what a run's config.yaml says of its origin."""

import ast
import warnings

import pytest

import dreamerv1
import dreamerv2
from dreamer.config import agents
from dreamer.errors import ConfigError, UserError
from dreamer.files import ROOT

PACKAGES = {'dreamerv1': dreamerv1, 'dreamerv2': dreamerv2}


def test_every_agent_is_found():
  assert set(PACKAGES) <= set(agents.known())
  for name, package in PACKAGES.items():
    assert agents.find(name) is package.entry
    assert package.entry.name == name
    assert package.entry.settings == ROOT / 'configs' / f'{name}.yaml'
    assert package.schema().agent == agents.schema(name).agent == name


def test_the_core_knows_no_name():
  """But in examples of texts, and where the papers' releases are compared."""
  names = {*agents.known(), *(f'configs/{x}.yaml' for x in agents.known())}
  found = {
      str(path.relative_to(ROOT)) for path in (ROOT / 'dreamer').rglob('*.py')
      if path.parent.name != 'conform'
      for node in ast.walk(ast.parse(path.read_text()))
      if isinstance(node, ast.Constant) and node.value in names}
  assert not found


@pytest.mark.parametrize('name, wanted', [
    ('dreamerv7', "'dreamerv7' .did you mean dreamerv"),
    ('json', "unknown agent 'json'"), ('pathlib', 'unknown agent'),
    ('a.b', "unknown agent 'a.b'"), (['x'], 'unknown agent'),
    ('plain', "plain is no agent: .*write entry = Interface.'plain'")])
def test_what_is_no_agent_is_one_line(name, wanted, tmp_path, monkeypatch):
  (tmp_path / 'plain').mkdir()
  for file in ('__init__.py', '__main__.py'):
    (tmp_path / 'plain' / file).write_text('')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ConfigError, match=wanted) as info:
    agents.find(name)
  assert '\n' not in str(info.value)


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


@pytest.mark.parametrize('agent', PACKAGES)
def test_a_run_says_what_it_is(run, agent):
  path, config = run(agent, ['debug'])
  for place in (path, str(path), path / 'config.yaml'):
    found = agents.saved(place)
    assert (found.agent, found.presets) == (agent, ('debug',))
    assert found.config.flat == config.flat
    assert agents.read(place) == config
    assert agents.read(place).agent == agent


@pytest.mark.parametrize('agent', PACKAGES)
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


@pytest.mark.parametrize('agent', PACKAGES)
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


class TestSaved:

  @pytest.fixture
  def path(self, tmp_path):
    """Of the saved defaults."""
    path = tmp_path / 'sub' / 'config.yaml'
    agents.schema('dreamerv1').defaults.save(path)
    return path

  def test_round_trip(self, path):
    schema = agents.schema('dreamerv1')
    for preset in schema.names:
      config = schema.config([preset], {'logdir': '5', 'task': 'a: "b" #é'})
      config.save(path)
      assert path.read_text().startswith('agent: dreamerv1\npresets:')
      found = agents.read(path)
      assert found == config and found.presets == (preset,)
      assert list(found.flat) == list(schema.defaults.flat)
    assert [x.name for x in path.parent.iterdir()] == ['config.yaml']

  def test_unknown_presets_stay_unknown(self, path):
    text = path.read_text()
    path.write_text(text[text.index('logdir'):])
    config = agents.read(path)
    assert config.presets is None
    config.update({'seed': 4}).save(path)
    assert agents.read(path).presets is None

  def test_refused_folder(self, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file'):
      agents.schema('dreamerv1').defaults.save(
          tmp_path / 'file' / 'config.yaml')

  @pytest.mark.parametrize('damage, wanted', [
      (lambda x: '', 'no mapping'),
      (lambda x: 'seed: 1', 'names no agent, and its keys fit dreamer'),
      (lambda x: '- 1', 'no mapping'),
      (lambda x: 'a: [', 'no valid YAML in line'),
      (lambda x: x + 'seed: 4\n', 'no valid YAML'),
      (lambda x: '\0' * 100, 'no valid YAML'),
      (lambda x: x.replace('seed: 0', 'seed: -1'), 'seed: -1'),
      (lambda x: x.replace('seed: 0', 'seed: 0\nsead: 0'),
       'did you mean seed?'),
      (lambda x: x.replace('seed: 0', 'seed:'), 'seed: None'),
      (lambda x: x.replace('seed: 0', 'seed: 0\n1: 2'), 'key 1 is no text'),
      (lambda x: x + 'x: !!python/object:os.system {}\n', 'no valid YAML'),
      (lambda x: x + 'x: &a {b: *a}\n', 'too deep'),
      (lambda x: x.replace('dreamerv1', 'dreamerv7'),
       "unknown agent 'dreamerv7' (did you mean dreamerv"),
      (lambda x: x.replace('dreamerv1', '[1]'), 'agent: [1] is no name'),
      (lambda x: x.replace('[]', 'dmc'), "presets: 'dmc' is no list of names"),
      (lambda x: x.replace('[]', '[5]'), 'presets: [5] is no list of names')])
  def test_damage(self, path, damage, wanted):
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(ConfigError) as info:
      agents.read(path)
    text = str(info.value)
    assert text.startswith(f'{path}: ') and text.count(str(path)) == 1
    assert wanted in text and '\n' not in text

  def test_missing_and_binary(self, tmp_path):
    with pytest.raises(ConfigError, match='No such file'):
      agents.read(tmp_path / 'none.yaml')
    (tmp_path / 'x').write_bytes(b'\xff\xfe\x00\x80')
    with pytest.raises(ConfigError, match='no valid YAML'):
      agents.read(tmp_path / 'x')

  def test_cut_anywhere(self, path):
    """Never silently."""
    text = path.read_text()
    for length in range(0, len(text) - 8, 97):
      path.write_text(text[:length])
      with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        try:
          agents.read(path)
        except ConfigError as e:
          told.append(e)
      assert told, length


def test_no_run(tmp_path):
  with pytest.raises(ConfigError, match='no config.yaml in it'):
    agents.saved(tmp_path)
  with pytest.raises(ConfigError, match='none: cannot read'):
    agents.saved(tmp_path / 'none')
  with pytest.raises(ConfigError, match='unknown agent .planet.; allowed'):
    agents.schema('planet')
