"""The dashboard: its API, its pages, and what they tell."""
