"""The diffusion model of the data's actions (IDQL section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin
import tensorflow as tf

from idql_tf.behavior import diffusion, schedules
from idql_tf.behavior.model import BehaviorModel
from idql_tf.behavior.networks import ScoreNetwork
from idql_tf.errors import check_count
from idql_tf.nn import randomness
from idql_tf.nn.dense import weighted_mean


@gin.configurable(denylist=["observation_size", "action_size", "seeds"])
class Behavior(BehaviorModel):
    """Score network of S seeds, its average and its optimizer.

    Args:
      observation_size: D.
      action_size: A.
      seeds: one per member of the stack.
      network: `LnResnet` or `Mlp`.
      schedule: maps T to beta [T]: `vp`, `cosine` or `linear`.
      num_diffusion_steps: T.
      learning_rate: of Adam at step 0.
      decay_steps: behaviour steps of the cosine decay to 0; None keeps it constant.
      weight_decay: decoupled, on every weight.
      average_rate: step of the moving average that acts and is evaluated.
      clip_sampler: clip every iterate of the reverse chain.
      sampler_temperature: factor on the reverse chain's noise.
    """

    KIND = "diffusion"

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        seeds: Sequence[int],
        network: Callable[..., ScoreNetwork],
        schedule: schedules.Schedule,
        num_diffusion_steps: int,
        learning_rate: float,
        decay_steps: int | None,
        average_rate: float,
        weight_decay: float = 0.0,
        clip_sampler: bool = True,
        sampler_temperature: float = 1.0,
    ) -> None:
        check_count("Behavior.num_diffusion_steps", num_diffusion_steps)
        super().__init__(
            "Behavior",
            lambda: network(observation_size, action_size, seeds),
            tuple(seeds),
            action_size,
            learning_rate,
            decay_steps,
            average_rate,
            weight_decay,
            sampler_temperature,
        )
        self.coefficients = schedules.coefficients(schedule(num_diffusion_steps))
        self._clip = clip_sampler

    @property
    def num_draws(self) -> int:
        """Where the reverse chain begins, and the noise of each step but the last."""
        return self.coefficients.num_steps

    def loss(
        self,
        network: ScoreNetwork,
        observations: tf.Tensor,
        actions: tf.Tensor,
        step: tf.Tensor | int,
        training: bool,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """DDPM loss (IDQL eq. 4, squared); see `BehaviorModel.loss`."""
        phase = "train" if training else "validation"
        batch, num_steps = tf.shape(actions)[1], self.coefficients.num_steps

        def key(purpose: str) -> tf.Tensor:
            return randomness.keys(self.seeds, f"{phase}/{purpose}", step)

        steps = randomness.integers(key("diffusion_step"), [batch], num_steps)
        noise = randomness.normal(key("noise"), [batch, self.action_size])
        draws = [
            randomness.short_bits(key(f"dropout/{i}"), [batch, network.hidden_dim])
            for i in range(network.num_dropouts if training else 0)
        ]
        noisy = diffusion.corrupt(actions, steps, noise, self.coefficients)
        predicted = network(noisy, observations, steps, num_steps, draws)
        return weighted_mean(diffusion.loss(predicted, noise), weights)

    def denoise(
        self,
        observations: tf.Tensor,
        noise: tf.Tensor,
        num_candidates: tf.Tensor | int,
    ) -> tf.Tensor:
        """Runs the reverse chain; see `BehaviorModel.denoise`."""
        net, num_steps = self.average, self.coefficients.num_steps
        seeds, batch = observations.shape[0], tf.shape(observations)[1]
        rows, hidden = batch * num_candidates, net.hidden_dim
        steps = net.step_features(tf.range(num_steps))
        of_observation = net.observation_features(observations)[:, :, None]

        def predict_noise(x: tf.Tensor, t: int) -> tf.Tensor:
            h = tf.reshape(
                net.action_features(x), [seeds, batch, num_candidates, hidden]
            )
            h += of_observation + steps[:, t][:, None, None]
            return net.trunk(tf.reshape(h, [seeds, rows, hidden]))

        actions = diffusion.reverse_chain(
            predict_noise, noise, self.coefficients, self._clip, self._temperature
        )
        return tf.reshape(actions, [seeds, batch, num_candidates, self.action_size])
