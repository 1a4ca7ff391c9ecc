"""Checked flow in, executable workflow out."""
