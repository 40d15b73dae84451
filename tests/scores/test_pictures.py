"""Runs kept small in scores/ours, and README's pictures from them."""

import io

import numpy as np
import pytest
from PIL import Image

from dreamer.config import agents
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.log import video
from scores import keep_runs, pictures
from tests.support.scores_tools import run, write_runs


@pytest.fixture
def ours(tmp_path, monkeypatch):
  """An empty scores/ours, and a README beside it."""
  path = tmp_path / 'scores' / 'ours'
  path.mkdir(parents=True)
  readme = tmp_path / 'README.md'
  readme.write_text('# A\n<!-- pictures -->\nold\n<!-- /pictures -->\nend\n')
  monkeypatch.setattr(keep_runs, 'OURS', path)
  monkeypatch.setattr(pictures, 'OURS', path)
  monkeypatch.setattr(pictures, 'README', readme)
  return path


@pytest.fixture
def trained(tmp_path):
  """Two evaluated runs, with videos of two steps."""
  paths = write_runs(tmp_path / 'runs', 2)
  rng = np.random.default_rng(0)
  for path in paths:
    (path / 'videos').mkdir()
    for step, length in ((5, 12), (10, 120)):
      frames = rng.integers(0, 256, (length, 3, 40 + 6 * 64, 3), np.uint8)
      video.write_gif(
          path / 'videos' / f'{step:012d}_openloop.gif', frames, 20)
      video.write_gif(
          path / 'videos' / f'{step:012d}_policy.gif', frames[:, :, :64], 20)
  return paths


def test_keep_and_draw(ours, trained):
  run('keep', *trained, '--name', 'mine_2')
  run('pictures')
  kept = {str(path.relative_to(ours)) for path in ours.glob('*/*/*')}
  texts = 'config.yaml', 'eval.jsonl', 'metrics.jsonl', 'scores.jsonl'
  assert kept == {f'mine_2/seed{seed}/{name}' for seed, name in (
      *((seed, name) for seed in (0, 1) for name in texts),
      (0, 'openloop.gif'), (0, 'policy.gif'))}
  config = (ours / 'mine_2/seed1/config.yaml').read_text()
  assert 'logdir: runs/mine_2/seed1\n' in config
  assert str(trained[1]) not in config
  with Image.open(ours / 'mine_2/seed0/openloop.gif') as gif:
    assert gif.size == (40 + 3 * 64, 3) and gif.n_frames == 40
  text = pictures.README.read_text()
  assert text.startswith('# A\n') and text.endswith('end\n')
  assert 'old' not in text
  for name in ('mine_2/seed0/openloop.gif', 'mine_2/seed0/policy.gif',
               'curves.png'):
    assert f'<img src="scores/ours/{name}"' in text
  with Image.open(ours / 'curves.png') as image:
    assert image.width > 300


def test_every_folder_has_a_panel(trained):
  for amount, shape in ((1, (1, 1)), (4, (1, 4)), (5, (2, 3))):
    panels = pictures.draw([trained[0].parent] * amount).get_axes()
    assert panels[0].get_gridspec().get_geometry() == shape
    assert sum(x.axison for x in panels) == amount


def test_the_newest_video_is_kept(ours, trained):
  """With every frame, where there are few."""
  (trained[0] / 'videos' / '000000000010_openloop.gif').unlink()
  run('keep', trained[0], '--name', 'mine')
  with Image.open(ours / 'mine/seed0/openloop.gif') as gif:
    assert gif.n_frames == 12


def test_a_long_logdir(ours, trained):
  """Which YAML writes in two lines."""
  saved = agents.saved(trained[0]).config.flat
  config = agents.schema('dreamerv1').config(
      overrides={**saved, 'logdir': '/somewhere/' + 'long/' * 20})
  config.save(trained[0] / 'config.yaml')
  run('keep', trained[0], '--name', 'mine')
  kept = agents.saved(ours / 'mine' / 'seed0').config
  assert kept.flat == {**saved, 'logdir': 'runs/mine/seed0'}


def test_mistakes(ours, trained, tmp_path):
  with pytest.raises(UserError, match="--name: 'My runs' has to be of"):
    run('keep', trained[0], '--name', 'My runs')
  with pytest.raises(UserError, match='no run there has videos'):
    run('pictures')
  with pytest.raises(UserError, match='no folder'):
    run('keep', tmp_path / 'none', '--name', 'mine')
  (tmp_path / 'half').mkdir()
  (tmp_path / 'half' / 'metrics.jsonl').write_text('{"step": 1}\n')
  with pytest.raises(UserError, match='no config.yaml with its seed'):
    run('keep', tmp_path / 'half', '--name', 'mine')
  assert not list(ours.glob('*'))


def test_too_large(ours, trained, monkeypatch):
  run('keep', *trained, '--name', 'mine')
  monkeypatch.setattr(pictures, 'MOST_BYTES', 1000)
  before = pictures.README.read_text()
  with pytest.raises(UserError, match='bytes of pictures are more than 1,000'):
    run('pictures')
  assert pictures.README.read_text() == before


def test_what_readme_shows():
  """Its pictures are there, and small."""
  text = (ROOT / 'README.md').read_text()
  shown = [part.split('"')[0] for part in text.split('<img src="')[1:]]
  sizes = [(ROOT / path).stat().st_size for path in shown]
  assert sum(sizes) <= pictures.MOST_BYTES
  for path in shown:
    Image.open(io.BytesIO((ROOT / path).read_bytes())).verify()
