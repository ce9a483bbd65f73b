"""What every learner must do, one check a property."""
