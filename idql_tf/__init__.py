"""IDQL (implicit diffusion Q-learning) for TensorFlow, Keras and Reverb.

The package asks three questions separately (Hansen-Estruch et al. 2023,
arXiv 2304.10573): *how good is an action?* (`critic`), *which actions are
plausible?* (`behavior`), *which one do we take?* (`extraction`).

Shape letters used in every docstring: S seeds, B batch, N candidates,
T diffusion steps, D observation size, A action size.
"""

__version__ = "0.1.0"
