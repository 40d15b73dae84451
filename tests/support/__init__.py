"""What tests share: folders, fakes, tiny agents, strange environments."""

from dreamer.files import ROOT

__all__ = ['GOLDEN', 'ROOT']

GOLDEN = ROOT / 'tests' / 'golden'
