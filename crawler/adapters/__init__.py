"""Adapters carry: one foreign library each, its exceptions translated here."""
