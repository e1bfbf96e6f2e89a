"""The behaviour model: DDPM steps and the averaged score network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gin
import tensorflow as tf

from idql_tf.behavior import diffusion, schedules
from idql_tf.behavior.networks import ScoreNetwork
from idql_tf.errors import check_count, check_number
from idql_tf.nn import randomness
from idql_tf.nn.adam import Adam, cosine_decay, move_towards
from idql_tf.nn.dense import weighted_mean


@gin.configurable(denylist=["observation_size", "action_size", "seeds"])
class Behavior(tf.Module):
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

    METRICS = ("loss",)

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
        super().__init__(name="behavior")
        check_count("Behavior.num_diffusion_steps", num_diffusion_steps)
        if decay_steps is not None:
            check_count("Behavior.decay_steps", decay_steps)
        check_number("Behavior.learning_rate", learning_rate)
        check_number("Behavior.weight_decay", weight_decay)
        check_number("Behavior.average_rate", average_rate, most=1.0)
        check_number("Behavior.sampler_temperature", sampler_temperature)
        self.action_size = action_size
        self.seeds = tf.constant(seeds, tf.int64)
        self.score = network(observation_size, action_size, seeds)
        self.average = network(observation_size, action_size, seeds)
        for average, source in zip(
            self.average.variables, self.score.variables, strict=True
        ):
            average.assign(source)
        self.coefficients = schedules.coefficients(schedule(num_diffusion_steps))
        self._learning_rate, self._decay_steps = learning_rate, decay_steps
        self._average_rate = average_rate
        self._clip, self._temperature = clip_sampler, sampler_temperature
        self.optimizer = Adam(self.score.trainable_variables, weight_decay=weight_decay)

    def loss(
        self,
        score: ScoreNetwork,
        observations: tf.Tensor,
        actions: tf.Tensor,
        step: tf.Tensor | int,
        training: bool,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """DDPM loss per seed, [S], with the draws of `step`.

        Args:
          score: the trained network or its average.
          observations: [S, B, D].
          actions: [S, B, A].
          step: number of the draw; training counts optimizer steps.
          training: dropout on, and the training streams.
          weights: of each row's loss, [S, B]; None weighs all alike.
        """
        phase = "train" if training else "validation"
        batch, num_steps = tf.shape(actions)[1], self.coefficients.num_steps

        def key(purpose: str) -> tf.Tensor:
            return randomness.keys(self.seeds, f"{phase}/{purpose}", step)

        steps = randomness.integers(key("diffusion_step"), [batch], num_steps)
        noise = randomness.normal(key("noise"), [batch, self.action_size])
        draws = None
        if training and score.dropout_shape:
            shape = [*score.dropout_shape, batch, score.hidden_dim]
            draws = randomness.bits(key("dropout"), shape)
        noisy = diffusion.corrupt(actions, steps, noise, self.coefficients)
        predicted = score(noisy, observations, steps, num_steps, draws)
        return weighted_mean(diffusion.loss(predicted, noise), weights)

    def update(
        self,
        observations: tf.Tensor,
        actions: tf.Tensor,
        weights: tf.Tensor | None = None,
    ) -> dict:
        """One optimizer step and one step of the average.

        Returns:
          The METRICS, [S] each; the loss is that before the step.
        """
        step = self.optimizer.step.read_value()
        variables = self.score.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = self.loss(self.score, observations, actions, step, True, weights)
        rate = cosine_decay(self._learning_rate, step, self._decay_steps)
        self.optimizer.apply(tape.gradient(loss, variables), rate)
        move_towards(self.average.trainable_variables, variables, self._average_rate)
        return {"loss": loss}

    def draw_noise(
        self, batch: tf.Tensor | int, num_candidates: tf.Tensor | int, keys: tf.Tensor
    ) -> tf.Tensor:
        """Draws what `denoise` wants: standard normal [S, T, B * N, A].

        Args:
          batch: B.
          num_candidates: N per observation.
          keys: stateless seeds [S, 2].
        """
        rows = batch * num_candidates
        shape = [self.coefficients.num_steps, rows, self.action_size]
        return randomness.normal(keys, shape)

    def denoise(
        self,
        observations: tf.Tensor,
        noise: tf.Tensor,
        num_candidates: tf.Tensor | int,
    ) -> tf.Tensor:
        """Turns noise into candidate actions with the averaged score network.

        Args:
          observations: [S, B, D].
          noise: [S, T, B * N, A] from `draw_noise`.
          num_candidates: N per observation.

        Returns:
          Actions [S, B, N, A] in [-1, 1].
        """
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
            return net.trunk(tf.reshape(h, [seeds, rows, hidden]), None)

        actions = diffusion.reverse_chain(
            predict_noise, noise, self.coefficients, self._clip, self._temperature
        )
        return tf.reshape(actions, [seeds, batch, num_candidates, self.action_size])
