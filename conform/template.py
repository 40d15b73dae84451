"""Your Dreamer beside a release: fill in the three functions, then

  python conform/template.py v2_atari_small mine.npz
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
  """What the case calls each parameter: {'wm/rssm/img_in/kernel': tensor}.

  Where your layout is not PyTorch's for a Dense or a convolution, see
  dreamer/conform/layouts.py: swapped inputs, gates in another order, GRUs.
  """
  return {}


def step(agent, batch):
  """One train step by your own code: what it computes, under the names that
  `python -m dreamer.conform CASE` lists: {'tensor/embed': x, 'loss/kl': y}.

  To read the local variables of a function of yours without changing it:
    with samplers.watch(train=agent.train) as frames: ...
    frames['train'][-1]['post']
  """
  return {}


def main(name, out):
  case = conform.case(name)
  agent = build(case)
  tensors = parameters(agent)
  with torch.no_grad():
    for key, tensor in tensors.items():
      tensor.copy_(torch.from_numpy(layouts.to_torch(case.parameters[key])))
  arrays = {}
  for k in range(case.steps):
    with samplers.fixed(torch), samplers.gradients(torch) as groups:
      found = step(agent, case.batch)
    for key, value in found.items():
      if key.startswith('tensor/') and k == 0:
        arrays[key] = samplers.array(value)
      elif not key.startswith('tensor/'):
        arrays[f'step{k}/{key}'] = samplers.array(value)
    for key, tensor in tensors.items():
      for group in groups if k == 0 else []:
        if id(tensor) in group:
          arrays[f'grad/{key}'] = layouts.from_torch(group[id(tensor)])
  for key, tensor in tensors.items():
    arrays[f'param/{key}'] = layouts.from_torch(samplers.array(tensor))
  npz.write(out, arrays)


if __name__ == '__main__':
  main(*sys.argv[1:])
