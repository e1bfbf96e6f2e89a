"""Reverb: transport and durable store of transitions. The only room that imports it."""
