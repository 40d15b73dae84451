"""Counting the kernels of XLA's programs."""

from dreamer.bench import kernels

# XLA prints lines of any length.
TEXT = '''
HloModule module, is_scheduled=true

%fused_computation (p: f32[2]) -> f32[2] {
  %p = f32[2]{0} parameter(0)
  %c = f32[] constant(2)
  ROOT %multiply.1 = f32[2]{0} multiply(%p, %p)
}

%body (t: (s32[], f32[2])) -> (s32[], f32[2]) {
  %t = (s32[], f32[2]{0}) parameter(0)
  %x = f32[2]{0} get-tuple-element(%t), index=1
  %dot.1 = f32[2]{0} dot(%x, %x)
  %fusion.1 = f32[2]{0} fusion(%dot.1), kind=kLoop, calls=%fused_computation
  ROOT %tuple.1 = (s32[], f32[2]{0}) tuple(%x, %fusion.1)
}

%inside (q: f32[2]) -> f32[2] {
  %q = f32[2]{0} parameter(0)
  ROOT %copy.1 = f32[2]{0} copy(%q)
}

%nothing (r: f32[2]) -> f32[2] {
  ROOT %r = f32[2]{0} parameter(0)
}

ENTRY %main.9 (a: f32[2]) -> f32[2] {
  %a = f32[2]{0} parameter(0), metadata={op_name="XLA_Args"}
  %while.1 = (s32[], f32[2]{0}) while(%a), condition=%c, body=%body, metadata={op_type="While" op_name="scan/while"}, backend_config={"known_trip_count":{"n":"5"}}
  %while.2 = (s32[], f32[2]{0}) while(%a), condition=%c, body=%body, metadata={op_type="While" op_name="gradients/scan/while_grad/scan/while_grad"}
  %y = f32[2]{0} get-tuple-element(%while.1), index=1
  %convolution.1 = f32[2]{0} convolution(%y, %y), metadata={op_name="gradients/Conv2D_1_grad"}
  %call.1 = f32[2]{0} call(%y), to_apply=%inside, metadata={op_name="stateless_random_uniform_1"}
  %cond.1 = f32[2]{0} conditional(%p, %y, %y), true_computation=%inside, false_computation=%nothing, metadata={op_name="optimizer/cond"}
  %cond.2 = f32[2]{0} conditional(%p, %y, %y), branch_computations={%inside, %nothing}
  ROOT %add.1 = f32[2]{0} add(%y, %y)
}
'''  # noqa: E501


def test_counts():
  assert kernels.count(TEXT) == {
      'kernels': 25, 'scan x5': 10, "scan's gradient x5": 10,
      'rest': 2, 'convolutions': 1, 'noise': 1, 'optimisers': 1}
