"""Watching: drift detectors and the evidence for their alarms."""
