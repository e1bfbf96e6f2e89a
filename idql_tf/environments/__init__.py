"""Gymnasium environments: making them, mazes, and collecting maze datasets."""
