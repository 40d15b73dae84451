"""Makes one case of danijar/dreamer (README.md beside)."""
import os
import sys

import rules

args = rules.arguments(__doc__)
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
sys.path.insert(0, args.release)

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_probability as tfp  # noqa: E402
from v1 import batch as batches  # noqa: E402
from v1 import cases, functions, record, release, samplers  # noqa: E402

# The release's metrics by their names in the cases. The entropy of a
# continuous action is that of 100 equal samples, and in no case.
LOSSES = {'div': 'loss/kl', 'action_ent': 'metric/action_ent'}
LEFT_OUT = ('expl_amount',)


def main():
  tf.config.experimental_run_functions_eagerly(True)
  if args.case in cases.FUNCTIONS:
    with samplers.replaced():
      rules.remake_functions(
          functions.FUNCTIONS[args.case], args.stored, args.out)
    return
  spec = cases.spec(args.case)
  config = release.configuration(spec)
  batch = rules.load(args.stored, 'batch.npz') if args.stored else (
      batches.make(spec['action'], *spec['batch'], spec['seed']))
  with samplers.replaced():
    made = release.agent(spec, config, batch)
    arrays = run(made, spec, config, batch)
    case = description(made, spec, config)
    if args.plain:
      case['untouched'] = compiled(spec, config, batch, arrays)
  rules.write(args.out, case, batch=batch, expected=arrays, is_large=is_large)


def is_large(name, value):
  return name == 'tensor/recon' or value.size > 60000


def run(made, spec, config, batch):
  """All arrays of the case."""
  variables = release.parameters(made)
  names = {id(variable): name for name, variable in variables.items()}
  arrays = {}
  steps = release.train_steps(made, spec, config, batch)
  for k in range(spec['steps']):
    with record.recording(made, names) as noted:
      metrics = next(steps)
    arrays[f'step{k}/metric/kl_raw'] = noted.pop('kl_raw')
    arrays.update(scalars(metrics, k, spec))
    if k == 0:
      arrays.update(noted)
  arrays.update({f'param/{k}': v.numpy() for k, v in variables.items()})
  return arrays


def scalars(metrics, k, spec):
  """Losses, norms and metrics of train step k, by their names in the cases."""
  found = {}
  for name, value in metrics.items():
    if name in LEFT_OUT:
      continue
    group = 'metric'
    for ending, kind in (('_loss', 'loss'), ('_grad_norm', 'grad_norm')):
      if name.endswith(ending):
        name, group = name[:-len(ending)], kind
    found[f'step{k}/' + LOSSES.get(name, f'{group}/{name}')] = value
  if spec['action'][0] == 'continuous':
    del found[f'step{k}/metric/action_ent']
  return found


def description(made, spec, config):
  """What case.json says."""
  variables = release.parameters(made)
  settings = {k: v for k, v in config.items() if k not in release.MACHINE}
  return dict(
      cases.recorded(args.case), horizon=config.horizon, config=settings,
      batch_seed=spec['seed'],
      param_shapes={k: list(v.shape) for k, v in variables.items()},
      versions=rules.versions(
          tensorflow=tf.__version__, tfp=tfp.__version__,
          numpy=np.__version__))


def compiled(spec, config, batch, arrays):
  """The train step as the release compiles it, without notes."""
  made = release.agent(spec, config, batch)
  tf.config.experimental_run_functions_eagerly(False)
  found = {}
  steps = release.train_steps(made, spec, config, batch)
  for k, metrics in enumerate(steps):
    found.update(scalars(metrics, k, spec))
  variables = release.parameters(made)
  found.update({f'param/{k}': v.numpy() for k, v in variables.items()})
  return rules.largest_difference(found, arrays)


main()
