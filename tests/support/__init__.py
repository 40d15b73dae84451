"""What tests share: folders, fakes, tiny agents, strange environments."""

import json
from pathlib import Path

from dreamer.files import ROOT

__all__ = ['GOLDEN', 'ROOT', 'lines', 'mapped']

GOLDEN = ROOT / 'tests' / 'golden'


def lines(folder, name: str = 'metrics.jsonl') -> list[dict]:
  """The dicts of a file of JSON lines, all of which have to be whole."""
  text = (Path(folder) / name).read_text()
  return [json.loads(line) for line in text.splitlines()]


def mapped(pid: int) -> set[str]:
  """Paths of the files that a process has mapped, its libraries among them."""
  found = Path(f'/proc/{pid}/maps').read_text().splitlines()
  return {line.split(maxsplit=5)[5] for line in found if '/' in line}
