"""torch's bilinear resizing of 8-bit images with anti-aliasing, as ONNX text: the same numbers to the last bit.

ONNX's own operator ``Resize`` computes in floating point, and treats the borders differently: 15 % of the values of a
photograph differed from torch's, and so did up to 2 % of a mask. The method is that of
``_compute_index_ranges_int16_weights`` in aten/src/ATen/native/cpu/UpSampleKernel.cpp of PyTorch: columns first, then
rows, each with integer weights, and with a result rounded to 8 bits.
"""

_DOUBLE, _INT32, _INT64, _UINT8 = 11, 6, 7, 2
"""ONNX's numbers of types, for Cast."""

CONSTANTS = f"""
  no_pixel = Constant <value_int = 0> ()
  one_pixel = Constant <value_int = 1> ()
  taps_axis = Constant <value_ints = [0]> ()
  column_of_weights = Constant <value_ints = [1]> ()
  scalar = Constant <value = int64[0] {{}}> ()
  zero_exact = Constant <value = double {{0.0}}> ()
  half_exact = Constant <value = double {{0.5}}> ()
  one_exact = Constant <value = double {{1.0}}> ()
  two_exact = Constant <value = double {{2.0}}> ()
  limit_of_weights = Constant <value = double {{{float(2**15)}}}> ()
  powers = Constant <value = double[22] {{{", ".join(str(float(2**power)) for power in range(1, 23))}}}> ()
  two_whole = Constant <value = int32 {{2}}> ()
  darkest_value = Constant <value = int32 {{0}}> ()
  brightest_value = Constant <value = int32 {{255}}> ()
  keep_going = Constant <value = bool {{1}}> ()
"""
"""To be defined once in a graph, for any number of :func:`resize`."""


def resize(name: str, image: str, source: tuple[str, str], target: tuple[str, str]) -> str:
    """ONNX text that resizes an image.

    Args:
        name: Of the result, ``uint8 (1, C, h, w)``; also the end of the names within.
        image: Name of the image, ``uint8 (1, C, height, width)``.
        source: Names of its height and width, ``int64 (1)`` each.
        target: Names of the wanted ones.
    """
    rows = f"{name}_rows"
    return (
        _resize_axis(f"{name}_columns", image, source[1], target[1], axis=3)
        + _resize_axis(rows, f"{name}_columns", source[0], target[0], axis=2)
        + f"""
  axes_{name} = Shape <start = 0, end = 2> ({image})
  shape_{name} = Concat <axis = 0> (axes_{name}, {target[0]}, {target[1]})
  {name} = Reshape ({rows}, shape_{name})"""  # of a loop's result, ONNX Runtime does not know the number of axes
    )


def _resize_axis(name: str, image: str, source: str, target: str, axis: int) -> str:
    """Along an axis: the weights of the source pixels under each triangle, and a loop that sums over them."""
    shaped = f"Unsqueeze (weight_{name}, column_of_weights)" if axis == 2 else f"Identity (weight_{name})"
    return f"""
  source_{name} = Cast <to = {_DOUBLE}> ({source})
  target_{name} = Cast <to = {_DOUBLE}> ({target})
  scale_{name} = Div (source_{name}, target_{name})
  support_{name} = Max (scale_{name}, one_exact)
  inverse_{name} = Div (one_exact, support_{name})
  count_{name} = Reshape ({target}, scalar)
  numbers_{name} = Range (no_pixel, count_{name}, one_pixel)
  exact_numbers_{name} = Cast <to = {_DOUBLE}> (numbers_{name})
  middles_{name} = Add (exact_numbers_{name}, half_exact)
  centres_{name} = Mul (middles_{name}, scale_{name})
  lower_{name} = Sub (centres_{name}, support_{name})
  rounded_{name} = Add (lower_{name}, half_exact)
  whole_{name} = Floor (rounded_{name})
  limited_{name} = Max (whole_{name}, zero_exact)
  first_{name} = Cast <to = {_INT64}> (limited_{name})
  reach_{name} = Ceil (support_{name})
  both_sides_{name} = Mul (reach_{name}, two_exact)
  exact_taps_{name} = Add (both_sides_{name}, one_exact)
  taps_{name} = Cast <to = {_INT64}> (exact_taps_{name})
  trips_{name} = Reshape (taps_{name}, scalar)
  offsets_{name} = Range (no_pixel, trips_{name}, one_pixel)
  column_{name} = Unsqueeze (offsets_{name}, column_of_weights)
  index_{name} = Add (first_{name}, column_{name})
  last_{name} = Sub ({source}, one_pixel)
  within_{name} = LessOrEqual (index_{name}, last_{name})
  safe_{name} = Min (index_{name}, last_{name})
  exact_index_{name} = Cast <to = {_DOUBLE}> (index_{name})
  pixel_middle_{name} = Add (exact_index_{name}, half_exact)
  difference_{name} = Sub (pixel_middle_{name}, centres_{name})
  distance_{name} = Abs (difference_{name})
  relative_{name} = Mul (distance_{name}, inverse_{name})
  triangle_{name} = Sub (one_exact, relative_{name})
  positive_{name} = Max (triangle_{name}, zero_exact)
  inside_{name} = Where (within_{name}, positive_{name}, zero_exact)
  total_{name} = ReduceSum <keepdims = 1> (inside_{name}, taps_axis)
  share_{name} = Div (inside_{name}, total_{name})
  largest_{name} = ReduceMax <keepdims = 0> (share_{name})
  grown_{name} = Mul (largest_{name}, powers)
  nearest_{name} = Add (grown_{name}, half_exact)
  integer_{name} = Floor (nearest_{name})
  fits_{name} = Less (integer_{name}, limit_of_weights)
  counted_{name} = Cast <to = {_DOUBLE}> (fits_{name})
  bits_{name} = ReduceSum <keepdims = 0> (counted_{name})
  unit_{name} = Pow (two_exact, bits_{name})
  exact_weights_{name} = Mul (share_{name}, unit_{name})
  raised_{name} = Add (exact_weights_{name}, half_exact)
  floored_{name} = Floor (raised_{name})
  weights_{name} = Cast <to = {_INT32}> (floored_{name})
  whole_unit_{name} = Cast <to = {_INT32}> (unit_{name})
  half_unit_{name} = Div (whole_unit_{name}, two_whole)
  start_index_{name} = Gather <axis = 0> (safe_{name}, no_pixel)
  start_pixels_{name} = Gather <axis = {axis}> ({image}, start_index_{name})
  start_shape_{name} = Shape (start_pixels_{name})
  start_{name} = Expand (half_unit_{name}, start_shape_{name})
  sum_{name} = Loop (trips_{name}, keep_going, start_{name}) <body =
  tap (int64 tap_{name}, bool before_{name}, int32[n_{name}, c_{name}, y_{name}, x_{name}] so_far_{name})
    => (bool after_{name}, int32[n_{name}, c_{name}, y_{name}, x_{name}] more_{name}) {{
    after_{name} = Identity (before_{name})
    places_{name} = Gather <axis = 0> (safe_{name}, tap_{name})
    weight_{name} = Gather <axis = 0> (weights_{name}, tap_{name})
    pixels_{name} = Gather <axis = {axis}> ({image}, places_{name})
    values_{name} = Cast <to = {_INT32}> (pixels_{name})
    shaped_{name} = {shaped}
    product_{name} = Mul (values_{name}, shaped_{name})
    more_{name} = Add (so_far_{name}, product_{name})
  }}>
  quotient_{name} = Div (sum_{name}, whole_unit_{name})
  clipped_{name} = Clip (quotient_{name}, darkest_value, brightest_value)
  {name} = Cast <to = {_UINT8}> (clipped_{name})"""
