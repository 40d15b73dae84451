"""Videos that compare predictions with what happened."""

from __future__ import annotations

import tensorflow as tf


def compare(truth: tf.Tensor, model: tf.Tensor) -> tf.Tensor:
  """Truth, prediction and error below each other, sequences side by side.

  Args are pixels [T, B, H, W, C] in [0, 1], predictions perhaps beyond;
  returns [T, 3 H, B W, C] float32. An error of 0 is gray.
  """
  video = tf.concat([truth, model, (model - truth + 1) / 2], 2)
  length, rows, height, width, channels = video.shape
  video = tf.transpose(video, [0, 2, 1, 3, 4])
  return tf.reshape(video, [length, height, rows * width, channels])


def to_uint8(video: tf.Tensor) -> tf.Tensor:
  """[0, 1] to 0..255, clipped."""
  return tf.cast(tf.round(tf.clip_by_value(video, 0, 1) * 255), tf.uint8)
