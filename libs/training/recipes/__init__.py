"""One small file per recipe; each defines `RECIPE`."""
