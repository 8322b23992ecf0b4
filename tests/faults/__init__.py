"""Layers, each with one planted fault of a kind that people really make, and its repaired twin."""
