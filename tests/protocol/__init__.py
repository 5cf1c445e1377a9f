"""Tests of the public wire."""
