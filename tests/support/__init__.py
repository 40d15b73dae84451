"""What tests share: folders, fakes, tiny agents, strange environments."""

from pathlib import Path

from dreamer.files import ROOT

__all__ = ['GOLDEN', 'ROOT', 'mapped']

GOLDEN = ROOT / 'tests' / 'golden'


def mapped(pid: int) -> set[str]:
  """Paths of the files that a process has mapped, its libraries among them."""
  lines = Path(f'/proc/{pid}/maps').read_text().splitlines()
  return {line.split(maxsplit=5)[5] for line in lines if '/' in line}
