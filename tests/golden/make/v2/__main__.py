"""Makes one case of danijar/dreamerv2 (README.md beside)."""
import os
import sys

import rules

args = rules.arguments(__doc__)
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
sys.path.insert(0, os.path.join(args.release, 'dreamerv2'))

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_probability as tfp  # noqa: E402
from v2 import batch as batches  # noqa: E402
from v2 import cases, functions, record, release, samplers  # noqa: E402


def main():
  tf.config.run_functions_eagerly(True)
  if args.case in cases.FUNCTIONS:
    with samplers.replaced():
      rules.remake_functions(
          functions.FUNCTIONS[args.case], args.stored, args.out)
    return
  spec = cases.spec(args.case)
  config = release.configuration(spec)
  batch = rules.load(args.stored, 'batch.npz') if args.stored else (
      batches.make(spec['image'], spec['vectors'], spec['action'],
                   *spec['batch'], spec['seed']))
  with samplers.replaced():
    made = release.agent(spec, config, batch)
    arrays, losses = run(made, spec, batch)
    case = description(made, config, losses)
    if args.plain:
      case['untouched'] = compiled(spec, config, batch, arrays)
  rules.write(args.out, case, batch=batch, expected=arrays,
              is_large=lambda name, value: value.size > 60000)


def run(made, spec, batch):
  """All arrays, and the KL of each step."""
  variables = release.parameters(made)
  names = {variable.ref(): name for name, variable in variables.items()}
  del samplers.MARGINS[:]
  arrays, kl = {}, []
  steps = release.train_steps(made, spec, batch)
  with record.recording(names) as noted:
    metrics = [next(steps)]
  arrays.update(noted)
  metrics += list(steps)
  for k, found in enumerate(metrics):
    arrays.update(scalars(found, k))
    kl.append(float(found['model_kl']))
  arrays.update(after(made, variables))
  return arrays, kl


def scalars(metrics, k):
  """Losses, norms and metrics of train step k, by their names in the cases."""
  found = {}
  for name, value in metrics.items():
    group = 'metric'
    for ending, kind in (('_loss', 'loss'), ('_grad_norm', 'grad_norm')):
      if name.endswith(ending):
        name, group = name[:-len(ending)], kind
    found[f'step{k}/{group}/{name}'] = value
  return found


def after(made, variables):
  """Parameters, the optimisers' slots and counters after the last step."""
  found = {f'param/{name}': v.numpy() for name, v in variables.items()}
  for name, slots in release.slots(made, variables).items():
    found.update({f'slot/{k}/{name}': v.numpy() for k, v in slots.items()})
  for prefix, behaviour in release.behaviours(made).items():
    found[f'extra/{prefix}rewnorm_mag'] = behaviour.rewnorm.mag.numpy()
    if hasattr(behaviour, '_updates'):
      updates = behaviour._updates.numpy()
      found[f'extra/{prefix}target_updates'] = np.int32(updates)
  return found


def description(made, config, losses):
  """What case.json says."""
  variables = release.parameters(made)
  trained = release.slots(made, variables)
  return dict(
      cases.recorded(args.case), horizon=config.imag_horizon,
      param_shapes={k: v.shape.as_list() for k, v in variables.items()},
      no_gradient=[k for k in variables
                   if k not in trained and 'target_critic/' not in k],
      kl_value=losses, kl_free=config.kl.free,
      argmax_margin_min=min(samplers.MARGINS) if samplers.MARGINS else None,
      resolved_config={k: v for k, v in config.flat.items() if k != 'logdir'},
      versions=rules.versions(
          tensorflow=tf.__version__, tfp=tfp.__version__,
          numpy=np.__version__))


def compiled(spec, config, batch, arrays):
  """The train step as the release compiles it, without notes."""
  made = release.agent(spec, config, batch)
  tf.config.run_functions_eagerly(False)
  found = {}
  for k, metrics in enumerate(release.train_steps(made, spec, batch)):
    found.update(scalars(metrics, k))
  variables = release.parameters(made)
  found.update({f'param/{k}': v.numpy() for k, v in variables.items()})
  return rules.largest_difference(found, arrays)


main()
