"""Studies: what an idea of 2012 did, by paired runs, with an interval and a verdict."""
