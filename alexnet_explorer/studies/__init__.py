"""Studies: runs that differ in one idea, with the same seeds in each arm, and what can be concluded from them."""
