"""Measuring, and making what is measured."""
