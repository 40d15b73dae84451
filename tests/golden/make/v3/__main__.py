"""Makes one case of danijar/dreamerv3 (README.md beside)."""
import os
import sys

import rules

args = rules.arguments(__doc__)
# One thread, so that two runs give the same bits.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
    '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1')
sys.path.insert(0, args.release)

import chex  # noqa: E402
import jax  # noqa: E402
import jaxlib  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from v3 import arrays, cases, functions, policy, record, release  # noqa: E402
from v3 import batch as batches  # noqa: E402


def main():
  if args.case in cases.FUNCTIONS:
    rules.remake_functions(
        functions.FUNCTIONS[args.case], args.stored, args.out)
    return
  spec = cases.spec(args.case)
  # The small cases take longer to optimise than to run.
  jax.config.update('jax_disable_most_optimizations', not spec['limit'])
  config = release.configuration(spec)
  actions = sorted(spec['act'])
  with record.recording():
    model = release.agent(spec, config)
    batch = batches.make(
        spec['obs'], spec['act'], release.latents(model), config.batch_size,
        config.batch_length, config.replay_context, spec['seed'])
    before = release.first_state(model, spec, batch)
    results = release.train_steps(model, spec, before, batch)
    acting, distance = ({}, np.inf) if not spec['policy'] else policy.calls(
        model, spec, before, batch)
  trained = {k: v for k, v in before.items() if k.startswith(release.TRAINED)}
  margins = [arrays.margins(r, actions) for r in results]
  case = description(spec, config, trained)
  case['argmax_margin_min'] = min(
      [v for m in margins for v in m.values()] + [distance])
  if args.plain:
    case['untouched'] = untouched(spec, config, before, batch, results)
  noise = {
      f'step{k}/{name}': value for k, result in enumerate(results)
      for name, value in arrays.noise(result, actions).items()}
  rules.write(
      args.out, case, batch=batch, noise=noise, policy=acting,
      expected=arrays.expected(before, results, actions),
      is_large=lambda *x: arrays.is_large(*x, spec['limit']),
      params=trained if spec['params'] == 'file' else {})


def description(spec, config, trained):
  """What case.json says, but for the distances."""
  (rate,) = record.RATES
  images = [list(v[1]) for v in spec['obs'].values() if v[0] == 'image']
  resolved = {f'agent.{k}': v for k, v in config.agent.flat.items()
              if k.split('.')[-1] not in spec['drop']}
  for key in ('batch_size', 'batch_length', 'replay_context'):
    resolved[key] = config[key]
  return dict(
      cases.recorded(args.case), batch=[config.batch_size, config.batch_length],
      context=config.replay_context, image=images[0] if images else None,
      horizon=config.agent.imag_length,
      lr_per_update=[float(rate(k)) for k in range(spec['steps'])],
      resolved_config=resolved,
      param_shapes={k: list(v.shape) for k, v in trained.items()},
      no_gradient=[k for k in trained if k.startswith('slowval/')],
      versions=rules.versions(
          jax=jax.__version__, jaxlib=jaxlib.__version__,
          numpy=np.__version__, optax=optax.__version__,
          chex=chex.__version__))


def untouched(spec, config, before, batch, results):
  """The release without notes: the largest relative difference to the run."""
  model = release.agent(spec, config)
  plain = release.train_steps(model, spec, before, batch)
  return max(
      rules.largest_difference(one[part], two[part])
      for one, two in zip(plain, results) for part in ('metrics', 'state'))


main()
