"""Finetuning: the policy improves by acting."""
