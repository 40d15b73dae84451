"""Your Dreamer beside a release: fill in the three functions, then

  python template.py v2_atari_small mine.npz
  python -m dreamer.conform v2_atari_small mine.npz
"""

import sys

import torch

from dreamer import conform, npz
from dreamer.conform import layouts, samplers


def build(case):
  """Your agent with case.settings; sizes also stand in case.shapes."""
  raise NotImplementedError


def parameters(agent):
  """Your tensor for each name of the case: {'wm/rssm/img_in/kernel': x}.

  Other layouts than PyTorch's own: see dreamer/conform/layouts.py.
  """
  return {}


def step(agent, batch):
  """One train step by your own code: values by names of the case without
  step{k}/, such as 'tensor/embed' and 'loss/kl'. samplers.watch reads the
  local variables of your functions without a change of them.
  """
  return {}


def main(name, out):
  case = conform.case(name)
  agent = build(case)
  tensors, arrays = parameters(agent), {}
  with torch.no_grad():
    for key, tensor in tensors.items():
      tensor.copy_(torch.from_numpy(layouts.to_torch(case.parameters[key])))
  for k in range(case.steps):
    with samplers.fixed(torch), samplers.gradients(torch) as groups:
      found = step(agent, case.batch)
    for key, value in found.items():
      if k == 0 or not key.startswith('tensor/'):
        prefix = '' if key.startswith('tensor/') else f'step{k}/'
        arrays[prefix + key] = samplers.array(value)
    for group in groups if k == 0 else []:
      arrays.update({f'grad/{key}': layouts.from_torch(group[id(x)])
                     for key, x in tensors.items() if id(x) in group})
  arrays.update({f'param/{key}': layouts.from_torch(samplers.array(x))
                 for key, x in tensors.items()})
  npz.write(out, arrays)


if __name__ == '__main__':
  main(*sys.argv[1:])
