"""Estimators, cost model, load, policies and the decision record."""
