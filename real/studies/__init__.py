"""What the papers ask: systems on every domain, ensembles and hints, step sizes."""
