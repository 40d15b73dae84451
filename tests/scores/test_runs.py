"""Which run is which: identities, labels, seeds of several experiments."""

import json
import os

import pytest

from dreamer.errors import UserError
from dreamer.run.run_folder import RunFolder
from scores import plot, references, runs
from tests.support.scores_tools import TASK, run, write_lines, write_run


def where(*paths):
  return [run.where for run in runs.load(paths)]


def machines(tmp_path, amount=2):
  """Runs of one folder name on several machines, seeds 0, 1, ..."""
  return [write_run(tmp_path / f'machine{seed}' / 'runs' / 'walker', [
      (10, [float(seed)])], seed=seed) for seed in range(amount)]


class TestLabels:

  def test_short_where_they_tell(self, tmp_path):
    write_run(tmp_path / 'a' / 'x', [(10, [1.0])])
    write_run(tmp_path / 'b' / 'x', [(10, [1.0])], seed=1)
    assert where(tmp_path / 'a' / 'x', tmp_path / 'b' / 'x') == ['a/x', 'b/x']

  def test_longer_where_they_coincide(self, tmp_path):
    other = write_run(tmp_path / 'b' / 'x', [(10, [1.0])], seed=9)
    assert where(*machines(tmp_path), other) == [
        'machine0/runs/walker', 'machine1/runs/walker', 'b/x']

  def test_of_collected_files(self, tmp_path):
    one, two = machines(tmp_path)
    for logdir, name in ((one, 'one.json'), (two, 'two.json')):
      run('collect', logdir, '--out', tmp_path / name)
    files = tmp_path / 'one.json', tmp_path / 'two.json'
    assert where(*files) == [f'{x.name}/runs/walker' for x in files]
    assert where(one, files[1]) == [
        'machine0/runs/walker', 'two.json/runs/walker']

  def test_within_a_collected_file(self, tmp_path):
    """Files of older versions may have one label twice."""
    run('collect', *machines(tmp_path), '--out', tmp_path / 'x')
    text = (tmp_path / 'x').read_text()
    for machine in ('machine0/', 'machine1/'):
      text = text.replace(machine, '')
    (tmp_path / 'x').write_text(text)
    assert where(tmp_path / 'x') == ['runs/walker', 'runs/walker (2)']

  def test_files_keep_them(self, tmp_path):
    logdirs = machines(tmp_path)
    run('collect', *logdirs, '--out', tmp_path / 'x')
    assert where(tmp_path / 'x') == where(*logdirs)
    assert str(tmp_path) not in (tmp_path / 'x').read_text()


class TestIdentity:

  def test_a_run_named_twice(self, tmp_path):
    logdir, _ = machines(tmp_path)
    (tmp_path / 'link').symlink_to(logdir)
    for other in (logdir, logdir / '..' / 'walker', tmp_path / 'link'):
      with pytest.raises(UserError, match='is named twice'):
        runs.load([logdir, other])

  def test_home_is_expanded(self, tmp_path, monkeypatch):
    logdir, _ = machines(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    found, = runs.load(['~/machine0/runs/walker'])
    assert found.folder.path == logdir.resolve()

  def test_a_copy_of_a_run(self, tmp_path):
    write_run(tmp_path / 'a' / 'x', [(10, [1.0])])
    write_run(tmp_path / 'b' / 'x', [(10, [1.0])])
    with pytest.raises(UserError, match='b/x: seed 0 of dreamerv1 on '
                       f'{TASK} is also in a/x'):
      runs.load([tmp_path / 'a' / 'x', tmp_path / 'b' / 'x'])

  def test_variants_share_seeds(self, tmp_path):
    """Seed 0 with and without a preset are two experiments, not one twice."""
    names = {'no_value': ['no_value'], 'planet': ['planet']}
    logdirs = [write_run(tmp_path / name, [
        (step, [5.0]) for step in range(5000, 400_001, 5000)],
        presets=presets) for name, presets in names.items()]
    found = runs.load(logdirs)
    assert [run.seed for run in found] == [0, 0]
    figure = plot.draw(
        'ablations', found, references.load('dreamerv1/fig10'))
    texts = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {'ours: no_value', 'ours: planet'} <= texts
    with pytest.raises(UserError, match='has other settings than'):
      runs.by_task(found)

  def test_presets_are_no_identity_either(self, tmp_path):
    """Figure 12 has variants by a key: they are no seeds of one line."""
    logdirs = [write_run(tmp_path / f'{repeat}/{seed}', [
        (step, [float(repeat)]) for step in range(5000, 400_001, 5000)],
        seed=seed, action_repeat=repeat) for repeat in (2, 4)
               for seed in (0, 1)]
    found = runs.load(logdirs)
    assert sorted(plot.variants(found)) == [
        'ours: paper, action_repeat 2'] * 2 + [
            'ours: paper, action_repeat 4'] * 2
    panel, *_ = plot.draw(
        'ablations', found, references.load('dreamerv1/fig12')).axes
    means = {line.get_label(): set(line.get_ydata()) for line in panel.lines
             if line.get_label().startswith('ours')}
    assert means == {'ours: paper, action_repeat 2': {2},
                     'ours: paper, action_repeat 4': {4}}

  def test_a_seed_twice_in_a_reference(self, tmp_path):
    one, _ = machines(tmp_path)
    run('collect', one, '--out', tmp_path / 'x')
    content = json.loads((tmp_path / 'x').read_text())
    content['runs'] *= 2
    (tmp_path / 'x').write_text(json.dumps(content))
    with pytest.raises(UserError, match='is also in runs/walker'):
      references.load(str(tmp_path / 'x'))


class TestOrigin:

  def test_lines_say_it_where_there_is_no_config(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(10, [1.0])], seed=3)
    before = runs.to_json(runs.load([logdir])[0])
    os.remove(logdir / 'config.yaml')
    assert runs.to_json(runs.load([logdir])[0]) == before

  def test_lines_say_it_where_the_config_does_not(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(10, [1.0])], agent='dreamerv3')
    text = (logdir / 'config.yaml').read_text().splitlines(keepends=True)
    kept = [x for x in text if x.startswith(('seed', 'task', 'steps'))]
    (logdir / 'config.yaml').write_text(''.join(kept) + 'cpc: {units: 1}\n')
    assert RunFolder(logdir).agent == 'dreamerv3'

  def test_only_an_evaluation(self, tmp_path):
    write_lines(tmp_path / 'eval.jsonl', [{
        'agent': 'dreamerv2', 'task': TASK, 'seed': 4, 'policy': 'trained',
        'presets': ['dmc_vision'], 'step': 500, 'returns': [7.0, 8.0]}])
    found, = runs.load([tmp_path])
    assert (found.method, found.task, found.seed) == ('dreamerv2', TASK, 4)
    assert found.presets == ['dmc_vision'] and found.reached == 500

  def test_names_of_older_versions(self, tmp_path):
    write_lines(tmp_path / 'eval.jsonl', [{
        'agent': 'dreamerv2', 'task': TASK, 'seed': 100, 'run_seed': 4,
        'policy': 'trained', 'env_steps': 500, 'returns': [7.0]}])
    found, = runs.load([tmp_path])
    assert found.seed == 4 and found.reached == 500
    assert found.final['trained']['eval_seed'] == 100

  def test_reading_changes_no_file(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(10, [1.0])])
    with open(logdir / 'scores.jsonl', 'a') as file:
      file.write('{"step": 20, "ret')
    before = {x: (x.read_bytes(), x.stat().st_mtime_ns)
              for x in logdir.iterdir()}
    runs.load([logdir])
    run('collect', logdir, '--out', tmp_path / 'x')
    assert before == {x: (x.read_bytes(), x.stat().st_mtime_ns)
                      for x in logdir.iterdir()}
