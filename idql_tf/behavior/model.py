"""What every behaviour model shares: a network, its moving average, Adam."""

from __future__ import annotations

import abc
from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras

from idql_tf.errors import check_count, check_number
from idql_tf.nn import randomness
from idql_tf.nn.adam import Adam, cosine_decay, move_towards


class BehaviorModel(tf.Module, abc.ABC):
    """A model of the data's actions for S seeds.

    Args:
      name: of its class in gin, for error messages.
      make_network: called twice: what is trained, and its average, which acts.
      seeds: one per member of the stack.
      action_size: A.
      learning_rate: of Adam at step 0.
      decay_steps: steps of the cosine decay to 0; None keeps the rate constant.
      average_rate: step of the moving average.
      weight_decay: decoupled, on every weight.
      temperature: factor on the noise of what acts.
    """

    METRICS = ("loss",)
    KIND: str
    # Of actions that are one-hot vectors, and not numbers in [-1, 1].
    DISCRETE = False

    def __init__(
        self,
        name: str,
        make_network: Callable[[], keras.Model],
        seeds: tuple[int, ...],
        action_size: int,
        learning_rate: float,
        decay_steps: int | None,
        average_rate: float,
        weight_decay: float,
        temperature: float,
    ) -> None:
        super().__init__(name="behavior")
        if decay_steps is not None:
            check_count(f"{name}.decay_steps", decay_steps)
        check_number(f"{name}.learning_rate", learning_rate)
        check_number(f"{name}.weight_decay", weight_decay)
        check_number(f"{name}.average_rate", average_rate, most=1.0)
        check_number(f"{name}.sampler_temperature", temperature)
        self.action_size = action_size
        self.seeds = tf.constant(seeds, tf.int64)
        self.network, self.average = make_network(), make_network()
        pairs = zip(self.average.variables, self.network.variables, strict=True)
        for average, source in pairs:
            average.assign(source)
        self._learning_rate, self._decay_steps = learning_rate, decay_steps
        self._average_rate, self._temperature = average_rate, temperature
        self.optimizer = Adam(
            self.network.trainable_variables, weight_decay=weight_decay
        )

    @property
    def is_deterministic(self) -> bool:
        """Whether all candidates of an observation are the same."""
        return False

    @property
    @abc.abstractmethod
    def num_draws(self) -> int:
        """Normal vectors [A] that one candidate is made of."""

    @abc.abstractmethod
    def loss(
        self,
        network: keras.Model,
        observations: tf.Tensor,
        actions: tf.Tensor,
        step: tf.Tensor | int,
        training: bool,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Mean loss per seed, [S], with the draws of `step`.

        Args:
          network: the trained one or its average.
          observations: [S, B, D].
          actions: [S, B, A].
          step: number of the draw; training counts optimizer steps.
          training: dropout on, and the training streams.
          weights: of each row's loss, [S, B]; None weighs all alike.
        """

    @abc.abstractmethod
    def denoise(
        self,
        observations: tf.Tensor,
        noise: tf.Tensor,
        num_candidates: tf.Tensor | int,
    ) -> tf.Tensor:
        """Turns noise into candidate actions with the averaged network.

        Args:
          observations: [S, B, D].
          noise: [S, num_draws, B * N, A] from `draw_noise`.
          num_candidates: N per observation.

        Returns:
          Actions [S, B, N, A] in [-1, 1].
        """

    def prior(
        self, observations: tf.Tensor, num_candidates: tf.Tensor | int
    ) -> tf.Tensor | None:
        """Log weights [S, B, N] of candidates that stand for more than one draw each.

        None, unless a model lists its candidates instead of drawing them.
        """
        return None

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
        variables = self.network.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = self.loss(self.network, observations, actions, step, True, weights)
        rate = cosine_decay(self._learning_rate, step, self._decay_steps)
        self.optimizer.apply(tape.gradient(loss, variables), rate)
        move_towards(self.average.trainable_variables, variables, self._average_rate)
        return {"loss": loss}

    def draw_noise(
        self, batch: tf.Tensor | int, num_candidates: tf.Tensor | int, keys: tf.Tensor
    ) -> tf.Tensor:
        """Draws what `denoise` wants: standard normal [S, num_draws, B * N, A].

        Args:
          batch: B.
          num_candidates: N per observation.
          keys: stateless seeds [S, 2].
        """
        shape = [self.num_draws, batch * num_candidates, self.action_size]
        return randomness.normal(keys, shape)
