"""Layer 2: what comes from a lab's files into the workspace, and goes back to such files."""
