"""Grafana dashboards, generated from typed panels."""
