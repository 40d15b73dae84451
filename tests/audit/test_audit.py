"""The audit: sources, presets that keep to them, tables, README."""

import copy
import json
import re
import resource
import subprocess
import sys

import pytest

from dreamer.audit import __main__ as audit
from dreamer.audit import tables
from dreamer.audit.sources import VERDICTS, Sources
from dreamer.config import agents, yaml_files
from dreamer.config import help as usage
from dreamer.config.schema import (
  Config,
  Schema,
  Section,
  flatten,
)
from dreamer.errors import ConfigError, UserError
from dreamer.files import ROOT, replace_section
from dreamer.run import provenance
from tests.parity import keys_v1 as parity_keys
from tests.parity import keys_v2 as parity_keys_v2
from tests.support import GOLDEN

SUITES = {
    'dreamerv1': ['dmc', 'atari', 'dmlab'],
    'dreamerv2': ['atari', 'montezuma', 'dmc_vision', 'dmc_proprio',
                  'humanoid', 'crafter'],
    'dreamerv3': ['atari', 'atari100k', 'dmc_vision', 'dmc_proprio',
                  'procgen', 'dmlab', 'crafter']}
AGENTS = [x for x in agents.known() if agents.find(x).sources]
BOTH = {agent: Sources.load(agent) for agent in AGENTS}
PAPER = yaml_files.read(ROOT / 'configs/paper_dreamerv1.yaml')
PROFILES = [
    (agent, suite, preset) for agent in AGENTS for suite in SUITES[agent]
    for preset in BOTH[agent].presets]


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
  """Reading the YAML files takes half a second."""
  monkeypatch.setattr(agents, 'schema', lambda agent: BOTH[agent].schema)
  monkeypatch.setattr(
      Sources, 'load', lambda agent, schema=None: BOTH[agent])


def drift(sources, suite, preset):
  """Lists where a profile has not what its column, or its entry, says."""
  column, found = sources.presets[preset], []
  for key, value in sources.config(suite, preset).flat.items():
    entry = sources.suites[suite].entries.get(key)
    if entry is None:
      continue
    cell = entry.cells.get(column)
    if column == 'paper' and entry.silent:
      cell = entry.silent
    cell = entry.exceptions.get(preset, cell)
    if cell and entry.same.get(value, value) != cell.value:
      found.append(f'{key}: {value}, but {cell.value} ({cell.source})')
  return found


def row(agent, key, presets, **overrides):
  """The judged row of a key for presets and overrides."""
  sources = BOTH[agent]
  config = sources.schema.config(presets, overrides)
  suite, preset = sources.identify(config)
  rows = {x.key: x for x in sources.rows(config, suite, preset)}
  return rows[key]


def run(*argv, capsys):
  audit.main(list(map(str, argv)))
  return capsys.readouterr().out


class TestPresets:
  """What a default or preset may not do: drift from its source."""

  @pytest.mark.parametrize('agent, suite, preset', PROFILES)
  def test_profiles_keep_to_their_sources(self, agent, suite, preset):
    assert drift(BOTH[agent], suite, preset) == []

  @pytest.mark.parametrize('part, key, value, suite, preset', [
      ('defaults', 'horizon', 16, 'dmc', 'paper'),
      ('defaults', 'rssm.min_std', 0.2, 'atari', 'paper'),
      ('defaults', 'expl.decay_updates', 1, 'dmc', 'paper'),
      ('released', 'kl.free_by', 'element_over', 'dmc', 'released'),
      ('released', 'rssm.shared_latent_noise', True, 'dmc', 'released'),
      ('paper_code', 'steps', 4, 'dmc', 'paper_code'),
      ('atari', 'kl.scale', 1.0, 'atari', 'paper_code')])
  def test_drift_is_found(self, part, key, value, suite, preset):
    content, shared = yaml_files.parts(ROOT / 'configs/dreamerv1.yaml')
    group = content if part == 'defaults' else content['presets']
    if part == 'defaults' and not isinstance(value, str):
      value = f'{value} in ..'
    group[part] = {**flatten(group[part]), key: value}
    sources = copy.copy(BOTH['dreamerv1'])
    sources.schema = Schema(content, shared, 'x')
    assert [x.split(':')[0] for x in drift(sources, suite, preset)] == [key]

  @pytest.mark.parametrize('agent', AGENTS)
  def test_all_suites(self, agent):
    """Each preset with a task is a suite, or this project's own."""
    sources = BOTH[agent]
    assert list(sources.suites) == SUITES[agent]
    assert set(sources.suites) <= set(sources.schema.names)
    with_task = {name for name in sources.schema.names
                 if 'task' in sources.schema.presets[name]}
    own = {'laptop', 'minatar', 'pixelpoint'}
    assert with_task - own <= set(sources.suites)
    for name, suite in sources.suites.items():
      assert sources.config(name).task.startswith(suite.tasks)

  @pytest.mark.parametrize('agent', AGENTS)
  def test_exceptions_are_needed(self, agent):
    """An exception names a profile, and a value that its column has not."""
    sources = BOTH[agent]
    for suite in sources.suites.values():
      for entry in suite.entries.values():
        for preset, cell in entry.exceptions.items():
          column = entry.cells.get(sources.presets[preset], entry.silent)
          assert column.value != cell.value, entry


class TestFile:

  def load(self, change):
    content = copy.deepcopy(PAPER)
    change(content, content['suites']['dmc']['keys'])
    return Sources(
        'dreamerv1', BOTH['dreamerv1'].schema, content, 'paper.yaml')

  @pytest.mark.parametrize('agent', AGENTS)
  def test_every_key_and_nothing_else(self, agent):
    sources = BOTH[agent]
    for suite in sources.suites.values():
      assert set(suite.entries) | set(sources.unpublished) == set(
          sources.schema.defaults.flat)
    assert all(sources.unpublished.values())

  @pytest.mark.parametrize('agent', AGENTS)
  def test_every_value_has_a_source(self, agent):
    for suite in BOTH[agent].suites.values():
      for entry in suite.entries.values():
        cells = [*entry.cells.values(), *entry.exceptions.values(),
                 *entry.variants, *(cell for _, cell in entry.also)]
        cells += [entry.silent] if entry.silent else []
        assert cells and all(cell.source.strip() for cell in cells), entry
        assert ('paper' in entry.cells) != bool(entry.silent), entry

  @pytest.mark.parametrize('change, wanted', [
      (lambda c, k: k.update(horizn=k['horizon']),
       'horizn: unknown key (did you mean horizon?)'),
      (lambda c, k: c['unpublished'].update(horizn='x'),
       'unpublished: horizn: unknown'),
      (lambda c, k: k.pop('horizon'),
       'dmc: horizon: no entry here, but in another suite'),
      (lambda c, k: c['unpublished'].update(horizon='x'),
       'unpublished: horizon: has an entry'),
      (lambda c, k: k['horizon'].update(paper=[0, 'x']), 'horizon: 0 is not'),
      (lambda c, k: k['horizon'].update(paper=['x', 'x']), "'x' is not a wh"),
      (lambda c, k: k['horizon'].update(paper=15), 'not [value, source]'),
      (lambda c, k: k['horizon'].update(paper=[15]), 'not [value, source]'),
      (lambda c, k: k['horizon'].update(silent='tf1'), 'both `paper` and'),
      (lambda c, k: k['horizon'].update(tf3=[1, 'x']), "unknown field 'tf3'"),
      (lambda c, k: k['expl.decay'].update(silent='tf1'),
       'expl.decay: silent: tf1 has no value')])
  def test_mistakes(self, change, wanted):
    with pytest.raises(ConfigError) as info:
      self.load(change)
    assert str(info.value).startswith('paper.yaml: ')
    assert wanted in str(info.value) and '\n' not in str(info.value)

  @pytest.mark.parametrize('agent', AGENTS)
  def test_a_new_key_is_written_once(self, agent):
    """In `defaults` or a shape: no other file or list has to name it."""
    content, shared = yaml_files.parts(ROOT / f'configs/{agent}.yaml')
    content['defaults']['extra'] = '3 in 0..'
    content['shapes']['envs']['extra'] = 'a | b'
    schema = Schema(content, shared, agents.find(agent).settings)
    file = f'configs/paper_{agent}.yaml'
    sources = Sources(agent, schema, yaml_files.read(ROOT / file), file)
    config = schema.config(overrides={'extra': 5, 'envs.extra': 'b'})
    assert sources.unpublished['extra'] == 'in no source'
    assert sources.identify(config) == sources.identify(BOTH[
        agent].schema.config())
    assert not {'extra', 'envs.extra'} & {
        row.key for row in sources.rows(config, SUITES[agent][0])}
    text = usage.text(schema, 'x')
    assert '--extra 3' in text and '--envs.extra a ' in text
    # Runs of before and after are of one experiment.
    before = Section(BOTH[agent].schema.defaults.flat)
    after = schema.config()
    hash_of = provenance.config_hash
    assert hash_of(before, schema) == hash_of(after)
    assert hash_of(config) != hash_of(after)

  def test_a_key_of_no_source_needs_no_entry(self, capsys):
    published = self.load(lambda c, k: k.pop('lambda'))
    assert published.unpublished['lambda'] == 'in no source'
    assert 'lambda' not in published.suites['dmc'].entries
    assert published.unpublished['seed'] != 'in no source'
    table = tables.Audit({}, {}, [], {
        'counts': {}, 'not audited': published.unpublished})
    assert tables.as_text(table).endswith('in no source: lambda.')

  def test_what_fills_the_silence(self):
    """The column `silent`, also where a suite has its own value there."""
    entries = lambda **extra: self.load(
        lambda c, k: c['suites']['atari']['keys'].update(extra)).suites
    steps = entries()['dmc'].entries['steps']
    assert steps.cells['paper'].value == 5000000 and not steps.silent
    steps = entries()['atari'].entries['steps']
    assert 'paper' not in steps.cells and steps.silent == (20000000, 'TF1')
    # A value of another column leaves the paper's alone.
    scale = {'batch_size': {'tf2': [4, 'x']}}
    found = entries(**scale)['atari'].entries['batch_size']
    assert found.cells['paper'].value == 50 and not found.silent
    assert self.load(lambda c, k: k['horizon'].pop('paper')).suites[
        'dmc'].entries['horizon'].silent.source == 'TF1'

  def test_suites_inherit(self):
    entries = {name: suite.entries for name, suite in
               BOTH['dreamerv2'].suites.items()}
    batch = [entries[name]['batch_size'] for name in (
        'atari', 'dmc_vision', 'dmc_proprio', 'montezuma')]
    assert batch[0].cells['paper'].value == 50 and not batch[0].silent
    assert batch[1].silent == (50, 'the paper for atari')
    assert 'paper' not in batch[1].cells and 'first' in batch[1].cells
    assert batch[2].silent == batch[1].silent and (
        'first' not in batch[2].cells)
    assert batch[3] == batch[0]
    lambda_ = entries['dmc_proprio']['lambda']  # general
    assert lambda_.cells['paper'].value == 0.95
    entropy = entries['humanoid']['actor_entropy.end']
    assert entropy.cells['paper'].value == 1e-5
    assert 'current' not in entropy.cells


def columns(sources, suite, column, settings):
  """Lists the settings of a release that its column contradicts."""
  wrong = []
  for key, value in settings.items():
    entry = sources.suites[suite].entries[key]
    value = sources.schema.check(key, value)
    if key in sources.unpublished or entry.same.get(
        value, value) != entry.cells[column].value:
      wrong.append((key, value, entry.cells.get(column)))
  return wrong


class TestRecorded:
  """Columns against the settings that the releases recorded in goldens."""

  COUNTS = {
      'steps': 'steps', 'prefill': 'prefill', 'train_every': 'train_every',
      'eval_every': 'eval_every', 'time_limit': 'time_limit'}
  OTHERS = {
      'action_repeat': 'action_repeat', 'train_steps': 'train_updates',
      'eval_eps': 'eval_episodes', 'replay.capacity':
      'replay.capacity_agent_steps', 'dataset.batch': 'batch_size',
      'dataset.length': 'batch_length', 'replay.minlen': 'replay.min_length',
      'replay.maxlen': 'replay.max_length'}

  def case(self, name):
    case = json.loads((GOLDEN / name / 'case.json').read_text())
    settings = {**case.get('config', {}), **case.get('resolved_config', {})}
    return {key: value for key, value in settings.items()
            if key not in case['overrides']}

  def translate(self, rules, settings):
    found = {}
    for key, value in settings.items():
      rule = rules.get(key, parity_keys.DROP)
      if rule is not parity_keys.DROP:
        found.update(rule(value) if callable(rule) else {rule: value})
    return found

  @pytest.mark.parametrize('name, suite, amount', [
      ('v2_atari_full', 'atari', 110), ('v2_crafter_small', 'crafter', 85),
      ('v2_dmc_vision_small_kl_above', 'dmc_vision', 85),
      ('v2_dmc_proprio_small', 'dmc_proprio', 85)])
  def test_v2(self, name, suite, amount):
    settings = self.case(name)
    found = self.translate(
        {**parity_keys_v2.KEYS, **self.OTHERS}, settings)
    for key, ours in self.COUNTS.items():  # agent steps; 0: no own limit
      if settings[key] or key != 'time_limit':
        found[ours] = int(settings[key]) * settings['action_repeat']
    for key, ours in parity_keys_v2.SCHEDULES.items():
      found.update({f'{ours}.{part}': value for part, value in
                    parity_keys_v2.parse_schedule(settings[key]).items()})
    found.pop('discount_head.gradient', None)  # where there is such a head
    assert len(found) > amount
    assert columns(BOTH['dreamerv2'], suite, 'current', found) == []

  def test_v1_tf2(self):
    settings = self.case('v1_dmc_full')
    rules = {**parity_keys.TF2, **self.COUNTS, 'pretrain': 'pretrain_updates',
             'action_repeat': 'action_repeat', 'train_steps': 'train_updates',
             'expl_decay': lambda x: {'expl.decay': int(x)}}
    found = self.translate(rules, settings)
    found = {key: value for key, value in found.items()
             if not key.startswith('cpc.')}
    assert len(found) > 40
    assert columns(BOTH['dreamerv1'], 'dmc', 'tf2', found) == []

  @pytest.mark.parametrize('name, suite', [
      ('tf1_dreamer_small', 'dmc'), ('tf1_discrete_pcont_small', 'atari'),
      ('tf1_planet_small', 'dmc')])
  def test_v1_tf1(self, name, suite):
    settings = {key: value for key, value in self.case(name).items() if (
        key not in ('defaults', 'imagination_horizon'))}
    found = self.translate(parity_keys.TF1, settings)
    assert len(found) > 5
    assert columns(BOTH['dreamerv1'], suite, 'tf1', found) == []


class TestVerdicts:

  @pytest.mark.parametrize('presets, key, wanted', [
      ('dmc', 'kl.free_by', 'as paper'),
      ('dmc', 'image_noise', 'silent (from TF1)'),
      ('dmc', 'rssm.gru', 'silent (from TF2)'),
      ('dmc', 'prefill_end', 'silent (from this project)'),
      ('dmc paper_code', 'kl.free_by', 'as released (TF1)'),
      ('dmc paper_code', 'discount', 'as paper'),
      ('dmc released', 'kl.free_by', 'as released (TF2)'),
      ('dmc released', 'rssm.gru', 'as released (TF2)'),
      ('dmc released', 'rssm.shared_latent_noise', 'deviation'),
      ('dmc released', 'planner.horizon', 'silent (from TF1)'),
      ('atari paper_code', 'expl.min', 'as released (TF1)'),
      ('atari released', 'discount_head.enabled', 'as paper'),
      ('dmc planet', 'behaviour', 'as paper (Figures 4 and 10)'),
      ('dmc contrastive', 'cpc.enabled', 'as paper (Section 4, Figure 11)'),
      ('dmc laptop', 'rssm.deter', 'yours'),
      ('released laptop', 'collect', 'as released (TF2)')])
  def test_v1(self, presets, key, wanted):
    assert row('dreamerv1', key, presets.split()).text == wanted

  @pytest.mark.parametrize('presets, key, wanted', [
      ('atari', 'discount', 'as paper'),
      ('atari gamma995', 'discount', 'as paper (Table D.1)'),
      ('montezuma', 'discount', 'as paper'),
      ('montezuma gamma995', 'discount', 'yours'),
      ('atari reinforce_only', 'actor_gradient', 'as paper'),
      ('atari no_reinforce', 'actor_gradient', 'as paper (Section 3.2)'),
      ('atari mixed_gradients', 'actor_gradient', 'as released (first)'),
      ('dmc_vision no_reinforce', 'actor_gradient', 'as paper'),
      ('dmc_vision reinforce_only', 'actor_gradient', 'yours'),
      ('dmc_vision', 'batch_size', 'silent (from the paper for atari)'),
      ('dmc_vision released', 'batch_size', 'as released (current)'),
      ('dmc_vision gaussian_latents', 'rssm.latents',
       'as released (first)')])
  def test_v2(self, presets, key, wanted):
    assert row('dreamerv2', key, presets.split()).text == wanted

  def test_own_values(self):
    get = lambda key, presets, **x: row('dreamerv1', key, presets, **x)
    assert get('horizon', ['dmc'], horizon=17).text == 'yours'
    assert get('horizon', ['dmc'], horizon=30).text == 'as paper (Figure 4)'
    other = get('actor.units', ['dmc', 'released'], **{'actor.units': 300})
    assert other.text == 'as paper' and not other.differs
    assert get('steps', ['dmc', 'paper_code']).verdict == 'deviation'
    assert get('steps', ['dmc', 'paper_code'], steps=10 ** 7).text == (
        'as released (TF1)')
    # Of another release than the one that is followed.
    free = get('kl.free_by', ['released'], **{'kl.free_by': 'element_over'})
    assert free.text == 'as released (TF1)' and free.differs
    assert 'one noise vector' in get(
        'rssm.shared_latent_noise', ['released']).detail

  @pytest.mark.parametrize('agent, suite, preset', PROFILES)
  def test_nothing_is_yours(self, agent, suite, preset):
    sources = BOTH[agent]
    rows = sources.rows(sources.config(suite, preset), suite, preset)
    assert [x.key for x in rows if x.verdict == 'yours'] == []
    assert [x.key for x in rows if x.verdict == 'deviation'] == [
        x.key for x in rows if preset in x.entry.exceptions]
    if preset == 'paper':
      assert not any(x.differs for x in rows)

  def test_only_what_concerns_a_suite(self):
    rows = lambda suite: {x.key.split('.')[0] for x in BOTH['dreamerv1'].rows(
        BOTH['dreamerv1'].config(suite), suite)}
    assert rows('dmc') & {'dmc', 'atari', 'dmlab'} == {'dmc'}
    assert rows('dmlab') & {'dmc', 'atari', 'dmlab'} == {'dmlab'}


class TestIdentify:

  @pytest.mark.parametrize('agent, suite, preset', PROFILES)
  def test_of_unknown_presets(self, agent, suite, preset):
    config = BOTH[agent].config(suite, preset).update(
        {'seed': 3, 'logdir': 'x', 'steps': 1000, 'horizon': 9})
    config = Config(config.schema, config.flat, None)
    assert BOTH[agent].identify(config) == (suite, preset)

  def test_named_presets(self):
    identify = lambda presets, **x: BOTH['dreamerv1'].identify(
        BOTH['dreamerv1'].schema.config(presets, x))
    assert identify([]) == ('dmc', 'paper')
    assert identify(['released', 'debug']) == ('dmc', 'released')
    assert identify(['dmc'], task='atari_pong') == ('dmc', 'paper')
    assert identify([], task='atari_pong') == ('atari', 'paper')
    assert identify([], task='gym_CartPole-v1') == ('dmc', 'paper')


class TestCommand:

  def test_text(self, capsys):
    out = run('dreamerv1', '--configs', 'dmc', 'released', capsys=capsys)
    lines = out.splitlines()
    assert lines[:4] == ['agent: dreamerv1', 'this run: dmc released',
                         'suite: dmc', 'profile: released']
    words = [re.split(r'  +', line) for line in lines]
    assert ['key', 'paper', 'TF1', 'TF2', 'this run', 'verdict'] in words
    assert ['image_noise', '-', 'true', 'false', 'false',
            'as released (TF2)'] in words
    assert ['steps', '5,000,000', '10,000,000', '5,000,000', '5,000,000',
            'as paper'] in words
    assert 'Deviations:' in lines and 'one noise vector' in out
    counts = {name: int(count) for count, name in re.findall(
        rf'(\d+) ({"|".join(VERDICTS)})', out)}
    total = int(re.search(r'^(\d+) keys: ', out, re.M)[1])
    assert sum(counts.values()) == total == sum(
        len(x) == 6 for x in words) - 2  # names of columns, dashes

  def test_json(self, capsys):
    content = json.loads(run(
        'dreamerv2', '--configs', 'atari', '--set', 'batch_size=16',
        'discount=0.5', '--format', 'json', capsys=capsys))
    rows = {x['key']: x for x in content['rows']}
    assert rows['batch_size']['paper'] == {
        'value': 50, 'source': 'Table D.1'}
    assert rows['batch_size']['this run'] == {'value': 16}
    assert rows['batch_size']['verdict'] == 'as released (current)'
    assert rows['discount']['verdict'] == 'yours'
    assert rows['reward_norm.eps']['first'] is None
    assert content['counts']['yours'] == 1
    assert sum(content['counts'].values()) == len(rows)
    assert 'seed' in content['not audited'] and 'seed' not in rows

  def test_markdown_with_sources(self, capsys):
    out = run('--configs', 'released', '--format', 'markdown', '--sources',
              capsys=capsys)
    head, line, *rows = [x for x in out.splitlines() if x.startswith('|')]
    assert len(rows) > 90
    assert {x.count('|') for x in (head, line, *rows)} == {8}
    assert any(x.startswith('| `kl.free_by` | element |') and (
        'TF2: dreamer.py:174-175' in x) for x in rows)

  def test_differences(self, capsys):
    keys = lambda *args: [x['key'] for x in json.loads(run(
        *args, '--differences', '--format', 'json', capsys=capsys))['rows']]
    assert keys() == []
    assert keys('--set', 'horizon=30', 'seed=5') == ['horizon']
    assert keys('dreamerv2', '--configs', 'atari', 'gamma995') == ['discount']
    assert keys('dreamerv2', '--set', 'actor_gradient=reinforce') == []
    assert set(keys('--configs', 'released')) >= {'kl.free_by', 'precision'}

  def test_sources_in_text(self, capsys):
    out = run('--set', 'kl.free_by=mean', '--differences', '--sources',
              capsys=capsys)
    assert '\n    paper: Appendix A: clipped below 3 free nats; TF1: ' in out

  def test_logdir(self, tmp_path, capsys):
    config = BOTH['dreamerv2'].schema.config(
        ['dmc_proprio', 'released'], {'horizon': 12, 'logdir': 'x'})
    config.save(tmp_path / 'config.yaml')
    content = json.loads(run('--logdir', tmp_path, '--format', 'json',
                             capsys=capsys))
    assert (content['agent'], content['suite'], content['profile']) == (
        'dreamerv2', 'dmc_proprio', 'released')
    assert [x['key'] for x in content['rows'] if x['verdict'] == 'yours'] == [
        'horizon']

  def test_task_without_published_settings(self, capsys):
    out = run('--set', 'task=gym_CartPole-v1', capsys=capsys)
    assert 'note: nothing is published for gym_CartPole-v1' in out

  def test_diff(self, tmp_path, capsys):
    config = BOTH['dreamerv1'].schema.config(
        ['dmc', 'released'], {'horizon': 12, 'logdir': str(tmp_path)})
    config.save(tmp_path / 'config.yaml')
    diff = lambda a, b, *more: json.loads(run(
        *more, '--diff', a, b, '--format', 'json', capsys=capsys))
    for b in (tmp_path, tmp_path / 'config.yaml'):
      found = diff('dreamerv1:dmc,released', b)
      assert [x['key'] for x in found['rows']] == ['logdir', 'horizon']
      assert found['rows'][0]['paper'] is None
    assert found['rows'][1] == {
        'key': 'horizon', 'A': {'value': 15}, 'B': {'value': 12},
        'paper': {'value': 15, 'source': 'Appendix A, H'},
        'tf1': {'value': 15, 'source': 'configs.py, imagination_horizon'},
        'tf2': {'value': 15, 'source': 'dreamer.py, horizon'}}
    assert diff(tmp_path, tmp_path)['rows'] == []
    assert diff('dmc', 'dreamerv1:', 'dreamerv1')['rows'] == []
    found = diff('dmc', 'atari', 'dreamerv1')
    rows = {x['key']: x for x in found['rows']}
    assert rows['horizon']['paper'] == {'value': '15 | 10'}
    assert rows['kl.scale']['tf2'] == {'value': '1 | -'}
    assert found['suite'] == 'dmc and atari'

  @pytest.mark.parametrize('form', list(tables.FORMATS))
  @pytest.mark.parametrize('sources', [[], ['--sources']])
  def test_every_format_of_a_diff(self, form, sources, capsys):
    out = run('--diff', 'dreamerv2:atari', 'dreamerv2:crafter,released',
              '--format', form, *sources, capsys=capsys)
    assert 'kl.scale' in out and 'actor_opt.lr' in out

  @pytest.mark.parametrize('line, wanted', [
      ('dreamerv7', "unknown agent 'dreamerv7' (did you mean dreamerv"),
      ('--configs dcm', "unknown preset 'dcm' (did you mean dmc?)"),
      ('dreamerv2 --configs dmc', "unknown preset 'dmc'"),
      ('--configs', 'expected at least one argument'),
      ('--set foo', "--set 'foo': write --set KEY=VALUE"),
      ('--set rssm.detr=3', '(did you mean rssm.deter?)'),
      ('--set horizon=1', 'horizon: 1 is not allowed; allowed: 2..'),
      ('--set horizon=x', "horizon: 'x' is not a whole number"),
      ('--logdir {tmp}', '{tmp}: no config.yaml in it: not the folder'),
      ('--logdir {tmp}/none', 'none: no such folder or file'),
      ('--logdir {tmp}/bad.yaml', 'bad.yaml: no valid YAML'),
      ('dreamerv2 --logdir {tmp}/v1.yaml', 'is a run of dreamerv1, not'),
      ('--logdir {tmp}/v1.yaml --set seed=1', '--logdir and --set exclude'),
      ('--diff a', 'expected 2 arguments'),
      ('--diff a b', "'a' is neither AGENT:PRESET,... nor a folder or file"),
      ('--diff dreamerv1:dcm {tmp}/v1.yaml', '(did you mean dmc?)'),
      ('--diff dreamerv1: dreamerv2:', 'of one agent can be compared'),
      ('--diff dreamerv1: dreamerv1: --logdir x', '--diff and --logdir excl'),
      ('--readme --configs dmc', '--readme and --configs exclude'),
      ('--format xml', "invalid choice: 'xml'"),
      ('--frmat json', 'unrecognized arguments: --frmat')])
  def test_errors(self, line, wanted, tmp_path):
    BOTH['dreamerv1'].schema.defaults.save(tmp_path / 'v1.yaml')
    (tmp_path / 'bad.yaml').write_text('a: [')
    with pytest.raises(UserError) as info:
      audit.main(line.format(tmp=tmp_path).split())
    assert wanted.format(tmp=tmp_path) in str(info.value)
    assert '\n' not in str(info.value)

  def test_light_and_quick(self):
    """Without TensorFlow; a second or two where nothing else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = ('import sys; from dreamer.audit import __main__ as audit; '
            'audit.main(); print("tensorflow" in sys.modules)')
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True,
        text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.endswith('False\n')
    assert after.ru_utime - before.ru_utime < 4  # measured: 1

  def test_as_a_program(self):
    call = lambda *args: subprocess.run(
        [sys.executable, '-m', 'dreamer.audit', *args], cwd=ROOT,
        capture_output=True, text=True)
    done = call('--configs', 'dcm')
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('error: unknown preset')
    assert done.stderr.count('\n') == 1
    done = call('--help')
    assert done.returncode == 0 and './run.sh audit --diff' in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


class TestReadme:

  @pytest.mark.parametrize('name', list(tables.sections()))
  def test_section_is_current(self, name):
    text = replace_section(
        ROOT / name, tables.SECTION, tables.sections()[name])
    assert (ROOT / name).read_text(encoding='utf-8') == text, (
        'run: ./run.sh audit --readme')

  def test_conflicts(self):
    get = lambda agent, suite: [
        x.key for x in tables.conflicts(BOTH[agent], suite)]
    first = get('dreamerv1', 'dmc')
    assert {'kl.free_by', 'bootstrap', 'collect', 'image_noise', 'rssm.gru',
            'pretrain_updates', 'rssm.shared_latent_noise'} <= set(first)
    assert not {'horizon', 'batch_size', 'atari.noops', 'envs.amount'} & set(
        first)
    assert get('dreamerv1', 'atari') == [
        'atari.noops', 'atari.life_loss', 'expl.schedule', 'expl.min',
        'expl.eval_noise']
    assert get('dreamerv1', 'dmlab') == [
        'discount_head.enabled', 'discount_head.gradient']
    assert get('dreamerv2', 'montezuma') == []
    assert {'discount', 'batch_size', 'train_every'} <= set(
        get('dreamerv2', 'atari'))

  def test_lines(self):
    lines = tables.sections()['configs/README.md'].splitlines()
    for line in (
        '| `kl.free_by` | element | element_over | mean |',
        '| `rssm.stats`, `actor.stats` | joint (silent) | separate | joint |',
        '| `discount` | 0.999, 0.995 | 0.999 | 0.999 |',
        '| `steps` | 5,000,000 | 10,000,000 \\* | 5,000,000 |',
        '| first | danijar/dreamerv2 at faf9e4c, the first release | none |'):
      assert line in lines

  def test_written(self, tmp_path, capsys):
    (tmp_path / 'configs').mkdir()
    for name in tables.sections():
      (tmp_path / name).write_text(
          'a\n<!-- audit -->\nold\n<!-- /audit -->\nb\n')
    audit.write_sections(tmp_path)
    for name, body in tables.sections().items():
      assert (tmp_path / name).read_text() == (
          f'a\n<!-- audit -->\n{body}\n<!-- /audit -->\nb\n')
    assert capsys.readouterr().err.count('section written') == 1
    for broken in ('a', '<!-- /audit -->\n<!-- audit -->'):
      (tmp_path / name).write_text(broken)
      with pytest.raises(UserError, match='README.md: needs the lines'):
        audit.write_sections(tmp_path)
      assert (tmp_path / name).read_text() == broken


# Numbers by what they count: a pattern of keys, and what their comment or
# name must say; None: a size or a plain number. Any other number needs some
# comment.
UNITS = [
    (r'steps|time_limit|prefill|(train|eval|log|save|video)_every|expl.until|'
     r'expl.decay|actor_(mix|entropy).duration', 'header'),
    (r'action_repeat', 'environment steps per agent step'),
    (r'batch_size|cpc.window_batch', 'sequences'),
    (r'batch_length|(planner.)?horizon|replay.(min|max)_length|expl.offset|'
     r'cpc.window_time', 'agent steps'),
    (r'replay.capacity_agent_steps', 'agent_steps'),
    (r'discount', 'per agent step'),
    (r'(pretrain|train)_updates|expl.decay_updates|slow_critic.every_updates',
     'updates'),
    (r'eval_episodes', 'episodes'),
    (r'train_ratio', 'trained steps per agent step'),
    (r'discount_horizon', 'agent steps'),
    (r'replay.capacity', 'items'),
    (r'replay.context', 'rows'),
    (r'replay.consec', 'batches'),
    (r'replay.spare_gb', 'disk'),
    (r'opt.(warmup|anneal)', 'updates'),
    (r'replay.memory_gb', 'gb'),
    (r'kl.free', 'nats'),
    (r'envs.(reset_)?timeout', 'seconds'),
    (r'envs.amount', 'environments'),
    (r'envs.restarts', 'failures'),
    (r'threads', 'per core'),
    (r'threads_per_op', 'share one operation'),
    (r'atari.sticky', 'probability per emulator frame'),
    (r'atari.noops', 'no-ops'),
    (r'dmlab.actions', 'size of the action set'),
    (r'(expl.)?(noise|min)', 'standard deviation|amount|random actions'),
    (r'(.*\.)?(model|actor|value|critic|expl|diagnostic)_opt.'
     r'(lr|eps|clip|decay)|loss_scale', None),
    (r'(.*\.)?(depth|layers|units|stoch|classes|deter|hidden|models|'
     r'candidates|iterations|elites|blocks|(gru|img|obs)_layers|kernel|bins)',
     None),
    (r'(.*\.)?(norm_eps|outscale|unimix|squares|slow_scale|dynamics|representation|'
     r'max_std|rate|limit|low|high|last_starts)|opt.(lr|beta[12]|eps|clip|'
     r'decay)|actor_entropy', None),
    (r'(.*\.)?(min_std|init_std|mean_scale|scale|eps|momentum|fraction|start|'
     r'end|balance|intrinsic_scale|extrinsic_scale|eval_noise)',
     None),
    (r'seed|(replay_critic.)?lambda|dmc.camera', None)]


@pytest.mark.parametrize('agent', AGENTS)
def test_units_are_in_the_comments(agent):
  schema = BOTH[agent].schema
  source = schema.path.read_text(encoding='utf-8')
  comments = usage.comments(schema)
  for key, value in schema.defaults.flat.items():
    if isinstance(value, bool) or not isinstance(value, (int, float)):
      continue
    unit = next((unit for pattern, unit in UNITS
                 if re.fullmatch(pattern, key)), '.')
    if unit == 'header':
      head = ' '.join(source.partition('\ndefaults')[0].split('\n# '))
      assert 'Counts are environment steps' in head
    elif unit:
      said = comments[key] if unit == '.' else f'{key} {comments[key]}'
      assert re.search(unit, said), f'{key}: {unit}'
