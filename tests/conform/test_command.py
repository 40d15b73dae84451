"""The checker's command: status, output, what it needs, the recipe for CI."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from dreamer import conform
from dreamer.conform import __main__ as command
from dreamer.conform import show
from dreamer.conform.verdict import judge
from dreamer.errors import UserError
from tests.support import ROOT
from tests.support.arrays import whole

V2 = 'v2_atari_small'


class TestCommand:

  def test_status(self, save, capsys):
    case = conform.case(V2)
    arrays = whole(case)
    good = save(arrays)
    some = save({'tensor/embed': arrays['tensor/embed']}, 'some.npz')
    bad = save({**arrays, 'tensor/kl': arrays['tensor/kl'] + 1}, 'bad.npz')
    assert command.main([V2, good]) == command.main([V2, some]) == 0
    assert command.main([V2, good, '--all']) == 0
    assert command.main([V2, some, '--all']) == command.main([V2, bad]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ('differs from dreamerv2@07d906e first in tensor/kl; '
                    f'agrees in 212 of 213 arrays, {V2}')

  def test_json(self, save, capsys):
    case = conform.case(V2)
    arrays = whole(case)
    arrays['tensor/kl'][0, 0] = np.inf
    command.main([V2, save(arrays), '--json'])
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found['first'] == 'tensor/kl' and not found['conforms']
    assert [x['name'] for x in found['arrays']] == case.names

  def test_page_has_a_bar_for_each_array(self, save, tmp_path):
    case = conform.case(V2)
    path = tmp_path / 'out' / 'page.html'
    command.main([V2, save(whole(case)), '--html', str(path)])
    text = path.read_text()
    assert text.count('class="bar agrees"') == len(case.names)
    # Nothing is loaded from anywhere, and names are text.
    assert '<script' not in text and 'http' not in text
    hostile = show.page(judge(case, whole(case)), '<b>&.npz')
    assert '&lt;b&gt;&amp;.npz' in hostile

  def test_names(self, capsys):
    assert command.main([V2]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 213 and 'tensor/embed (3, 6, 128)' in lines[0]

  @pytest.mark.parametrize('option', [
      ['--all'], ['--json'], ['--html', 'x'], ['--explain']])
  def test_options_without_arrays(self, option):
    with pytest.raises(UserError, match='needs ARRAYS.npz'):
      command.main([V2, *option])

  def test_options_of_others(self):
    with pytest.raises(UserError, match='--with needs --explain'):
      command.main([V2, 'mine.npz', '--with', 'no bootstrap'])


# Refuses everything but the standard library, NumPy and this room.
GUARD = """
import sys
class Guard:
  def find_spec(self, name, path=None, target=None):
    top = name.split('.')[0]
    if top not in sys.stdlib_module_names and top not in ('dreamer', 'numpy'):
      raise ImportError(f'{name} is asked for')
sys.meta_path.insert(0, Guard())
from dreamer import cli
from dreamer.conform.__main__ import main
cli.guard(lambda: sys.exit(main()))
"""


def alone(*args):
  return subprocess.run(
      [sys.executable, '-c', GUARD, *args], cwd=ROOT, capture_output=True,
      text=True, timeout=250)


def test_numpy_is_enough(save):
  path = save(whole(conform.case(V2)))
  done = alone(V2, path, '--all')
  assert done.returncode == 0, done.stderr
  assert 'conforms to dreamerv2@07d906e in 213 of 213 arrays' in done.stdout


def test_explain_says_what_it_lacks(save):
  path = save({'tensor/embed': np.zeros((3, 6, 128), np.float32)})
  done = subprocess.run(
      [sys.executable, '-c', GUARD.replace(
          "raise ImportError(f'{name} is asked for')", 'return None').replace(
              'sys.meta_path.insert(0, Guard())', """
import importlib.util
right = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: (
    None if name == 'tensorflow' else right(name, *args))
"""), V2, path, '--explain'], cwd=ROOT, capture_output=True, text=True,
      timeout=250)
  assert done.returncode == 2
  assert 'tensorflow is not here' in done.stderr
  assert done.stderr.count('\n') == 1


def test_other_forms_of_the_file_are_read(tmp_path):
  """Compressed, in Fortran order."""
  case = conform.case(V2)
  path = tmp_path / 'x.npz'
  value = np.asfortranarray(case.expected['tensor/embed'])
  np.savez_compressed(path, **{'tensor/embed': value})
  assert command.main([V2, str(path)]) == 0


# A port's adapter: what it would compute is the release's.
ADAPTER = """
import sys
import numpy as np
from dreamer import conform
name, path = sys.argv[1:]
case = conform.case(name)
np.savez(path, **{key: x * FACTOR for key, x in case.expected.items()
                  if not key.endswith(('.stats', '.head'))})
"""


@pytest.mark.parametrize('factor, status, words', [
    (1, 0, f'conforms to dreamerv2@07d906e in 213 of 213 arrays, {V2}'),
    (1.1, 1, 'differs from dreamerv2@07d906e first in tensor/embed; ')])
def test_three_lines_in_ci(tmp_path, factor, status, words):
  """conform/README.md's recipe, from the second line on."""
  text = (ROOT / 'conform' / 'README.md').read_text()
  lines = re.search(r'## In your CI\n.*?\n\n((?:    [^\n]*\n)+)', text, re.S)[1]
  assert lines.count('\n') == 3
  clone, *others = [x.strip() for x in lines.splitlines()]
  assert clone == ('git clone --depth 1 URL_OF_THIS_PROJECT reference && '
                   'pip install numpy')
  (tmp_path / 'reference').symlink_to(ROOT)  # there, as after the first line
  (tmp_path / 'my_adapter.py').write_text(
      ADAPTER.replace('FACTOR', str(factor)))
  done = subprocess.run(
      ['bash', '-ec', '\n'.join(others)], cwd=tmp_path, capture_output=True,
      text=True, timeout=250, env={
          **os.environ, 'PATH': ':'.join([
              os.path.dirname(sys.executable), os.environ['PATH']])})
  assert done.returncode == status, done.stderr
  assert done.stdout.splitlines()[-1].startswith(words)


def test_the_table_of_ports_is_that_of_the_results():
  """`python conform/ports.py table` would write the same page."""
  spec = importlib.util.spec_from_file_location(
      'ports', ROOT / 'conform' / 'ports.py')
  ports = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(ports)
  assert ports.page(ports.results()) == ports.TABLE.read_text()
  assert {(x.repository, x.what) for x in ports.PORTS} == {
      ('juliusfrost/dreamer-pytorch', 'V1'), ('Eclectic-Sheep/sheeprl', 'V1'),
      ('Eclectic-Sheep/sheeprl', 'V2'), ('jsikyoon/dreamer-torch', 'V2'),
      ('jurgisp/pydreamer', 'V2'), ('pytorch/rl', 'V3')}
